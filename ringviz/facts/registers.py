"""Registers that decide who may do what: flags, control registers, EFER, and the register numbers in an instruction.

The enumerations are for code, the tables for people; a test keeps the two equal. They are `IntEnum` and not `IntFlag`:
states hold plain integers, and what comes of combining them must be plain and quick.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum

from ringviz.facts.source import Source, by
from ringviz.facts.sources import APM2, SDM1, SDM3A

_EFLAGS = SDM1.at("EFLAGS Register")
_CONTROL = SDM3A.at("Control Registers")
_EFER_INTEL = SDM3A.at("Extended Feature Enable Register")
_EFER_AMD = APM2.at("Extended Feature Enable Register (EFER)")
_VIRTUALIZATION = SDM3A.at("Control Registers", note="came with VT-x, which the Pentium 4 672 has")
_ENCODING = SDM1.at("General-Purpose Registers", note='numbers as in Vol. 2, "Register (r) Fields"')


class Eflags(IntEnum):
    """Bits of EFLAGS, for code: `eflags & Eflags.IF`. IOPL is a field of two bits."""

    CF = 1 << 0
    PF = 1 << 2
    AF = 1 << 4
    ZF = 1 << 6
    SF = 1 << 7
    TF = 1 << 8
    IF = 1 << 9
    DF = 1 << 10
    OF = 1 << 11
    IOPL = 3 << 12
    NT = 1 << 14
    RF = 1 << 16
    VM = 1 << 17
    AC = 1 << 18
    VIF = 1 << 19
    VIP = 1 << 20
    ID = 1 << 21


class Cr0(IntEnum):
    """Bits of CR0."""

    PE = 1 << 0
    MP = 1 << 1
    EM = 1 << 2
    TS = 1 << 3
    ET = 1 << 4
    NE = 1 << 5
    WP = 1 << 16
    AM = 1 << 18
    NW = 1 << 29
    CD = 1 << 30
    PG = 1 << 31


class Cr4(IntEnum):
    """Bits of CR4."""

    VME = 1 << 0
    PVI = 1 << 1
    TSD = 1 << 2
    DE = 1 << 3
    PSE = 1 << 4
    PAE = 1 << 5
    MCE = 1 << 6
    PGE = 1 << 7
    PCE = 1 << 8
    OSFXSR = 1 << 9
    OSXMMEXCPT = 1 << 10
    UMIP = 1 << 11
    VMXE = 1 << 13
    OSXSAVE = 1 << 18


class Efer(IntEnum):
    """Bits of the EFER model-specific register."""

    SCE = 1 << 0
    LME = 1 << 8
    LMA = 1 << 10
    NXE = 1 << 11
    SVME = 1 << 12


EFER_MSR = 0xC000_0080
"""Number of the EFER model-specific register."""

EFLAGS_FIXED = 2
"""Bit 1 of EFLAGS reads as 1 and cannot be cleared."""

IOPL_SHIFT = 12
"""Lowest bit of the two-bit IOPL field."""


@dataclass(frozen=True, slots=True)
class RegisterBit:
    """One named bit or field of a register."""

    name: str
    bit: int
    width: int
    title: str
    source: Source
    is_on_p4: bool = True
    """The Pentium 4 of 2005 defines this bit; on that CPU the others are reserved."""

    @property
    def mask(self) -> int:
        """The field's bits, in place."""
        return ((1 << self.width) - 1) << self.bit


