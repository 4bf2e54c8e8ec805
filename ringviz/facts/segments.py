"""Segments, descriptors and gates: what the 8 bytes of a table entry mean, and what the CPU keeps of them.

`access` packs a descriptor's attributes in 12 bits, as AMD's VMCB does: descriptor bits 40 to 47 in bits 0 to 7
(type, S, DPL, P) and descriptor bits 52 to 55 in bits 8 to 11 (AVL, L, D/B, G).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ringviz.facts.layout import BitField, ByteField
from ringviz.facts.source import Source, by
from ringviz.facts.sources import SDM3A

_DESCRIPTOR = SDM3A.at("Segment Descriptors")
_SELECTOR = SDM3A.at("Segment Selectors")
_SYSTEM_TYPES = SDM3A.at("System Descriptor Types")
_SEGMENT_TYPES = SDM3A.at("Code- and Data-Segment Descriptor Types")
_CALL_GATE = SDM3A.at("Call Gates")
_IDT_GATE = SDM3A.at("IDT Descriptors")
_TSS32 = SDM3A.at("Task-State Segment (TSS)")
_TSS16 = SDM3A.at("16-Bit Task-State Segment (TSS)")

# ---- selectors -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Selector:
    """A 16-bit segment selector, taken apart."""

    value: int

    @property
    def index(self) -> int:
        """Number of the entry in its table."""
        return self.value >> 3

    @property
    def ti(self) -> int:
        """Table indicator: 0 the GDT, 1 the current LDT."""
        return self.value >> 2 & 1

    @property
    def rpl(self) -> int:
        """Requested privilege level; in CS and SS it is the current ring."""
        return self.value & 3

    @property
    def is_null(self) -> bool:
        """Entry 0 of the GDT, whatever the RPL: it may be loaded in data registers, never used."""
        return self.value & ~3 == 0

    @property
    def offset(self) -> int:
        """Byte offset of the entry in its table."""
        return self.value & ~7

    def with_rpl(self, rpl: int) -> Selector:
        """Give the same entry asked for with another RPL."""
        return Selector(self.value & ~3 | rpl)


# ---- descriptors -----------------------------------------------------------------------------------------------------


class _Attributes:
    """The bits of `access`, by the manual's names, for everything that carries them."""

    __slots__ = ()

    base: int
    limit: int
    access: int

    @property
    def type(self) -> int:
        """Four type bits; what they mean depends on `s`."""
        return self.access & 0xF

    @property
    def s(self) -> bool:
        """True for code and data, False for a system segment or gate."""
        return bool(self.access & 0x10)

    @property
    def dpl(self) -> int:
        """Descriptor privilege level."""
        return self.access >> 5 & 3

    @property
    def present(self) -> bool:
        """The segment is in memory; otherwise loading it raises #NP or #SS."""
        return bool(self.access & 0x80)

    @property
    def avl(self) -> bool:
        """Available for system software."""
        return bool(self.access & 0x100)

    @property
    def l(self) -> bool:  # noqa: E743 - the manual's name
        """64-bit code, in long mode only."""
        return bool(self.access & 0x200)

    @property
    def db(self) -> bool:
        """32-bit operands and stack, or the 4 GiB upper bound of an expand-down segment."""
        return bool(self.access & 0x400)

    @property
    def g(self) -> bool:
        """The descriptor counted its limit in 4 KiB units."""
        return bool(self.access & 0x800)

    @property
    def is_code(self) -> bool:
        """A code segment."""
        return self.s and bool(self.access & 8)

    @property
    def is_data(self) -> bool:
        """A data or stack segment."""
        return self.s and not self.access & 8

    @property
    def conforming(self) -> bool:
        """Code that outer rings may call while staying in their ring."""
        return self.is_code and bool(self.access & 4)

    @property
    def expand_down(self) -> bool:
        """Data whose valid offsets lie above the limit."""
        return self.is_data and bool(self.access & 4)

    @property
    def readable(self) -> bool:
        """All data, and code with the R bit."""
        return self.is_data or (self.is_code and bool(self.access & 2))

    @property
    def writable(self) -> bool:
        """Data with the W bit; code never is."""
        return self.is_data and bool(self.access & 2)

    def allows(self, offset: int, size_bytes: int) -> bool:
        """Tell whether `size_bytes` bytes at `offset` lie inside the segment's limit.

        Source: Intel SDM Vol. 3A, "Limit Checking".
        """
        last = offset + size_bytes - 1
        if self.expand_down:
            return offset > self.limit and last <= (0xFFFF_FFFF if self.db else 0xFFFF)
        return last <= self.limit


