"""The instructions that decide whether x86 can be virtualized by trapping, one row a form.

Classes are Popek & Goldberg's, judged for 32-bit protected mode on a CPU of 2005: no UMIP, CPUID never traps. An
instruction without a row is innocuous. The two groups of sensitive but unprivileged instructions are Robin & Irvine's.
Virtual-8086 mode, where PUSHF, POPF, IRET and INT n do obey IOPL, has a table of its own (`virtual_8086`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Literal

from ringviz.facts.source import Source, by
from ringviz.facts.sources import APM3, ROBIN_IRVINE, SDM2, SDM3C


class PgClass(Enum):
    """Popek & Goldberg's classes, refined where x86 needs it; the value is a sentence for a learner."""

    PRIVILEGED = "privileged: runs in ring 0, traps outside it"
    SENSITIVE_SILENT = "sensitive, yet not privileged: depends on or changes the machine's state, and does not trap"
    GATE = "a gate: made for entering another ring at a place the system chose"
    UNPRIVILEGED_MACHINE = "unprivileged, but its answer depends on the machine"
    INNOCUOUS = "innocuous: the same in every ring"


class Group(Enum):
    """Robin & Irvine's two groups; the value is the name to show."""

    SENSITIVE_REGISTER = "sensitive register instructions"
    PROTECTION_SYSTEM = "protection system instructions"


class Behaviour(Enum):
    """What an instruction does at one CPL; the value is a sentence for a learner."""

    RUNS = "Runs."
    REVEALS = "Runs without a trap and shows the real machine's state."
    SILENT_DIFFERENT = "Runs without a trap, but its effect or answer is not that of ring 0."
    CHECKED = "Compares the real CPL with DPL and RPL: runs, and sometimes differs from ring 0, or faults."
    ENTERS_HANDLER = "Enters the handler the system set up; a gate's DPL must allow this ring."
    ENTERS_FROM_ANY_RING = "Enters the handler the system set up, from any ring."
    FAULTS_GP = "Faults with #GP(0)."
    FAULTS_GP_IF_IOPL = "Faults with #GP(0) if CPL > IOPL."
    FAULTS_GP_IF_PORT = "Faults with #GP(0) if CPL > IOPL, unless the TSS's I/O bitmap allows the port."
    FAULTS_GP_IF_TSD = "Faults with #GP(0) if CR4.TSD is set."
    FAULTS_GP_IF_NO_PCE = "Faults with #GP(0) if CR4.PCE is clear."
    FAULTS_UD = "Faults with #UD."
    FAULTS_UD_IF_OFF = "Faults with #UD where its extension is missing or switched off; runs where it is on."
    FAULTS_GP_OR_UD = "Always faults: #GP(0), or #UD where its extension is missing or switched off."


Verdict = Literal["traps", "silent", "gate", "runs"]
"""What a guest kernel at CPL 1 sees of the VMM when it executes the instruction."""


@dataclass(frozen=True, slots=True)
class GroupFacts:
    """What Robin & Irvine's group has in common."""

    group: Group
    title: str
    source: Source


GROUPS: Mapping[Group, GroupFacts] = by(
    "group",
    GroupFacts(
        Group.SENSITIVE_REGISTER,
        "Read or change registers or memory that belong to the whole machine",
        ROBIN_IRVINE.at("sensitive register instructions"),
    ),
    GroupFacts(
        Group.PROTECTION_SYSTEM,
        "Refer to the protection system, to memory or to address relocation",
        ROBIN_IRVINE.at("protection system instructions"),
    ),
)
"""Together 18 names, which some sources count as 17: say "17-18 instructions"."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """One form of an instruction and what it does to virtualization."""

    id: str
    mnemonics: tuple[str, ...]
    """The manual's spelling; the first one names the row."""
    title: str
    pg_class: PgClass
    group: Group | None
    io_sensitive: bool
    """Compares CPL with IOPL (POPF: for its IF only)."""
    behaviour: Mapping[int, Behaviour]
    """By CPL, 0 to 3."""
    fault: str | None
    """Mnemonic of the exception it raises where it does not run because of the ring."""
    leaks: str
    """What breaks, or what saves us, when a kernel is pushed to ring 1."""
    on_trap_emulate: Verdict
    on_amd_v_intercept: str | None
    """Family of the SVM intercept that can catch it (`facts.svm.INTERCEPT_FAMILIES`)."""
    source: Source


