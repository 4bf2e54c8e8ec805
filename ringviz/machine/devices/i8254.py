"""One counter of an 8254 interval timer as pure functions: its count and its output at any clock pulse.

Nothing here ticks. What a counter does from one clock pulse on follows from the last thing done to it, so it is kept
as `Counting`, and the count and the level of OUT are worked out for the pulse at which somebody looks.

A count that is written goes to the count register, and from there into the counting element: at the next pulse, at the
end of the running cycle, or at a trigger (a rising edge of GATE), as the mode has it. The six modes:

    0  OUT low, and high for good once the count has run out      3  OUT high for half of the count, low for the other
    1  OUT low while the count runs, which a trigger starts       4  OUT low for one pulse when the count has run out
    2  OUT low for the last pulse of the count, over and over     5  the same, after a trigger

A count of 1 is forbidden in modes 2 and 3: here OUT then stays high.

Source: Intel 8254 data sheet, "Programming the 8254", "Read operations" and "Mode definitions".
"""

from enum import IntEnum
from typing import NamedTuple


class Access(IntEnum):
    """Control word bits 5:4: which bytes of the count are written and read; 0 latches the count instead."""

    LATCH = 0
    LOW = 1
    HIGH = 2
    LOW_THEN_HIGH = 3


class Mode(IntEnum):
    """Control word bits 3:1; 6 and 7 mean 2 and 3."""

    INTERRUPT_ON_TERMINAL_COUNT = 0
    ONE_SHOT = 1
    RATE_GENERATOR = 2
    SQUARE_WAVE = 3
    SOFTWARE_STROBE = 4
    HARDWARE_STROBE = 5


STATUS_OUT = 0x80
STATUS_NULL_COUNT = 0x40
"""The count last written has not reached the counting element."""

_CONTROL_BITS = 0x3F
_BCD = 0x01
_DECADES = (1, 10, 100, 1000)
_TRIGGERED = (Mode.ONE_SHOT, Mode.HARDWARE_STROBE)
_PERIODIC = (Mode.RATE_GENERATOR, Mode.SQUARE_WAVE)


class Counting(NamedTuple):
    """What the counting element does from one clock pulse on."""

    since: int = 0
    """The pulse at which it holds `value`."""
    value: int = 0
    runs: bool = False
    ends: int | None = None
    """The pulse at which a count that is not periodic runs out, or has; None while that is not in sight."""
    period: int = 0
    """Pulses of one cycle of a periodic mode; 0 before its first count."""
    skipped: int = 0
    """Pulses of the first cycle that do not take place: a square wave may get a new count at its half."""


class Counter(NamedTuple):
    """Everything one counter remembers."""

    control: int = 0
    """Bits 5:0 of its last control word, as written."""
    gate: bool = True
    counting: Counting = Counting()
    then: Counting | None = None
    """What takes over at the pulse in its `since`."""
    register: int | None = None
    """The count register; None since a control word cleared it."""
    loads_at: int | None = None
    """The pulse at which the counting element takes that count over, or did; None if only a trigger can tell."""
    low_byte: int | None = None
    """The first byte of a count that comes in two."""
    reads_high_next: bool = False
    latched_bytes: bytes = b""
    """What is left to be read of a latched count."""
    latched_status: int | None = None

    @property
    def access(self) -> Access:
        """Which bytes of a count go over the bus."""
        return Access(self.control >> 4 & 3)

    @property
    def mode(self) -> Mode:
        """What it counts for."""
        number = self.control >> 1 & 7
        return Mode(number & 3 if number >= 6 else number)

    @property
    def modulus(self) -> int:
        """How far it can count: what a count of 0 stands for."""
        return 10_000 if self.control & _BCD else 0x1_0000


# ---- what is seen ----------------------------------------------------------------------------------------------------


def value_at(counter: Counter, clock: int) -> int:
    """Give the counting element as it would be read, 16 bits, at a clock pulse not before the last change."""
    value = _remaining(counter.mode, _in_force(counter, clock), clock) % counter.modulus
    return _to_bcd(value) if counter.control & _BCD else value


