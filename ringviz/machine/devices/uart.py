"""The console: a 16550A UART at 0x3F8, in polled use.

The line has no speed here: a byte written to THR is on the other side before the next instruction, whatever the divisor
and the line format say. So THRE and TEMT always read 1 and a guest that polls them goes on at once; a wait would cost
instructions without teaching anything about rings. For the same reason the receiver's time-out ("four character times
without a read") has always passed already. Everything else follows the data sheet: DLAB, FIFOs and trigger levels,
interrupt identification with its priorities, overrun, modem lines with their delta bits, loopback.

What was `feed` waits outside the chip until there is room for it, as behind a terminal that honours RTS: only loopback
can overrun the receiver. In loopback nothing comes from outside and nothing is printed.

Source: National Semiconductor PC16550D data sheet, "Registers".
"""

from enum import IntEnum, IntFlag
from typing import NamedTuple

from ringviz.machine.bus import State
from ringviz.machine.devices.transcript import Transcript


class Register(IntEnum):
    """Offsets; the first two are the divisor latches while LCR.DLAB is 1."""

    RBR_THR = 0
    IER = 1
    IIR_FCR = 2
    LCR = 3
    MCR = 4
    LSR = 5
    MSR = 6
    SCR = 7


class Ier(IntFlag):
    """Interrupt enable."""

    RECEIVED_DATA = 0x01
    THR_EMPTY = 0x02
    LINE_STATUS = 0x04
    MODEM_STATUS = 0x08


class Iir(IntFlag):
    """Interrupt identification: bits 3:0 name the most urgent source."""

    MODEM_STATUS = 0x00
    NONE = 0x01
    THR_EMPTY = 0x02
    RECEIVED_DATA = 0x04
    LINE_STATUS = 0x06
    CHARACTER_TIMEOUT = 0x0C
    FIFOS_ENABLED = 0xC0


class Fcr(IntFlag):
    """FIFO control; bits 7:6 choose a row of `RECEIVE_TRIGGER_BYTES`."""

    ENABLE = 0x01
    RESET_RECEIVER = 0x02
    RESET_TRANSMITTER = 0x04
    DMA_MODE = 0x08
    TRIGGER = 0xC0


class Lcr(IntFlag):
    """Line control; the line format in bits 6:0 is kept and has no effect."""

    DLAB = 0x80


class Mcr(IntFlag):
    """Modem control."""

    DTR = 0x01
    RTS = 0x02
    OUT1 = 0x04
    OUT2 = 0x08
    LOOPBACK = 0x10


class Lsr(IntFlag):
    """Line status."""

    DATA_READY = 0x01
    OVERRUN = 0x02
    THR_EMPTY = 0x20
    TRANSMITTER_EMPTY = 0x40


class Msr(IntFlag):
    """Modem status: four lines, and below each whether it moved since the last read."""

    DELTA_CTS = 0x01
    DELTA_DSR = 0x02
    TRAILING_EDGE_RI = 0x04
    DELTA_DCD = 0x08
    CTS = 0x10
    DSR = 0x20
    RI = 0x40
    DCD = 0x80


RECEIVE_TRIGGER_BYTES = (1, 4, 8, 14)
FIFO_BYTES = 16

TERMINAL_LINES = Msr.CTS | Msr.DSR | Msr.DCD
"""What a terminal that is switched on and ready asserts."""

LOOPBACK_WIRING = ((Mcr.RTS, Msr.CTS), (Mcr.DTR, Msr.DSR), (Mcr.OUT1, Msr.RI), (Mcr.OUT2, Msr.DCD))
"""Which output drives which input inside the chip while MCR.LOOPBACK is 1."""

_MCR_BITS = 0x1F
_IER_BITS = 0x0F
_MSR_DELTAS = 0x0F
_FCR_KEPT_BITS = Fcr.ENABLE | Fcr.DMA_MODE | Fcr.TRIGGER


