"""AMD-V as AMD defines it: the VMCB, what can be intercepted, and the codes a #VMEXIT reports.

Offsets and codes follow AMD APM Vol. 2 and agree with the headers of Linux (svm.h) and QEMU (svm.h), which were
read side by side; the manual itself is cited by its section titles.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum

from ringviz.facts.exceptions import EXCEPTIONS, Vector
from ringviz.facts.layout import BitField, ByteField
from ringviz.facts.source import Source, by
from ringviz.facts.sources import APM2

_CHECKED = "checked against the headers of Linux and QEMU"
_CODES = APM2.at("SVM Intercept Exit Codes", note=_CHECKED)
_LAYOUT = APM2.at("Layout of VMCB", note=_CHECKED)
_IOIO = APM2.at("IOIO Intercepts", note="checked against Linux's KVM")
_MSR = APM2.at("MSR Intercepts")
_NPF = APM2.at("Nested versus Guest Page Faults, Fault Ordering", note="checked against QEMU's header")
_CR = APM2.at("MOV CRx/DRx Intercepts", note="CPUs with decode assists only; checked against Linux's KVM")
_INJECTION = APM2.at("Event Injection", note=_CHECKED)

# Vector 20 is Intel's alone; the other rows mean the same on both makes.
_AMD_EXCEPTIONS = {vector: row for vector, row in EXCEPTIONS.items() if vector != Vector.VE}


# ---- exit codes ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SvmExit:
    """One EXITCODE of the VMCB."""

    code: int
    name: str
    """AMD's spelling."""
    title: str
    source: Source = _CODES


def _numbered_exits() -> Iterator[SvmExit]:
    """Give the exits that come in runs of 16 or 32: control registers, debug registers, exceptions."""
    for base, name, title in (
        (0x000, "VMEXIT_CR{}_READ", "Guest read CR{}"),
        (0x010, "VMEXIT_CR{}_WRITE", "Guest wrote CR{}"),
        (0x020, "VMEXIT_DR{}_READ", "Guest read DR{}"),
        (0x030, "VMEXIT_DR{}_WRITE", "Guest wrote DR{}"),
    ):
        for number in range(16):
            yield SvmExit(base + number, name.format(number), title.format(number))
    for vector in range(32):
        row = _AMD_EXCEPTIONS.get(vector)
        what = f"vector {vector}" if row is None else row.name if row.mnemonic == "—" else f"{row.mnemonic}, {row.name}"
        yield SvmExit(0x040 + vector, f"VMEXIT_EXCP{vector}", f"Guest raised an exception: {what}")


EXIT_INVALID = (1 << 64) - 1
"""EXITCODE of -1: VMRUN refused the VMCB."""

