"""The I/O APIC at FEC00000h: twenty-four inputs, each with a redirection entry that says which interrupt it becomes.

A guest reaches it through a select and a data register. What an entry makes of its input goes to the local APIC, the
only one here. The 8259A is on input 0, the timer on input 2, every other request line on the input of its number.
An entry's polarity is kept and has no effect: an input here is asserted or not, whatever its voltage.

Source: Intel 82093AA data sheet, "I/O APIC Registers"; which line is on which input: as QEMU's pc machine has it.
"""

from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

from ringviz.machine.bus import State

PINS = 24
TIMER_IRQ, TIMER_PIN = 0, 2
_BASE = 0xFEC0_0000
_SELECT, _DATA = 0x00, 0x10
_VERSION = 0x11 | PINS - 1 << 16
_VECTOR = 0xFF
_MASKED, _LEVEL, _REMOTE_IRR, _LOGICAL = 1 << 16, 1 << 15, 1 << 14, 1 << 11
_WRITABLE_LOW = 0x1_AFFF
"""All of the low half but what the chip itself keeps: delivery status and remote IRR."""
_WRITABLE_HIGH = 0xFF00_0000


class Register(IntEnum):
    """Numbers for the select register; the redirection entries follow, two registers each."""

    ID = 0x00
    VERSION = 0x01
    ARBITRATION = 0x02
    REDIRECTION = 0x10


class Delivery(IntEnum):
    """Delivery modes, bits 10:8 of an entry."""

    FIXED = 0
    LOWEST_PRIORITY = 1
    EXTINT = 7


class IoApicState(NamedTuple):
    """Everything the chip remembers."""

    select: int = 0
    id: int = 0
    entries: tuple[int, ...] = (_MASKED,) * PINS
    """64 bits each."""
    levels: int = 0
    """One bit for each input: high."""


class Message(NamedTuple):
    """What the chip puts on the APIC bus."""

    vector: int
    is_level: bool
    destination: int
    is_logical: bool


class IoApic:
    """One chip. `send` takes its messages to the local APIC."""

    name = "io-apic"
    ports: tuple[range, ...] = ()
    access_bytes = 4
    window = range(_BASE, _BASE + 0x1000)

    def __init__(self) -> None:
        self._state = IoApicState()
        self.send: Callable[[Message], bool] = lambda _message: False
        """Gives a message to the local APIC, and tells whether it was meant for it."""

    def read(self, offset: int, size: int, now: int) -> int:
        """There are no ports."""
        return 0

    def write(self, offset: int, size: int, value: int, now: int) -> None:
        """There are no ports."""

    def read_memory(self, offset: int, size: int, now: int) -> int:
        """Read the select register, or the register that it names."""
        return self._register() if offset == _DATA else self._state.select if offset == _SELECT else 0

    def write_memory(self, offset: int, size: int, value: int, now: int) -> None:
        """Write the select register, or the register that it names."""
        if offset == _SELECT:
            self._state = self._state._replace(select=value & 0xFF)
        elif offset == _DATA:
            self._write_register(value)

    def set_line(self, pin: int, is_high: bool) -> None:
        """Drive an input. An edge that comes while its entry is masked is lost."""
        state = self._state
        was_high = bool(state.levels >> pin & 1)
        levels = state.levels | 1 << pin if is_high else state.levels & ~(1 << pin)
        self._state = state._replace(levels=levels)
        if is_high and (not was_high or state.entries[pin] & _LEVEL):
            self._serve(pin)

    def end_of_interrupt(self, vector: int) -> None:
        """The local APIC has ended a level-triggered interrupt: an input that is still high asks again."""
        for pin, entry in enumerate(self._state.entries):
            if entry & _REMOTE_IRR and entry & _VECTOR == vector:
                self._put(pin, entry & ~_REMOTE_IRR)
                if self._state.levels >> pin & 1:
                    self._serve(pin)

    def retry(self) -> None:
        """Send again what no one has taken: the local APIC may take other messages now."""
        for pin, entry in enumerate(self._state.entries):
            if entry & _LEVEL and self._state.levels >> pin & 1:
                self._serve(pin)

    @property
    def extint(self) -> Message | None:
        """Where the 8259A on input 0 gets through as such, what says to whom; None if it does not get through."""
        entry = self._state.entries[0]
        is_open = not entry & _MASKED and entry >> 8 & 7 == Delivery.EXTINT
        return _message(entry) if is_open else None

    def listens_to(self, pin: int) -> bool:
        """An edge of this input would become a message."""
        return not self._state.entries[pin] & _MASKED

    def save(self) -> State:
        """Give everything."""
        return self._state

    def restore(self, state: State) -> None:
        """Become what `save` gave."""
        select, id_, entries, levels = state
        self._state = IoApicState(select, id_, tuple(entries), levels)

    def _serve(self, pin: int) -> None:
        entry = self._state.entries[pin]
        is_level = bool(entry & _LEVEL)
        if entry & _MASKED or (is_level and entry & _REMOTE_IRR):
            return
        if entry >> 8 & 7 not in (Delivery.FIXED, Delivery.LOWEST_PRIORITY):
            return  # NMI, SMI and INIT have no one to go to here; ExtINT is `passes_extint`
        is_taken = self.send(_message(entry))
        if is_level and is_taken:
            self._put(pin, entry | _REMOTE_IRR)

    def _register(self) -> int:
        state = self._state
        match state.select:
            case Register.ID | Register.ARBITRATION:
                return state.id << 24
            case Register.VERSION:
                return _VERSION
            case number if 0 <= number - Register.REDIRECTION < 2 * PINS:
                pin, is_high_half = divmod(number - Register.REDIRECTION, 2)
                return state.entries[pin] >> 32 * is_high_half & 0xFFFF_FFFF
            case _:
                return 0

    def _write_register(self, value: int) -> None:
        state = self._state
        if state.select == Register.ID:
            self._state = state._replace(id=value >> 24 & 0xF)
        pin, is_high_half = divmod(state.select - Register.REDIRECTION, 2)
        if not 0 <= pin < PINS:
            return
        entry = state.entries[pin]
        if is_high_half:
            self._put(pin, entry & 0xFFFF_FFFF | (value & _WRITABLE_HIGH) << 32)
        else:
            kept = entry & ~_WRITABLE_LOW
            if not value & _LEVEL:
                kept &= ~_REMOTE_IRR
            self._put(pin, kept | value & _WRITABLE_LOW)
        if self._state.entries[pin] & _LEVEL and self._state.levels >> pin & 1:
            self._serve(pin)

    def _put(self, pin: int, entry: int) -> None:
        entries = self._state.entries
        self._state = self._state._replace(entries=(*entries[:pin], entry, *entries[pin + 1 :]))


def _message(entry: int) -> Message:
    return Message(entry & _VECTOR, bool(entry & _LEVEL), entry >> 56, bool(entry & _LOGICAL))