def _cpl(ring0: Behaviour, outer: Behaviour) -> Mapping[int, Behaviour]:
    """Give one behaviour for ring 0 and another for rings 1 to 3."""
    return MappingProxyType({0: ring0, 1: outer, 2: outer, 3: outer})


_B = Behaviour
_TRAPS_GP = _cpl(_B.RUNS, _B.FAULTS_GP)
_EXTENSION = _cpl(_B.FAULTS_UD_IF_OFF, _B.FAULTS_GP_OR_UD)
_REVEALS = _cpl(_B.RUNS, _B.REVEALS)
_DIFFERS = _cpl(_B.RUNS, _B.SILENT_DIFFERENT)
_CHECKED = _cpl(_B.RUNS, _B.CHECKED)
_IOPL = _cpl(_B.RUNS, _B.FAULTS_GP_IF_IOPL)
_PORT = _cpl(_B.RUNS, _B.FAULTS_GP_IF_PORT)


def _privileged(
    id_: str,
    mnemonics: tuple[str, ...],
    title: str,
    leaks: str,
    intercept: str | None,
    source: Source,
    behaviour: Mapping[int, Behaviour] = _TRAPS_GP,
    *,
    fault: str = "#GP",
    io_sensitive: bool = False,
) -> Instruction:
    """Give the row of an instruction that traps outside ring 0."""
    return Instruction(
        id_,
        mnemonics,
        title,
        PgClass.PRIVILEGED,
        None,
        io_sensitive,
        behaviour,
        fault,
        leaks,
        "traps",
        intercept,
        source,
    )


def _silent(
    id_: str,
    mnemonics: tuple[str, ...],
    title: str,
    group: Group | None,
    behaviour: Mapping[int, Behaviour],
    leaks: str,
    intercept: str | None,
    source: Source,
    *,
    fault: str | None = None,
    io_sensitive: bool = False,
) -> Instruction:
    """Give the row of an instruction that is sensitive but not privileged."""
    return Instruction(
        id_,
        mnemonics,
        title,
        PgClass.SENSITIVE_SILENT,
        group,
        io_sensitive,
        behaviour,
        fault,
        leaks,
        "silent",
        intercept,
        source,
    )


def _other(
    id_: str,
    mnemonics: tuple[str, ...],
    title: str,
    pg_class: PgClass,
    behaviour: Mapping[int, Behaviour],
    fault: str | None,
    leaks: str,
    verdict: Verdict,
    intercept: str | None,
    source: Source,
    *,
    group: Group | None = None,
) -> Instruction:
    """Give the row of an instruction that is neither privileged nor silently sensitive."""
    return Instruction(
        id_,
        mnemonics,
        title,
        pg_class,
        group,
        False,
        behaviour,
        fault,
        leaks,
        verdict,
        intercept,
        source,
    )


_PORT_LEAK = "It traps, so the guest reaches the VMM's model of the device and never the device."
_CACHE_LEAK = "It traps; the VMM decides whether the host's caches may be touched at all."
_SVM_LEAK = "It faults: the guest's virtual CPU has no AMD-V of its own unless the VMM nests it."
_VMX_LEAK = "It faults: the guest's virtual CPU has no VT-x of its own unless the VMM nests it."
_SREG = Group.SENSITIVE_REGISTER
_PROT = Group.PROTECTION_SYSTEM

_DESCRIPTOR_TABLES = SDM2.at("LGDT/LIDT—Load Global/Interrupt Descriptor Table Register")
_VERIFY = SDM2.at("VERR/VERW—Verify a Segment for Reading or Writing")
_MOV = SDM2.at("MOV—Move")
_INT = SDM2.at("INT n/INTO/INT3/INT1—Call to Interrupt Procedure")
_VMRESUME = SDM3C.at("VMLAUNCH/VMRESUME—Launch/Resume Virtual Machine")