def is_out_high(counter: Counter, clock: int) -> bool:
    """Tell the level of OUT at a clock pulse not before the last change."""
    return _is_high(counter.mode, _in_force(counter, clock), clock)


def next_change(counter: Counter, clock: int) -> int | None:
    """Give the first pulse after `clock` at which OUT changes by itself; None if it never does."""
    mode, counting, then = counter.mode, _in_force(counter, clock), counter.then
    change = _next_change(mode, counting, clock)
    if then is None or then.since <= clock or (change is not None and change < then.since):
        return change
    if _is_high(mode, counting, then.since - 1) != _is_high(mode, then, then.since):
        return then.since
    return _next_change(mode, then, then.since)


def last_changes(counter: Counter, after: int, until: int) -> list[int]:
    """Give the last pulses after one and up to another at which OUT changed, in order: two at most."""
    changes: list[int] = []
    while (change := next_change(counter, after)) is not None and change <= until:
        changes = [*changes[-1:], change]
        after = change
        if counter.then is None or counter.then.since <= after:
            period = _in_force(counter, after).period
            # Whole cycles are alike: all but the last can be passed at once.
            after += period * max((until - after) // period - 1, 0) if period else 0
    return changes


def cycles_at(counter: Counter, clock: int) -> int:
    """Give how many cycles a periodic mode has completed since it was set going or changed."""
    counting = _in_force(counter, clock)
    return (clock - counting.since + counting.skipped) // counting.period if counting.runs and counting.period else 0


# ---- what is done to it ----------------------------------------------------------------------------------------------


def write_control(counter: Counter, value: int, clock: int) -> Counter:
    """Set access, mode and BCD; the counting element stands still until it gets a count."""
    stopped = Counting(since=clock, value=_remaining(counter.mode, _in_force(counter, clock), clock))
    return Counter(control=value & _CONTROL_BITS, gate=counter.gate, counting=stopped)


def write_count(counter: Counter, byte: int, clock: int) -> Counter:
    """Write one byte of a count, and the count with its last."""
    counter = _settle(counter, clock)
    match counter.access:
        case Access.LOW:
            return _take_count(counter, byte, clock)
        case Access.HIGH:
            return _take_count(counter, byte << 8, clock)
    if counter.low_byte is not None:
        return _take_count(counter._replace(low_byte=None), byte << 8 | counter.low_byte, clock)
    if counter.mode is Mode.INTERRUPT_ON_TERMINAL_COUNT:
        counter = _stop(counter, clock)
    return counter._replace(low_byte=byte)


def set_gate(counter: Counter, is_high: bool, clock: int) -> Counter:
    """Drive GATE: high lets it count, and its rising edge is a trigger."""
    if is_high == counter.gate:
        return counter
    counter = _settle(counter, clock)._replace(gate=is_high)
    if counter.mode in _TRIGGERED:
        return _load(counter, clock + 1) if is_high else counter
    if counter.mode in _PERIODIC:
        return _load(counter, clock + 1) if is_high else _pause_cycle(counter, clock)
    return _resume(counter, clock) if is_high else _pause(counter, clock)


def latch_count(counter: Counter, clock: int) -> Counter:
    """Hold the count for reading; a count that is held already stays."""
    if counter.latched_bytes:
        return counter
    both = value_at(counter, clock).to_bytes(2, "little")
    latched = {Access.LOW: both[:1], Access.HIGH: both[1:]}.get(counter.access, both)
    return counter._replace(latched_bytes=latched)


def latch_status(counter: Counter, clock: int) -> Counter:
    """Hold the status for reading: OUT, whether the count is still on its way, and the control word."""
    if counter.latched_status is not None:
        return counter
    status = counter.control
    if is_out_high(counter, clock):
        status |= STATUS_OUT
    if counter.loads_at is None or clock < counter.loads_at:
        status |= STATUS_NULL_COUNT
    return counter._replace(latched_status=status)


def read(counter: Counter, clock: int) -> tuple[Counter, int]:
    """Read a byte: of the latched status, else of the latched count, else of the count as it runs."""
    if counter.latched_status is not None:
        return counter._replace(latched_status=None), counter.latched_status
    if counter.latched_bytes:
        return counter._replace(latched_bytes=counter.latched_bytes[1:]), counter.latched_bytes[0]
    value = value_at(counter, clock)
    match counter.access:
        case Access.LOW:
            return counter, value & 0xFF
        case Access.HIGH:
            return counter, value >> 8
    byte = value >> 8 if counter.reads_high_next else value & 0xFF
    return counter._replace(reads_high_next=not counter.reads_high_next), byte


# ---- loading, pausing ------------------------------------------------------------------------------------------------


def _take_count(counter: Counter, written: int, clock: int) -> Counter:
    """Put a whole count into the count register, and see when it is loaded from there."""
    count = _from_bcd(written) if counter.control & _BCD else written
    counter = counter._replace(register=count or counter.modulus, loads_at=None)
    if counter.mode in _TRIGGERED:
        return counter
    if counter.mode not in _PERIODIC:
        # The output of mode 0 falls at once, that of mode 4 goes on until the count is loaded.
        is_mode_0 = counter.mode is Mode.INTERRUPT_ON_TERMINAL_COUNT
        return _load(_stop(counter, clock) if is_mode_0 else counter, clock + 1)
    if not counter.counting.period:
        return _load(counter, clock + 1)
    # A cycle that runs is finished first; one that GATE has stopped waits for the trigger.
    return _load(counter, _end_of_cycle(counter, clock)) if counter.counting.runs else counter


def _load(counter: Counter, at: int) -> Counter:
    """Let the counting element take over the count register at a pulse to come."""
    count = counter.register
    if count is None:
        return counter
    if counter.mode in _PERIODIC:
        is_in_low_half = counter.mode is Mode.SQUARE_WAVE and at > counter.counting.since and _turns_low(counter, at)
        skipped = _high_half(count) if is_in_low_half else 0
        value = count & ~1 if counter.mode is Mode.SQUARE_WAVE else count
        then = Counting(at, value, runs=counter.gate, period=count, skipped=skipped)
    else:
        runs = counter.gate or counter.mode in _TRIGGERED
        then = Counting(at, count, runs, ends=at + count if runs else None)
    return counter._replace(then=then, loads_at=at)


def _turns_low(counter: Counter, at: int) -> bool:
    """Tell whether the square wave would go on with its low half at a pulse where it changes."""
    counting = counter.counting
    return counting.runs and counting.period > 1 and not _is_high(counter.mode, counting, at)


def _end_of_cycle(counter: Counter, clock: int) -> int:
    """Give the pulse at which the counting element is next loaded: a square wave is at each of its halves."""
    counting = counter.counting
    phase = (clock - counting.since + counting.skipped) % counting.period
    half = _high_half(counting.period)
    if counter.mode is Mode.SQUARE_WAVE and phase < half:
        return clock + half - phase
    return clock + counting.period - phase


def _stop(counter: Counter, clock: int) -> Counter:
    """Stop mode 0 with its output low, as a new count does."""
    value = _remaining(counter.mode, counter.counting, clock)
    return counter._replace(counting=Counting(since=clock, value=value), then=None)


def _pause(counter: Counter, clock: int) -> Counter:
    """Hold the count of modes 0 and 4 as GATE falls; a count on its way is still loaded."""
    counting, then = counter.counting, counter.then
    has_ended = counting.ends is not None and counting.ends <= clock
    value = _remaining(counter.mode, counting, clock)
    paused = Counting(since=clock, value=value, ends=counting.ends if has_ended else None)
    return counter._replace(counting=paused, then=then and then._replace(runs=False, ends=None))


def _resume(counter: Counter, clock: int) -> Counter:
    """Go on with the count of modes 0 and 4 as GATE rises."""
    counting, then = counter.counting, counter.then
    if then is not None:
        return counter._replace(then=then._replace(runs=True, ends=then.since + then.value))
    is_stopped = counter.mode is Mode.INTERRUPT_ON_TERMINAL_COUNT and counter.low_byte is not None
    if counter.loads_at is None or is_stopped:
        return counter
    ends = clock + counting.value if counting.ends is None else counting.ends
    return counter._replace(counting=Counting(since=clock, value=counting.value, runs=True, ends=ends))


def _pause_cycle(counter: Counter, clock: int) -> Counter:
    """Stop modes 2 and 3 with their output high as GATE falls; only the very first count is still loaded."""
    counting = counter.counting
    if not counting.period:
        return counter._replace(then=counter.then and counter.then._replace(runs=False))
    value = _remaining(counter.mode, counting, clock)
    is_loaded = counter.loads_at is not None and counter.loads_at <= clock
    paused = Counting(since=clock, value=value, period=counting.period)
    return counter._replace(counting=paused, then=None, loads_at=counter.loads_at if is_loaded else None)


def _settle(counter: Counter, clock: int) -> Counter:
    """Let what has taken over by now be the present."""
    return counter._replace(
        counting=_in_force(counter, clock), then=counter.then if counter.then and counter.then.since > clock else None
    )


def _in_force(counter: Counter, clock: int) -> Counting:
    return counter.then if counter.then is not None and counter.then.since <= clock else counter.counting


# ---- the six modes ---------------------------------------------------------------------------------------------------


def _is_high(mode: Mode, counting: Counting, clock: int) -> bool:
    ends = counting.ends
    match mode:
        case Mode.INTERRUPT_ON_TERMINAL_COUNT:
            return ends is not None and clock >= ends
        case Mode.ONE_SHOT:
            return ends is None or clock >= ends
        case Mode.RATE_GENERATOR:
            return not counting.runs or counting.period < 2 or _phase(counting, clock) < counting.period - 1
        case Mode.SQUARE_WAVE:
            return not counting.runs or counting.period < 2 or _phase(counting, clock) < _high_half(counting.period)
        case Mode.SOFTWARE_STROBE | Mode.HARDWARE_STROBE:
            return clock != ends


def _next_change(mode: Mode, counting: Counting, clock: int) -> int | None:
    ends = counting.ends
    if mode not in _PERIODIC:
        if ends is None or ends < clock:
            return None
        if ends > clock:
            return ends
        return clock + 1 if mode in (Mode.SOFTWARE_STROBE, Mode.HARDWARE_STROBE) else None
    period = counting.period
    if not counting.runs or period < 2:
        return None
    phase = _phase(counting, clock)
    high = period - 1 if mode is Mode.RATE_GENERATOR else _high_half(period)
    return clock + (high if phase < high else period) - phase


def _remaining(mode: Mode, counting: Counting, clock: int) -> int:
    """Give what is left of the count; below 0 it has wrapped round."""
    if not counting.runs:
        return counting.value
    if mode not in _PERIODIC:
        return counting.value - (clock - counting.since)
    period, phase = counting.period, _phase(counting, clock)
    if mode is Mode.RATE_GENERATOR:
        return period - phase
    # A square wave counts down by twos from an even number, once for each half.
    half = _high_half(period)
    return (period & ~1) - 2 * (phase if phase < half else phase - half)


def _phase(counting: Counting, clock: int) -> int:
    return (clock - counting.since + counting.skipped) % counting.period


def _high_half(period: int) -> int:
    """Of an odd count the output is high for one pulse more than it is low."""
    return (period + 1) // 2


def _from_bcd(word: int) -> int:
    """Give the number four decimal digits stand for; a digit above 9 counts for what it is."""
    return sum((word >> 4 * place & 0xF) * decade for place, decade in enumerate(_DECADES)) % 10_000


def _to_bcd(number: int) -> int:
    return sum(number // decade % 10 << 4 * place for place, decade in enumerate(_DECADES))