SVM_EXITS: Mapping[int, SvmExit] = by(
    "code",
    *_numbered_exits(),
    SvmExit(0x060, "VMEXIT_INTR", "A physical interrupt arrived"),
    SvmExit(0x061, "VMEXIT_NMI", "A physical non-maskable interrupt arrived"),
    SvmExit(0x062, "VMEXIT_SMI", "A system management interrupt arrived"),
    SvmExit(0x063, "VMEXIT_INIT", "An INIT signal arrived"),
    SvmExit(0x064, "VMEXIT_VINTR", "The guest is ready for the virtual interrupt that waits"),
    SvmExit(0x065, "VMEXIT_CR0_SEL_WRITE", "Guest changed CR0 bits other than TS and MP"),
    SvmExit(0x066, "VMEXIT_IDTR_READ", "Guest executed SIDT"),
    SvmExit(0x067, "VMEXIT_GDTR_READ", "Guest executed SGDT"),
    SvmExit(0x068, "VMEXIT_LDTR_READ", "Guest executed SLDT"),
    SvmExit(0x069, "VMEXIT_TR_READ", "Guest executed STR"),
    SvmExit(0x06A, "VMEXIT_IDTR_WRITE", "Guest executed LIDT"),
    SvmExit(0x06B, "VMEXIT_GDTR_WRITE", "Guest executed LGDT"),
    SvmExit(0x06C, "VMEXIT_LDTR_WRITE", "Guest executed LLDT"),
    SvmExit(0x06D, "VMEXIT_TR_WRITE", "Guest executed LTR"),
    SvmExit(0x06E, "VMEXIT_RDTSC", "Guest executed RDTSC"),
    SvmExit(0x06F, "VMEXIT_RDPMC", "Guest executed RDPMC"),
    SvmExit(0x070, "VMEXIT_PUSHF", "Guest executed PUSHF"),
    SvmExit(0x071, "VMEXIT_POPF", "Guest executed POPF"),
    SvmExit(0x072, "VMEXIT_CPUID", "Guest executed CPUID"),
    SvmExit(0x073, "VMEXIT_RSM", "Guest executed RSM"),
    SvmExit(0x074, "VMEXIT_IRET", "Guest executed IRET"),
    SvmExit(0x075, "VMEXIT_SWINT", "Guest executed INT n"),
    SvmExit(0x076, "VMEXIT_INVD", "Guest executed INVD"),
    SvmExit(0x077, "VMEXIT_PAUSE", "Guest executed PAUSE"),
    SvmExit(0x078, "VMEXIT_HLT", "Guest executed HLT"),
    SvmExit(0x079, "VMEXIT_INVLPG", "Guest executed INVLPG"),
    SvmExit(0x07A, "VMEXIT_INVLPGA", "Guest executed INVLPGA"),
    SvmExit(0x07B, "VMEXIT_IOIO", "Guest used an I/O port that the I/O permission map protects"),
    SvmExit(0x07C, "VMEXIT_MSR", "Guest executed RDMSR or WRMSR on a register that the MSR map protects"),
    SvmExit(0x07D, "VMEXIT_TASK_SWITCH", "Guest is about to switch tasks"),
    SvmExit(0x07E, "VMEXIT_FERR_FREEZE", "FPU error, reported the old way"),
    SvmExit(0x07F, "VMEXIT_SHUTDOWN", "Guest shut down: triple fault"),
    SvmExit(0x080, "VMEXIT_VMRUN", "Guest executed VMRUN"),
    SvmExit(0x081, "VMEXIT_VMMCALL", "Guest executed VMMCALL, a hypercall"),
    SvmExit(0x082, "VMEXIT_VMLOAD", "Guest executed VMLOAD"),
    SvmExit(0x083, "VMEXIT_VMSAVE", "Guest executed VMSAVE"),
    SvmExit(0x084, "VMEXIT_STGI", "Guest executed STGI"),
    SvmExit(0x085, "VMEXIT_CLGI", "Guest executed CLGI"),
    SvmExit(0x086, "VMEXIT_SKINIT", "Guest executed SKINIT"),
    SvmExit(0x087, "VMEXIT_RDTSCP", "Guest executed RDTSCP"),
    SvmExit(0x088, "VMEXIT_ICEBP", "Guest executed INT1"),
    SvmExit(0x089, "VMEXIT_WBINVD", "Guest executed WBINVD"),
    SvmExit(0x08A, "VMEXIT_MONITOR", "Guest executed MONITOR"),
    SvmExit(0x08B, "VMEXIT_MWAIT", "Guest executed MWAIT"),
    SvmExit(0x08C, "VMEXIT_MWAIT_CONDITIONAL", "Guest executed MWAIT with the monitor armed"),
    SvmExit(0x08D, "VMEXIT_XSETBV", "Guest executed XSETBV"),
    SvmExit(0x08E, "VMEXIT_RDPRU", "Guest executed RDPRU"),
    SvmExit(0x400, "VMEXIT_NPF", "Nested page fault: the VMM's page tables have no such guest-physical page"),
    SvmExit(0x401, "AVIC_INCOMPLETE_IPI", "Virtual APIC could not deliver an interprocessor interrupt"),
    SvmExit(0x402, "AVIC_NOACCEL", "Guest used a virtual APIC register that hardware does not accelerate"),
    SvmExit(EXIT_INVALID, "VMEXIT_INVALID", "VMRUN refused the guest state"),
)