_PRIVILEGED_ROWS = (
    _privileged(
        "cli",
        ("CLI",),
        "Keep interrupts out",
        "It traps while the real IOPL is 0, so the VMM clears the virtual IF and keeps the real one set.",
        None,
        SDM2.at("CLI—Clear Interrupt Flag"),
        _IOPL,
        io_sensitive=True,
    ),
    _privileged(
        "sti",
        ("STI",),
        "Let interrupts in again",
        "It traps while the real IOPL is 0; the VMM sets the virtual IF and delivers what was waiting.",
        None,
        SDM2.at("STI—Set Interrupt Flag"),
        _IOPL,
        io_sensitive=True,
    ),
    _privileged(
        "hlt",
        ("HLT",),
        "Wait for an interrupt",
        "It traps; the VMM lets this guest sleep and gives the CPU to someone else.",
        "HLT",
        SDM2.at("HLT—Halt"),
    ),
    _privileged(
        "lgdt",
        ("LGDT",),
        "Load the GDT register",
        "It traps; the VMM notes the guest's table and keeps its own in the real GDTR.",
        "GDTR_WRITE",
        _DESCRIPTOR_TABLES,
    ),
    _privileged(
        "lidt",
        ("LIDT",),
        "Load the IDT register",
        "It traps; the VMM notes the guest's handlers and keeps its own in the real IDTR.",
        "IDTR_WRITE",
        _DESCRIPTOR_TABLES,
    ),
    _privileged(
        "lldt",
        ("LLDT",),
        "Load the LDT register",
        "It traps; the VMM keeps the guest's LDT in a copy that it has checked.",
        "LDTR_WRITE",
        SDM2.at("LLDT—Load Local Descriptor Table Register"),
    ),
    _privileged(
        "ltr",
        ("LTR",),
        "Load the task register",
        "It traps; the VMM reads the guest's inner stacks from this TSS and keeps its own TSS loaded.",
        "TR_WRITE",
        SDM2.at("LTR—Load Task Register"),
    ),
    _privileged(
        "lmsw",
        ("LMSW",),
        "Load the low bits of CR0",
        "It traps; the VMM changes the virtual CR0.",
        "CR_WRITE",
        SDM2.at("LMSW—Load Machine Status Word"),
    ),
    _privileged(
        "clts",
        ("CLTS",),
        "Clear CR0.TS",
        "It traps; the VMM changes the virtual CR0.",
        "CR_WRITE",
        SDM2.at("CLTS—Clear Task-Switched Flag in CR0"),
    ),
    _privileged(
        "mov-to-cr",
        ("MOV",),
        "Write a control register",
        "It traps; paging and protection change on the virtual CPU only.",
        "CR_WRITE",
        SDM2.at("MOV—Move to/from Control Registers"),
    ),
    _privileged(
        "mov-from-cr",
        ("MOV",),
        "Read a control register",
        "It traps, so the guest reads the value it wrote and not the VMM's.",
        "CR_READ",
        SDM2.at("MOV—Move to/from Control Registers"),
    ),
    _privileged(
        "mov-to-dr",
        ("MOV",),
        "Write a debug register",
        "It traps; breakpoints of the guest go to virtual debug registers.",
        "DR_WRITE",
        SDM2.at("MOV—Move to/from Debug Registers"),
    ),
    _privileged(
        "mov-from-dr",
        ("MOV",),
        "Read a debug register",
        "It traps, so the guest reads its virtual debug registers.",
        "DR_READ",
        SDM2.at("MOV—Move to/from Debug Registers"),
    ),
    _privileged(
        "invlpg",
        ("INVLPG",),
        "Forget one page's translation",
        "It traps; the VMM drops the page from its shadow tables.",
        "INVLPG",
        SDM2.at("INVLPG—Invalidate TLB Entries"),
    ),
    _privileged(
        "invd",
        ("INVD",),
        "Empty the caches without writing back",
        _CACHE_LEAK,
        "INVD",
        SDM2.at("INVD—Invalidate Internal Caches"),
    ),
    _privileged(
        "wbinvd",
        ("WBINVD",),
        "Write back and empty the caches",
        _CACHE_LEAK,
        "WBINVD",
        SDM2.at("WBINVD—Write Back and Invalidate Cache"),
    ),
    _privileged(
        "rdmsr",
        ("RDMSR",),
        "Read a model-specific register",
        "It traps; the VMM answers with the virtual register.",
        "MSR_PROT",
        SDM2.at("RDMSR—Read From Model Specific Register"),
    ),
    _privileged(
        "wrmsr",
        ("WRMSR",),
        "Write a model-specific register",
        "It traps; the VMM writes the virtual register.",
        "MSR_PROT",
        SDM2.at("WRMSR—Write to Model Specific Register"),
    ),
    _privileged(
        "rdpmc",
        ("RDPMC",),
        "Read a performance counter",
        "It traps while CR4.PCE is clear; otherwise the guest counts the VMM's events as its own.",
        "RDPMC",
        SDM2.at("RDPMC—Read Performance-Monitoring Counters"),
        _cpl(_B.RUNS, _B.FAULTS_GP_IF_NO_PCE),
    ),
    _privileged(
        "rdtsc",
        ("RDTSC",),
        "Read the time-stamp counter",
        "It traps only if the VMM sets CR4.TSD; otherwise the guest sees the time that the VMM took.",
        "RDTSC",
        SDM2.at("RDTSC—Read Time-Stamp Counter"),
        _cpl(_B.RUNS, _B.FAULTS_GP_IF_TSD),
    ),
    _privileged(
        "rdtscp",
        ("RDTSCP",),
        "Read the time-stamp counter and the processor number",
        "As RDTSC; CPUs that lack it, such as the Pentium 4, raise #UD.",
        "RDTSCP",
        SDM2.at("RDTSCP—Read Time-Stamp Counter and Processor ID"),
        _cpl(_B.RUNS, _B.FAULTS_GP_IF_TSD),
    ),
    _privileged(
        "in",
        ("IN",),
        "Read an I/O port",
        _PORT_LEAK,
        "IOIO_PROT",
        SDM2.at("IN—Input from Port"),
        _PORT,
        io_sensitive=True,
    ),
    _privileged(
        "out",
        ("OUT",),
        "Write an I/O port",
        _PORT_LEAK,
        "IOIO_PROT",
        SDM2.at("OUT—Output to Port"),
        _PORT,
        io_sensitive=True,
    ),
    _privileged(
        "ins",
        ("INS", "INSB", "INSW", "INSD"),
        "Read an I/O port into memory",
        _PORT_LEAK,
        "IOIO_PROT",
        SDM2.at("INS/INSB/INSW/INSD—Input from Port to String"),
        _PORT,
        io_sensitive=True,
    ),
    _privileged(
        "outs",
        ("OUTS", "OUTSB", "OUTSW", "OUTSD"),
        "Write memory to an I/O port",
        _PORT_LEAK,
        "IOIO_PROT",
        SDM2.at("OUTS/OUTSB/OUTSW/OUTSD—Output String to Port"),
        _PORT,
        io_sensitive=True,
    ),
    _privileged(
        "sysexit",
        ("SYSEXIT",),
        "Return to ring 3 after SYSENTER",
        "It traps; each return of the guest kernel to its user code goes through the VMM.",
        None,
        SDM2.at("SYSEXIT—Fast Return from Fast System Call"),
    ),
    _privileged(
        "sysret",
        ("SYSRET",),
        "Return to ring 3 after SYSCALL",
        "It traps; each return of the guest kernel to its user code goes through the VMM.",
        None,
        SDM2.at("SYSRET—Return From Fast System Call", note="Intel CPUs have it in 64-bit mode only"),
        _EXTENSION,
    ),
    _privileged(
        "swapgs",
        ("SWAPGS",),
        "Exchange the GS base with the kernel's",
        "It faults outside 64-bit mode whatever the ring.",
        None,
        SDM2.at("SWAPGS—Swap GS Base Register", note="64-bit mode only"),
        _EXTENSION,
    ),
    *(
        _privileged(
            name,
            (name.upper(),),
            title,
            "It traps, with #UD and not #GP; CPUs of 2005 to 2007 do not have it.",
            None,
            SDM2.at(f"{name.upper()}—{title}"),
            _cpl(_B.FAULTS_UD_IF_OFF, _B.FAULTS_UD),
            fault="#UD",
        )
        for name, title in (
            ("clac", "Clear AC Flag in EFLAGS Register"),
            ("stac", "Set AC Flag in EFLAGS Register"),
        )
    ),
    _privileged(
        "rsm",
        ("RSM",),
        "Return from system management mode",
        "It faults in every ring: only firmware in system management mode may execute it.",
        "RSM",
        SDM2.at("RSM—Resume from System Management Mode"),
        _cpl(_B.FAULTS_UD, _B.FAULTS_UD),
        fault="#UD",
    ),
    _privileged(
        "monitor",
        ("MONITOR",),
        "Watch an address range",
        "It traps, with #UD and not #GP.",
        "MONITOR",
        SDM2.at("MONITOR—Set Up Monitor Address"),
        _cpl(_B.RUNS, _B.FAULTS_UD),
        fault="#UD",
    ),
    _privileged(
        "mwait",
        ("MWAIT",),
        "Sleep until the watched range is written",
        "It traps, with #UD and not #GP.",
        "MWAIT",
        SDM2.at("MWAIT—Monitor Wait"),
        _cpl(_B.RUNS, _B.FAULTS_UD),
        fault="#UD",
    ),
    _privileged(
        "xsetbv",
        ("XSETBV",),
        "Choose which extended state is enabled",
        "It traps; CPUs of 2005 to 2007 do not have it and raise #UD.",
        "XSETBV",
        SDM2.at("XSETBV—Set Extended Control Register"),
        _EXTENSION,
    ),
    _privileged(
        "vmrun",
        ("VMRUN",),
        "AMD-V: enter a guest",
        _SVM_LEAK,
        "VMRUN",
        APM3.at("VMRUN Run Virtual Machine"),
        _EXTENSION,
    ),
    _privileged(
        "vmload",
        ("VMLOAD",),
        "AMD-V: load the rest of a guest's state",
        _SVM_LEAK,
        "VMLOAD",
        APM3.at("VMLOAD Load State from VMCB"),
        _EXTENSION,
    ),
    _privileged(
        "vmsave",
        ("VMSAVE",),
        "AMD-V: save the rest of a guest's state",
        _SVM_LEAK,
        "VMSAVE",
        APM3.at("VMSAVE Save State to VMCB"),
        _EXTENSION,
    ),
    _privileged(
        "stgi",
        ("STGI",),
        "AMD-V: set the global interrupt flag",
        _SVM_LEAK,
        "STGI",
        APM3.at("STGI Set Global Interrupt Flag"),
        _EXTENSION,
    ),
    _privileged(
        "clgi",
        ("CLGI",),
        "AMD-V: clear the global interrupt flag",
        _SVM_LEAK,
        "CLGI",
        APM3.at("CLGI Clear Global Interrupt Flag"),
        _EXTENSION,
    ),
    _privileged(
        "skinit",
        ("SKINIT",),
        "AMD-V: start a measured loader",
        _SVM_LEAK,
        "SKINIT",
        APM3.at("SKINIT Secure Init and Jump with Attestation"),
        _EXTENSION,
    ),
    _privileged(
        "invlpga",
        ("INVLPGA",),
        "AMD-V: forget a page's translation in one guest",
        _SVM_LEAK,
        "INVLPGA",
        APM3.at("INVLPGA Invalidate TLB Entry in a Specified ASID"),
        _EXTENSION,
    ),
    _privileged(
        "vmxon",
        ("VMXON",),
        "VT-x: enter VMX operation",
        _VMX_LEAK,
        None,
        SDM3C.at("VMXON—Enter VMX Operation"),
        _EXTENSION,
    ),
    _privileged(
        "vmxoff",
        ("VMXOFF",),
        "VT-x: leave VMX operation",
        _VMX_LEAK,
        None,
        SDM3C.at("VMXOFF—Leave VMX Operation"),
        _EXTENSION,
    ),
    _privileged("vmlaunch", ("VMLAUNCH",), "VT-x: enter a new guest", _VMX_LEAK, None, _VMRESUME, _EXTENSION),
    _privileged("vmresume", ("VMRESUME",), "VT-x: enter a guest again", _VMX_LEAK, None, _VMRESUME, _EXTENSION),
    _privileged(
        "vmread",
        ("VMREAD",),
        "VT-x: read a VMCS field",
        _VMX_LEAK,
        None,
        SDM3C.at("VMREAD—Read Field from Virtual-Machine Control Structure"),
        _EXTENSION,
    ),
    _privileged(
        "vmwrite",
        ("VMWRITE",),
        "VT-x: write a VMCS field",
        _VMX_LEAK,
        None,
        SDM3C.at("VMWRITE—Write Field to Virtual-Machine Control Structure"),
        _EXTENSION,
    ),
    _privileged(
        "vmclear",
        ("VMCLEAR",),
        "VT-x: make a VMCS ready for use",
        _VMX_LEAK,
        None,
        SDM3C.at("VMCLEAR—Clear Virtual-Machine Control Structure"),
        _EXTENSION,
    ),
    _privileged(
        "vmptrld",
        ("VMPTRLD",),
        "VT-x: choose the current VMCS",
        _VMX_LEAK,
        None,
        SDM3C.at("VMPTRLD—Load Pointer to Virtual-Machine Control Structure"),
        _EXTENSION,
    ),
    _privileged(
        "vmptrst",
        ("VMPTRST",),
        "VT-x: ask for the current VMCS",
        _VMX_LEAK,
        None,
        SDM3C.at("VMPTRST—Store Pointer to Virtual-Machine Control Structure"),
        _EXTENSION,
    ),
)

