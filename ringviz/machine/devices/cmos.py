"""CMOS memory and real-time clock: an MC146818A with 128 bytes behind ports 0x70 and 0x71.

The clock starts at `POWER_ON` with device time 0 and moves with device time only, never with the host's clock. Each
update of the time takes effect in one instant; UIP is 1 for the 2,228 microseconds before it, in which on a real chip
the time must not be read. The divider runs only in its 32.768 kHz setting, that of the crystal in a PC; in any other it
stands still, and so does the time. After it is started, the first update comes half a second later.

Periodic, alarm and update-ended interrupts are on request line 8, which stays high until register C is read.

The memory bytes are those a PC BIOS leaves, for a guest that sizes memory by them.

Sources: Motorola MC146818A data sheet, "Register A" to "Register D" and "Update cycle"; IBM PC AT Technical Reference,
"Real-time clock / CMOS RAM information" for the memory bytes; QEMU for what 0x34 and 0x35 hold.
"""

from collections.abc import Callable
from datetime import datetime
from enum import IntEnum
from typing import NamedTuple

from ringviz.machine.bus import State
from ringviz.machine.devices.device_time import INSTRUCTIONS_PER_SECOND, instructions_in_microseconds
from ringviz.machine.devices.rtc_time import (
    TIME_BYTES,
    StatusB,
    TimeByte,
    advance,
    alarm_passes,
    encode,
    updates_to_alarm,
)

POWER_ON = datetime(2006, 1, 1)
"""When every run begins, by the clock of the machine: our choice, the year both vendors' virtualization was on sale."""


class Status(IntEnum):
    """Where the four status registers are."""

    A = 0x0A
    B = 0x0B
    C = 0x0C
    D = 0x0D


_UIP = 0x80
_DIVIDER = 0x70
_DIVIDER_32768_HZ = 0x20
_RATE = 0x0F
_CRYSTAL_HZ = 32_768
_UPDATE_MICROSECONDS = 244 + 1984
"""Warning before the update begins, and the update itself."""

_VALID_RAM_AND_TIME = 0x80
_INDEX = 0x7F
_NMI_MASK = 0x80
_WRITE_ONLY = 0xFF

_CMOS_BYTES = 128
_KIB = 1 << 10
_MIB = 1 << 20


class StatusC(IntEnum):
    """Status register C: what happened since it was last read. The enable bits of B have the same places."""

    UPDATE_ENDED = 0x10
    ALARM = 0x20
    PERIODIC = 0x40
    INTERRUPT_REQUEST = 0x80


_INTERRUPTS = int(StatusC.UPDATE_ENDED | StatusC.ALARM | StatusC.PERIODIC)


class CmosState(NamedTuple):
    """The memory, and how far in device time the clock in it has been brought."""

    memory: bytes
    """All 128 bytes; A without UIP, C without its request bit, both of which are worked out when read."""
    index_port: int = 0
    """What was last written to port 0x70: the index, and in bit 7 whether NMI is held off."""
    brought_to: int = 0
    updates_at: int = 0
    """An update happens at this instruction count and every second before and after it."""

    @property
    def divider_runs(self) -> bool:
        """Status A has the divider running."""
        return self.memory[Status.A] & _DIVIDER == _DIVIDER_32768_HZ

    @property
    def time_runs(self) -> bool:
        """The divider runs and status B does not hold updates off."""
        return self.divider_runs and not self.memory[Status.B] & StatusB.SET

    def with_byte(self, index: int, value: int) -> "CmosState":
        """Give this state with one byte of memory changed."""
        return self._replace(memory=self.memory[:index] + bytes((value,)) + self.memory[index + 1 :])