def svm_exit(code: int) -> SvmExit:
    """Give the row of an EXITCODE.

    Args:
        code: as the VMCB holds it; -1 is taken as its 64-bit form.

    Raises:
        KeyError: AMD defines no such code, or ringviz has no row for it.
    """
    return SVM_EXITS[code & EXIT_INVALID]


# ---- intercepts ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Intercept:
    """One bit of the VMCB that makes an instruction or event exit to the VMM."""

    offset: int
    """Byte offset of the 32-bit word in the VMCB."""
    bit: int
    name: str
    family: str
    """The name without register or vector number, for the intercepts that come in runs."""
    title: str
    exits: tuple[int, ...]
    """EXITCODEs that it yields."""
    source: Source = _LAYOUT


def _numbered_intercepts() -> Iterator[Intercept]:
    """Give the intercepts that have one bit per register or vector."""
    for offset, shift, family, base in (
        (0x000, 0, "CR_READ", 0x000),
        (0x000, 16, "CR_WRITE", 0x010),
        (0x004, 0, "DR_READ", 0x020),
        (0x004, 16, "DR_WRITE", 0x030),
    ):
        register, verb = family.split("_")
        for number in range(16):
            title = f"{'Reads of' if verb == 'READ' else 'Writes to'} {register}{number}"
            yield Intercept(offset, shift + number, f"{register}{number}_{verb}", family, title, (base + number,))
    for vector in range(32):
        row = _AMD_EXCEPTIONS.get(vector)
        what = f"Exception vector {vector}" if row is None else f"{row.name} (vector {vector})"
        yield Intercept(0x008, vector, f"EXCP{vector}", "EXCEPTION", what, (0x040 + vector,))


def _bit(offset: int, bit: int, name: str, title: str, code: int) -> Intercept:
    """Give an intercept that is a family of its own and yields one exit code."""
    return Intercept(offset, bit, name, name, title, (code,))