_SILENT_ROWS = (
    _silent(
        "sgdt",
        ("SGDT",),
        "Store the GDT register",
        _SREG,
        _REVEALS,
        "There is one real GDTR, and it holds the VMM's table: the guest reads an address it never loaded.",
        "GDTR_READ",
        SDM2.at("SGDT—Store Global Descriptor Table Register"),
    ),
    _silent(
        "sidt",
        ("SIDT",),
        "Store the IDT register",
        _SREG,
        _REVEALS,
        "There is one real IDTR, and it holds the VMM's table: the guest reads an address it never loaded.",
        "IDTR_READ",
        SDM2.at("SIDT—Store Interrupt Descriptor Table Register"),
    ),
    _silent(
        "sldt",
        ("SLDT",),
        "Store the LDT register",
        _SREG,
        _REVEALS,
        "There is one real LDTR: the guest reads the VMM's selector.",
        "LDTR_READ",
        SDM2.at("SLDT—Store Local Descriptor Table Register"),
    ),
    _silent(
        "smsw",
        ("SMSW",),
        "Store the low bits of CR0",
        _SREG,
        _REVEALS,
        "It shows the real CR0 (PE, TS and more), although MOV from CR0 would trap.",
        "CR_READ",
        SDM2.at("SMSW—Store Machine Status Word"),
    ),
    _silent(
        "str",
        ("STR",),
        "Store the task register",
        _PROT,
        _REVEALS,
        "It shows the selector of the VMM's TSS, not of the guest's.",
        "TR_READ",
        SDM2.at("STR—Store Task Register"),
    ),
    _silent(
        "pushf",
        ("PUSHF", "PUSHFD"),
        "Push EFLAGS",
        _SREG,
        _REVEALS,
        "It shows the real IF and IOPL: after CLI the guest still reads IF = 1.",
        "PUSHF",
        SDM2.at("PUSHF/PUSHFD/PUSHFQ—Push EFLAGS Register Onto the Stack"),
    ),
    _silent(
        "popf",
        ("POPF", "POPFD"),
        "Pop EFLAGS",
        _SREG,
        _DIFFERS,
        "With CPL > IOPL a new IF is dropped, with CPL > 0 a new IOPL: no trap, so the VMM never learns of it.",
        "POPF",
        SDM2.at("POPF/POPFD/POPFQ—Pop Stack Into EFLAGS Register"),
        io_sensitive=True,
    ),
    _silent(
        "lar",
        ("LAR",),
        "Load access rights of a segment",
        _PROT,
        _DIFFERS,
        "It weighs CPL and RPL against DPL: from ring 1 a ring-0 segment looks out of reach, or shows a changed DPL.",
        None,
        SDM2.at("LAR—Load Access Rights Byte"),
    ),
    _silent(
        "lsl",
        ("LSL",),
        "Load the limit of a segment",
        _PROT,
        _DIFFERS,
        "It weighs CPL and RPL against DPL: from ring 1 it fails on a ring-0 segment, or shows a truncated limit.",
        None,
        SDM2.at("LSL—Load Segment Limit"),
    ),
    _silent(
        "verr",
        ("VERR",),
        "Ask whether a segment may be read",
        _PROT,
        _DIFFERS,
        "It weighs CPL and RPL against DPL: from ring 1 the answer for a ring-0 segment is no.",
        None,
        _VERIFY,
    ),
    _silent(
        "verw",
        ("VERW",),
        "Ask whether a segment may be written",
        _PROT,
        _DIFFERS,
        "It weighs CPL and RPL against DPL: from ring 1 the answer for a ring-0 segment is no.",
        None,
        _VERIFY,
    ),
    _silent(
        "push-sreg",
        ("PUSH",),
        "Push a segment register",
        _PROT,
        _REVEALS,
        "The low two bits of CS and SS are the real CPL: the guest kernel reads 1 where it expects 0.",
        None,
        SDM2.at("PUSH—Push Word, Doubleword, or Quadword Onto the Stack"),
    ),
    _silent(
        "pop-sreg",
        ("POP",),
        "Pop into a segment register",
        _PROT,
        _CHECKED,
        "The load reads the VMM's descriptors and checks the real CPL; POP SS with an RPL of 0 faults in ring 1.",
        None,
        SDM2.at("POP—Pop a Value From the Stack"),
        fault="#GP",
    ),
    _silent(
        "mov-from-sreg",
        ("MOV",),
        "Read a segment register",
        _PROT,
        _REVEALS,
        "The low two bits of CS and SS are the real CPL: the guest kernel reads 1 where it expects 0.",
        None,
        _MOV,
    ),
    _silent(
        "mov-to-sreg",
        ("MOV",),
        "Load a segment register",
        _PROT,
        _CHECKED,
        "The load reads the VMM's descriptors and checks the real CPL; MOV to SS with an RPL of 0 faults in ring 1, "
        "MOV to CS is #UD everywhere.",
        None,
        _MOV,
        fault="#GP",
    ),
    _silent(
        "load-far-pointer",
        ("LDS", "LES", "LFS", "LGS", "LSS"),
        "Load a segment register and an offset",
        None,
        _CHECKED,
        "As loading a segment register; LSS with an RPL of 0 faults in ring 1.",
        None,
        SDM2.at("LDS/LES/LFS/LGS/LSS—Load Far Pointer"),
        fault="#GP",
    ),
    _silent(
        "call-far",
        ("CALL",),
        "Call into another segment",
        _PROT,
        _CHECKED,
        "It checks CPL, DPL and RPL and leaves the real CPL in CS and on the stack; a gate or TSS switches more.",
        None,
        SDM2.at("CALL—Call Procedure"),
        fault="#GP",
    ),
    _silent(
        "jmp-far",
        ("JMP",),
        "Jump into another segment",
        _PROT,
        _CHECKED,
        "It checks CPL, DPL and RPL and leaves the real CPL in CS.",
        None,
        SDM2.at("JMP—Jump"),
        fault="#GP",
    ),
    _silent(
        "ret-far",
        ("RET",),
        "Return to another segment",
        _PROT,
        _CHECKED,
        "An RPL of 0 on the stack is an inner ring for a kernel in ring 1, which faults; a return outward runs.",
        None,
        SDM2.at("RET—Return From Procedure"),
        fault="#GP",
    ),
    _silent(
        "iret",
        ("IRET", "IRETD"),
        "Return from a handler",
        None,
        _CHECKED,
        "A return to an inner ring faults; a return within ring 1 or outward runs, and drops new IF and IOPL silently.",
        "IRET",
        SDM2.at("IRET/IRETD/IRETQ—Interrupt Return"),
        fault="#GP",
    ),
)