@dataclass(frozen=True, slots=True)
class Descriptor(_Attributes):
    """A segment descriptor of the GDT or an LDT; `limit` is the last valid offset in bytes."""

    base: int
    limit: int
    access: int


@dataclass(frozen=True, slots=True)
class SegmentCache(_Attributes):
    """A segment register as the CPU holds it: the selector you see and the hidden part you do not.

    `limit` is in bytes, already expanded by G.
    """

    selector: int
    base: int
    limit: int
    access: int

    @property
    def rpl(self) -> int:
        """The selector's low two bits."""
        return self.selector & 3

    @property
    def is_usable(self) -> bool:
        """False after a null selector was loaded: any access through it raises #GP(0)."""
        return self.present


def load_cache(selector: int, descriptor: Descriptor) -> SegmentCache:
    """Give what the CPU holds after loading `selector`, whose table entry is `descriptor`."""
    return SegmentCache(selector, descriptor.base, descriptor.limit, descriptor.access)


def null_cache(selector: int = 0) -> SegmentCache:
    """Give a data segment register after a null selector was loaded: not usable."""
    return SegmentCache(selector, 0, 0, 0)


def decode_descriptor(raw: int) -> Descriptor:
    """Take a segment descriptor apart.

    Args:
        raw: the entry's 8 bytes as one little-endian number.

    Source: Intel SDM Vol. 3A, "Segment Descriptors".
    """
    limit = raw & 0xFFFF | raw >> 32 & 0xF_0000
    base = raw >> 16 & 0xFF_FFFF | raw >> 32 & 0xFF00_0000
    access = raw >> 40 & 0xFF | raw >> 44 & 0xF00
    if access & 0x800:
        limit = limit << 12 | 0xFFF
    return Descriptor(base, limit, access)


def encode_descriptor(descriptor: Descriptor) -> int:
    """Give the 8 bytes of a segment descriptor as one little-endian number.

    Raises:
        ValueError: base, limit or access do not fit their fields, or the limit is not a whole number of 4 KiB units
            less one although G is set.
    """
    base, limit, access = descriptor.base, descriptor.limit, descriptor.access
    if not 0 <= base <= 0xFFFF_FFFF:
        raise ValueError(f"a segment base has 32 bits; {base:#x} does not fit")
    if not 0 <= access <= 0xFFF:
        raise ValueError(f"segment attributes have 12 bits; {access:#x} does not fit")
    if descriptor.g:
        if limit & 0xFFF != 0xFFF:
            raise ValueError(f"with G set a limit ends in FFF; {limit:#x} does not")
        limit >>= 12
    if not 0 <= limit <= 0xF_FFFF:
        raise ValueError(f"limit {descriptor.limit:#x} does not fit a descriptor with G {int(descriptor.g)}")
    return (
        limit & 0xFFFF
        | (base & 0xFF_FFFF) << 16
        | (access & 0xFF) << 40
        | (limit >> 16) << 48
        | (access >> 8) << 52
        | (base >> 24) << 56
    )


# ---- system descriptor types -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SystemType:
    """What the type bits mean in a descriptor whose S bit is 0."""

    number: int
    name: str
    title: str
    is_gate: bool
    size_bits: int
    """16 or 32; 0 where the type has no size."""
    source: Source


