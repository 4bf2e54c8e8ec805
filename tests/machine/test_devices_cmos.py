"""The MC146818A clock and the memory of a PC against their rules."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringviz.machine.bus import Bus
from ringviz.machine.devices import Cmos, PicPair
from ringviz.machine.devices import rtc_time as rtc
from ringviz.machine.devices.cmos import POWER_ON
from ringviz.machine.devices.device_time import INSTRUCTIONS_PER_SECOND as SECOND

A, B, C, D = 0x0A, 0x0B, 0x0C, 0x0D
TIME = (0x00, 0x02, 0x04, 0x06, 0x07, 0x08, 0x09)
HOURS_24, BINARY, SET = 0x02, 0x04, 0x80
FORMATS = [0, HOURS_24, BINARY, HOURS_24 | BINARY]


class Driver:
    """Indexed access at a device time that only goes forward."""

    def __init__(self, memory_bytes: int = 64 << 20) -> None:
        self.cmos = Cmos(memory_bytes)
        self.now = 0
        self.edges: list[tuple[int, bool]] = []
        self.cmos.connect(lambda is_high: self.edges.append((self.now, is_high)))

    def get(self, index: int) -> int:
        self.cmos.write(0, 1, index, self.now)
        return self.cmos.read(1, 1, self.now)

    def put(self, index: int, value: int) -> None:
        self.cmos.write(0, 1, index, self.now)
        self.cmos.write(1, 1, value, self.now)

    def set_time(self, time: bytes, status_b: int = HOURS_24) -> None:
        self.put(B, SET | status_b)
        for index, value in zip(TIME, time, strict=True):
            self.put(index, value)
        self.put(B, status_b)

    def run_to(self, now: int) -> None:
        """Stop at every event, as whoever owns the bus does."""
        while (at := self.cmos.next_event(self.now)) is not None and at <= now:
            self.now = at
            self.cmos.advance(at)
        self.now = now

    def time(self) -> bytes:
        return bytes(self.get(index) for index in TIME)


@pytest.fixture
def chip() -> Driver:
    return Driver()


def test_every_run_starts_on_the_first_of_january_2006_a_sunday(chip: Driver) -> None:
    assert chip.time() == bytes([0, 0, 0, 1, 0x01, 0x01, 0x06])
    assert chip.get(0x32) == 0x20
    assert [chip.get(index) for index in (A, B, C, D)] == [0x26, 0x02, 0x00, 0x80]


def test_time_moves_at_the_second_and_not_before(chip: Driver) -> None:
    chip.now = SECOND - 1
    assert chip.get(0) == 0x00
    chip.now = SECOND
    assert chip.get(0) == 0x01
    chip.now = 3661 * SECOND
    assert chip.time()[:3] == bytes([0x01, 0x01, 0x01])


@given(st.lists(st.integers(0, 5 * SECOND), max_size=20))
def test_how_often_the_clock_is_read_changes_nothing(waits: list[int]) -> None:
    often, once = Driver(), Driver()
    for wait in waits:
        often.now += wait
        often.time()
    once.now = often.now
    assert often.time() == once.time()


@pytest.mark.parametrize("status_b", FORMATS)
@given(
    moment=st.datetimes(dt.datetime(2000, 1, 1), dt.datetime(2099, 12, 31, 23, 59, 59)).map(
        lambda moment: moment.replace(microsecond=0)
    )
)
def test_decoding_what_was_encoded_gives_the_moment(status_b: int, moment: dt.datetime) -> None:
    assert rtc.decode(rtc.encode(moment, status_b), status_b) == moment


@pytest.mark.parametrize("status_b", FORMATS)
@given(
    moment=st.datetimes(dt.datetime(2000, 1, 1), dt.datetime(2095, 1, 1)).map(lambda m: m.replace(microsecond=0)),
    seconds=st.integers(0, 100_000_000),
)
def test_the_clock_counts_as_the_calendar_does(status_b: int, moment: dt.datetime, seconds: int) -> None:
    later = moment + dt.timedelta(seconds=seconds)
    assert rtc.advance(rtc.encode(moment, status_b), seconds, status_b) == rtc.encode(later, status_b)


@pytest.mark.parametrize(
    ("status_b", "hour", "stored"),
    [
        (HOURS_24, 23, 0x23),
        (HOURS_24 | BINARY, 23, 23),
        (0, 0, 0x12),
        (0, 1, 0x01),
        (0, 12, 0x92),
        (0, 13, 0x81),
        (0, 23, 0x91),
        (BINARY, 23, 0x8B),
    ],
)
def test_hours_are_stored_as_status_b_says(status_b: int, hour: int, stored: int) -> None:
    assert rtc.encode_hours(hour, status_b) == stored
    assert rtc.decode_hours(stored, status_b) == hour


def test_99_is_followed_by_00_and_the_century_byte_is_only_memory(chip: Driver) -> None:
    chip.set_time(bytes([0x59, 0x59, 0x23, 7, 0x31, 0x12, 0x99]))
    chip.now = SECOND
    assert chip.time() == bytes([0, 0, 0, 1, 0x01, 0x01, 0x00])
    assert chip.get(0x32) == 0x20


def test_the_day_of_week_is_a_counter_of_its_own(chip: Driver) -> None:
    chip.set_time(bytes([0x59, 0x59, 0x23, 5, 0x28, 0x02, 0x08]))
    chip.now = SECOND
    assert chip.time() == bytes([0, 0, 0, 6, 0x29, 0x02, 0x08])


@pytest.mark.parametrize(
    "time", [bytes([0x7A, 0, 0, 1, 1, 1, 6]), bytes([0, 0, 0x24, 1, 1, 1, 6]), bytes([0, 0, 0, 1, 0x30, 0x02, 6])]
)
def test_bytes_that_are_no_time_stand_still(chip: Driver, time: bytes) -> None:
    chip.set_time(time)
    chip.now = 5 * SECOND
    assert chip.time() == time


def test_set_holds_updates_off_and_clears_the_update_interrupt(chip: Driver) -> None:
    chip.put(B, SET | HOURS_24 | 0x70)
    assert chip.get(B) == SET | HOURS_24 | 0x60
    chip.now = 10 * SECOND - 1
    assert chip.get(A) == 0x26
    chip.now = 10 * SECOND
    assert chip.get(0) == 0
    chip.put(B, HOURS_24)
    chip.now = 11 * SECOND
    assert chip.get(0) == 1


def test_uip_warns_before_the_update_and_is_gone_after(chip: Driver) -> None:
    for now, is_near in ((SECOND - 2229, False), (SECOND - 2228, True), (SECOND - 1, True), (SECOND, False)):
        chip.now = now
        assert bool(chip.get(A) & 0x80) is is_near


def test_a_guest_that_waits_for_uip_to_fall_then_reads_a_whole_new_second(chip: Driver) -> None:
    while not chip.get(A) & 0x80:
        chip.now += 500
    while chip.get(A) & 0x80:
        chip.now += 500
    assert chip.get(0) == 1


def test_a_stopped_divider_stops_time_and_starts_with_half_a_second(chip: Driver) -> None:
    chip.now = SECOND // 4
    chip.put(A, 0x76)
    chip.now = 9 * SECOND
    assert chip.get(0) == 0
    chip.put(A, 0x26)
    chip.now += SECOND // 2 - 1
    assert chip.get(0) == 0
    chip.now += 1
    assert chip.get(0) == 1
    chip.now += SECOND
    assert chip.get(0) == 2


@pytest.mark.parametrize(("index", "value", "reads"), [(A, 0xA6, 0x26), (C, 0xFF, 0), (D, 0, 0x80), (0, 0xD9, 0x59)])
def test_bits_that_are_read_only_stay(chip: Driver, index: int, value: int, reads: int) -> None:
    chip.put(index, value)
    assert chip.get(index) == reads


def test_flags_are_set_without_their_interrupts_and_cleared_by_reading(chip: Driver) -> None:
    chip.now = SECOND
    assert chip.get(C) == 0x50  # update ended and periodic; the alarm at midnight has not come round
    assert chip.get(C) == 0


@pytest.mark.parametrize(("enabled", "reads"), [(0x10, 0xD0), (0x40, 0xD0), (0x20, 0x50)])
def test_the_request_bit_needs_a_flag_and_its_enable_bit(chip: Driver, enabled: int, reads: int) -> None:
    chip.put(B, HOURS_24 | enabled)
    chip.now = SECOND
    assert chip.get(C) == reads


@pytest.mark.parametrize(("rate", "per_second"), [(0, 0), (1, 256), (2, 128), (3, 8192), (6, 1024), (13, 8), (15, 2)])
def test_the_periodic_flag_comes_at_the_rate_of_status_a(chip: Driver, rate: int, per_second: int) -> None:
    chip.put(A, 0x20 | rate)
    chip.put(B, SET | HOURS_24)
    chip.get(C)
    seen = 0
    for now in range(0, SECOND // 4 + 1, 25):
        chip.now = now
        seen += chip.get(C) >> 6 & 1
    assert seen == per_second // 4


@pytest.mark.parametrize(
    ("alarm", "second"),
    [
        (bytes([0x05, 0, 0]), 5),
        (bytes([0x00, 0x01, 0x00]), 60),
        (bytes([0xC0, 0xFF, 0xD1]), 1),
        (bytes([0x30, 0xC0, 0xC0]), 30),
        (bytes([0x00, 0x00, 0x00]), 86_400),
        (bytes([0x00, 0x00, 0x01]), 3_600),
    ],
)
def test_the_alarm_comes_at_its_second(chip: Driver, alarm: bytes, second: int) -> None:
    for index, value in zip((1, 3, 5), alarm, strict=True):
        chip.put(index, value)
    chip.now = second * SECOND - 1
    assert not chip.get(C) & 0x20
    chip.now += 1
    assert chip.get(C) & 0x20


def test_an_alarm_byte_that_is_no_time_never_matches(chip: Driver) -> None:
    chip.put(1, 0x7F)
    chip.now = 200_000 * SECOND
    assert not chip.get(C) & 0x20


@pytest.mark.parametrize(
    ("mib", "base_kib", "extended_kib", "above_16m_64kib"),
    [(1, 640, 0, 0), (2, 640, 1024, 0), (16, 640, 15 * 1024, 0), (64, 640, 63 * 1024, 768), (8192, 640, 65535, 65535)],
)
def test_memory_size_bytes(mib: int, base_kib: int, extended_kib: int, above_16m_64kib: int) -> None:
    chip = Driver(mib << 20)
    words = [chip.get(index) | chip.get(index + 1) << 8 for index in (0x15, 0x17, 0x30, 0x34)]
    assert words == [base_kib, extended_kib, extended_kib, above_16m_64kib]


def test_less_than_640_kib_is_told_as_it_is() -> None:
    chip = Driver(512 << 10)
    assert chip.get(0x15) | chip.get(0x16) << 8 == 512


def test_the_checksum_covers_10h_to_2dh_high_byte_first(chip: Driver) -> None:
    assert chip.get(0x2E) << 8 | chip.get(0x2F) == sum(chip.get(index) for index in range(0x10, 0x2E))


def test_bit_7_of_the_index_masks_nmi_and_is_no_part_of_the_index(chip: Driver) -> None:
    assert chip.get(0x80 | 0x15) == 0x80
    assert chip.cmos.nmi_is_masked
    chip.get(0x15)
    assert not chip.cmos.nmi_is_masked


def test_the_index_port_cannot_be_read(chip: Driver) -> None:
    chip.get(0x15)
    assert chip.cmos.read(0, 1, 0) == 0xFF


def test_all_other_bytes_are_memory(chip: Driver) -> None:
    for index in range(0x0E, 0x80):
        chip.put(index, index ^ 0x55)
    assert [chip.get(index) for index in range(0x0E, 0x80)] == [index ^ 0x55 for index in range(0x0E, 0x80)]


def test_power_on_is_the_documented_instant() -> None:
    assert dt.datetime(2006, 1, 1) == POWER_ON


# ---- the request line ------------------------------------------------------------------------------------------------


def test_a_clock_whose_interrupts_are_off_has_no_events(chip: Driver) -> None:
    assert chip.cmos.next_event(0) is None
    chip.put(A, 0x20)
    chip.put(B, HOURS_24 | 0x40)
    assert chip.cmos.next_event(0) is None  # periods of rate 0 never come


def test_the_update_requests_once_a_second_when_c_is_read_each_time(chip: Driver) -> None:
    chip.put(B, HOURS_24 | 0x10)
    chip.run_to(3 * SECOND)
    assert chip.edges == [(SECOND, True)]  # until C is read, there is no other
    assert chip.get(C) == 0xD0
    assert chip.edges == [(SECOND, True), (3 * SECOND, False)]
    chip.run_to(4 * SECOND)
    assert chip.edges[2:] == [(4 * SECOND, True)]


@pytest.mark.parametrize(("rate", "ticks"), [(3, 4), (6, 32), (15, 16384), (1, 128)])
def test_periods_request_at_the_rate_of_status_a(chip: Driver, rate: int, ticks: int) -> None:
    chip.put(A, 0x20 | rate)
    chip.put(B, SET | HOURS_24 | 0x40)
    for period in range(1, 6):
        at = chip.cmos.next_event(chip.now)
        assert at is not None
        chip.run_to(at)
        assert chip.now == -(-period * ticks * SECOND // 32_768)
        assert chip.get(C) == 0xC0
    assert [is_high for _, is_high in chip.edges] == [True, False] * 5


def test_the_alarm_requests_at_its_time_with_no_stop_before(chip: Driver) -> None:
    for index, value in ((1, 0x30), (3, 0xC0), (5, 0x01)):
        chip.put(index, value)
    chip.put(B, HOURS_24 | 0x20)
    assert chip.cmos.next_event(0) == 3630 * SECOND
    chip.run_to(4000 * SECOND)
    assert chip.edges == [(3630 * SECOND, True)]
    assert chip.get(C) & 0xA0 == 0xA0
    assert chip.cmos.next_event(chip.now) == (3600 + 7 * 60 + 30) * SECOND


def test_enabling_the_interrupt_of_a_flag_that_is_up_requests_at_once(chip: Driver) -> None:
    chip.run_to(2 * SECOND)
    chip.put(B, HOURS_24 | 0x10)
    assert chip.edges == [(2 * SECOND, True)]
    chip.put(B, HOURS_24)
    assert chip.edges[1:] == [(2 * SECOND, False)]


def test_a_clock_that_stands_still_requests_nothing(chip: Driver) -> None:
    chip.put(B, SET | HOURS_24 | 0x20)
    chip.put(5, 0xFF)
    chip.put(3, 0xFF)
    chip.put(1, 0xFF)
    assert chip.cmos.next_event(0) is None
    chip.put(B, HOURS_24 | 0x70)
    chip.get(C)
    chip.put(A, 0x76)
    assert chip.cmos.next_event(0) is None


ALARM_BYTES = st.sampled_from([0xC0, 0xFF]) | st.integers(0, 59)


@given(st.integers(0, 86_399), st.tuples(ALARM_BYTES, ALARM_BYTES, ALARM_BYTES))
def test_the_next_alarm_is_the_first_second_that_all_three_bytes_match(now: int, alarm: tuple[int, int, int]) -> None:
    moment = dt.datetime(2006, 1, 1) + dt.timedelta(seconds=now)
    time = bytearray(rtc.encode(moment, BINARY | HOURS_24))
    time[1], time[3], time[5] = alarm
    allowed = [{byte} if byte < 0xC0 else set(range(60)) for byte in alarm]

    def matches(second: int) -> bool:
        return second % 60 in allowed[0] and second // 60 % 60 in allowed[1] and second // 3600 % 24 in allowed[2]

    first = next((after for after in range(1, 86_401) if matches(now + after)), None)
    assert rtc.updates_to_alarm(bytes(time), BINARY | HOURS_24) == first


def test_the_clock_reaches_the_processor_through_both_interrupt_controllers() -> None:
    bus = Bus([PicPair(), Cmos(1 << 24)])
    for chip, base, icw3, mask in ((0x20, 0x20, 0x04, 0xFB), (0xA0, 0x28, 0x02, 0xFE)):
        bus.write(chip, 1, 0x11, 0)
        for value in (base, icw3, 0x01, mask):
            bus.write(chip + 1, 1, value, 0)
    bus.write(0x70, 1, B, 0)
    bus.write(0x71, 1, HOURS_24 | 0x10, 0)
    assert bus.next_wake(0) == SECOND
    assert bus.advance(SECOND)
    assert bus.is_requesting
    assert bus.acknowledge() == 0x28
    bus.write(0x70, 1, C, SECOND)
    assert bus.read(0x71, 1, SECOND) == 0xD0
    for chip in (0xA0, 0x20):
        bus.write(chip, 1, 0x20, SECOND)
    assert not bus.is_requesting
    assert bus.next_wake(SECOND) == 2 * SECOND