_HANDLER = _cpl(_B.ENTERS_HANDLER, _B.ENTERS_HANDLER)
_OPEN_HANDLER = _cpl(_B.ENTERS_FROM_ANY_RING, _B.ENTERS_FROM_ANY_RING)

_OTHER_ROWS = (
    _other(
        "int",
        ("INT",),
        "Call an interrupt handler",
        PgClass.GATE,
        _HANDLER,
        "#GP",
        "It enters the VMM's IDT, which passes it on to the guest's handler.",
        "gate",
        "INTN",
        _INT,
        group=Group.PROTECTION_SYSTEM,
    ),
    _other(
        "int3",
        ("INT3",),
        "Breakpoint",
        PgClass.GATE,
        _HANDLER,
        "#GP",
        "It enters the VMM's IDT, which passes #BP on to the guest's handler.",
        "gate",
        "EXCEPTION",
        _INT,
    ),
    _other(
        "into",
        ("INTO",),
        "Interrupt on overflow",
        PgClass.GATE,
        _HANDLER,
        "#GP",
        "With OF set it enters the VMM's IDT, which passes #OF on to the guest's handler.",
        "gate",
        "EXCEPTION",
        _INT,
    ),
    _other(
        "int1",
        ("INT1",),
        "Debug trap by instruction",
        PgClass.GATE,
        _OPEN_HANDLER,
        None,
        "It raises #DB, which enters the VMM's IDT; a gate's DPL is not asked.",
        "gate",
        "ICEBP",
        _INT,
    ),
    _other(
        "syscall",
        ("SYSCALL",),
        "Enter ring 0 by the address in STAR",
        PgClass.GATE,
        _cpl(_B.FAULTS_UD_IF_OFF, _B.FAULTS_UD_IF_OFF),
        None,
        "It enters real ring 0, so the VMM must own the target, or leave EFER.SCE clear and catch #UD.",
        "gate",
        None,
        SDM2.at("SYSCALL—Fast System Call", note="Intel CPUs have it in 64-bit mode only"),
    ),
    _other(
        "sysenter",
        ("SYSENTER",),
        "Enter ring 0 by the address in SYSENTER_EIP",
        PgClass.GATE,
        _OPEN_HANDLER,
        None,
        "It enters real ring 0, so the VMM must own the target, or leave SYSENTER_CS 0 and catch #GP.",
        "gate",
        None,
        SDM2.at("SYSENTER—Fast System Call"),
    ),
    _other(
        "vmmcall",
        ("VMMCALL",),
        "AMD-V: call the VMM",
        PgClass.GATE,
        _cpl(_B.FAULTS_UD, _B.FAULTS_UD),
        "#UD",
        "Not intercepted it is #UD in every ring, and #UD reaches the VMM too.",
        "traps",
        "VMMCALL",
        APM3.at("VMMCALL Call VMM"),
    ),
    _other(
        "vmcall",
        ("VMCALL",),
        "VT-x: call the VMM",
        PgClass.GATE,
        _cpl(_B.FAULTS_UD_IF_OFF, _B.FAULTS_GP_OR_UD),
        "#UD",
        "Outside VMX operation it is #UD in every ring, and #UD reaches the VMM too.",
        "traps",
        None,
        SDM3C.at("VMCALL—Call to VM Monitor"),
    ),
    _other(
        "cpuid",
        ("CPUID",),
        "Ask the CPU what it is",
        PgClass.UNPRIVILEGED_MACHINE,
        _cpl(_B.RUNS, _B.REVEALS),
        None,
        "It tells of the real CPU and never traps before VT-x and AMD-V: the VMM can hide nothing.",
        "runs",
        "CPUID",
        SDM2.at("CPUID—CPU Identification"),
    ),
    *(
        _other(
            name,
            (name.upper(),),
            title,
            PgClass.UNPRIVILEGED_MACHINE,
            _cpl(_B.FAULTS_UD, _B.FAULTS_UD),
            "#UD",
            "Nothing here: CPUs of these years do not have it, and a run that drew lots could not be repeated.",
            "traps",
            "EXCEPTION",
            SDM2.at(f"{name.upper()}"),
        )
        for name, title in (("rdrand", "Draw a random number"), ("rdseed", "Draw a random seed"))
    ),
    _other(
        "ud2",
        ("UD2",),
        "Raise #UD on purpose",
        PgClass.INNOCUOUS,
        _cpl(_B.FAULTS_UD, _B.FAULTS_UD),
        "#UD",
        "Nothing: it faults alike in every ring, and the VMM passes #UD on to the guest.",
        "traps",
        "EXCEPTION",
        SDM2.at("UD—Undefined Instruction"),
    ),
)

INSTRUCTIONS: Mapping[str, Instruction] = by("id", *_PRIVILEGED_ROWS, *_SILENT_ROWS, *_OTHER_ROWS)

SILENT_IDS: frozenset[str] = frozenset(row.id for row in _SILENT_ROWS)
"""Where a trap-and-emulate VMM on real x86 may diverge from bare metal, and nowhere else but CPUID."""


def group_mnemonics(group: Group) -> tuple[str, ...]:
    """Give the mnemonics of one of Robin & Irvine's groups, each once, as their lists count them.

    PUSHF(D) and POPF(D) are one each; MOV to and from a segment register is one.
    """
    return tuple(dict.fromkeys(row.mnemonics[0] for row in INSTRUCTIONS.values() if row.group is group))