EFLAGS_BITS: Mapping[str, RegisterBit] = by(
    "name",
    RegisterBit("CF", 0, 1, "Carry: the last unsigned sum or difference did not fit", _EFLAGS),
    RegisterBit("PF", 2, 1, "Parity: the result's low byte has an even number of 1 bits", _EFLAGS),
    RegisterBit("AF", 4, 1, "Auxiliary carry: out of bit 3, for decimal arithmetic", _EFLAGS),
    RegisterBit("ZF", 6, 1, "Zero: the result was 0", _EFLAGS),
    RegisterBit("SF", 7, 1, "Sign: the result's top bit", _EFLAGS),
    RegisterBit("TF", 8, 1, "Trap: raise #DB after every instruction", _EFLAGS),
    RegisterBit("IF", 9, 1, "Interrupts are allowed in", _EFLAGS),
    RegisterBit("DF", 10, 1, "Direction: string instructions go downward", _EFLAGS),
    RegisterBit("OF", 11, 1, "Overflow: the last signed result did not fit", _EFLAGS),
    RegisterBit("IOPL", 12, 2, "I/O privilege level: the outermost ring that may use CLI, STI and ports", _EFLAGS),
    RegisterBit("NT", 14, 1, "Nested task: IRET goes back to the previous task", _EFLAGS),
    RegisterBit("RF", 16, 1, "Resume: no instruction breakpoint on the next instruction", _EFLAGS),
    RegisterBit("VM", 17, 1, "Virtual-8086 mode", _EFLAGS),
    RegisterBit("AC", 18, 1, "Alignment check in ring 3, if CR0.AM allows it", _EFLAGS),
    RegisterBit("VIF", 19, 1, "Virtual interrupt flag, for virtual-8086 and PVI extensions", _EFLAGS),
    RegisterBit("VIP", 20, 1, "Virtual interrupt pending, for the same", _EFLAGS),
    RegisterBit("ID", 21, 1, "If software can change this bit, the CPU has CPUID", _EFLAGS),
)

CR0_BITS: Mapping[str, RegisterBit] = by(
    "name",
    RegisterBit("PE", 0, 1, "Protected mode: segments have descriptors and privilege", _CONTROL),
    RegisterBit("MP", 1, 1, "Monitor coprocessor: WAIT looks at TS as well", _CONTROL),
    RegisterBit("EM", 2, 1, "Emulate the FPU: its instructions raise #NM", _CONTROL),
    RegisterBit("TS", 3, 1, "Task switched: the next FPU instruction raises #NM", _CONTROL),
    RegisterBit("ET", 4, 1, "Extension type: fixed to 1 since the Pentium", _CONTROL),
    RegisterBit("NE", 5, 1, "FPU errors raise #MF, not an external interrupt", _CONTROL),
    RegisterBit("WP", 16, 1, "Write protect: rings 0 to 2 obey read-only pages too", _CONTROL),
    RegisterBit("AM", 18, 1, "Alignment mask: lets EFLAGS.AC take effect", _CONTROL),
    RegisterBit("NW", 29, 1, "Not write-through", _CONTROL),
    RegisterBit("CD", 30, 1, "Caches are disabled", _CONTROL),
    RegisterBit("PG", 31, 1, "Paging is on", _CONTROL),
)

CR4_BITS: Mapping[str, RegisterBit] = by(
    "name",
    RegisterBit("VME", 0, 1, "Virtual-8086 mode extensions", _CONTROL),
    RegisterBit("PVI", 1, 1, "Protected-mode virtual interrupts: CLI and STI in ring 3 use VIF", _CONTROL),
    RegisterBit("TSD", 2, 1, "RDTSC is for ring 0 only", _CONTROL),
    RegisterBit("DE", 3, 1, "Debugging extensions: I/O breakpoints", _CONTROL),
    RegisterBit("PSE", 4, 1, "Page size extensions: 4 MiB pages", _CONTROL),
    RegisterBit("PAE", 5, 1, "Physical address extension: 64-bit page-table entries", _CONTROL),
    RegisterBit("MCE", 6, 1, "Machine checks raise #MC", _CONTROL),
    RegisterBit("PGE", 7, 1, "Global pages stay in the TLB when CR3 changes", _CONTROL),
    RegisterBit("PCE", 8, 1, "RDPMC is for every ring", _CONTROL),
    RegisterBit("OSFXSR", 9, 1, "The operating system saves SSE state with FXSAVE", _CONTROL),
    RegisterBit("OSXMMEXCPT", 10, 1, "The operating system handles #XM", _CONTROL),
    RegisterBit("UMIP", 11, 1, "SGDT, SIDT, SLDT, SMSW and STR are for ring 0 only", _CONTROL, is_on_p4=False),
    RegisterBit("VMXE", 13, 1, "VMX instructions are enabled", _VIRTUALIZATION),
    RegisterBit("OSXSAVE", 18, 1, "The operating system uses XSAVE; XSETBV is enabled", _CONTROL, is_on_p4=False),
)

