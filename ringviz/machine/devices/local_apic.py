"""The local APIC at FEE00000h: the CPU's own interrupt controller, with a timer in it.

All requests to the CPU go through it: its own timer and messages to itself, what the I/O APIC sends, and, on its input
LINT0, the pair of 8259A. A guest finds it as a BIOS leaves it: enabled, with LINT0 open for the 8259A ("virtual wire"),
so that whoever knows nothing of APICs has a PC without any.

The timer's clock is ours to choose: 1 GHz of device time, as QEMU's. There is one CPU, so messages to others are lost;
so are NMI, SMI and INIT, and the 8259A's request where LINT0 has another delivery mode than ExtINT. Requests that came
before the APIC was disabled by software wait in IRR until it is enabled again. Only a store to a reserved register is
an error: reading one has no effect here.

Source: Intel SDM Vol. 3A, "Advanced Programmable Interrupt Controller (APIC)"; what a BIOS leaves in the registers:
SeaBIOS.
"""

from enum import IntEnum, IntFlag
from typing import NamedTuple

from ringviz.machine.bus import State
from ringviz.machine.devices.device_time import INSTRUCTIONS_PER_SECOND
from ringviz.machine.devices.io_apic import TIMER_IRQ, TIMER_PIN, Delivery, IoApic, Message
from ringviz.machine.devices.pic import CASCADE_LEVEL, PicPair

BASE = 0xFEE0_0000
CLOCK_HZ = 1_000_000_000
"""Of the timer, before its divider: ringviz's choice."""
_TICKS_PER_INSTRUCTION = CLOCK_HZ // INSTRUCTIONS_PER_SECOND
_VERSION = 0x0005_0014
"""An integrated APIC (14h) with six local vectors."""
_ID = 0
_PHYSICAL = (_ID, 0xFF)
"""Destinations that mean this CPU: itself, and everyone."""
_LOWEST_VECTOR = 16


class Register(IntEnum):
    """Offsets of registers; ISR, TMR and IRR are eight each, 10h apart."""

    ID = 0x020
    VERSION = 0x030
    TPR = 0x080
    APR = 0x090
    PPR = 0x0A0
    EOI = 0x0B0
    LDR = 0x0D0
    DFR = 0x0E0
    SVR = 0x0F0
    ISR = 0x100
    TMR = 0x180
    IRR = 0x200
    ESR = 0x280
    ICR_LOW = 0x300
    ICR_HIGH = 0x310
    LVT_TIMER = 0x320
    LVT_THERMAL = 0x330
    LVT_PERFORMANCE = 0x340
    LVT_LINT0 = 0x350
    LVT_LINT1 = 0x360
    LVT_ERROR = 0x370
    INITIAL_COUNT = 0x380
    CURRENT_COUNT = 0x390
    DIVIDE = 0x3E0


class Lvt(IntFlag):
    """Bits of an entry of the local vector table."""

    VECTOR = 0xFF
    DELIVERY = 0x700
    LEVEL_TRIGGERED = 1 << 15
    MASKED = 1 << 16
    PERIODIC = 1 << 17
    """The timer's only."""


class Error(IntFlag):
    """Bits of the error status register."""

    SEND_ILLEGAL_VECTOR = 1 << 5
    RECEIVED_ILLEGAL_VECTOR = 1 << 6
    ILLEGAL_REGISTER = 1 << 7


_NMI, _EXTINT = 0x400, 0x700
_ENABLED = 1 << 8
"""SVR: software enable."""
_WRITABLE = {
    Register.LVT_TIMER: Lvt.VECTOR | Lvt.MASKED | Lvt.PERIODIC,
    Register.LVT_THERMAL: Lvt.VECTOR | Lvt.DELIVERY | Lvt.MASKED,
    Register.LVT_PERFORMANCE: Lvt.VECTOR | Lvt.DELIVERY | Lvt.MASKED,
    Register.LVT_LINT0: Lvt.VECTOR | Lvt.DELIVERY | Lvt.LEVEL_TRIGGERED | 1 << 13 | Lvt.MASKED,
    Register.LVT_LINT1: Lvt.VECTOR | Lvt.DELIVERY | Lvt.LEVEL_TRIGGERED | 1 << 13 | Lvt.MASKED,
    Register.LVT_ERROR: Lvt.VECTOR | Lvt.MASKED,
}
_LVTS = tuple(_WRITABLE)
_LINT0 = _LVTS.index(Register.LVT_LINT0)
_MASKED_AND_DELIVERY = int(Lvt.MASKED | Lvt.DELIVERY)
_READ_ONLY = frozenset((
    Register.ID, Register.VERSION, Register.APR, Register.PPR, Register.CURRENT_COUNT, *range(0x100, 0x280, 0x10),
))  # fmt: skip