class UartState(NamedTuple):
    """The chip, what waits to come in and what went out."""

    ier: int = 0
    fcr: int = 0
    lcr: int = 0
    mcr: int = 0
    msr: int = int(TERMINAL_LINES)
    scr: int = 0
    divisor: int = 0
    overrun: bool = False
    thr_empty_is_news: bool = False
    """The transmitter went empty, and neither IIR nor a new byte has acknowledged that."""
    received: bytes = b""
    """What RBR will give: at most one byte without FIFO, at most FIFO_BYTES with it."""
    last_read: int = 0
    """What RBR gave last; without FIFO it stays in the register."""
    waiting: bytes = b""
    """Fed from outside and not yet in the receiver."""
    sent: Transcript = Transcript()

    @property
    def has_fifos(self) -> bool:
        """FCR has switched the FIFOs on."""
        return bool(self.fcr & Fcr.ENABLE)

    @property
    def is_loopback(self) -> bool:
        """The transmitter feeds the receiver inside the chip."""
        return bool(self.mcr & Mcr.LOOPBACK)

    @property
    def capacity(self) -> int:
        """How many bytes the receiver can hold."""
        return FIFO_BYTES if self.has_fifos else 1


class Uart:
    """A 16550A whose line is the console."""

    name = "uart"
    ports = (range(0x3F8, 0x400),)
    access_bytes = 1

    def __init__(self) -> None:
        self._state = UartState()

    @property
    def printed(self) -> bytes:
        """Everything the guest sent to the line so far."""
        return self._state.sent.text

    def feed(self, typed: bytes) -> None:
        """Let bytes arrive from the terminal, as soon as the receiver has room for each."""
        self._state = _take_in(self._state._replace(waiting=self._state.waiting + typed))

    def read(self, offset: int, size: int, now: int) -> int:
        """Read a register, with the side effects the data sheet gives it."""
        state = self._state
        has_latches = bool(state.lcr & Lcr.DLAB)
        match offset:
            case Register.RBR_THR if has_latches:
                return state.divisor & 0xFF
            case Register.IER if has_latches:
                return state.divisor >> 8
            case Register.RBR_THR:
                return self._read_rbr()
            case Register.IER:
                return state.ier
            case Register.IIR_FCR:
                return self._read_iir()
            case Register.LCR:
                return state.lcr
            case Register.MCR:
                return state.mcr
            case Register.LSR:
                self._state = state._replace(overrun=False)
                return _lsr(state)
            case Register.MSR:
                self._state = state._replace(msr=state.msr & ~_MSR_DELTAS)
                return state.msr
            case _:
                return state.scr

    def write(self, offset: int, size: int, value: int, now: int) -> None:
        """Write a register; LSR and MSR, which only the factory writes, stay as they are."""
        state = self._state
        has_latches = bool(state.lcr & Lcr.DLAB)
        match offset:
            case Register.RBR_THR if has_latches:
                state = state._replace(divisor=state.divisor & 0xFF00 | value)
            case Register.IER if has_latches:
                state = state._replace(divisor=state.divisor & 0x00FF | value << 8)
            case Register.RBR_THR:
                state = _transmit(state, value)
            case Register.IER:
                state = _enable_interrupts(state, value & _IER_BITS)
            case Register.IIR_FCR:
                state = _control_fifos(state, value)
            case Register.LCR:
                state = state._replace(lcr=value)
            case Register.MCR:
                state = _control_modem(state, value & _MCR_BITS)
            case Register.SCR:
                state = state._replace(scr=value)
        self._state = _take_in(state)

    def save(self) -> State:
        """Give registers, queues and everything sent."""
        return self._state

    def restore(self, state: State) -> None:
        """Become what `save` gave."""
        restored = UartState(*state)
        self._state = restored._replace(sent=Transcript(*restored.sent))

    def _read_rbr(self) -> int:
        state = self._state
        if not state.received:
            return 0 if state.has_fifos else state.last_read
        first = state.received[0]
        self._state = _take_in(state._replace(received=state.received[1:], last_read=first))
        return first

    def _read_iir(self) -> int:
        source = _urgent_source(self._state)
        if source == Iir.THR_EMPTY:
            self._state = self._state._replace(thr_empty_is_news=False)
        return int(source | Iir.FIFOS_ENABLED) if self._state.has_fifos else int(source)