INTERCEPTS: Mapping[str, Intercept] = by(
    "name",
    *_numbered_intercepts(),
    _bit(0x00C, 0, "INTR", "Physical interrupts", 0x060),
    _bit(0x00C, 1, "NMI", "Non-maskable interrupts", 0x061),
    _bit(0x00C, 2, "SMI", "System management interrupts", 0x062),
    _bit(0x00C, 3, "INIT", "INIT signals", 0x063),
    _bit(0x00C, 4, "VINTR", "The moment a virtual interrupt can be taken", 0x064),
    _bit(0x00C, 5, "CR0_SEL_WRITE", "Writes to CR0 that change more than TS and MP", 0x065),
    _bit(0x00C, 6, "IDTR_READ", "SIDT", 0x066),
    _bit(0x00C, 7, "GDTR_READ", "SGDT", 0x067),
    _bit(0x00C, 8, "LDTR_READ", "SLDT", 0x068),
    _bit(0x00C, 9, "TR_READ", "STR", 0x069),
    _bit(0x00C, 10, "IDTR_WRITE", "LIDT", 0x06A),
    _bit(0x00C, 11, "GDTR_WRITE", "LGDT", 0x06B),
    _bit(0x00C, 12, "LDTR_WRITE", "LLDT", 0x06C),
    _bit(0x00C, 13, "TR_WRITE", "LTR", 0x06D),
    _bit(0x00C, 14, "RDTSC", "RDTSC", 0x06E),
    _bit(0x00C, 15, "RDPMC", "RDPMC", 0x06F),
    _bit(0x00C, 16, "PUSHF", "PUSHF", 0x070),
    _bit(0x00C, 17, "POPF", "POPF", 0x071),
    _bit(0x00C, 18, "CPUID", "CPUID", 0x072),
    _bit(0x00C, 19, "RSM", "RSM", 0x073),
    _bit(0x00C, 20, "IRET", "IRET", 0x074),
    _bit(0x00C, 21, "INTN", "INT n", 0x075),
    _bit(0x00C, 22, "INVD", "INVD", 0x076),
    _bit(0x00C, 23, "PAUSE", "PAUSE", 0x077),
    _bit(0x00C, 24, "HLT", "HLT", 0x078),
    _bit(0x00C, 25, "INVLPG", "INVLPG", 0x079),
    _bit(0x00C, 26, "INVLPGA", "INVLPGA", 0x07A),
    _bit(0x00C, 27, "IOIO_PROT", "IN and OUT on the ports that the I/O permission map marks", 0x07B),
    _bit(0x00C, 28, "MSR_PROT", "RDMSR and WRMSR on the registers that the MSR permission map marks", 0x07C),
    _bit(0x00C, 29, "TASK_SWITCH", "Task switches", 0x07D),
    _bit(0x00C, 30, "FERR_FREEZE", "FPU errors reported the old way", 0x07E),
    _bit(0x00C, 31, "SHUTDOWN", "Shutdown: triple faults", 0x07F),
    _bit(0x010, 0, "VMRUN", "VMRUN; the CPU refuses a VMCB without this bit", 0x080),
    _bit(0x010, 1, "VMMCALL", "VMMCALL; without this bit it raises #UD", 0x081),
    _bit(0x010, 2, "VMLOAD", "VMLOAD", 0x082),
    _bit(0x010, 3, "VMSAVE", "VMSAVE", 0x083),
    _bit(0x010, 4, "STGI", "STGI", 0x084),
    _bit(0x010, 5, "CLGI", "CLGI", 0x085),
    _bit(0x010, 6, "SKINIT", "SKINIT", 0x086),
    _bit(0x010, 7, "RDTSCP", "RDTSCP", 0x087),
    _bit(0x010, 8, "ICEBP", "INT1", 0x088),
    _bit(0x010, 9, "WBINVD", "WBINVD", 0x089),
    _bit(0x010, 10, "MONITOR", "MONITOR", 0x08A),
    _bit(0x010, 11, "MWAIT", "MWAIT", 0x08B),
    _bit(0x010, 12, "MWAIT_CONDITIONAL", "MWAIT with the monitor armed", 0x08C),
    _bit(0x010, 13, "XSETBV", "XSETBV", 0x08D),
    _bit(0x010, 14, "RDPRU", "RDPRU", 0x08E),
)

INTERCEPT_FAMILIES: frozenset[str] = frozenset(row.family for row in INTERCEPTS.values())


# ---- the VMCB --------------------------------------------------------------------------------------------------------

VMCB_SIZE_BYTES = 0x1000
"""One page, of which the control area takes the first 400h bytes."""

SAVE_AREA_OFFSET = 0x400
"""Where the state save area begins; the offsets below count from the start of the VMCB."""


def _c(offset: int, size_bytes: int, name: str, title: str) -> ByteField:
    return ByteField(offset, size_bytes, name, title, _LAYOUT)