SYSTEM_TYPES: Mapping[int, SystemType] = by(
    "number",
    SystemType(0x1, "16-bit TSS (Available)", "A task of the 80286, not running", False, 16, _SYSTEM_TYPES),
    SystemType(0x2, "LDT", "A local descriptor table", False, 0, _SYSTEM_TYPES),
    SystemType(
        0x3, "16-bit TSS (Busy)", "A task of the 80286, running or suspended in a chain", False, 16, _SYSTEM_TYPES
    ),
    SystemType(0x4, "16-bit Call Gate", "A door that CALL may use, 16-bit", True, 16, _SYSTEM_TYPES),
    SystemType(0x5, "Task Gate", "Leads to a task: the whole CPU state is switched", True, 0, _SYSTEM_TYPES),
    SystemType(0x6, "16-bit Interrupt Gate", "Handler entry, interrupts off, 16-bit", True, 16, _SYSTEM_TYPES),
    SystemType(0x7, "16-bit Trap Gate", "Handler entry, interrupts left as they are, 16-bit", True, 16, _SYSTEM_TYPES),
    SystemType(0x9, "32-bit TSS (Available)", "A task, not running", False, 32, _SYSTEM_TYPES),
    SystemType(0xB, "32-bit TSS (Busy)", "A task, running or suspended in a chain", False, 32, _SYSTEM_TYPES),
    SystemType(0xC, "32-bit Call Gate", "A door that CALL may use", True, 32, _SYSTEM_TYPES),
    SystemType(0xE, "32-bit Interrupt Gate", "Handler entry, interrupts off", True, 32, _SYSTEM_TYPES),
    SystemType(0xF, "32-bit Trap Gate", "Handler entry, interrupts left as they are", True, 32, _SYSTEM_TYPES),
)
"""Types 0, 8, A and D are reserved and have no row."""


@dataclass(frozen=True, slots=True)
class SegmentType:
    """What the type bits mean in a descriptor whose S bit is 1, but for the accessed bit (bit 0)."""

    number: int
    name: str
    source: Source


SEGMENT_TYPES: Mapping[int, SegmentType] = by(
    "number",
    SegmentType(0x0, "data, read-only", _SEGMENT_TYPES),
    SegmentType(0x2, "data, read/write", _SEGMENT_TYPES),
    SegmentType(0x4, "data, read-only, expand-down", _SEGMENT_TYPES),
    SegmentType(0x6, "data, read/write, expand-down", _SEGMENT_TYPES),
    SegmentType(0x8, "code, execute-only", _SEGMENT_TYPES),
    SegmentType(0xA, "code, execute/read", _SEGMENT_TYPES),
    SegmentType(0xC, "code, execute-only, conforming", _SEGMENT_TYPES),
    SegmentType(0xE, "code, execute/read, conforming", _SEGMENT_TYPES),
)
"""By type with the accessed bit cleared: look up `type & 0xE`."""

# ---- gates -----------------------------------------------------------------------------------------------------------

_TASK_GATE = 0x5
_CALL_GATES = (0x4, 0xC)
_INTERRUPT_GATES = (0x6, 0xE)
_TRAP_GATES = (0x7, 0xF)


