"""The console: a 16550A UART at 0x3F8, on interrupt request 4.

What the guest sends is on the other side before the next instruction, whatever the divisor and the line format say. So
THRE and TEMT always read 1 and a guest that polls them goes on at once; a wait would cost instructions without teaching
anything about rings. A guest that sends by interrupt gets the next one at once, too. For the same reason the receiver's
time-out ("four character times without a read") has always passed already. Everything else follows the data sheet:
DLAB, FIFOs and trigger levels, interrupt identification with its priorities, overrun, modem lines with their delta
bits, loopback. As in a PC, the interrupt gets to the bus only while the pin OUT2 is on: by MCR, and not in loopback.

What comes in takes its time on the line: start bit, data, parity and stop bits as LCR has them, at the rate of the
divisor; it is 12 at first, 9,600 bits a second. Three rules, our choice, let a script of what is typed reach every
guest whole. Nothing is sent before the guest's first access to the chip. Nothing is sent while the receiver is full, as
by a terminal that honours RTS, so that only loopback can overrun it. And a character that is under way when the guest
sets the line up (LCR, FCR, divisor) is sent anew. In loopback nothing comes from outside and nothing is printed.

Source: National Semiconductor PC16550D data sheet, "Registers"; IBM PC AT Technical Reference, "Serial/parallel
adapter", for OUT2.
"""

from collections.abc import Callable
from enum import IntEnum, IntFlag
from typing import NamedTuple

from ringviz.machine.bus import State
from ringviz.machine.devices.device_time import INSTRUCTIONS_PER_SECOND
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


class Ier(IntEnum):
    """Interrupt enable."""

    RECEIVED_DATA = 0x01
    THR_EMPTY = 0x02
    LINE_STATUS = 0x04
    MODEM_STATUS = 0x08


class Iir(IntEnum):
    """Interrupt identification: bits 3:0 name the most urgent source."""

    MODEM_STATUS = 0x00
    NONE = 0x01
    THR_EMPTY = 0x02
    RECEIVED_DATA = 0x04
    LINE_STATUS = 0x06
    CHARACTER_TIMEOUT = 0x0C
    FIFOS_ENABLED = 0xC0


class Fcr(IntEnum):
    """FIFO control; bits 7:6 choose a row of `RECEIVE_TRIGGER_BYTES`."""

    ENABLE = 0x01
    RESET_RECEIVER = 0x02
    RESET_TRANSMITTER = 0x04
    DMA_MODE = 0x08
    TRIGGER = 0xC0


class Lcr(IntEnum):
    """Line control; of the line format only the length matters here."""

    DATA_BITS = 0x03
    """5 and so many more."""
    TWO_STOP_BITS = 0x04
    """One and a half where there are 5 data bits."""
    PARITY = 0x08
    DLAB = 0x80


class Mcr(IntEnum):
    """Modem control."""

    DTR = 0x01
    RTS = 0x02
    OUT1 = 0x04
    OUT2 = 0x08
    LOOPBACK = 0x10


class Lsr(IntEnum):
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

# As plain numbers, for what is asked at every access: flags take their time.
_ENABLE, _LOOPBACK, _DLAB = int(Fcr.ENABLE), int(Mcr.LOOPBACK), int(Lcr.DLAB)
_OUT2 = int(Mcr.OUT2)
_OUT2_AND_LOOPBACK = int(Mcr.OUT2 | Mcr.LOOPBACK)
_THR_AND_TRANSMITTER_EMPTY = int(Lsr.THR_EMPTY | Lsr.TRANSMITTER_EMPTY)

_CLOCK_HZ = 1_843_200
_CLOCKS_PER_HALF_BIT = 8
_DIVISOR_OF_9600 = 12
_LONGEST_DIVISOR = 0x1_0000
"""What a divisor of 0 counts as: the data sheet has none, and a counter would go all the way round."""
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
    divisor: int = _DIVISOR_OF_9600
    overrun: bool = False
    thr_empty_is_news: bool = False
    """The transmitter went empty, and neither IIR nor a new byte has acknowledged that."""
    received: bytes = b""
    """What RBR will give: at most one byte without FIFO, at most FIFO_BYTES with it."""
    last_read: int = 0
    """What RBR gave last; without FIFO it stays in the register."""
    waiting: bytes = b""
    """Fed from outside and not yet in the receiver."""
    arrives_at: int | None = None
    """When the first of these will be in it; None while the line is quiet."""
    is_in_use: bool = False
    """The guest has accessed the chip."""
    sent: Transcript = Transcript()

    @property
    def has_fifos(self) -> bool:
        """FCR has switched the FIFOs on."""
        return bool(self.fcr & _ENABLE)

    @property
    def is_loopback(self) -> bool:
        """The transmitter feeds the receiver inside the chip."""
        return bool(self.mcr & _LOOPBACK)

    @property
    def capacity(self) -> int:
        """How many bytes the receiver can hold."""
        return FIFO_BYTES if self.has_fifos else 1

    @property
    def can_receive(self) -> bool:
        """The terminal may send: there is something to send, somebody to take it, and room."""
        if not self.waiting or not self.is_in_use or self.is_loopback:
            return False
        return len(self.received) < self.capacity

    @property
    def requests_interrupt(self) -> bool:
        """Some enabled source is pending, and OUT2 lets it out."""
        is_let_out = self.mcr & _OUT2_AND_LOOPBACK == _OUT2
        return is_let_out and self.ier != 0 and _urgent_source(self) is not Iir.NONE


