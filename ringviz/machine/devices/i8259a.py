"""One 8259A interrupt controller as pure functions: its registers, its priorities, its acknowledge cycle.

Which request is served: the eight inputs stand in a ring of priorities; a request is passed on if it is unmasked and no
input of the same or a higher priority is in service. Serving a request moves its bit from IRR to ISR, and an end of
interrupt (EOI) takes it out of ISR.

Only the 8086 way to acknowledge is here (ICW4 bit 0): an x86 knows no other. The buffered mode changes a pin, nothing
that software sees.

Source: Intel 8259A data sheet, "Programming the 8259A".
"""

from enum import IntEnum
from typing import NamedTuple

SPURIOUS_LEVEL = 7
"""What the chip answers when the request is gone by the time the CPU asks."""


class Awaited(IntEnum):
    """Which initialization command word the next write to the odd port is."""

    NONE = 0
    ICW2 = 2
    ICW3 = 3
    ICW4 = 4


class Icw1(IntEnum):
    """First initialization word; its bit 4 is what tells it from an operation word."""

    ICW4_FOLLOWS = 0x01
    SINGLE = 0x02
    LEVEL_TRIGGERED = 0x08
    IS_ICW1 = 0x10


class Icw4(IntEnum):
    """Last initialization word."""

    MODE_8086 = 0x01
    AUTO_EOI = 0x02
    SPECIAL_FULLY_NESTED = 0x10


class Ocw2(IntEnum):
    """End of interrupt (EOI) and rotation, by bits 7:5; some name a level in bits 2:0."""

    STOP_ROTATING_ON_AUTO_EOI = 0x00
    EOI = 0x20
    NO_OPERATION = 0x40
    SPECIFIC_EOI = 0x60
    ROTATE_ON_AUTO_EOI = 0x80
    ROTATE_ON_EOI = 0xA0
    SET_PRIORITY = 0xC0
    ROTATE_ON_SPECIFIC_EOI = 0xE0


class Ocw3(IntEnum):
    """Which register the next read gives, polling, special mask mode."""

    READ_ISR = 0x01
    READ_REGISTER = 0x02
    POLL = 0x04
    IS_OCW3 = 0x08
    SPECIAL_MASK = 0x20
    SET_SPECIAL_MASK = 0x40


_POLL_FOUND = 0x80
_LEVEL = 0x07
_OCW2_COMMAND = 0xE0
_VECTOR_BASE = 0xF8


class Chip(NamedTuple):
    """Everything one chip remembers."""

    is_master: bool = True
    """The SP/EN pin: what ICW3 means, a set of inputs with slaves or this slave's number."""
    lines: int = 0
    """The interrupt inputs as they are now."""
    edges: int = 0
    """Inputs that have risen and were not acknowledged since."""
    isr: int = 0
    imr: int = 0
    icw1: int = 0
    vector_base: int = 0
    icw3: int = 0
    icw4: int = 0
    awaits: int = int(Awaited.NONE)
    lowest_level: int = 7
    """The input of lowest priority; the next one round has the highest."""
    reads_isr: bool = False
    polls: bool = False
    special_mask: bool = False
    rotates_on_auto_eoi: bool = False

    @property
    def irr(self) -> int:
        """The interrupt request register: a request lasts only while its input stays high."""
        return self.lines if self.icw1 & Icw1.LEVEL_TRIGGERED else self.lines & self.edges


def set_line(chip: Chip, level: int, is_high: bool) -> Chip:
    """Drive one interrupt input."""
    bit = 1 << level
    if not is_high:
        return chip._replace(lines=chip.lines & ~bit, edges=chip.edges & ~bit)
    rises = bit & ~chip.lines
    return chip._replace(lines=chip.lines | bit, edges=chip.edges | rises)


def requested_level(chip: Chip) -> int | None:
    """Give the input that the chip asks the CPU to serve now, or None: its INT output is high unless this is None."""
    requests = chip.irr & ~chip.imr
    blocking = _counted_in_service(chip)
    # A slave that has one request in service may have a more urgent one: this mode lets its input through again.
    fully_nested = chip.is_master and chip.icw4 & Icw4.SPECIAL_FULLY_NESTED
    passes_own_level = chip.icw3 if fully_nested else 0
    for level in _by_priority(chip):
        bit = 1 << level
        if blocking & bit & ~passes_own_level:
            return None
        if requests & bit:
            return level
        if blocking & bit:
            return None
    return None


def acknowledge(chip: Chip) -> tuple[Chip, int]:
    """Answer the CPU's interrupt acknowledge: the chip afterwards, and the level it gives."""
    level = requested_level(chip)
    if level is None:
        return chip, SPURIOUS_LEVEL
    chip = chip._replace(edges=chip.edges & ~(1 << level))
    if chip.icw4 & Icw4.AUTO_EOI:
        return (_rotate_below(chip, level) if chip.rotates_on_auto_eoi else chip), level
    return chip._replace(isr=chip.isr | 1 << level), level