@dataclass(frozen=True, slots=True)
class Gate:
    """An entry of the IDT, or a call gate of the GDT: where to go, and who may."""

    offset: int
    """Entry point in the target segment; 16-bit gates hold 16 bits, task gates none."""
    selector: int
    """Code segment of the handler, or the TSS of a task gate."""
    type: int
    dpl: int
    """The outermost ring that may use the gate by an instruction; hardware does not ask."""
    present: bool
    s: bool = False
    """False in every valid gate; an IDT entry with S set raises #GP."""
    param_count: int = 0
    """Call gates: how many parameters move to the inner ring's stack."""

    @property
    def kind(self) -> SystemType | None:
        """The row for this type, or None if the entry is not a gate at all."""
        row = None if self.s else SYSTEM_TYPES.get(self.type)
        return row if row is not None and row.is_gate else None

    @property
    def is_32bit(self) -> bool:
        """Frames are pushed as 32-bit words."""
        return bool(self.type & 8)

    @property
    def is_interrupt_gate(self) -> bool:
        """Clears IF on entry."""
        return not self.s and self.type in _INTERRUPT_GATES

    @property
    def is_trap_gate(self) -> bool:
        """Leaves IF as it is."""
        return not self.s and self.type in _TRAP_GATES

    @property
    def is_task_gate(self) -> bool:
        """Switches tasks instead of entering a handler."""
        return not self.s and self.type == _TASK_GATE

    @property
    def is_call_gate(self) -> bool:
        """For far CALL and JMP; not valid in the IDT."""
        return not self.s and self.type in _CALL_GATES


def decode_gate(raw: int) -> Gate:
    """Take a gate apart. Never fails: an entry that is no gate says so by its `kind`.

    Args:
        raw: the entry's 8 bytes as one little-endian number.

    Source: Intel SDM Vol. 3A, "IDT Descriptors" and "Call Gates".
    """
    type_ = raw >> 40 & 0xF
    s = bool(raw >> 44 & 1)
    offset = raw & 0xFFFF
    if type_ & 8:  # 16-bit gates have no upper half: the 80286 wanted zero there and later CPUs ignore it
        offset |= raw >> 32 & 0xFFFF_0000
    if not s and type_ == _TASK_GATE:
        offset = 0
    return Gate(
        offset=offset,
        selector=raw >> 16 & 0xFFFF,
        type=type_,
        dpl=raw >> 45 & 3,
        present=bool(raw >> 47 & 1),
        s=s,
        param_count=raw >> 32 & 0x1F if not s and type_ in _CALL_GATES else 0,
    )


@dataclass(frozen=True, slots=True)
class LongGate:
    """An entry of the IDT in long mode."""

    offset: int
    selector: int
    type: int
    dpl: int
    present: bool
    ist: int
    """Number of the interrupt stack in the TSS, 1 to 7; 0 for none."""

    @property
    def is_interrupt_gate(self) -> bool:
        """Clears IF on entry."""
        return self.type == 0xE

    @property
    def is_trap_gate(self) -> bool:
        """Leaves IF as it is."""
        return self.type == 0xF


def decode_long_gate(raw: int) -> LongGate:
    """Take an entry of the IDT of long mode apart; bit 4 of its type is the S bit, 0 in every gate.

    Args:
        raw: its 16 bytes as one little-endian number.

    Source: Intel SDM Vol. 3A, "64-Bit Mode IDT".
    """
    return LongGate(
        offset=raw & 0xFFFF | raw >> 32 & 0xFFFF_FFFF_FFFF_0000,
        selector=raw >> 16 & 0xFFFF,
        type=raw >> 40 & 0x1F,
        dpl=raw >> 45 & 3,
        present=bool(raw >> 47 & 1),
        ist=raw >> 32 & 7,
    )


LONG_TSS_RSP0, LONG_TSS_IST1 = 0x04, 0x24
"""Offsets in a 64-bit TSS of the stack pointers for rings 0 to 2, and of the interrupt stacks 1 to 7.

Source: Intel SDM Vol. 3A, "Task Management in 64-bit Mode".
"""