_BIOS_SVR = _ENABLED | 0xFF
_BIOS_PINS = (int(Lvt.LEVEL_TRIGGERED | _EXTINT), int(Lvt.LEVEL_TRIGGERED | _NMI))
_BIOS_LVT = (Lvt.MASKED.value,) * 3 + _BIOS_PINS + (Lvt.MASKED.value,)


class LocalApicState(NamedTuple):
    """Everything it remembers; `isr`, `tmr` and `irr` have a bit for each vector."""

    tpr: int = 0
    ldr: int = 0
    dfr: int = 0xFFFF_FFFF
    svr: int = _BIOS_SVR
    isr: int = 0
    tmr: int = 0
    irr: int = 0
    esr: int = 0
    errors: int = 0
    """Errors since the error status register was last written."""
    icr_low: int = 0
    icr_high: int = 0
    lvt: tuple[int, ...] = _BIOS_LVT
    divide: int = 0
    initial: int = 0
    started: int = 0
    """Device time from which the timer counts."""
    first: int = 0
    """What it counted down from then; 0 while it stands still."""
    fired: int = 0
    """How often it has reached 0 since."""


def divisor(divide: int) -> int:
    """What the divide configuration register divides the clock by."""
    code = divide & 3 | divide >> 1 & 4
    return 1 if code == 7 else 2 << code