def read(chip: Chip, is_odd_port: bool) -> tuple[Chip, int]:
    """Read a port: the chip afterwards, and the byte."""
    if chip.polls:
        return _poll(chip._replace(polls=False))
    if is_odd_port:
        return chip, chip.imr
    return chip, chip.isr if chip.reads_isr else chip.irr


def write(chip: Chip, is_odd_port: bool, value: int) -> Chip:
    """Write a port; which command word it is follows from the port, two bits and the initialization sequence."""
    if is_odd_port:
        return _write_odd(chip, value)
    if value & Icw1.IS_ICW1:
        return _initialize(chip, value)
    if value & Ocw3.IS_OCW3:
        return _write_ocw3(chip, value)
    return _write_ocw2(chip, value)


def _initialize(chip: Chip, icw1: int) -> Chip:
    """Start over: only the inputs stay as they are, and each must rise again to count."""
    return Chip(
        is_master=chip.is_master,
        lines=chip.lines,
        icw1=icw1,
        vector_base=chip.vector_base,
        icw3=0 if chip.is_master else 7,
        awaits=int(Awaited.ICW2),
    )


def _write_odd(chip: Chip, value: int) -> Chip:
    after_icw3 = int(Awaited.ICW4 if chip.icw1 & Icw1.ICW4_FOLLOWS else Awaited.NONE)
    match chip.awaits:
        case Awaited.ICW2:
            awaits = after_icw3 if chip.icw1 & Icw1.SINGLE else int(Awaited.ICW3)
            return chip._replace(vector_base=value & _VECTOR_BASE, awaits=awaits)
        case Awaited.ICW3:
            return chip._replace(icw3=value, awaits=after_icw3)
        case Awaited.ICW4:
            return chip._replace(icw4=value, awaits=int(Awaited.NONE))
        case _:
            return chip._replace(imr=value)


def _write_ocw2(chip: Chip, value: int) -> Chip:
    specific_level = value & _LEVEL
    match command := Ocw2(value & _OCW2_COMMAND):
        case Ocw2.EOI:
            return _end_of_interrupt(chip, _served_level(chip))
        case Ocw2.SPECIFIC_EOI:
            return _end_of_interrupt(chip, specific_level)
        case Ocw2.ROTATE_ON_EOI:
            return _end_of_interrupt(chip, _served_level(chip), rotate=True)
        case Ocw2.ROTATE_ON_SPECIFIC_EOI:
            return _end_of_interrupt(chip, specific_level, rotate=True)
        case Ocw2.SET_PRIORITY:
            return _rotate_below(chip, specific_level)
        case Ocw2.ROTATE_ON_AUTO_EOI | Ocw2.STOP_ROTATING_ON_AUTO_EOI:
            return chip._replace(rotates_on_auto_eoi=command is Ocw2.ROTATE_ON_AUTO_EOI)
        case Ocw2.NO_OPERATION:
            return chip


def _write_ocw3(chip: Chip, value: int) -> Chip:
    if value & Ocw3.SET_SPECIAL_MASK:
        chip = chip._replace(special_mask=bool(value & Ocw3.SPECIAL_MASK))
    # A poll goes before a register read asked for in the same word.
    if value & Ocw3.POLL:
        return chip._replace(polls=True)
    if value & Ocw3.READ_REGISTER:
        return chip._replace(reads_isr=bool(value & Ocw3.READ_ISR))
    return chip


def _end_of_interrupt(chip: Chip, level: int | None, rotate: bool = False) -> Chip:
    if level is None:
        return chip
    chip = chip._replace(isr=chip.isr & ~(1 << level))
    return _rotate_below(chip, level) if rotate else chip


def _served_level(chip: Chip) -> int | None:
    """Give what an EOI without a level ends: the in-service level of highest priority."""
    return next((level for level in _by_priority(chip) if _counted_in_service(chip) >> level & 1), None)


def _poll(chip: Chip) -> tuple[Chip, int]:
    """Answer a read that acknowledges: whether there is a request and which, with no interrupt taken."""
    if requested_level(chip) is None:
        return chip, 0
    chip, level = acknowledge(chip)
    return chip, _POLL_FOUND | level


def _rotate_below(chip: Chip, level: int) -> Chip:
    """Give `level` the lowest priority."""
    return chip._replace(lowest_level=level)


def _by_priority(chip: Chip) -> list[int]:
    return [(chip.lowest_level + 1 + step) % 8 for step in range(8)]


def _counted_in_service(chip: Chip) -> int:
    """Give the levels in service that block others; in special mask mode, masking such a level unblocks the rest."""
    return chip.isr & ~chip.imr if chip.special_mask else chip.isr
