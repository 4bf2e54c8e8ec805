"""The IDE channel by itself: what QEMU does otherwise or cannot show, time, and the interrupt line."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringviz.guest.disk import find_disk, read_disk
from ringviz.machine.bus import Bus
from ringviz.machine.devices import Ide, PicPair
from ringviz.machine.devices.ata_commands import COMMANDS
from ringviz.machine.devices.ata_drive import COMMAND_MICROSECONDS, RESET_MICROSECONDS, SECTOR_MICROSECONDS
from ringviz.machine.devices.ata_geometry import Geometry, asked_geometry, default_geometry

DATA, ERROR, COUNT, LOW, MID, HIGH, DEVICE, STATUS = range(0x1F0, 0x1F8)
CONTROL = 0x3F6
READY, WANTS_DATA, FAILED, BUSY = 0x50, 0x58, 0x51, 0xD0
ABRT, IDNF = 0x04, 0x10
SECTORS = 2000
IMAGE = b"".join(number.to_bytes(4, "little") * 128 for number in range(SECTORS))


class Desk:
    """A bus with a disk, a clock, and a note of every edge of the request line."""

    def __init__(self, first: bytes | None = IMAGE, second: bytes | None = None) -> None:
        self.ide = Ide((first, second))
        self.bus = Bus([self.ide])
        self.edges: list[tuple[int, bool]] = []
        self.ide.connect(lambda is_high: self.edges.append((self.now, is_high)))
        self.now = 1000

    def put(self, port: int, value: int, size: int = 1) -> None:
        self.bus.write(port, size, value, self.now)

    def get(self, port: int, size: int = 1) -> int:
        return self.bus.read(port, size, self.now)

    def go_to_event(self) -> int:
        """Let the drive act next, and tell how long that took."""
        at = self.bus.next_event()
        assert at is not None
        took, self.now = at - self.now, at
        self.bus.advance(at)
        return took

    def ask(self, code: int, block: int = 0, count: int = 1, device: int = 0xE0, features: int = 0) -> None:
        for port, value in (
            (DEVICE, device | block >> 24),
            (ERROR, features),
            (COUNT, count & 0xFF),
            (LOW, block & 0xFF),
            (MID, block >> 8 & 0xFF),
            (HIGH, block >> 16 & 0xFF),
            (STATUS, code),
        ):
            self.put(port, value)

    def do(self, code: int, block: int = 0, count: int = 1, device: int = 0xE0, features: int = 0) -> int:
        """Give a command without data or a command that fails, and give the status."""
        self.ask(code, block, count, device, features)
        self.go_to_event()
        return self.get(STATUS)

    def take(self, size: int = 2) -> bytes:
        return b"".join(self.get(DATA, size).to_bytes(size, "little") for _ in range(512 // size))

    def give(self, content: bytes, size: int = 2) -> None:
        for at in range(0, len(content), size):
            self.put(DATA, int.from_bytes(content[at : at + size], "little"), size)

    def sector(self, number: int, device: int = 0xE0) -> bytes:
        self.ask(0x20, number, device=device)
        self.go_to_event()
        return self.take()

    def words(self) -> list[int]:
        self.ask(0xEC)
        self.go_to_event()
        return [self.get(DATA, 2) for _ in range(256)]

    @property
    def levels(self) -> list[bool]:
        return [is_high for _, is_high in self.edges]


@pytest.fixture
def desk() -> Desk:
    return Desk()


def _sector(number: int) -> bytes:
    return IMAGE[512 * number : 512 * number + 512]


# ---- time and interrupts ---------------------------------------------------------------------------------------------


def test_a_read_is_busy_until_its_sector_is_there(desk: Desk) -> None:
    desk.ask(0x20, 3, 2)
    assert desk.get(STATUS) == BUSY
    assert desk.go_to_event() == SECTOR_MICROSECONDS
    assert desk.get(CONTROL) == WANTS_DATA
    assert desk.take() == _sector(3)
    assert desk.get(STATUS) == BUSY
    assert desk.go_to_event() == SECTOR_MICROSECONDS
    assert desk.take() == _sector(4)
    assert desk.get(STATUS) == READY
    assert desk.bus.next_event() is None


def test_whoever_never_calls_for_events_sees_the_same(desk: Desk) -> None:
    desk.ask(0x20, 3)
    desk.now += SECTOR_MICROSECONDS - 1
    assert desk.get(STATUS) == BUSY
    desk.now += 1
    assert desk.get(STATUS) == WANTS_DATA


def test_an_event_that_is_overdue_is_still_announced_for_later(desk: Desk) -> None:
    desk.ask(0x20, 3)
    assert desk.ide.next_event(desk.now + 5000) == desk.now + 5001


def test_reads_interrupt_once_a_block_and_not_at_the_end(desk: Desk) -> None:
    desk.ask(0x20, 3, 2)
    for _ in range(2):
        desk.go_to_event()
        assert desk.levels[-1:] == [True]
        desk.get(CONTROL)
        assert desk.levels[-1:] == [True], "the alternate status acknowledges nothing"
        desk.get(STATUS)
        assert desk.levels[-1:] == [False]
        desk.take()
    assert desk.levels == [True, False, True, False]


def test_writes_interrupt_after_a_block_and_not_for_the_first(desk: Desk) -> None:
    desk.ask(0x30, 3, 2)
    assert desk.get(CONTROL) == WANTS_DATA
    assert desk.edges == []
    desk.give(bytes(512))
    assert desk.get(CONTROL) == BUSY
    assert desk.go_to_event() == SECTOR_MICROSECONDS
    assert (desk.get(STATUS), desk.levels) == (WANTS_DATA, [True, False])
    desk.give(bytes(512))
    assert desk.go_to_event() == SECTOR_MICROSECONDS
    assert (desk.get(STATUS), desk.levels) == (READY, [True, False, True, False])


def test_an_interrupt_that_nobody_acknowledged_makes_no_second_edge(desk: Desk) -> None:
    desk.ask(0x20, 3, 2)
    desk.go_to_event()
    desk.take()
    desk.go_to_event()
    assert desk.levels == [True]


def test_a_new_command_takes_a_pending_interrupt_back(desk: Desk) -> None:
    desk.do(0xE7)
    desk.ask(0xE7)
    desk.go_to_event()
    desk.ask(0xE7)
    assert desk.levels == [True, False, True, False]


def test_disabled_interrupts_stay_pending(desk: Desk) -> None:
    desk.put(CONTROL, 0x02)
    desk.ask(0xE7)
    desk.go_to_event()
    assert desk.edges == []
    desk.put(CONTROL, 0x00)
    assert desk.levels == [True]
    desk.put(CONTROL, 0x02)
    assert desk.levels == [True, False]


def test_only_the_selected_drive_drives_the_line() -> None:
    desk = Desk(second=IMAGE)
    desk.ask(0xE7)
    desk.go_to_event()
    desk.put(DEVICE, 0xF0)
    desk.get(STATUS)
    desk.put(DEVICE, 0xE0)
    assert desk.levels == [True, False, True]


def test_the_line_leads_to_request_14(desk: Desk) -> None:
    pic = PicPair()
    bus = Bus([desk.ide, pic])
    for port, values in ((0x20, (0x11,)), (0x21, (0x20, 4, 1, 0xFB)), (0xA0, (0x11,)), (0xA1, (0x28, 2, 1, 0xBF))):
        for value in values:
            bus.write(port, 1, value, 0)
    desk.bus = bus
    assert bus.next_wake(desk.now) is None
    desk.ask(0x20, 0)
    assert bus.next_wake(desk.now) == desk.now + SECTOR_MICROSECONDS
    assert not bus.is_requesting
    desk.now += SECTOR_MICROSECONDS
    assert bus.advance(desk.now)
    assert bus.is_requesting
    assert bus.acknowledge() == 0x2E


# ---- commands --------------------------------------------------------------------------------------------------------


def test_a_written_sector_reads_back_and_the_image_below_is_as_it_was(desk: Desk) -> None:
    content = bytes(range(256)) * 2
    desk.ask(0x30, 7)
    desk.give(content, size=4)
    desk.go_to_event()
    assert desk.do(0xE7) == READY
    assert [desk.sector(number) for number in (6, 7, 8)] == [_sector(6), content, _sector(8)]
    desk.ide.power_on()
    assert desk.sector(7) == _sector(7)


def test_a_sector_written_as_it_was_leaves_no_trace(desk: Desk) -> None:
    before = desk.bus.save()
    for content in (bytes(512), _sector(7)):
        desk.ask(0x30, 7)
        desk.give(content)
        desk.go_to_event()
        desk.get(STATUS)
    drive = desk.ide.save()[0][0]
    assert drive.overlay == before[0][1][0][0].overlay


def test_a_disk_s_last_sector_is_there_and_the_next_is_not(desk: Desk) -> None:
    assert desk.sector(SECTORS - 1) == _sector(SECTORS - 1)
    assert (desk.do(0x20, SECTORS), desk.get(ERROR)) == (FAILED, IDNF)
    assert (desk.do(0x30, SECTORS), desk.get(ERROR)) == (FAILED, IDNF)
    desk.give(bytes(512))
    assert desk.get(STATUS) == FAILED, "nobody asked for data"
    assert (desk.do(0x40, SECTORS - 2, 4), desk.get(ERROR)) == (FAILED, IDNF)
    assert [desk.get(port) for port in (COUNT, LOW, MID)] == [2, SECTORS & 0xFF, SECTORS >> 8]
    assert (desk.do(0x70, SECTORS), desk.get(ERROR)) == (FAILED, IDNF)


def test_a_transfer_across_the_end_stops_there_and_names_the_missing_sector(desk: Desk) -> None:
    desk.ask(0x30, SECTORS - 1, 3)
    desk.give(bytes(512))
    desk.go_to_event()
    desk.get(STATUS)
    assert desk.go_to_event() == COMMAND_MICROSECONDS
    assert (desk.get(STATUS), desk.get(ERROR)) == (FAILED, IDNF)
    assert [desk.get(port) for port in (COUNT, LOW, MID, HIGH)] == [2, SECTORS & 0xFF, SECTORS >> 8, 0]
    assert desk.sector(SECTORS - 1) == bytes(512)


def test_a_block_that_is_not_whole_is_not_given_in_part(desk: Desk) -> None:
    assert desk.do(0xC6, count=8) == READY
    assert (desk.do(0xC4, SECTORS - 3, 8), desk.get(ERROR)) == (FAILED, IDNF)
    assert [desk.get(port) for port in (COUNT, LOW)] == [5, SECTORS & 0xFF]


def test_a_count_of_0_means_256_sectors(desk: Desk) -> None:
    desk.ask(0x20, 0, 0)
    for number in range(256):
        desk.go_to_event()
        assert desk.take() == _sector(number)
    assert desk.get(STATUS) == READY


def test_a_48_bit_count_of_0_means_65536_sectors() -> None:
    desk = Desk(bytes(512 * 65536))
    for port in (COUNT, COUNT, LOW, LOW, MID, MID, HIGH, HIGH):
        desk.put(port, 0)
    desk.put(DEVICE, 0xE0)
    desk.put(STATUS, 0x42)
    assert desk.go_to_event() == 65536 * SECTOR_MICROSECONDS
    assert desk.get(STATUS) == READY


def test_48_bit_commands_want_a_block_address(desk: Desk) -> None:
    assert (desk.do(0x24, device=0xA0), desk.get(ERROR)) == (FAILED, ABRT)


def test_cylinder_head_and_sector_go_as_far_as_the_translation(desk: Desk) -> None:
    geometry = default_geometry(SECTORS)
    assert geometry == Geometry(1, 16, 63)
    for cylinder, head, sector in ((0, 0, 0), (0, 0, 64), (1, 0, 1)):
        for port, value in ((DEVICE, 0xA0 | head), (COUNT, 1), (LOW, sector), (MID, cylinder), (STATUS, 0x20)):
            desk.put(port, value)
        desk.go_to_event()
        assert (desk.get(STATUS), desk.get(ERROR)) == (FAILED, IDNF)
    assert desk.do(0x91, count=10, device=0xA0 | 1) == READY
    for port, value in ((DEVICE, 0xA0 | 1), (COUNT, 1), (LOW, 10), (MID, 99), (HIGH, 0), (STATUS, 0x20)):
        desk.put(port, value)
    desk.go_to_event()
    assert desk.take() == _sector(SECTORS - 1)
    assert desk.do(0x70, device=0xA0 | 2) == FAILED, "the third head is gone"


@pytest.mark.parametrize("count", [0, 255])
def test_a_translation_that_makes_no_sense_is_refused(desk: Desk, count: int) -> None:
    assert (desk.do(0x91, count=count, device=0xAF), desk.get(ERROR)) == (FAILED, ABRT)
    assert asked_geometry(SECTORS, 16, count) is None


@pytest.mark.parametrize("sectors", [1, 2, 62, 63, 64, 100, 1007, 1008, 2880, 20_160, 20_000_000])
def test_the_default_translation_lies_within_the_disk(sectors: int) -> None:
    geometry = default_geometry(sectors)
    assert 0 < geometry.capacity <= sectors
    assert geometry.cylinders <= 16_383
    assert geometry.block_of(*geometry.address_of(geometry.capacity - 1)) == geometry.capacity - 1
    assert geometry.address_of(0) == (0, 0, 1)


@pytest.mark.parametrize("code", sorted(set(range(256)) - set(COMMANDS)))
def test_every_other_command_is_aborted(desk: Desk, code: int) -> None:
    assert (desk.do(code), desk.get(ERROR)) == (FAILED, ABRT)
    assert desk.sector(1) == _sector(1)


def test_multiple_mode_takes_powers_of_two_up_to_16(desk: Desk) -> None:
    good = {count for count in range(256) if desk.do(0xC6, count=count) == READY}
    assert good == {0, 1, 2, 4, 8, 16}
    assert desk.do(0xC6, count=7) == FAILED
    assert (desk.do(0xC4), desk.get(ERROR)) == (FAILED, ABRT), "an impossible block disables it"


def test_a_block_of_multiple_interrupts_once_and_takes_as_long_as_its_sectors(desk: Desk) -> None:
    desk.do(0xC6, count=4)
    desk.edges.clear()
    desk.ask(0xC4, 10, 6)
    assert desk.go_to_event() == 4 * SECTOR_MICROSECONDS
    assert b"".join(desk.take() for _ in range(4)) == IMAGE[5120:][:2048]
    assert desk.go_to_event() == 2 * SECTOR_MICROSECONDS
    desk.get(STATUS)
    assert b"".join(desk.take() for _ in range(2)) == IMAGE[7168:][:1024]
    assert desk.get(STATUS) == READY
    assert desk.levels == [True, False]


def test_features_that_exist_can_be_set_and_are_told(desk: Desk) -> None:
    good = {feature for feature in range(256) if desk.do(0xEF, count=0x0B, features=feature) == READY}
    assert good == {0x02, 0x03, 0x55, 0x66, 0x82, 0xAA, 0xCC}
    modes = {mode for mode in range(256) if desk.do(0xEF, count=mode, features=0x03) == READY}
    assert modes == {0x00, 0x08, 0x09, 0x0A, 0x0B, 0x0C}, "there is no DMA"
    for features, word in ((0x82, 0x48), (0x55, 0x08), (0x02, 0x28), (0xAA, 0x68)):
        desk.do(0xEF, features=features)
        assert desk.words()[85] == word


def test_power_modes_are_told_and_end_with_the_next_sector(desk: Desk) -> None:
    for code, mode in ((0xE1, 0x80), (0xE0, 0x00), (0x97, 0x80), (0x96, 0x00)):
        desk.do(code)
        desk.do(0xE5)
        assert desk.get(COUNT) == mode
    desk.sector(0)
    desk.do(0x98)
    assert desk.get(COUNT) == 0xFF


def test_only_a_reset_wakes_a_sleeping_drive(desk: Desk) -> None:
    assert desk.do(0xE6) == READY
    desk.ask(0xEC)
    assert desk.bus.next_event() is None
    desk.put(CONTROL, 0x04)
    desk.put(CONTROL, 0x00)
    desk.go_to_event()
    assert desk.words()[0] == 0x0040


# ---- identify --------------------------------------------------------------------------------------------------------


def _text(words: list[int]) -> str:
    return b"".join(word.to_bytes(2, "big") for word in words).decode("ascii")


def test_the_page_tells_names_sizes_and_what_the_drive_can_do() -> None:
    desk = Desk(second=IMAGE[:512])
    words = desk.words()
    assert _text(words[27:47]) == "RINGVIZ HARDDISK".ljust(40)
    assert _text(words[10:20]) == "RINGVIZ-0".ljust(20)
    assert _text(words[23:27]) == "1.0".ljust(8)
    assert words[60:62] == [SECTORS, 0]
    assert words[100:104] == [SECTORS, 0, 0, 0]
    assert words[49] & 0x0200, "it has block addresses"
    assert not words[49] & 0x0100, "and no DMA"
    assert words[62:64] == [0, 0]
    assert not words[88]
    assert words[83] & 0x0400, "it has 48-bit commands"
    desk.ask(0xEC, device=0xF0)
    desk.go_to_event()
    second = [desk.get(DATA, 2) for _ in range(256)]
    assert _text(second[10:20]) == "RINGVIZ-1".ljust(20)
    assert (second[60], second[1], second[3], second[6]) == (1, 1, 1, 1)


def test_the_page_s_bytes_sum_up_to_0_and_it_follows_the_settings(desk: Desk) -> None:
    for code, count, device in ((0xC6, 8, 0xE0), (0x91, 10, 0xA3), (0xC6, 0, 0xE0)):
        desk.do(code, count=count, device=device)
        page = b"".join(word.to_bytes(2, "little") for word in desk.words())
        assert page[510] == 0xA5
        assert sum(page) & 0xFF == 0
    words = desk.words()
    assert words[59] == 0
    assert words[54:59] == [50, 4, 10, SECTORS, 0]
    assert (words[1], words[3], words[6]) == default_geometry(SECTORS)


# ---- reset, diagnostic, who answers ----------------------------------------------------------------------------------

SIGNATURE = {ERROR: 1, COUNT: 1, LOW: 1, MID: 0, HIGH: 0, DEVICE: 0xA0, STATUS: READY}


def _answers(desk: Desk) -> dict[int, int]:
    return {port: desk.get(port) for port in SIGNATURE}


def test_power_on_leaves_the_signature(desk: Desk) -> None:
    assert _answers(desk) == SIGNATURE


def test_a_software_reset_holds_both_drives_and_then_takes_its_time() -> None:
    desk = Desk(second=IMAGE)
    desk.ask(0x30, 5, device=0xF0)
    desk.give(bytes(100))
    desk.put(CONTROL, 0x04)
    assert desk.get(STATUS) == 0x80
    assert desk.bus.next_event() is None
    desk.put(STATUS, 0xEC)
    desk.put(CONTROL, 0x00)
    assert desk.get(STATUS) == 0x80
    assert desk.go_to_event() == RESET_MICROSECONDS
    assert _answers(desk) == SIGNATURE
    assert desk.edges == [], "a reset does not interrupt"
    assert desk.sector(5, device=0xF0) == _sector(5)


@pytest.mark.parametrize(("feature", "multiple"), [(0x66, 2), (0xCC, 16)])
def test_a_software_reset_keeps_settings_unless_told_to_revert(desk: Desk, feature: int, multiple: int) -> None:
    desk.do(0xC6, count=2)
    desk.do(0xEF, features=feature)
    desk.put(CONTROL, 0x04)
    desk.put(CONTROL, 0x00)
    desk.go_to_event()
    assert desk.words()[59] == 0x100 | multiple


def test_what_was_written_survives_a_software_reset(desk: Desk) -> None:
    desk.ask(0x30, 5)
    desk.give(bytes(512))
    desk.go_to_event()
    desk.put(CONTROL, 0x04)
    desk.put(CONTROL, 0x00)
    desk.go_to_event()
    assert desk.sector(5) == bytes(512)


def test_the_diagnostic_is_for_both_drives_and_drive_0_answers() -> None:
    desk = Desk(second=IMAGE)
    assert desk.do(0x90, block=0x123456, device=0xF0) == READY
    assert desk.levels == [True, False]
    assert _answers(desk) == SIGNATURE
    desk.put(DEVICE, 0xF0)
    assert _answers(desk) == SIGNATURE | {DEVICE: 0xF0}
    assert desk.levels == [True, False]


def test_drive_0_answers_for_a_missing_drive_1(desk: Desk) -> None:
    desk.put(DEVICE, 0xF0)
    desk.put(LOW, 0x55)
    assert [desk.get(port) for port in (STATUS, CONTROL, LOW, DEVICE)] == [0, 0, 0x55, 0xF0]
    desk.put(STATUS, 0xEC)
    assert desk.bus.next_event() is None
    assert desk.get(DATA, 2) == 0
    assert desk.do(0x90, device=0xF0) == READY, "but for the diagnostic, after which drive 0 is selected"


def test_where_no_drive_answers_the_bus_floats_but_is_not_busy() -> None:
    empty = Desk(None)
    assert {empty.get(port) for port in (*range(ERROR, STATUS + 1), CONTROL)} == {0x7F}
    assert empty.get(DATA, 2) == 0xFF7F
    assert empty.get(DATA, 4) == 0xFF7F_FF7F
    empty.ask(0x20)
    empty.put(DATA, 1, 2)
    assert empty.bus.next_event() is None

    only_second = Desk(None, IMAGE)
    assert only_second.get(STATUS) == 0x7F
    only_second.put(DEVICE, 0xF0)
    assert only_second.get(STATUS) == READY
    assert only_second.sector(9, device=0xF0) == _sector(9)


# ---- whatever a guest does -------------------------------------------------------------------------------------------

PORTS = [*range(DATA, STATUS + 1), CONTROL]
VALUES = st.sampled_from([*COMMANDS, 0x00, 0x02, 0x04, 0x06, 0x80, 0xE0, 0xF0, 0xA5, 0xB5]) | st.integers(0, 255)
WIDE = st.sampled_from([1, 2, 4])
ACCESSES = st.lists(
    st.tuples(st.booleans(), st.sampled_from(PORTS), WIDE, VALUES, st.sampled_from([0, 1, 30, 300])), max_size=60
)
SMALL = IMAGE[: 512 * 40]
Accesses = list[tuple[bool, int, int, int, int]]


def _perform(bus: Bus, accesses: Accesses, now: int) -> Iterator[int]:
    for is_write, port, size, value, later in accesses:
        now += later
        if is_write:
            bus.write(port, size, value * 0x01010101, now)
        else:
            yield bus.read(port, size, now)
    yield now


@settings(deadline=None)
@given(ACCESSES, ACCESSES, ACCESSES, st.booleans())
def test_a_restored_channel_goes_on_as_the_saved_one(
    before: Accesses, between: Accesses, after: Accesses, has_second: bool
) -> None:
    def new() -> Bus:
        return Bus([Ide((SMALL, SMALL if has_second else None)), PicPair()])

    bus = new()
    # Most random commands have their data moved, so that transfers are saved half-way too.
    *_, now = _perform(bus, [*before, (True, DEVICE, 1, 0xE0, 300), (True, STATUS, 1, 0x30, 300)], 0)
    *_, now = _perform(bus, [(True, DATA, 4, 0xA7, 0)] * 100, now)
    state = bus.save()
    other = new()
    other.restore(state)
    assert other.save() == state
    assert (hash(other.save()), repr(other.save())) == (hash(state), repr(state))
    expected = list(_perform(bus, after, now)), bus.save()
    assert (list(_perform(other, after, now)), other.save()) == expected
    bus.restore(state)
    list(_perform(bus, between, now))
    bus.restore(state)
    assert (list(_perform(bus, after, now)), bus.save()) == expected


@settings(deadline=None)
@given(ACCESSES)
def test_acting_at_every_event_gives_the_same_as_acting_when_asked(accesses: Accesses) -> None:
    lazy, eager = (Bus([Ide((SMALL, None))]) for _ in range(2))  # no controller: every event is announced
    now = 0
    for is_write, port, size, value, later in accesses:
        while (at := eager.next_event()) is not None and at <= now + later:
            now, later = at, now + later - at
            eager.advance(now)
        now += later
        for bus in (lazy, eager):
            if is_write:
                bus.write(port, size, value, now)
        if not is_write:
            assert lazy.read(port, size, now) == eager.read(port, size, now)
    lazy.advance(now + 10**6)
    eager.advance(now + 10**6)
    assert lazy.save()[0] == eager.save()[0]


def test_states_hold_numbers_and_not_flags(desk: Desk) -> None:
    """The text of a state goes into hashes, and a flag's text differs between versions of Python."""
    desk.do(0xEF, features=0xCC, device=0xE5)
    desk.ask(0x20, 5, 2)
    desk.go_to_event()
    desk.put(CONTROL, 0x82)
    assert "Device" not in repr(desk.bus.save())
    assert "Status" not in repr(desk.bus.save())
    assert "Control" not in repr(desk.bus.save())


def test_a_thousand_machines_that_write_leave_the_file_alone(tmp_path: Path) -> None:
    file = tmp_path / "disk.img"
    file.write_bytes(SMALL)
    before = hashlib.sha256(file.read_bytes()).digest()
    for run in range(1000):
        read_disk.cache_clear()
        desk = Desk(read_disk(find_disk(file, "test", file.name)))
        desk.ask(0x30, run % 40)
        desk.give(run.to_bytes(4, "big") * 128, size=4)
        desk.go_to_event()
        desk.ask(0x20, run % 40)
        desk.go_to_event()
        assert desk.take(size=4) == run.to_bytes(4, "big") * 128
    assert hashlib.sha256(file.read_bytes()).digest() == before
