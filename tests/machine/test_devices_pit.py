"""The 8254 against its data sheet: drawn waveforms, a model that ticks, and the wires of a PC."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringviz.machine.bus import Bus
from ringviz.machine.devices import PicPair, Pit, i8254
from ringviz.machine.devices.i8254 import Counter
from ringviz.machine.devices.pit import PULSES_PER_SECOND, pulses_at, time_of_pulse

LOW, HIGH, BOTH = 0x10, 0x20, 0x30


def _programmed(mode: int, *count: int, access: int = LOW, gate: bool = True, at: int = 0) -> Counter:
    counter = Counter(gate=gate)
    counter = i8254.write_control(counter, access | mode << 1, at)
    for byte in count:
        counter = i8254.write_count(counter, byte, at)
    return counter


def _wave(counter: Counter, pulses: range) -> str:
    return "".join("-" if i8254.is_out_high(counter, pulse) else "_" for pulse in pulses)


def _counts(counter: Counter, pulses: range) -> list[int]:
    return [i8254.value_at(counter, pulse) for pulse in pulses]


@pytest.mark.parametrize(
    ("mode", "count", "wave", "counts"),
    [
        (0, 4, "____---", [4, 3, 2, 1, 0, 0xFFFF, 0xFFFE]),
        (2, 3, "--_--_-", [3, 2, 1, 3, 2, 1, 3]),
        (3, 4, "--__--__", [4, 2, 4, 2, 4, 2, 4, 2]),
        (3, 5, "---__---__", [4, 2, 0, 4, 2, 4, 2, 0, 4, 2]),
        (4, 3, "---_---", [3, 2, 1, 0, 0xFFFF, 0xFFFE, 0xFFFD]),
        (6, 3, "--_--_-", [3, 2, 1, 3, 2, 1, 3]),
        (7, 4, "--__--__", [4, 2, 4, 2, 4, 2, 4, 2]),
    ],
)
def test_a_written_count_is_loaded_at_the_next_pulse_and_runs_as_drawn(
    mode: int, count: int, wave: str, counts: list[int]
) -> None:
    counter = _programmed(mode, count)
    assert _wave(counter, range(1, 1 + len(wave))) == wave
    assert _counts(counter, range(1, 1 + len(counts))) == counts


@pytest.mark.parametrize(("mode", "wave"), [(1, "-___----"), (5, "----_---")])
def test_modes_1_and_5_wait_for_the_gate_to_rise(mode: int, wave: str) -> None:
    counter = _programmed(mode, 3, gate=False)
    assert i8254.next_change(counter, 0) is None
    counter = i8254.set_gate(counter, True, 10)
    assert _wave(counter, range(10, 18)) == wave


def test_a_one_shot_is_retriggered_and_takes_a_new_count_only_then() -> None:
    counter = i8254.set_gate(_programmed(1, 3, gate=False), True, 10)
    counter = i8254.write_count(counter, 5, 11)
    assert _wave(counter, range(11, 16)) == "___--"
    counter = i8254.set_gate(i8254.set_gate(counter, False, 12), True, 12)
    assert _wave(counter, range(12, 20)) == "______--"


def test_a_new_count_in_mode_0_restarts_at_once_and_the_first_of_two_bytes_stops() -> None:
    counter = i8254.write_count(_programmed(0, 4), 2, 7)
    assert _wave(counter, range(7, 12)) == "___--"
    counter = i8254.write_count(_programmed(0, 4, 0, access=BOTH), 9, 3)
    assert _counts(counter, range(3, 6)) == [2, 2, 2]
    assert i8254.next_change(counter, 3) is None
    counter = i8254.write_count(counter, 0, 20)
    assert i8254.next_change(counter, 20) == 30


def test_a_new_count_in_mode_2_comes_after_the_running_cycle() -> None:
    counter = i8254.write_count(_programmed(2, 4), 2, 2)
    assert _wave(counter, range(1, 10)) == "---_-_-_-"


def test_a_new_count_in_mode_3_comes_after_the_running_half() -> None:
    counter = i8254.write_count(_programmed(3, 6), 2, 2)
    assert _wave(counter, range(2, 10)) == "--_-_-_-"
    counter = i8254.write_count(_programmed(3, 6), 2, 5)
    assert _wave(counter, range(4, 11)) == "___-_-_"


def test_a_low_gate_holds_the_count_of_mode_0_and_the_output_of_mode_3_high() -> None:
    counter = i8254.set_gate(_programmed(0, 5), False, 3)
    assert _counts(counter, range(3, 6)) == [3, 3, 3]
    counter = i8254.set_gate(counter, True, 10)
    assert i8254.next_change(counter, 10) == 13
    counter = i8254.set_gate(_programmed(3, 6), False, 5)
    assert _wave(counter, range(5, 9)) == "----"
    counter = i8254.set_gate(counter, True, 9)
    assert _wave(counter, range(9, 17)) == "----___-"


def test_bcd_counts_decades_and_0_is_ten_thousand() -> None:
    counter = i8254.write_control(Counter(), BOTH | 2 << 1 | 1, 0)
    counter = i8254.write_count(i8254.write_count(counter, 0x00, 0), 0x10, 0)
    assert _counts(counter, range(1, 4)) == [0x1000, 0x0999, 0x0998]
    counter = i8254.write_count(i8254.write_control(Counter(), LOW | 1, 0), 0, 0)
    assert _counts(counter, range(1, 3)) == [0x0000, 0x9999]
    assert i8254.next_change(counter, 1) == 10_001


@pytest.mark.parametrize(("access", "bytes_read"), [(LOW, [0x34] * 3), (HIGH, [0x12] * 3), (BOTH, [0x34, 0x12, 0x34])])
def test_access_chooses_the_bytes_that_are_read(access: int, bytes_read: list[int]) -> None:
    counter = Counter()._replace(control=access, counting=i8254.Counting(value=0x1234))
    seen = []
    for _ in range(3):
        counter, byte = i8254.read(counter, 0)
        seen.append(byte)
    assert seen == bytes_read


def test_a_count_of_one_byte_leaves_the_other_0() -> None:
    assert _counts(_programmed(0, 0x12, access=HIGH), range(1, 2)) == [0x1200]
    assert _counts(_programmed(0, 0x12, access=LOW), range(1, 2)) == [0x0012]


# ---- a model that ticks ----------------------------------------------------------------------------------------------


@dataclass
class Ticking:
    """The data sheet once more, as a thing that does something at each pulse; knows nothing of `i8254`."""

    mode: int
    gate: bool
    is_high: bool = True
    element: int | None = None
    register: int | None = None
    must_load: bool = False
    is_armed: bool = False
    has_started: bool = False
    is_strobing: bool = False
    in_high_half: bool = True
    owes_pulse: bool = False
    """Of an odd count, the high half has one pulse more, after the count has expired."""

    def __post_init__(self) -> None:
        self.is_high = self.mode != 0

    def write(self, count: int) -> None:
        self.register = count
        if self.mode in (0, 4):
            self.must_load = True
            if self.mode == 0:
                self.is_high, self.is_armed = False, False
        elif self.mode in (2, 3) and not self.has_started:
            self.must_load = True

    def drive_gate(self, is_high: bool) -> None:
        rises, self.gate = is_high and not self.gate, is_high
        if rises and self.mode in (1, 2, 3, 5) and self.register is not None:
            self.must_load = True
        if not is_high and self.mode in (2, 3):
            self.is_high, self.in_high_half = True, True

    def pulse(self) -> None:
        if self.is_strobing:
            self.is_high, self.is_strobing = True, False
        if self.must_load:
            self._load()
        elif self.element is not None and (self.gate or self.mode in (1, 5)):
            self._count()

    def _load(self) -> None:
        assert self.register is not None
        self.must_load, self.has_started, self.is_armed, self.element = False, True, True, self.register
        if self.mode == 1:
            self.is_high = False
        if self.mode in (2, 3):
            self.is_high, self.in_high_half = True, True
            self._start_half()

    def _start_half(self) -> None:
        if self.mode == 3:
            assert self.register is not None
            self.element = self.register & ~1
            self.owes_pulse = bool(self.register & 1) and self.in_high_half

    def _count(self) -> None:
        assert self.element is not None
        if self.mode == 3:
            self._count_square()
        elif self.mode == 2:
            self.element -= 1
            self.is_high = self.element != 1
            if self.element == 0:
                self.element = self.register
        else:
            self.element -= 1
            if self.element == 0 and self.is_armed:
                self.is_armed = False
                self.is_high = self.mode in (0, 1)
                self.is_strobing = self.mode in (4, 5)

    def _count_square(self) -> None:
        assert self.element is not None
        if self.element > 2 or (self.element == 2 and self.owes_pulse):
            self.element -= 2
            return
        self.in_high_half = not self.in_high_half
        self.is_high = self.in_high_half
        self._start_half()


DEEDS = st.lists(
    st.tuples(st.integers(1, 12), st.one_of(st.booleans(), st.integers(2, 9))),
    max_size=12,
)


@settings(deadline=None)
@given(mode=st.integers(0, 5), gate=st.booleans(), first=st.integers(2, 9), deeds=DEEDS)
def test_whatever_is_done_to_a_counter_it_does_as_one_that_ticks(
    mode: int, gate: bool, first: int, deeds: list[tuple[int, bool | int]]
) -> None:
    ticking, clock = Ticking(mode, gate), 0
    counter = i8254.write_control(Counter(gate=gate), LOW | mode << 1, clock)
    for wait, deed in [(1, first), *deeds, (30, True)]:
        before, start = counter, clock
        levels = {clock: ticking.is_high}
        for _ in range(wait):
            clock += 1
            ticking.pulse()
            levels[clock] = ticking.is_high
            assert i8254.is_out_high(counter, clock) is ticking.is_high
            if ticking.has_started and ticking.element is not None:
                assert i8254.value_at(counter, clock) == ticking.element & 0xFFFF
        changes = [at for at in range(start + 1, clock + 1) if levels[at] != levels[at - 1]]
        assert i8254.last_changes(before, start, clock) == changes[-2:]
        assert i8254.next_change(before, start) == (changes[0] if changes else i8254.next_change(before, clock))
        if isinstance(deed, bool):
            counter = i8254.set_gate(counter, deed, clock)
            ticking.drive_gate(deed)
        else:
            counter = i8254.write_count(counter, deed, clock)
            ticking.write(deed)
        assert i8254.is_out_high(counter, clock) is ticking.is_high


# ---- reading it through the ports ------------------------------------------------------------------------------------


class Driver:
    """The timer at its ports, at a device time that only goes forward."""

    def __init__(self) -> None:
        self.pit = Pit()
        self.now = 0
        self.edges: list[tuple[int, bool]] = []
        self.pit.connect(lambda is_high: self.edges.append((self.now, is_high)))

    def get(self, port: int) -> int:
        return self.pit.read(4 if port == 0x61 else port & 3, 1, self.now)

    def put(self, port: int, *values: int) -> None:
        for value in values:
            self.pit.write(4 if port == 0x61 else port & 3, 1, value, self.now)

    def program(self, number: int, mode: int, count: int) -> None:
        self.put(0x43, number << 6 | BOTH | mode << 1)
        self.put(0x40 + number, count & 0xFF, count >> 8)

    def count(self, number: int) -> int:
        self.put(0x43, number << 6)
        return self.get(0x40 + number) | self.get(0x40 + number) << 8

    def status(self, number: int) -> int:
        self.put(0x43, 0xE0 | 2 << number)
        return self.get(0x40 + number)

    def run_to(self, now: int) -> None:
        """Stop at every event, as whoever owns the bus does."""
        while (at := self.pit.next_event(self.now)) is not None and at <= now:
            self.now = at
            self.pit.advance(at)
        self.now = now


@pytest.fixture
def chip() -> Driver:
    return Driver()


def test_a_guest_finds_the_timer_as_a_bios_leaves_it(chip: Driver) -> None:
    assert [chip.status(number) for number in range(3)] == [0x36, 0x94, 0xB6]


def test_latched_counts_and_status_are_read_once_and_status_comes_first(chip: Driver) -> None:
    chip.program(0, 2, 0x8000)
    chip.now = 1000
    chip.put(0x43, 0x00)
    chip.now = 2000
    chip.put(0x43, 0x00)  # a second latch changes nothing
    chip.put(0x43, 0xE2)
    chip.now = 3000
    held = 0x8000 - (pulses_at(1000) - 1)
    assert [chip.get(0x40) for _ in range(3)] == [0xB4, held & 0xFF, held >> 8]
    assert chip.get(0x40) == 0x8000 - (pulses_at(3000) - 1) & 0xFF


def test_read_back_latches_just_the_counters_and_halves_it_names(chip: Driver) -> None:
    chip.program(0, 2, 0x4000)
    chip.program(2, 0, 0x3000)
    chip.now = 10
    chip.put(0x43, 0xC0 | 0x02 | 0x08)
    chip.now = 5000
    assert chip.get(0x40) == 0xB4
    assert chip.get(0x42) == 0x30
    assert chip.get(0x40) | chip.get(0x40) << 8 == 0x4000 - (pulses_at(10) - 1)
    assert chip.get(0x42) | chip.get(0x42) << 8 == 0x3000


def test_null_count_shows_until_the_count_is_loaded(chip: Driver) -> None:
    chip.put(0x43, 0x30)
    assert chip.status(0) == 0x70
    chip.put(0x40, 0x10, 0x00)
    assert chip.status(0) == 0x70
    chip.now = 1
    assert chip.status(0) == 0x30
    chip.put(0x43, 0xB2)
    chip.put(0x42, 0x10, 0x00)
    chip.now = 10
    assert chip.status(2) == 0xF2
    chip.put(0x61, 1)
    chip.now = 11
    assert chip.status(2) == 0x32


def test_the_control_port_cannot_be_read(chip: Driver) -> None:
    assert chip.get(0x43) == 0xFF


def test_port_61h_gates_counter_2_and_shows_its_output(chip: Driver) -> None:
    chip.program(2, 0, 1193)
    assert chip.get(0x61) & 0x2F == 0x00
    chip.put(0x61, 0xF1)
    assert chip.get(0x61) & 0xEF == 0x01
    chip.now = 1000
    assert chip.get(0x61) & 0x20 == 0x00
    chip.now = 1001
    assert chip.get(0x61) & 0x2F == 0x21


def test_the_refresh_bit_changes_every_fifteen_microseconds(chip: Driver) -> None:
    seen = []
    for now in range(1000):
        chip.now = now
        seen.append(chip.get(0x61) >> 4 & 1)
    flips = sum(before != after for before, after in pairwise(seen))
    assert flips == pulses_at(999) // 18


# ---- request line 0 --------------------------------------------------------------------------------------------------


def test_the_timer_as_the_bios_left_it_rises_18_2_times_a_second(chip: Driver) -> None:
    chip.run_to(1_000_000)
    rises = [now for now, is_high in chip.edges if is_high]
    assert rises == [time_of_pulse(0x8000 + 0x10000 * n) for n in range(18)]
    assert len(chip.edges) == 2 * len(rises)


@pytest.mark.parametrize("mode", [2, 3])
def test_a_hundred_hertz_rise_a_hundred_times_a_second(chip: Driver, mode: int) -> None:
    chip.program(0, mode, PULSES_PER_SECOND // 100)
    chip.edges.clear()
    chip.run_to(1_000_050)
    assert sum(is_high for _, is_high in chip.edges) == 100


def test_the_low_pulse_of_mode_2_lasts_one_clock(chip: Driver) -> None:
    chip.program(0, 2, 1000)
    chip.edges.clear()
    chip.run_to(900)
    assert chip.edges == [(time_of_pulse(1000), False), (time_of_pulse(1001), True)]


def test_mode_0_interrupts_once_and_mode_4_strobes_once(chip: Driver) -> None:
    chip.program(0, 0, 500)
    chip.edges.clear()
    chip.run_to(100_000)
    assert chip.edges == [(time_of_pulse(501), True)]
    start = chip.now
    chip.program(0, 4, 500)
    chip.edges.clear()
    chip.run_to(200_000)
    assert chip.edges == [(time_of_pulse(pulses_at(start) + 501 + n), bool(n)) for n in (0, 1)]
    assert chip.pit.next_event(chip.now) is None


def test_modes_1_and_5_never_fire_on_a_counter_whose_gate_is_tied_high(chip: Driver) -> None:
    for mode in (1, 5):
        chip.program(0, mode, 10)
        chip.run_to(chip.now + 100_000)
        assert chip.pit.next_event(chip.now) is None


def test_a_control_word_moves_the_line_at_once(chip: Driver) -> None:
    chip.put(0x43, 0x34)
    assert chip.edges == [(0, True)]
    chip.put(0x43, 0x30)
    assert chip.edges == [(0, True), (0, False)]


@settings(deadline=None)
@given(st.sampled_from([0, 2, 3, 4]), st.integers(0, 400), st.integers(1, 5000))
def test_the_line_ends_alike_whether_or_not_every_event_was_a_stop(mode: int, count: int, later: int) -> None:
    stepwise, at_once = Driver(), Driver()
    for driver in (stepwise, at_once):
        driver.program(0, mode, count)
    stepwise.run_to(later)
    at_once.pit.advance(later)
    assert stepwise.pit.save() == at_once.pit.save()
    if stepwise.edges:
        assert at_once.edges[-1][1] is stepwise.edges[-1][1]


@given(st.integers(0, 1 << 40))
def test_the_time_of_a_pulse_is_the_first_by_which_it_has_been(pulse: int) -> None:
    at = time_of_pulse(pulse)
    assert pulses_at(at) >= pulse
    assert pulse == 0 or pulses_at(at - 1) < pulse


def test_a_tick_reaches_the_processor_through_the_interrupt_controller() -> None:
    bus = Bus([PicPair(), Pit()])
    bus.write(0x43, 1, 0x34, 0)
    for value in (0xA9, 0x04):
        bus.write(0x40, 1, value, 0)
    bus.write(0x20, 1, 0x11, 0)
    for value in (0x20, 0x04, 0x01, 0xFE):
        bus.write(0x21, 1, value, 0)
    assert not bus.is_requesting
    at = bus.next_wake(0)
    assert at == bus.next_event() == time_of_pulse(0x4A9)
    assert not bus.advance(at)  # the output falls for one pulse
    at = bus.next_event()
    assert at == time_of_pulse(0x4AA)
    assert bus.advance(at)
    assert bus.is_requesting
    assert bus.acknowledge() == 0x20