def encode_gate(gate: Gate) -> int:
    """Give the 8 bytes of a gate as one little-endian number, reserved bits 0.

    Raises:
        ValueError: a field does not fit, or a gate of this type does not have it.
    """
    widest = 0 if gate.is_task_gate else 0xFFFF_FFFF if gate.is_32bit else 0xFFFF
    if not 0 <= gate.offset <= widest:
        raise ValueError(f"gate type {gate.type:#x} has no room for offset {gate.offset:#x}")
    if not 0 <= gate.param_count <= (0x1F if gate.is_call_gate else 0):
        raise ValueError(f"gate type {gate.type:#x} cannot have {gate.param_count} parameters")
    if not (0 <= gate.selector <= 0xFFFF and 0 <= gate.dpl <= 3 and 0 <= gate.type <= 0xF):
        raise ValueError(f"selector, type or DPL out of range in {gate}")
    return (
        gate.offset & 0xFFFF
        | gate.selector << 16
        | gate.param_count << 32
        | gate.type << 40
        | gate.s << 44
        | gate.dpl << 45
        | gate.present << 47
        | (gate.offset >> 16) << 48
    )


# ---- layouts, for people ---------------------------------------------------------------------------------------------

SELECTOR_FIELDS: Mapping[str, BitField] = by(
    "name",
    BitField("RPL", 0, 1, "Requested privilege level", _SELECTOR),
    BitField("TI", 2, 2, "Table indicator: 0 GDT, 1 LDT", _SELECTOR),
    BitField("Index", 3, 15, "Entry number in the table", _SELECTOR),
)

DESCRIPTOR_FIELDS: Mapping[str, BitField] = by(
    "name",
    BitField("Limit 15:00", 0, 15, "Segment limit, low part", _DESCRIPTOR),
    BitField("Base 23:00", 16, 39, "Where the segment starts, low part", _DESCRIPTOR),
    BitField("Type", 40, 43, "Kind of segment and what may be done with it", _DESCRIPTOR),
    BitField("S", 44, 44, "0 system segment or gate, 1 code or data", _DESCRIPTOR),
    BitField("DPL", 45, 46, "Descriptor privilege level: the segment's ring", _DESCRIPTOR),
    BitField("P", 47, 47, "The segment is present", _DESCRIPTOR),
    BitField("Limit 19:16", 48, 51, "Segment limit, high part", _DESCRIPTOR),
    BitField("AVL", 52, 52, "Free for system software", _DESCRIPTOR),
    BitField("L", 53, 53, "64-bit code segment", _DESCRIPTOR),
    BitField("D/B", 54, 54, "Default size: 0 16-bit, 1 32-bit", _DESCRIPTOR),
    BitField("G", 55, 55, "Granularity: the limit counts bytes (0) or 4 KiB units (1)", _DESCRIPTOR),
    BitField("Base 31:24", 56, 63, "Where the segment starts, high part", _DESCRIPTOR),
)

GATE_FIELDS: Mapping[str, BitField] = by(
    "name",
    BitField("Offset 15:00", 0, 15, "Entry point, low part", _IDT_GATE),
    BitField("Segment Selector", 16, 31, "Code segment of the handler", _IDT_GATE),
    BitField("Param. Count", 32, 36, "Call gates: parameters to copy to the inner stack", _CALL_GATE),
    BitField("Type", 40, 43, "Which kind of gate", _IDT_GATE),
    BitField("S", 44, 44, "0 in every gate", _IDT_GATE),
    BitField("DPL", 45, 46, "The outermost ring that may use the gate by INT n or CALL", _IDT_GATE),
    BitField("P", 47, 47, "The gate is present", _IDT_GATE),
    BitField("Offset 31:16", 48, 63, "Entry point, high part, in 32-bit gates", _IDT_GATE),
)