VMCB_CONTROL: Mapping[str, ByteField] = by(
    "name",
    _c(0x000, 4, "INTERCEPT_CR", "Intercept reads (bits 0-15) and writes (16-31) of CR0-CR15"),
    _c(0x004, 4, "INTERCEPT_DR", "Intercept reads (bits 0-15) and writes (16-31) of DR0-DR15"),
    _c(0x008, 4, "INTERCEPT_EXCEPTIONS", "Intercept exceptions, one bit a vector"),
    _c(0x00C, 4, "INTERCEPT_MISC1", "Intercept interrupts and instructions, first word"),
    _c(0x010, 4, "INTERCEPT_MISC2", "Intercept instructions, second word"),
    _c(0x03C, 2, "PAUSE_FILTER_THRESHOLD", "How close together PAUSEs must be to count"),
    _c(0x03E, 2, "PAUSE_FILTER_COUNT", "How many PAUSEs pass before one exits"),
    _c(0x040, 8, "IOPM_BASE_PA", "Physical address of the I/O permission map"),
    _c(0x048, 8, "MSRPM_BASE_PA", "Physical address of the MSR permission map"),
    _c(0x050, 8, "TSC_OFFSET", "Added to the time-stamp counter that the guest reads"),
    _c(0x058, 4, "GUEST_ASID", "Tags the guest's TLB entries; 0 is the host's and not allowed"),
    _c(0x05C, 1, "TLB_CONTROL", "What of the TLB to flush on VMRUN"),
    _c(0x060, 4, "VINTR_CONTROL", "Virtual interrupt: see VINTR_FIELDS"),
    _c(0x064, 1, "V_INTR_VECTOR", "Vector of the virtual interrupt"),
    _c(0x068, 8, "INTERRUPT_SHADOW", "Bit 0: the guest is one instruction after STI or MOV SS"),
    _c(0x070, 8, "EXITCODE", "Why the guest exited"),
    _c(0x078, 8, "EXITINFO1", "More about the exit, first word"),
    _c(0x080, 8, "EXITINFO2", "More about the exit, second word"),
    _c(0x088, 8, "EXITINTINFO", "The event that was being delivered when the exit came"),
    _c(0x090, 8, "NP_CONTROL", "Bit 0, NP_ENABLE: nested paging"),
    _c(0x0A8, 8, "EVENTINJ", "Event to deliver to the guest on VMRUN: see EVENTINJ_FIELDS"),
    _c(0x0B0, 8, "N_CR3", "Root of the nested page tables"),
    _c(0x0B8, 8, "LBR_CONTROL", "Bit 0: keep the last-branch registers per guest"),
    _c(0x0C0, 4, "VMCB_CLEAN", "Which parts the VMM has not changed since the last exit"),
    _c(0x0C8, 8, "nRIP", "Address of the next instruction, on CPUs that save it"),
)


def _segment(offset: int, name: str) -> tuple[ByteField, ...]:
    """Give the four fields in which the save area keeps a segment or table register."""
    return (
        _c(offset, 2, f"{name}.selector", f"Selector of {name}"),
        _c(offset + 2, 2, f"{name}.attrib", f"Attributes of {name}, packed in 12 bits"),
        _c(offset + 4, 4, f"{name}.limit", f"Limit of {name}, in bytes"),
        _c(offset + 8, 8, f"{name}.base", f"Base of {name}"),
    )


VMCB_SAVE: Mapping[str, ByteField] = by(
    "name",
    *_segment(0x400, "ES"),
    *_segment(0x410, "CS"),
    *_segment(0x420, "SS"),
    *_segment(0x430, "DS"),
    *_segment(0x440, "FS"),
    *_segment(0x450, "GS"),
    *_segment(0x460, "GDTR"),
    *_segment(0x470, "LDTR"),
    *_segment(0x480, "IDTR"),
    *_segment(0x490, "TR"),
    _c(0x4CB, 1, "CPL", "The guest's ring"),
    _c(0x4D0, 8, "EFER", "Guest EFER; SVME must be set in it"),
    _c(0x548, 8, "CR4", "Guest CR4"),
    _c(0x550, 8, "CR3", "Guest CR3; without nested paging it is the real one"),
    _c(0x558, 8, "CR0", "Guest CR0"),
    _c(0x560, 8, "DR7", "Guest DR7"),
    _c(0x568, 8, "DR6", "Guest DR6"),
    _c(0x570, 8, "RFLAGS", "Guest flags"),
    _c(0x578, 8, "RIP", "Where the guest goes on"),
    _c(0x5D8, 8, "RSP", "Guest stack pointer"),
    _c(0x5F8, 8, "RAX", "Guest RAX; VMRUN itself uses the real one"),
    _c(0x600, 8, "STAR", "SYSCALL: selectors and legacy target"),
    _c(0x608, 8, "LSTAR", "SYSCALL: 64-bit target"),
    _c(0x610, 8, "CSTAR", "SYSCALL: target from compatibility mode"),
    _c(0x618, 8, "SFMASK", "SYSCALL: flags to clear"),
    _c(0x620, 8, "KernelGsBase", "What SWAPGS exchanges with the GS base"),
    _c(0x628, 8, "SYSENTER_CS", "SYSENTER: code segment"),
    _c(0x630, 8, "SYSENTER_ESP", "SYSENTER: stack pointer"),
    _c(0x638, 8, "SYSENTER_EIP", "SYSENTER: target"),
    _c(0x640, 8, "CR2", "Guest page-fault address"),
    _c(0x668, 8, "G_PAT", "Guest page attribute table, with nested paging"),
)