class Uart:
    """A 16550A whose line is the console."""

    name = "uart"
    ports = (range(0x3F8, 0x400),)
    access_bytes = 1
    irq = 4

    def __init__(self) -> None:
        self._state = UartState()
        self._drive: Callable[[bool], None] = lambda _is_high: None

    @property
    def printed(self) -> bytes:
        """Everything the guest sent to the line so far."""
        return self._state.sent.text

    def connect(self, drive: Callable[[bool], None]) -> None:
        """Take the wire of request line 4."""
        self._drive = drive

    def feed(self, typed: bytes, now: int = 0) -> None:
        """Let the terminal send bytes, one after the other, from device time `now` on."""
        self._become(_keep_sending(self._state._replace(waiting=self._state.waiting + typed), now))

    def next_event(self, now: int) -> int | None:
        """Give when the next character will have come in."""
        at = self._state.arrives_at
        return None if at is None else max(at, now + 1)

    def advance(self, now: int) -> None:
        """Take in what has come by now."""
        while (at := self._state.arrives_at) is not None and at <= now:
            self._become(_receive(self._state, at))

    def read(self, offset: int, size: int, now: int) -> int:
        """Read a register, with the side effects the data sheet gives it."""
        self._begin(now)
        value = self._read_register(offset)
        self._become(_keep_sending(self._state, now))
        return value

    def _read_register(self, offset: int) -> int:
        state = self._state
        has_latches = bool(state.lcr & _DLAB)
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
                if state.overrun:
                    self._become(state._replace(overrun=False))
                return _lsr(state)
            case Register.MSR:
                self._become(state._replace(msr=state.msr & ~_MSR_DELTAS))
                return state.msr
            case _:
                return state.scr

    def write(self, offset: int, size: int, value: int, now: int) -> None:
        """Write a register; LSR and MSR, which only the factory writes, stay as they are."""
        self._begin(now)
        state = self._state
        has_latches = bool(state.lcr & _DLAB)
        if state.arrives_at is not None and _sets_line_up(offset, has_latches):
            state = state._replace(arrives_at=None)
        match offset:
            case Register.RBR_THR if has_latches:
                state = state._replace(divisor=state.divisor & 0xFF00 | value)
            case Register.IER if has_latches:
                state = state._replace(divisor=state.divisor & 0x00FF | value << 8)
            case Register.RBR_THR:
                # THR is full for a moment: a request for being empty ends, and then there is a new one.
                if state.thr_empty_is_news:
                    self._become(state._replace(thr_empty_is_news=False))
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
        self._become(_keep_sending(state, now))

    def save(self) -> State:
        """Give registers, queues and everything sent."""
        return self._state

    def restore(self, state: State) -> None:
        """Become what `save` gave."""
        restored = UartState(*state)
        self._state = restored._replace(sent=Transcript(*restored.sent))

    def _begin(self, now: int) -> None:
        """Bring the chip to the moment of an access; with the first one, somebody is there to type for."""
        self.advance(now)
        if not self._state.is_in_use:
            self._state = self._state._replace(is_in_use=True)

    def _become(self, state: UartState) -> None:
        """Take on a state, and drive the request line where it moves."""
        before, self._state = self._state, state
        if state is not before and state.requests_interrupt is not before.requests_interrupt:
            self._drive(state.requests_interrupt)

    def _read_rbr(self) -> int:
        state = self._state
        if not state.received:
            return 0 if state.has_fifos else state.last_read
        first = state.received[0]
        self._become(state._replace(received=state.received[1:], last_read=first))
        return first

    def _read_iir(self) -> int:
        source = _urgent_source(self._state)
        if source == Iir.THR_EMPTY:
            self._become(self._state._replace(thr_empty_is_news=False))
        return int(source | Iir.FIFOS_ENABLED) if self._state.has_fifos else int(source)


def _sets_line_up(offset: int, has_latches: bool) -> bool:
    """Tell whether a write to this register changes how characters come in."""
    return offset in (Register.LCR, Register.IIR_FCR) or (has_latches and offset in (Register.RBR_THR, Register.IER))


def _lsr(state: UartState) -> int:
    status = _THR_AND_TRANSMITTER_EMPTY
    if state.received:
        status |= int(Lsr.DATA_READY)
    if state.overrun:
        status |= int(Lsr.OVERRUN)
    return status


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


def _receive(state: UartState, at: int) -> UartState:
    """Take in the character that arrives, and let the next one follow it."""
    taken = state._replace(received=state.received + state.waiting[:1], waiting=state.waiting[1:], arrives_at=None)
    return _keep_sending(taken, at)


def _keep_sending(state: UartState, now: int) -> UartState:
    """Let the terminal begin with its next character, or break it off, as the chip is now."""
    is_sending = state.arrives_at is not None
    if state.can_receive is is_sending:
        return state
    return state._replace(arrives_at=None if is_sending else now + character_time(state))


def character_time(state: UartState) -> int:
    """Give how long a character is on the line, in device time."""
    data_bits = 5 + (state.lcr & Lcr.DATA_BITS)
    stop_half_bits = 2 if not state.lcr & Lcr.TWO_STOP_BITS else 3 if data_bits == 5 else 4
    half_bits = 2 * (1 + data_bits + bool(state.lcr & Lcr.PARITY)) + stop_half_bits
    clocks = half_bits * _CLOCKS_PER_HALF_BIT * (state.divisor or _LONGEST_DIVISOR)
    return -(-clocks * INSTRUCTIONS_PER_SECOND // _CLOCK_HZ)