EFER_BITS: Mapping[str, RegisterBit] = by(
    "name",
    RegisterBit("SCE", 0, 1, "SYSCALL and SYSRET are enabled", _EFER_INTEL),
    RegisterBit("LME", 8, 1, "Long mode starts when paging is switched on", _EFER_INTEL),
    RegisterBit("LMA", 10, 1, "Long mode is active", _EFER_INTEL),
    RegisterBit("NXE", 11, 1, "Pages can be marked not executable", _EFER_INTEL),
    RegisterBit("SVME", 12, 1, "AMD-V instructions (VMRUN and its family) are enabled", _EFER_AMD, is_on_p4=False),
)


def _reserved(rows: Iterable[RegisterBit], fixed: int = 0) -> int:
    """Give the bits of a 32-bit register that no row defined on the Pentium 4 covers."""
    defined = fixed
    for row in rows:
        if row.is_on_p4:
            defined |= row.mask
    return ~defined & 0xFFFF_FFFF


EFLAGS_RESERVED = _reserved(EFLAGS_BITS.values(), EFLAGS_FIXED)
"""EFLAGS bits that are always 0 on a Pentium 4."""

CR0_RESERVED = _reserved(CR0_BITS.values())
"""CR0 bits without a meaning; writes to them are ignored in a 32-bit CPU."""

CR4_RESERVED = _reserved(CR4_BITS.values())
"""CR4 bits that raise #GP(0) when set on a Pentium 4 672."""

EFER_RESERVED = _reserved(EFER_BITS.values())
"""EFER bits that raise #GP(0) when set on a Pentium 4 672."""


def iopl(eflags: int) -> int:
    """Read the I/O privilege level out of EFLAGS."""
    return (eflags & Eflags.IOPL) >> IOPL_SHIFT


@dataclass(frozen=True, slots=True)
class Gpr:
    """A general-purpose register number and its names by operand size."""

    number: int
    name: str
    name16: str
    name8: str
    """Numbers 4 to 7 name the high bytes of registers 0 to 3."""
    source: Source


GPRS: Mapping[int, Gpr] = by(
    "number",
    Gpr(0, "eax", "ax", "al", _ENCODING),
    Gpr(1, "ecx", "cx", "cl", _ENCODING),
    Gpr(2, "edx", "dx", "dl", _ENCODING),
    Gpr(3, "ebx", "bx", "bl", _ENCODING),
    Gpr(4, "esp", "sp", "ah", _ENCODING),
    Gpr(5, "ebp", "bp", "ch", _ENCODING),
    Gpr(6, "esi", "si", "dh", _ENCODING),
    Gpr(7, "edi", "di", "bh", _ENCODING),
)

GPR_NAMES: tuple[str, ...] = tuple(row.name for row in GPRS.values())
"""32-bit names in encoding order."""

GPR_NAMES_64: tuple[str, ...] = (
    *("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi"),
    *(f"r{number}" for number in range(8, 16)),
)
"""64-bit names in encoding order.

Source: Intel SDM Vol. 1, "General-Purpose Registers in 64-Bit Mode".
"""


@dataclass(frozen=True, slots=True)
class SegmentRegister:
    """A segment register and its number in an instruction."""

    number: int
    name: str
    title: str
    source: Source


_SREGS = SDM1.at("Segment Registers", note='numbers as in Vol. 2, "Segment Register (sreg) Field"')

SEGMENT_REGISTERS: Mapping[int, SegmentRegister] = by(
    "number",
    SegmentRegister(0, "es", "Extra data, the target of string instructions", _SREGS),
    SegmentRegister(1, "cs", "Code; with SS it carries the current ring", _SREGS),
    SegmentRegister(2, "ss", "Stack; its DPL is the current ring", _SREGS),
    SegmentRegister(3, "ds", "Data", _SREGS),
    SegmentRegister(4, "fs", "Extra data, free for software", _SREGS),
    SegmentRegister(5, "gs", "Extra data, free for software", _SREGS),
)

SEGMENT_NAMES: tuple[str, ...] = tuple(row.name for row in SEGMENT_REGISTERS.values())
"""Names in encoding order."""
