"""A snapshot is complete: whatever came before it, what follows is the same."""

from hypothesis import given, settings
from hypothesis import strategies as st

from ringviz.machine.bus import Bus, InterruptController
from ringviz.machine.devices import pc_devices
from ringviz.machine.devices.transcript import CHUNK_BYTES, Transcript

CLAIMED = [
    *(0x20, 0x21, 0xA0, 0xA1, 0x40, 0x41, 0x42, 0x43, 0x60, 0x61, 0x64, 0x70, 0x71, 0x92, 0xE9, 0xF4),
    *range(0x3C0, 0x3D0),
    *(0x3D4, 0x3D5, 0x3DA),
    *range(0x3F8, 0x400),
]
FREE_IRQS = [3, 5, 6, 7, *range(9, 16)]
"""Request lines that no device drives."""
Access = tuple[bool, int, int, int]

# Few index values and command words hit often enough; the rest of the byte range comes in by the second alternative.
VALUES = st.sampled_from(
    [0x00, 0x0A, 0x0B, 0x0C, 0x0D, 0x11, 0x13, 0x20, 0x0B, 0x10, 0x83, 0x80, 0x34, 0x36, 0x30, 0xE2, 0x61, 0xFE, 0xF0]
) | st.integers(0, 255)
WAITS = st.integers(0, 300) | st.integers(0, 200_000)
ACCESSES = st.lists(st.tuples(st.booleans(), st.sampled_from(CLAIMED), VALUES, WAITS), max_size=50)


def _pc() -> Bus:
    return Bus(pc_devices(64 << 20, console_input=b"echo hello\n", keys="ls -l\n"))


def _run_to(bus: Bus, now: int, end: int) -> None:
    """Stop at every event, as whoever owns a bus does; of very many, only at the first."""
    for _ in range(50):
        at = bus.next_event()
        if at is None or at > end:
            break
        now = at
        bus.advance(now)
    bus.advance(end)


def _perform(bus: Bus, accesses: list[Access], now: int) -> tuple[list[int], int]:
    answers = []
    for is_write, port, value, later in accesses:
        _run_to(bus, now, now + later)
        now += later
        if is_write:
            bus.write(port, 1, value, now)
        else:
            answers.append(bus.read(port, 1, now))
    return answers, now


def _read_everything(bus: Bus, now: int) -> tuple[list[int], str, int | None]:
    indexed = []
    for index in range(128):
        bus.write(0x70, 1, index, now)
        indexed.append(bus.read(0x71, 1, now))
    return indexed + [bus.read(port, 1, now) for port in CLAIMED], bus.console, bus.exit_code


@settings(deadline=None)
@given(ACCESSES, ACCESSES, ACCESSES, st.sets(st.sampled_from(FREE_IRQS)))
def test_a_restored_bus_goes_on_as_the_saved_one(
    before: list[Access], between: list[Access], after: list[Access], irqs: set[int]
) -> None:
    devices = pc_devices(64 << 20, console_input=b"echo hello\n", keys="ls -l\n")
    bus = Bus(devices)
    pic = next(device for device in devices if isinstance(device, InterruptController))
    for irq in irqs:
        pic.set_line(irq, True)
    _, now = _perform(bus, before, 0)
    state = bus.save()
    other = _pc()
    other.restore(state)
    assert other.save() == state
    assert hash(other.save()) == hash(state)
    assert repr(other.save()) == repr(state)

    expected = _perform(bus, after, now)
    expected_rest = _read_everything(bus, expected[1])
    assert _perform(other, after, now) == expected
    assert _read_everything(other, expected[1]) == expected_rest

    # A branch: the same bus, sent another way first, must come back to the very same future.
    bus.restore(state)
    _perform(bus, between, now)
    bus.restore(state)
    assert bus.save() == state
    assert _perform(bus, after, now) == expected
    assert _read_everything(bus, expected[1]) == expected_rest


@settings(deadline=None)
@given(ACCESSES, st.lists(st.integers(0, 5_000), max_size=30))
def test_looking_whether_anything_is_due_changes_nothing(accesses: list[Access], waits: list[int]) -> None:
    # One technique stops far more often than another; what the guest sees must not come from that.
    restless, calm = _pc(), _pc()
    now = 0
    for access in [*accesses, *((False, 0x80, 0, wait) for wait in waits)]:
        for part in range(1, 4):
            _run_to(restless, now + access[3] * (part - 1) // 4, now + access[3] * part // 4)
        answer, _ = _perform(restless, [(*access[:3], access[3] - access[3] * 3 // 4)], now + access[3] * 3 // 4)
        assert (answer, now + access[3]) == _perform(calm, [access], now)
        now += access[3]
        assert restless.save() == calm.save()


@settings(deadline=None)
@given(ACCESSES)
def test_saving_changes_nothing(accesses: list[Access]) -> None:
    watched, plain = _pc(), _pc()
    now = 0
    for access in accesses:
        watched.save()
        answer, later = _perform(watched, [access], now)
        assert (answer, later) == _perform(plain, [access], now)
        now = later
    assert watched.save() == plain.save()


def test_a_branch_keeps_the_text_of_its_own_past() -> None:
    bus = _pc()
    bus.write(0x3F8, 1, ord("a"), 0)
    fork = bus.save()
    bus.write(0x3F8, 1, ord("b"), 1)
    left = bus.save()
    bus.restore(fork)
    bus.write(0x3F8, 1, ord("c"), 1)
    assert bus.console == "ac"
    bus.restore(left)
    assert bus.console == "ab"


@given(st.binary(max_size=3 * CHUNK_BYTES))
def test_a_transcript_is_its_bytes_in_full_chunks_and_a_shorter_tail(text: bytes) -> None:
    transcript = Transcript()
    for byte in text:
        transcript = transcript.plus(byte)
    assert transcript.text == text
    assert {len(chunk) for chunk in transcript.chunks} <= {CHUNK_BYTES}
    assert len(transcript.tail) < CHUNK_BYTES


def test_versions_of_a_long_transcript_share_their_full_chunks() -> None:
    transcript = Transcript()
    for _ in range(CHUNK_BYTES + 1):
        transcript = transcript.plus(0x2E)
    assert transcript.plus(0x21).chunks is transcript.chunks
