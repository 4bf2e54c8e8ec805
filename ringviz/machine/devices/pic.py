"""The two 8259A of a PC: the master at 0x20, the slave at 0xA0 and wired to the master's input 2.

A guest finds them as a BIOS leaves them: interrupts at vectors 08h and 70h, edge-triggered, but all masked.
`set_line`, `is_requesting` and `acknowledge` are the wires for sources and for the CPU.

Source: IBM PC AT Technical Reference, "Interrupt controller"; `i8259a` for the chip itself.
"""

from typing import NamedTuple

from ringviz.machine.bus import State
from ringviz.machine.devices import i8259a
from ringviz.machine.devices.i8259a import Chip, Icw1, Icw4

CASCADE_LEVEL = 2
"""The master's input that the slave drives."""

_NOBODY_ANSWERS = 0xFF
"""The vector the CPU reads when the master points to a slave that is not there: the open bus."""

_AS_BIOS_LEFT_IT = Chip(imr=0xFF, icw1=int(Icw1.IS_ICW1 | Icw1.ICW4_FOLLOWS), icw4=int(Icw4.MODE_8086))


class PicState(NamedTuple):
    """Both chips."""

    master: Chip = _AS_BIOS_LEFT_IT._replace(vector_base=0x08, icw3=1 << CASCADE_LEVEL)
    slave: Chip = _AS_BIOS_LEFT_IT._replace(is_master=False, vector_base=0x70, icw3=CASCADE_LEVEL)


class PicPair:
    """Fifteen interrupt requests, two chips, one wire to the CPU."""

    name = "pic"
    ports = (range(0x20, 0x22), range(0xA0, 0xA2))
    access_bytes = 1

    def __init__(self) -> None:
        self._state = PicState()
        self._looked_at: PicState | None = None
        self._requests = False

    @property
    def is_requesting(self) -> bool:
        """The master's INT output, to the CPU's INTR input."""
        if self._looked_at is not self._state:  # asked at every stop, and changed at few
            self._looked_at = self._state
            self._requests = i8259a.requested_level(self._state.master) is not None
        return self._requests

    def set_line(self, irq: int, is_high: bool) -> None:
        """Drive interrupt request 0 to 15; 2 is the cascade and not to be driven."""
        master, slave = self._state
        if irq < 8:
            master = i8259a.set_line(master, irq, is_high)
        else:
            slave = i8259a.set_line(slave, irq - 8, is_high)
        self._settle(master, slave)

    def acknowledge(self) -> int:
        """Answer the CPU's interrupt acknowledge with the vector to deliver."""
        is_spurious = not self.is_requesting
        master, level = i8259a.acknowledge(self._state.master)
        slave = self._state.slave
        vector = master.vector_base | level
        points_to_slave = not master.icw1 & Icw1.SINGLE and bool(master.icw3 >> level & 1)
        # A spurious answer of the master goes out under its own number, with no look at the slave.
        if points_to_slave and not is_spurious:
            slave, vector = _acknowledge_slave(slave, level)
            master = _end_slave_request(master)
        self._settle(master, slave)
        return vector

    def peek(self) -> int:
        """Give the vector that `acknowledge` would give now; nothing changes by the question."""
        before = self._state
        try:
            return self.acknowledge()
        finally:
            self._state = before

    def line_in_service(self, vector: int) -> int | None:
        """Give the request line that the CPU serves under this vector; None if it serves none under it."""
        for chip, first in zip(self._state, (0, 8), strict=True):
            level = vector - chip.vector_base
            if 0 <= level < 8 and chip.isr >> level & 1:
                return first + level
        return None

    def would_request(self, irq: int) -> bool:
        """Tell whether a rising edge of this line now would reach the CPU, by masks and priorities of both chips."""
        before = self._state
        if (before.master.imr if irq < 8 else before.slave.imr) >> (irq & 7) & 1:
            return False
        try:
            self.set_line(irq, False)
            self.set_line(irq, True)
            return self.is_requesting
        finally:
            self._state = before

    def read(self, offset: int, size: int, now: int) -> int:
        """Read IRR, ISR, IMR or the poll word, as the guest asked before."""
        master, slave = self._state
        is_odd_port = bool(offset & 1)
        if offset < 2:
            master, value = i8259a.read(master, is_odd_port)
        else:
            if slave.polls:
                master = _end_slave_request(master)
            slave, value = i8259a.read(slave, is_odd_port)
        self._settle(master, slave)
        return value

    def write(self, offset: int, size: int, value: int, now: int) -> None:
        """Write a command word."""
        master, slave = self._state
        is_odd_port = bool(offset & 1)
        if offset < 2:
            master = i8259a.write(master, is_odd_port, value)
        else:
            slave = i8259a.write(slave, is_odd_port, value)
        self._settle(master, slave)

    def save(self) -> State:
        """Give both chips."""
        return self._state

    def restore(self, state: State) -> None:
        """Become what `save` gave."""
        master, slave = state
        self._state = PicState(Chip(*master), Chip(*slave))

    def _settle(self, master: Chip, slave: Chip) -> None:
        """Carry the slave's INT output to the master's input after any change."""
        is_slave_requesting = i8259a.requested_level(slave) is not None
        self._state = PicState(i8259a.set_line(master, CASCADE_LEVEL, is_slave_requesting), slave)


def _end_slave_request(master: Chip) -> Chip:
    """Let INT fall, as the slave does on every acknowledge: another request behind it then makes a new edge."""
    return i8259a.set_line(master, CASCADE_LEVEL, False)


def _acknowledge_slave(slave: Chip, cascade_level: int) -> tuple[Chip, int]:
    """Give the slave's vector, which it puts out only if the master calls the number ICW3 gave it."""
    if slave.icw3 & 7 != cascade_level:
        return slave, _NOBODY_ANSWERS
    slave, level = i8259a.acknowledge(slave)
    return slave, slave.vector_base | level