class LocalApic:
    """The end of every request line."""

    name = "local-apic"
    ports: tuple[range, ...] = ()
    access_bytes = 4
    window = range(BASE, BASE + 0x1000)

    def __init__(self, pic: PicPair, io_apic: IoApic) -> None:
        """Wire the controllers together.

        Args:
            pic: on LINT0.
            io_apic: sends messages here.
        """
        self._state = LocalApicState()
        self._pic, self._io_apic = pic, io_apic
        io_apic.send = self._receive

    # ---- to the CPU --------------------------------------------------------------------------------------------------

    @property
    def is_requesting(self) -> bool:
        """There is a request for the CPU, of its own or from the 8259A."""
        return self._deliverable() is not None or (self._passes_pic and self._pic.is_requesting)

    def acknowledge(self) -> int:
        """Give the vector of the request that is served now, and note that it is in service."""
        vector = self._deliverable()
        if vector is not None:
            state, bit = self._state, 1 << vector
            self._state = state._replace(irr=state.irr & ~bit, isr=state.isr | bit)
            return vector
        if self._passes_pic and self._pic.is_requesting:
            return self._pic.acknowledge()
        return self._state.svr & 0xFF  # spurious: the request is gone by the time the CPU asks

    def peek(self) -> int:
        """Give the vector that `acknowledge` would give."""
        before, pic = self._state, self._pic.save()
        try:
            return self.acknowledge()
        finally:
            self._state = before
            self._pic.restore(pic)

    def set_line(self, irq: int, is_high: bool) -> None:
        """Drive a request line: it leads to the 8259A and to the I/O APIC."""
        if irq != CASCADE_LEVEL:
            self._pic.set_line(irq, is_high)
            self._io_apic.set_line(TIMER_PIN if irq == TIMER_IRQ else irq, is_high)

    def would_request(self, irq: int) -> bool:
        """Tell whether a rising edge of this line now would reach the CPU."""
        if self._passes_pic and self._pic.would_request(irq):
            return True
        if not self._io_apic.listens_to(TIMER_PIN if irq == TIMER_IRQ else irq):
            return False
        before = self._state, self._pic.save(), self._io_apic.save()
        try:
            self.set_line(irq, False)
            self.set_line(irq, True)
            return self._deliverable() is not None
        finally:
            self._state = before[0]
            self._pic.restore(before[1])
            self._io_apic.restore(before[2])

    @property
    def _passes_pic(self) -> bool:
        # asked before every run of the CPU: in plain numbers
        is_open = self._state.lvt[_LINT0] & _MASKED_AND_DELIVERY == _EXTINT
        if is_open or not self._state.svr & _ENABLED:
            return is_open
        message = self._io_apic.extint
        return message is not None and self._is_destination(message.destination, is_logical=message.is_logical)

    def _deliverable(self) -> int | None:
        """The most urgent request, if it is more urgent than what the CPU is doing."""
        state = self._state
        if not state.irr or not state.svr & _ENABLED:
            return None
        vector = state.irr.bit_length() - 1
        return vector if self._is_urgent(vector) else None

    def _is_urgent(self, vector: int) -> bool:
        return vector >> 4 > self._priority() >> 4

    def _priority(self) -> int:
        """The processor priority register."""
        in_service = max(self._state.isr.bit_length() - 1, 0)
        tpr = self._state.tpr
        return tpr if tpr >> 4 >= in_service >> 4 else in_service & 0xF0

    # ---- from others -------------------------------------------------------------------------------------------------

    def _receive(self, message: Message) -> bool:
        """Take a message of the I/O APIC if it is meant for this CPU, and tell whether that was so."""
        is_taken = bool(self._state.svr & _ENABLED) and self._is_destination(
            message.destination, is_logical=message.is_logical
        )
        if is_taken:
            self._accept(message.vector, is_level=message.is_level)
        return is_taken

    def _is_destination(self, destination: int, *, is_logical: bool) -> bool:
        if not is_logical:
            return destination in _PHYSICAL
        ldr = self._state.ldr >> 24
        if self._state.dfr >> 28 == 0xF:  # flat model
            return bool(destination & ldr)
        return destination >> 4 in (ldr >> 4, 0xF) and bool(destination & ldr & 0xF)

    def _accept(self, vector: int, *, is_level: bool = False) -> None:
        """Enter a request; while software-disabled none is taken."""
        if not self._state.svr & _ENABLED:
            return
        if vector < _LOWEST_VECTOR:
            self._note(Error.RECEIVED_ILLEGAL_VECTOR)
            return
        bit = 1 << vector
        state = self._state
        tmr = state.tmr | bit if is_level else state.tmr & ~bit
        self._state = state._replace(irr=state.irr | bit, tmr=tmr)

    def _note(self, error: Error) -> None:
        """Note an error, and interrupt for it if the guest wants that."""
        self._state = self._state._replace(errors=self._state.errors | error)
        entry = self._state.lvt[_LVTS.index(Register.LVT_ERROR)]
        if not entry & Lvt.MASKED and entry & Lvt.VECTOR >= _LOWEST_VECTOR:
            self._accept(entry & Lvt.VECTOR)

    # ---- timer -------------------------------------------------------------------------------------------------------

    def next_event(self, now: int) -> int | None:
        """Give the next time at which the timer interrupts; one that waits behind something more urgent is no event."""
        state, entry = self._state, self._state.lvt[0]
        if not state.first or entry & Lvt.MASKED or not self._is_timer_heard(entry & Lvt.VECTOR):
            return None
        fired = self._fired_by(now)
        if fired and not entry & Lvt.PERIODIC:
            return None
        ticks = (state.first + fired * state.initial) * divisor(state.divide)
        return max(state.started - (-ticks // _TICKS_PER_INSTRUCTION), now + 1)

    def _is_timer_heard(self, vector: int) -> bool:
        if vector >= _LOWEST_VECTOR:
            return self._is_urgent(vector)
        entry = self._state.lvt[_LVTS.index(Register.LVT_ERROR)]  # an illegal vector makes an error of it
        return not entry & Lvt.MASKED and self._is_urgent(entry & Lvt.VECTOR)

    def advance(self, now: int) -> None:
        """Count down, and interrupt at 0."""
        entry, fired = self._state.lvt[0], self._fired_by(now)
        if fired == self._state.fired:
            return
        self._state = self._state._replace(fired=fired)
        if not entry & Lvt.MASKED:
            self._accept(entry & Lvt.VECTOR)

    def _ticks(self, now: int) -> int:
        state = self._state
        return max(now - state.started, 0) * _TICKS_PER_INSTRUCTION // divisor(state.divide)

    def _fired_by(self, now: int) -> int:
        """How often the timer has reached 0 by a time."""
        state, ticks = self._state, self._ticks(now)
        if not state.first or ticks < state.first:
            return 0
        return 1 + (ticks - state.first) // state.initial if state.lvt[0] & Lvt.PERIODIC else 1

    def _current_count(self, now: int) -> int:
        state, ticks = self._state, self._ticks(now)
        if ticks < state.first:
            return state.first - ticks
        if not state.first or not state.lvt[0] & Lvt.PERIODIC:
            return 0
        return state.initial - (ticks - state.first) % state.initial

    # ---- registers ---------------------------------------------------------------------------------------------------

    def read(self, offset: int, size: int, now: int) -> int:
        """There are no ports."""
        return 0

    def write(self, offset: int, size: int, value: int, now: int) -> None:
        """There are no ports."""

    def read_memory(self, offset: int, size: int, now: int) -> int:
        """Read a register; only aligned accesses of four bytes are defined, others give that register's bytes."""
        return self._register(offset & ~3, now) >> 8 * (offset & 3)

    def _register(self, offset: int, now: int) -> int:
        state = self._state
        for base, bits in ((Register.ISR, state.isr), (Register.TMR, state.tmr), (Register.IRR, state.irr)):
            if base <= offset < base + 0x80:
                return bits >> 32 * (offset - base >> 4) & 0xFFFF_FFFF if not offset & 0xF else 0
        if offset in _LVTS:
            return state.lvt[_LVTS.index(Register(offset))]
        values: dict[int, int] = {
            Register.ID: _ID << 24,
            Register.VERSION: _VERSION,
            Register.TPR: state.tpr,
            Register.PPR: self._priority(),
            Register.LDR: state.ldr,
            Register.DFR: state.dfr,
            Register.SVR: state.svr,
            Register.ESR: state.esr,
            Register.ICR_LOW: state.icr_low,
            Register.ICR_HIGH: state.icr_high,
            Register.INITIAL_COUNT: state.initial,
            Register.DIVIDE: state.divide,
        }
        if offset == Register.CURRENT_COUNT:
            return self._current_count(now)
        return values.get(offset, 0)

    def write_memory(self, offset: int, size: int, value: int, now: int) -> None:
        """Write a register; what is not an aligned access of four bytes is undefined, and lost here."""
        if offset & 3 or size != 4:
            return
        state = self._state
        if offset in _LVTS:
            self._write_lvt(Register(offset), value, now)
            return
        match offset:
            case Register.TPR:
                self._state = state._replace(tpr=value & 0xFF)
            case Register.EOI:
                self._end_of_interrupt()
            case Register.LDR:
                self._state = state._replace(ldr=value & 0xFF00_0000)
                self._io_apic.retry()
            case Register.DFR:
                self._state = state._replace(dfr=value | 0x0FFF_FFFF)
                self._io_apic.retry()
            case Register.SVR:
                self._write_svr(value)
                self._io_apic.retry()
            case Register.ESR:
                self._state = state._replace(esr=state.errors, errors=0)
            case Register.ICR_LOW:
                self._send(value)
            case Register.ICR_HIGH:
                self._state = state._replace(icr_high=value & 0xFF00_0000)
            case Register.INITIAL_COUNT:
                self._state = state._replace(initial=value, started=now, first=value, fired=0)
            case Register.DIVIDE:
                self._write_divide(value & 0xB, now)
            case _ if offset not in _READ_ONLY:
                self._note(Error.ILLEGAL_REGISTER)

    def _write_svr(self, value: int) -> None:
        lvt = self._state.lvt
        if not value & _ENABLED:  # a disabled APIC masks all of its own sources
            lvt = tuple(entry | Lvt.MASKED for entry in lvt)
        self._state = self._state._replace(svr=value & 0x1FF, lvt=lvt)

    def _write_lvt(self, register: Register, value: int, now: int) -> None:
        entry = value & _WRITABLE[register]
        if not self._state.svr & _ENABLED:
            entry |= Lvt.MASKED
        index = _LVTS.index(register)
        if register is Register.LVT_TIMER and (entry ^ self._state.lvt[0]) & Lvt.PERIODIC:
            self._change_mode()
        lvt = self._state.lvt
        self._state = self._state._replace(lvt=(*lvt[:index], int(entry), *lvt[index + 1 :]))

    def _change_mode(self) -> None:
        """Let the timer's present round be the first of its new mode; one-shot and over, it stands still."""
        state = self._state
        if state.fired:
            is_running = bool(state.lvt[0] & Lvt.PERIODIC)
            self._state = state._replace(first=state.first + state.fired * state.initial if is_running else 0, fired=0)

    def _write_divide(self, divide: int, now: int) -> None:
        """Go on from the current count at another pace."""
        if divide != self._state.divide:
            left = self._current_count(now)
            self._state = self._state._replace(divide=divide, started=now, first=left, fired=0)

    def _end_of_interrupt(self) -> None:
        state = self._state
        if not state.isr:
            return
        vector = state.isr.bit_length() - 1
        self._state = state._replace(isr=state.isr & ~(1 << vector))
        if state.tmr >> vector & 1:
            self._io_apic.end_of_interrupt(vector)

    def _send(self, command: int) -> None:
        """Send an interprocessor interrupt; the only processor that can get one is this."""
        self._state = self._state._replace(icr_low=command & 0x000C_CFFF)
        vector, mode, shorthand = command & 0xFF, command >> 8 & 7, command >> 18 & 3
        destination = self._state.icr_high >> 24
        is_logical = bool(command >> 11 & 1)
        to_self = {
            0: self._is_destination(destination, is_logical=is_logical),
            1: True,
            2: True,
            3: False,
        }[shorthand]
        if mode not in (Delivery.FIXED, Delivery.LOWEST_PRIORITY):
            return
        if vector < _LOWEST_VECTOR:
            self._note(Error.SEND_ILLEGAL_VECTOR)
        elif to_self:
            self._accept(vector)

    # ---- saving ------------------------------------------------------------------------------------------------------

    def save(self) -> State:
        """Give everything."""
        return self._state

    def restore(self, state: State) -> None:
        """Become what `save` gave."""
        self._state = LocalApicState(*state)
