"""The 8254 interval timer of a PC at ports 0x40 to 0x43, with the speaker port 0x61 that belongs to its counter 2.

Counter 0 drives interrupt request 0, counter 1 asks for memory refresh, counter 2 drives the speaker. Each gets
1.193182 million clock pulses a second of device time. A guest finds them as the BIOS of a PC AT leaves them: counter 0
in mode 3 with the longest count, 18.2 times a second, counter 1 in mode 2 with a count of 18, counter 2 in mode 3 with
its gate low. The run begins with counter 0 at the start of a low half, so that the first tick comes after 27
milliseconds: the phase is our choice.

Bit 4 of port 0x61 changes with every refresh, bit 5 is counter 2's output. The speaker itself is not heard.

Source: `i8254` for the counters; IBM PC AT Technical Reference, "System timers" and "Speaker", for how they are wired.
"""

from collections.abc import Callable
from typing import NamedTuple

from ringviz.machine.bus import State
from ringviz.machine.devices import i8254
from ringviz.machine.devices.device_time import INSTRUCTIONS_PER_SECOND
from ringviz.machine.devices.i8254 import Access, Counter, Counting

PULSES_PER_SECOND = 1_193_182
"""A third of the frequency of the NTSC colour subcarrier."""

_CONTROL = 3
_SPEAKER_PORT = 4
_CANNOT_BE_READ = 0xFF
_READ_BACK = 3
_NO_COUNT = 0x20
_NO_STATUS = 0x10
_GATE_2 = 0x01
_WRITABLE = 0x0F
"""Of port 0x61: gate of counter 2, speaker on, and two that hold off parity checks, which always pass here."""
_REFRESH, _OUT_2 = 0x10, 0x20

_LONGEST, _REFRESH_COUNT = 0x1_0000, 18


def _running(control: int, count: int, skipped: int = 0, gate: bool = True) -> Counter:
    counting = Counting(value=count, runs=gate, period=count, skipped=skipped)
    return Counter(control=control, gate=gate, counting=counting, register=count, loads_at=0)


class PitState(NamedTuple):
    """The three counters, what port 0x61 holds, and how far request line 0 has followed its counter."""

    counters: tuple[Counter, Counter, Counter] = (
        _running(0x36, _LONGEST, skipped=_LONGEST // 2),
        _running(0x14, _REFRESH_COUNT),
        _running(0x36, _LONGEST, gate=False),
    )
    speaker_port: int = 0
    is_line_high: bool = False
    line_followed_to: int = 0
    """The last clock pulse at which the line was brought to the level of OUT 0."""


class Pit:
    """Three counters, one request line."""

    name = "pit"
    ports = (range(0x40, 0x44), range(0x61, 0x62))
    access_bytes = 1
    irq = 0

    def __init__(self) -> None:
        self._state = PitState()
        self._drive: Callable[[bool], None] = lambda _is_high: None

    def connect(self, drive: Callable[[bool], None]) -> None:
        """Take the wire of request line 0."""
        self._drive = drive

    def next_event(self, now: int) -> int | None:
        """Give when OUT 0 changes next."""
        state = self._state
        pulse = i8254.next_change(state.counters[0], max(pulses_at(now), state.line_followed_to))
        return None if pulse is None else time_of_pulse(pulse)

    def advance(self, now: int) -> None:
        """Bring request line 0 to where OUT 0 is, by way of its last edges."""
        state = self._state
        for pulse in i8254.last_changes(state.counters[0], state.line_followed_to, pulses_at(now)):
            self._follow(pulse)

    def read(self, offset: int, size: int, now: int) -> int:
        """Read a counter, or the speaker port; control words cannot be read."""
        self.advance(now)
        clock = pulses_at(now)
        if offset == _SPEAKER_PORT:
            return self._read_speaker_port(clock)
        if offset == _CONTROL:
            return _CANNOT_BE_READ
        counter, byte = i8254.read(self._state.counters[offset], clock)
        self._put(offset, counter)
        return byte

    def write(self, offset: int, size: int, value: int, now: int) -> None:
        """Write a count, a control word, or the speaker port."""
        self.advance(now)
        clock = pulses_at(now)
        if offset == _SPEAKER_PORT:
            self._state = self._state._replace(speaker_port=value & _WRITABLE)
            self._put(2, i8254.set_gate(self._state.counters[2], bool(value & _GATE_2), clock))
        elif offset == _CONTROL:
            self._control(value, clock)
        else:
            self._put(offset, i8254.write_count(self._state.counters[offset], value, clock))
        self._follow(clock)

    def save(self) -> State:
        """Give the counters and the speaker port."""
        return self._state

    def restore(self, state: State) -> None:
        """Become what `save` gave."""
        restored = PitState(*state)
        first, second, third = (_as_counter(counter) for counter in restored.counters)
        self._state = restored._replace(counters=(first, second, third))

    def _control(self, value: int, clock: int) -> None:
        number = value >> 6
        if number == _READ_BACK:
            for each in range(3):
                if value >> each & 2:
                    self._read_back(each, value, clock)
        elif value >> 4 & 3 == Access.LATCH:
            self._put(number, i8254.latch_count(self._state.counters[number], clock))
        else:
            self._put(number, i8254.write_control(self._state.counters[number], value, clock))

    def _read_back(self, number: int, command: int, clock: int) -> None:
        counter = self._state.counters[number]
        if not command & _NO_COUNT:
            counter = i8254.latch_count(counter, clock)
        if not command & _NO_STATUS:
            counter = i8254.latch_status(counter, clock)
        self._put(number, counter)

    def _put(self, number: int, counter: Counter) -> None:
        counters = list(self._state.counters)
        counters[number] = counter
        first, second, third = counters
        self._state = self._state._replace(counters=(first, second, third))

    def _follow(self, pulse: int) -> None:
        """Drive the request line to the level that OUT 0 has at a pulse."""
        is_high = i8254.is_out_high(self._state.counters[0], pulse)
        if is_high != self._state.is_line_high:
            self._drive(is_high)
        self._state = self._state._replace(is_line_high=is_high, line_followed_to=pulse)

    def _read_speaker_port(self, clock: int) -> int:
        _, refresh, speaker = self._state.counters
        value = self._state.speaker_port
        if i8254.cycles_at(refresh, clock) & 1:
            value |= _REFRESH
        if i8254.is_out_high(speaker, clock):
            value |= _OUT_2
        return value


def pulses_at(now: int) -> int:
    """Give how many clock pulses there were by device time `now`."""
    return now * PULSES_PER_SECOND // INSTRUCTIONS_PER_SECOND


def time_of_pulse(pulse: int) -> int:
    """Give the first device time by which a clock pulse has been."""
    return -(-pulse * INSTRUCTIONS_PER_SECOND // PULSES_PER_SECOND)


def _as_counter(state: State) -> Counter:
    counter = Counter(*state)
    then = None if counter.then is None else Counting(*counter.then)
    return counter._replace(counting=Counting(*counter.counting), then=then)