class Cmos:
    """The clock and memory of a PC with so much RAM, which starts at address 0."""

    name = "cmos"
    ports = (range(0x70, 0x72),)
    access_bytes = 1
    irq = 8

    def __init__(self, memory_bytes: int) -> None:
        self._state = CmosState(_power_on_memory(memory_bytes))
        self._drive: Callable[[bool], None] = lambda _is_high: None

    @property
    def nmi_is_masked(self) -> bool:
        """The guest holds off the NMI, by bit 7 of the index port."""
        return bool(self._state.index_port & _NMI_MASK)

    def connect(self, drive: Callable[[bool], None]) -> None:
        """Take the wire of request line 8."""
        self._drive = drive

    def next_event(self, now: int) -> int | None:
        """Give when the clock next requests an interrupt; everything else is worked out when it is read."""
        at = _next_request(self._state)
        return None if at is None else max(at, now + 1)

    def advance(self, now: int) -> None:
        """Request the interrupt that is due, if one is: the next comes only after the guest has seen this one."""
        while (at := _next_request(self._state)) is not None and at <= now:
            self._become(_bring_to(self._state, at))

    def read(self, offset: int, size: int, now: int) -> int:
        """Read the byte the index names; the index itself cannot be read back."""
        if offset == 0:
            return _WRITE_ONLY
        self._become(_bring_to(self._state, now))
        state = self._state
        match state.index_port & _INDEX:
            case Status.A:
                return state.memory[Status.A] | (_UIP if _update_is_near(state, now) else 0)
            case Status.C:
                self._become(state.with_byte(Status.C, 0))
                return _with_request(state.memory[Status.C], state.memory[Status.B])
            case index:
                return state.memory[index]

    def write(self, offset: int, size: int, value: int, now: int) -> None:
        """Write the index, or the byte it names; C, D, UIP and the top bit of the seconds are read-only."""
        if offset == 0:
            self._state = self._state._replace(index_port=value)
            return
        # Before the change takes effect, the clock must have run under the old setting up to now.
        self._become(_bring_to(self._state, now))
        state = self._state
        match state.index_port & _INDEX:
            case Status.A:
                state = _write_status_a(state, value & ~_UIP, now)
            case Status.B:
                state = state.with_byte(Status.B, _allowed_status_b(value))
            case TimeByte.SECONDS:
                state = state.with_byte(TimeByte.SECONDS, value & 0x7F)
            case Status.C | Status.D:
                pass
            case index:
                state = state.with_byte(index, value)
        self._become(state)

    def save(self) -> State:
        """Give the memory and the clock."""
        return self._state

    def restore(self, state: State) -> None:
        """Become what `save` gave."""
        self._state = CmosState(*state)

    def _become(self, state: CmosState) -> None:
        """Take on a state, and drive the request line where it moves."""
        before, self._state = self._state, state
        if _requests(state) is not _requests(before):
            self._drive(_requests(state))