def _lsr(state: UartState) -> int:
    status = Lsr.THR_EMPTY | Lsr.TRANSMITTER_EMPTY
    if state.received:
        status |= Lsr.DATA_READY
    if state.overrun:
        status |= Lsr.OVERRUN
    return int(status)


def _urgent_source(state: UartState) -> Iir:
    """Give the enabled source with the highest priority, in the data sheet's order."""
    if state.ier & Ier.LINE_STATUS and state.overrun:
        return Iir.LINE_STATUS
    if state.ier & Ier.RECEIVED_DATA and state.received:
        trigger_bytes = RECEIVE_TRIGGER_BYTES[state.fcr >> 6] if state.has_fifos else 1
        return Iir.RECEIVED_DATA if len(state.received) >= trigger_bytes else Iir.CHARACTER_TIMEOUT
    if state.ier & Ier.THR_EMPTY and state.thr_empty_is_news:
        return Iir.THR_EMPTY
    if state.ier & Ier.MODEM_STATUS and state.msr & _MSR_DELTAS:
        return Iir.MODEM_STATUS
    return Iir.NONE


def _transmit(state: UartState, byte: int) -> UartState:
    # The byte leaves at once, so "empty" is news again in the same instant in which THR was filled.
    state = state._replace(thr_empty_is_news=True)
    if not state.is_loopback:
        return state._replace(sent=state.sent.plus(byte))
    if len(state.received) < state.capacity:
        return state._replace(received=state.received + bytes((byte,)))
    # A full FIFO keeps what it has and loses the newcomer; RBR alone loses what it had.
    received = state.received if state.has_fifos else bytes((byte,))
    return state._replace(received=received, overrun=True)


def _enable_interrupts(state: UartState, ier: int) -> UartState:
    # THR is always empty here, and enabling its interrupt while it is empty interrupts at once: drivers start so.
    starts = bool(ier & ~state.ier & Ier.THR_EMPTY)
    return state._replace(ier=ier, thr_empty_is_news=state.thr_empty_is_news or starts)


def _control_fifos(state: UartState, value: int) -> UartState:
    # The other bits are only taken together with ENABLE; switching the FIFOs on or off empties them.
    fcr = value & int(_FCR_KEPT_BITS) if value & Fcr.ENABLE else 0
    switches = bool((fcr ^ state.fcr) & Fcr.ENABLE)
    if switches or (fcr and value & Fcr.RESET_RECEIVER):
        state = state._replace(received=b"")
    return state._replace(fcr=fcr)


def _control_modem(state: UartState, mcr: int) -> UartState:
    state = state._replace(mcr=mcr)
    lines = TERMINAL_LINES
    if state.is_loopback:
        lines = Msr(sum(line for output, line in LOOPBACK_WIRING if mcr & output))
    return state._replace(msr=_move_lines(state.msr, int(lines)))


def _move_lines(msr: int, lines: int) -> int:
    """MSR after the modem lines become `lines`, with a delta for each that moved; RI counts only when it ends."""
    moved = (msr ^ lines) & ~_MSR_DELTAS
    if lines & Msr.RI:
        moved &= ~int(Msr.RI)
    return lines | msr & _MSR_DELTAS | moved >> 4


def _take_in(state: UartState) -> UartState:
    """Move what waits outside into the receiver, as far as there is room."""
    room = state.capacity - len(state.received)
    if not state.waiting or state.is_loopback or room <= 0:
        return state
    return state._replace(received=state.received + state.waiting[:room], waiting=state.waiting[room:])
