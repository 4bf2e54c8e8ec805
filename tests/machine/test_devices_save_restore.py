"""A snapshot is complete: whatever came before it, what follows is the same."""

from hypothesis import given
from hypothesis import strategies as st

from ringviz.machine.bus import Bus
from ringviz.machine.devices import Cmos, DebugConsole, ExitPort, PicPair, Uart
from ringviz.machine.devices.transcript import CHUNK_BYTES, Transcript

CLAIMED = [0x20, 0x21, 0xA0, 0xA1, 0x70, 0x71, 0xE9, 0xF4, *range(0x3F8, 0x400)]
Access = tuple[bool, int, int, int]

# Few index values and command words hit often enough; the rest of the byte range comes in by the second alternative.
VALUES = st.sampled_from([0x00, 0x0A, 0x0B, 0x0C, 0x0D, 0x11, 0x13, 0x20, 0x0B, 0x10, 0x83, 0x80]) | st.integers(0, 255)
ACCESSES = st.lists(st.tuples(st.booleans(), st.sampled_from(CLAIMED), VALUES, st.integers(0, 700_000)), max_size=50)


def _pc() -> tuple[Bus, Uart, PicPair]:
    uart, pic = Uart(), PicPair()
    return Bus([uart, DebugConsole(), pic, Cmos(64 << 20), ExitPort()]), uart, pic


def _perform(bus: Bus, accesses: list[Access], now: int) -> tuple[list[int], int]:
    answers = []
    for is_write, port, value, later in accesses:
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


@given(ACCESSES, ACCESSES, ACCESSES, st.binary(max_size=20), st.sets(st.integers(0, 15)))
def test_a_restored_bus_goes_on_as_the_saved_one(
    before: list[Access], between: list[Access], after: list[Access], typed: bytes, irqs: set[int]
) -> None:
    bus, uart, pic = _pc()
    for irq in irqs - {2}:
        pic.set_line(irq, True)
    _, now = _perform(bus, before, 0)
    uart.feed(typed)
    state = bus.save()
    other, _, _ = _pc()
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


@given(ACCESSES)
def test_saving_changes_nothing(accesses: list[Access]) -> None:
    watched, plain = _pc()[0], _pc()[0]
    now = 0
    for access in accesses:
        watched.save()
        answer, later = _perform(watched, [access], now)
        assert (answer, later) == _perform(plain, [access], now)
        now = later
    assert watched.save() == plain.save()


def test_a_branch_keeps_the_text_of_its_own_past() -> None:
    bus = _pc()[0]
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