def _power_on_memory(memory_bytes: int) -> bytes:
    memory = bytearray(_CMOS_BYTES)
    memory[Status.A] = _DIVIDER_32768_HZ | 0x06
    memory[Status.B] = int(StatusB.HOURS_24)
    memory[Status.D] = _VALID_RAM_AND_TIME
    memory[:TIME_BYTES] = encode(POWER_ON, memory[Status.B])
    memory[0x14] = 0x02  # equipment: a floating-point unit, no floppy drives
    _put_word(memory, 0x15, min(memory_bytes, 640 * _KIB) // _KIB)
    extended_kib = max(memory_bytes - _MIB, 0) // _KIB
    _put_word(memory, 0x17, extended_kib)
    _put_word(memory, 0x30, extended_kib)
    _put_word(memory, 0x34, max(memory_bytes - 16 * _MIB, 0) // (64 * _KIB))
    memory[0x32] = 0x20  # century, in BCD; plain memory to the chip
    checksum = sum(memory[0x10:0x2E])
    memory[0x2E], memory[0x2F] = checksum >> 8, checksum & 0xFF  # the one word with its high byte first
    return bytes(memory)


def _put_word(memory: bytearray, index: int, value: int) -> None:
    """Store a count, low byte first; one that does not fit becomes the largest that does."""
    memory[index : index + 2] = min(value, 0xFFFF).to_bytes(2, "little")


def _bring_to(state: CmosState, now: int) -> CmosState:
    """Let the clock run up to `now`, noting in C what happened on the way."""
    if now <= state.brought_to:
        return state
    time, status_b = state.memory[:TIME_BYTES], state.memory[Status.B]
    happened = state.memory[Status.C]
    if state.divider_runs and _periods(state, now) > _periods(state, state.brought_to):
        happened |= int(StatusC.PERIODIC)
    updates = _updates(state, now) - _updates(state, state.brought_to) if state.time_runs else 0
    if updates:
        happened |= int(StatusC.UPDATE_ENDED)
        if alarm_passes(time, updates, status_b):
            happened |= int(StatusC.ALARM)
        time = advance(time, updates, status_b)
    return state._replace(memory=time + state.memory[TIME_BYTES:], brought_to=now).with_byte(Status.C, happened)


def _next_request(state: CmosState) -> int | None:
    """Give when an enabled flag comes up next; None if none does, or one is up."""
    if _requests(state):
        return None
    status_b, times = state.memory[Status.B], []
    if status_b & StatusB.PERIODIC_INTERRUPT and state.divider_runs and _crystal_ticks(state):
        times.append(_time_of_period(state, _periods(state, state.brought_to) + 1))
    if state.time_runs:
        next_update = state.updates_at + (_updates(state, state.brought_to) + 1) * INSTRUCTIONS_PER_SECOND
        if status_b & StatusB.UPDATE_ENDED_INTERRUPT:
            times.append(next_update)
        if status_b & StatusB.ALARM_INTERRUPT:
            updates = updates_to_alarm(state.memory[:TIME_BYTES], status_b)
            times += [] if updates is None else [next_update + (updates - 1) * INSTRUCTIONS_PER_SECOND]
    return min(times, default=None)


def _updates(state: CmosState, now: int) -> int:
    return (now - state.updates_at) // INSTRUCTIONS_PER_SECOND


def _periods(state: CmosState, now: int) -> int:
    """How often the periodic flag came up to `now`, counted from any one instant."""
    ticks = _crystal_ticks(state)
    return (now - state.updates_at) * _CRYSTAL_HZ // (ticks * INSTRUCTIONS_PER_SECOND) if ticks else 0


def _time_of_period(state: CmosState, period: int) -> int:
    """Give the first instant at which there have been so many periods."""
    return state.updates_at - -period * _crystal_ticks(state) * INSTRUCTIONS_PER_SECOND // _CRYSTAL_HZ


def _crystal_ticks(state: CmosState) -> int:
    """Give the length of a period in ticks of the crystal; 0 for no periods."""
    rate = state.memory[Status.A] & _RATE
    if rate == 0:
        return 0
    # Rates 1 and 2 would be too fast for the data sheet's divider: they repeat rates 8 and 9.
    return 1 << (rate + 6 if rate <= 2 else rate - 1)


def _update_is_near(state: CmosState, now: int) -> bool:
    to_next_update = INSTRUCTIONS_PER_SECOND - (now - state.updates_at) % INSTRUCTIONS_PER_SECOND
    return state.time_runs and to_next_update <= instructions_in_microseconds(_UPDATE_MICROSECONDS)


def _with_request(happened: int, status_b: int) -> int:
    return happened | int(StatusC.INTERRUPT_REQUEST) if happened & status_b & _INTERRUPTS else happened


def _requests(state: CmosState) -> bool:
    """Tell whether a flag is up whose interrupt is enabled."""
    return bool(state.memory[Status.C] & state.memory[Status.B] & _INTERRUPTS)


def _write_status_a(state: CmosState, value: int, now: int) -> CmosState:
    changed = state.with_byte(Status.A, value)
    if changed.divider_runs and not state.divider_runs:
        return changed._replace(updates_at=now + INSTRUCTIONS_PER_SECOND // 2)
    return changed


def _allowed_status_b(value: int) -> int:
    """Clear the update interrupt's enable bit where SET holds updates off, as the chip does."""
    return value & ~int(StatusB.UPDATE_ENDED_INTERRUPT) if value & StatusB.SET else value