# ---- words within the VMCB -------------------------------------------------------------------------------------------

VINTR_FIELDS: Mapping[str, BitField] = by(
    "name",
    BitField("V_TPR", 0, 7, "Virtual task priority", _LAYOUT),
    BitField("V_IRQ", 8, 8, "A virtual interrupt is pending", _LAYOUT),
    BitField("V_INTR_PRIO", 16, 19, "Its priority", _LAYOUT),
    BitField("V_IGN_TPR", 20, 20, "Deliver it whatever the task priority", _LAYOUT),
    BitField("V_INTR_MASKING", 24, 24, "Guest IF masks virtual interrupts only, host IF physical ones", _LAYOUT),
)
"""Bits of the 32-bit word at 060h."""

EVENTINJ_FIELDS: Mapping[str, BitField] = by(
    "name",
    BitField("VECTOR", 0, 7, "Vector to deliver", _INJECTION),
    BitField("TYPE", 8, 10, "0 external interrupt, 2 NMI, 3 exception, 4 software interrupt", _INJECTION),
    BitField("EV", 11, 11, "Push the error code", _INJECTION),
    BitField("V", 31, 31, "There is an event", _INJECTION),
    BitField("ERRORCODE", 32, 63, "Error code to push", _INJECTION),
)
"""EVENTINJ, and EXITINTINFO alike."""


class EventType(IntEnum):
    """Values of TYPE in EVENTINJ and EXITINTINFO. Source: as EVENTINJ_FIELDS."""

    INTR = 0
    NMI = 2
    EXCEPTION = 3
    SWINT = 4


IOIO_EXITINFO1_FIELDS: Mapping[str, BitField] = by(
    "name",
    BitField("TYPE", 0, 0, "0 OUT, 1 IN", _IOIO),
    BitField("STR", 2, 2, "A string instruction", _IOIO),
    BitField("REP", 3, 3, "With a repeat prefix", _IOIO),
    BitField("SZ8", 4, 4, "Operand of 8 bits", _IOIO),
    BitField("SZ16", 5, 5, "Operand of 16 bits", _IOIO),
    BitField("SZ32", 6, 6, "Operand of 32 bits", _IOIO),
    BitField("A16", 7, 7, "Address of 16 bits", _IOIO),
    BitField("A32", 8, 8, "Address of 32 bits", _IOIO),
    BitField("A64", 9, 9, "Address of 64 bits", _IOIO),
    BitField("PORT", 16, 31, "Port number", _IOIO),
)
"""EXITINFO2 then holds the address of the next instruction."""

MSR_EXITINFO1_FIELDS: Mapping[str, BitField] = by(
    "name",
    BitField("WRITE", 0, 0, "0 RDMSR, 1 WRMSR", _MSR),
)

CR_EXITINFO1_FIELDS: Mapping[str, BitField] = by(
    "name",
    BitField("GPR", 0, 3, "Number of the general-purpose register", _CR),
    BitField("MOV", 63, 63, "The instruction was MOV, not CLTS, LMSW or SMSW", _CR),
)

NPF_EXITINFO1_FIELDS: Mapping[str, BitField] = by(
    "name",
    BitField("P", 0, 0, "The nested page was present", _NPF),
    BitField("RW", 1, 1, "The access was a write", _NPF),
    BitField("US", 2, 2, "The access was a user access to nested paging, as all guest accesses are", _NPF),
    BitField("RSV", 3, 3, "A reserved bit was set in a nested page-table entry", _NPF),
    BitField("ID", 4, 4, "The access was an instruction fetch", _NPF),
    BitField("FINAL", 32, 32, "It was for the guest's final physical address", _NPF),
    BitField("TABLE", 33, 33, "It was for one of the guest's own page tables", _NPF),
)
"""EXITINFO2 then holds the guest-physical address."""