TSS32_FIELDS: Mapping[str, ByteField] = by(
    "name",
    ByteField(0, 2, "Previous Task Link", "Selector of the task to go back to", _TSS32),
    ByteField(4, 4, "ESP0", "Stack pointer to use on entering ring 0", _TSS32),
    ByteField(8, 2, "SS0", "Stack segment for ring 0", _TSS32),
    ByteField(12, 4, "ESP1", "Stack pointer to use on entering ring 1", _TSS32),
    ByteField(16, 2, "SS1", "Stack segment for ring 1", _TSS32),
    ByteField(20, 4, "ESP2", "Stack pointer to use on entering ring 2", _TSS32),
    ByteField(24, 2, "SS2", "Stack segment for ring 2", _TSS32),
    ByteField(28, 4, "CR3", "The task's page tables", _TSS32),
    ByteField(32, 4, "EIP", "Where the task goes on", _TSS32),
    ByteField(36, 4, "EFLAGS", "Its flags", _TSS32),
    ByteField(40, 4, "EAX", "Its EAX", _TSS32),
    ByteField(44, 4, "ECX", "Its ECX", _TSS32),
    ByteField(48, 4, "EDX", "Its EDX", _TSS32),
    ByteField(52, 4, "EBX", "Its EBX", _TSS32),
    ByteField(56, 4, "ESP", "Its ESP", _TSS32),
    ByteField(60, 4, "EBP", "Its EBP", _TSS32),
    ByteField(64, 4, "ESI", "Its ESI", _TSS32),
    ByteField(68, 4, "EDI", "Its EDI", _TSS32),
    ByteField(72, 2, "ES", "Its ES", _TSS32),
    ByteField(76, 2, "CS", "Its CS", _TSS32),
    ByteField(80, 2, "SS", "Its SS", _TSS32),
    ByteField(84, 2, "DS", "Its DS", _TSS32),
    ByteField(88, 2, "FS", "Its FS", _TSS32),
    ByteField(92, 2, "GS", "Its GS", _TSS32),
    ByteField(96, 2, "LDT Segment Selector", "Its local descriptor table", _TSS32),
    ByteField(100, 2, "T", "Bit 0: raise #DB on switching to the task", _TSS32),
    ByteField(102, 2, "I/O Map Base Address", "Offset of the I/O permission bitmap", _TSS32),
)

TSS16_FIELDS: Mapping[str, ByteField] = by(
    "name",
    ByteField(0, 2, "Previous Task Link", "Selector of the task to go back to", _TSS16),
    ByteField(2, 2, "SP0", "Stack pointer to use on entering ring 0", _TSS16),
    ByteField(4, 2, "SS0", "Stack segment for ring 0", _TSS16),
    ByteField(6, 2, "SP1", "Stack pointer to use on entering ring 1", _TSS16),
    ByteField(8, 2, "SS1", "Stack segment for ring 1", _TSS16),
    ByteField(10, 2, "SP2", "Stack pointer to use on entering ring 2", _TSS16),
    ByteField(12, 2, "SS2", "Stack segment for ring 2", _TSS16),
    ByteField(14, 2, "IP", "Where the task goes on", _TSS16),
    ByteField(16, 2, "FLAG Word", "Its flags", _TSS16),
    ByteField(18, 2, "AX", "Its AX", _TSS16),
    ByteField(20, 2, "CX", "Its CX", _TSS16),
    ByteField(22, 2, "DX", "Its DX", _TSS16),
    ByteField(24, 2, "BX", "Its BX", _TSS16),
    ByteField(26, 2, "SP", "Its SP", _TSS16),
    ByteField(28, 2, "BP", "Its BP", _TSS16),
    ByteField(30, 2, "SI", "Its SI", _TSS16),
    ByteField(32, 2, "DI", "Its DI", _TSS16),
    ByteField(34, 2, "ES Selector", "Its ES", _TSS16),
    ByteField(36, 2, "CS Selector", "Its CS", _TSS16),
    ByteField(38, 2, "SS Selector", "Its SS", _TSS16),
    ByteField(40, 2, "DS Selector", "Its DS", _TSS16),
    ByteField(42, 2, "Task LDT Selector", "Its local descriptor table", _TSS16),
)

TSS32_MIN_LIMIT = 0x67
"""A smaller limit makes LTR's task unusable: switching to it raises #TS."""

TSS16_MIN_LIMIT = 0x2B
"""The same for a 16-bit TSS."""
