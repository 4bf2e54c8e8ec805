"""Intel VT-x as Intel defines it: the VMCS, the controls, the exit reasons, and what an exit reports.

Encodings, bits and numbers agree with the headers of Linux (vmx.h) and Bochs (vmx.h), which were read side by side; the
manual itself is cited by its section titles.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

from ringviz.facts.layout import BitField
from ringviz.facts.source import Source, by
from ringviz.facts.sources import SDM3C, SDM3D

_CHECKED = "checked against the headers of Linux and Bochs"
_ENCODING = SDM3D.at("Field Encoding in VMCS", note=_CHECKED)
_REASONS = SDM3D.at("VMX Basic Exit Reasons", note=_CHECKED)
_CAPABILITY = SDM3D.at("VMX Capability Reporting Facility")
_EXECUTION = SDM3C.at("VM-Execution Control Fields", note=_CHECKED)
_EXIT_CONTROLS = SDM3C.at("VM-Exit Controls", note=_CHECKED)
_ENTRY_CONTROLS = SDM3C.at("VM-Entry Controls", note=_CHECKED)
_ERRORS = SDM3C.at("VM Instruction Error Numbers", note=_CHECKED)
_QUALIFICATION = SDM3C.at("Basic VM-Exit Information")
_VECTORED = SDM3C.at("Information for VM Exits Due to Vectored Events")
_INJECTION = SDM3C.at("VM-Entry Controls for Event Injection")
_GUEST_STATE = SDM3C.at("Guest-State Area")
_UNCONDITIONAL = SDM3C.at("Instructions That Cause VM Exits Unconditionally")
_CONDITIONAL = SDM3C.at("Instructions That Cause VM Exits Conditionally")
_ENTRY_FAILURES = SDM3C.at("VM-Entry Failures During or After Loading Guest State", note=_CHECKED)
_EPT = SDM3C.at("EPT Translation Mechanism")
_EPT_EXITS = SDM3C.at("EPT-Induced VM Exits")


# ---- the VMCS --------------------------------------------------------------------------------------------------------


class FieldWidth(IntEnum):
    """Bits 14:13 of an encoding. Source: Intel SDM Vol. 3D, "Field Encoding in VMCS"."""

    WORD = 0
    QUAD = 1
    DOUBLE = 2
    NATURAL = 3
    """32 bits on a CPU without 64-bit mode, else 64."""


class FieldType(IntEnum):
    """Bits 11:10 of an encoding."""

    CONTROL = 0
    READ_ONLY = 1
    """Written by the CPU at an exit, by VMWRITE only where the CPU allows that."""
    GUEST = 2
    HOST = 3


@dataclass(frozen=True, slots=True)
class VmcsField:
    """One field of the VMCS."""

    encoding: int
    """What VMREAD and VMWRITE are given."""
    name: str
    """As programs spell it."""
    title: str
    """Intel's name."""
    feature: str = ""
    """What a CPU must have for the field to exist: `secondary`, `ept`, `vpid`, `msr-bitmaps`, `efer`; or empty."""
    source: Source = _ENCODING

    @property
    def width(self) -> FieldWidth:
        """How wide it is."""
        return FieldWidth(self.encoding >> 13 & 3)

    @property
    def type(self) -> FieldType:
        """Which of the areas it belongs to."""
        return FieldType(self.encoding >> 10 & 3)

    @property
    def index(self) -> int:
        """Its number among the fields of its width and type."""
        return self.encoding >> 1 & 0x1FF

    @property
    def size_bytes(self) -> int:
        """Bytes that VMREAD gives; natural-width fields count as 8, as on a CPU with 64-bit mode."""
        return {FieldWidth.WORD: 2, FieldWidth.DOUBLE: 4}.get(self.width, 8)


SEGMENT_NAMES = ("ES", "CS", "SS", "DS", "FS", "GS", "LDTR", "TR")
"""Segment registers in the order in which their fields are numbered."""


def _per_segment(first: int, area: str, what: str, title: str) -> Iterator[VmcsField]:
    """Give the fields that come in a run of one a segment register."""
    for number, segment in enumerate(SEGMENT_NAMES):
        yield VmcsField(first + 2 * number, f"{area}_{segment}_{what}", title.format(segment))


def _host_selectors() -> Iterator[VmcsField]:
    """Give the host's selectors: no LDTR, which a VM exit empties."""
    names = [name for name in SEGMENT_NAMES if name != "LDTR"]
    for number, segment in enumerate(names):
        yield VmcsField(0x0C00 + 2 * number, f"HOST_{segment}_SELECTOR", f"Host {segment} selector")


VMCS_FIELDS: Mapping[int, VmcsField] = by(
    "encoding",
    VmcsField(0x0000, "VIRTUAL_PROCESSOR_ID", "Virtual-processor identifier (VPID)", "vpid"),
    *_per_segment(0x0800, "GUEST", "SELECTOR", "Guest {} selector"),
    *_host_selectors(),
    VmcsField(0x2000, "IO_BITMAP_A", "Address of I/O bitmap A"),
    VmcsField(0x2002, "IO_BITMAP_B", "Address of I/O bitmap B"),
    VmcsField(0x2004, "MSR_BITMAP", "Address of MSR bitmaps", "msr-bitmaps"),
    VmcsField(0x2006, "VM_EXIT_MSR_STORE_ADDR", "VM-exit MSR-store address"),
    VmcsField(0x2008, "VM_EXIT_MSR_LOAD_ADDR", "VM-exit MSR-load address"),
    VmcsField(0x200A, "VM_ENTRY_MSR_LOAD_ADDR", "VM-entry MSR-load address"),
    VmcsField(0x200C, "EXECUTIVE_VMCS_POINTER", "Executive-VMCS pointer"),
    VmcsField(0x2010, "TSC_OFFSET", "TSC offset"),
    VmcsField(0x201A, "EPT_POINTER", "EPT pointer (EPTP)", "ept"),
    VmcsField(0x2400, "GUEST_PHYSICAL_ADDRESS", "Guest-physical address", "ept"),
    VmcsField(0x2800, "VMCS_LINK_POINTER", "VMCS link pointer"),
    VmcsField(0x2802, "GUEST_IA32_DEBUGCTL", "Guest IA32_DEBUGCTL"),
    VmcsField(0x2806, "GUEST_IA32_EFER", "Guest IA32_EFER", "efer"),
    VmcsField(0x280A, "GUEST_PDPTE0", "Guest PDPTE0", "ept"),
    VmcsField(0x280C, "GUEST_PDPTE1", "Guest PDPTE1", "ept"),
    VmcsField(0x280E, "GUEST_PDPTE2", "Guest PDPTE2", "ept"),
    VmcsField(0x2810, "GUEST_PDPTE3", "Guest PDPTE3", "ept"),
    VmcsField(0x2C02, "HOST_IA32_EFER", "Host IA32_EFER", "efer"),
    VmcsField(0x4000, "PIN_BASED_VM_EXEC_CONTROL", "Pin-based VM-execution controls"),
    VmcsField(0x4002, "CPU_BASED_VM_EXEC_CONTROL", "Primary processor-based VM-execution controls"),
    VmcsField(0x4004, "EXCEPTION_BITMAP", "Exception bitmap"),
    VmcsField(0x4006, "PAGE_FAULT_ERROR_CODE_MASK", "Page-fault error-code mask"),
    VmcsField(0x4008, "PAGE_FAULT_ERROR_CODE_MATCH", "Page-fault error-code match"),
    VmcsField(0x400A, "CR3_TARGET_COUNT", "CR3-target count"),
    VmcsField(0x400C, "VM_EXIT_CONTROLS", "VM-exit controls"),
    VmcsField(0x400E, "VM_EXIT_MSR_STORE_COUNT", "VM-exit MSR-store count"),
    VmcsField(0x4010, "VM_EXIT_MSR_LOAD_COUNT", "VM-exit MSR-load count"),
    VmcsField(0x4012, "VM_ENTRY_CONTROLS", "VM-entry controls"),
    VmcsField(0x4014, "VM_ENTRY_MSR_LOAD_COUNT", "VM-entry MSR-load count"),
    VmcsField(0x4016, "VM_ENTRY_INTR_INFO", "VM-entry interruption-information field"),
    VmcsField(0x4018, "VM_ENTRY_EXCEPTION_ERROR_CODE", "VM-entry exception error code"),
    VmcsField(0x401A, "VM_ENTRY_INSTRUCTION_LENGTH", "VM-entry instruction length"),
    VmcsField(0x401E, "SECONDARY_VM_EXEC_CONTROL", "Secondary processor-based VM-execution controls", "secondary"),
    VmcsField(0x4400, "VM_INSTRUCTION_ERROR", "VM-instruction error"),
    VmcsField(0x4402, "VM_EXIT_REASON", "Exit reason"),
    VmcsField(0x4404, "VM_EXIT_INTR_INFO", "VM-exit interruption information"),
    VmcsField(0x4406, "VM_EXIT_INTR_ERROR_CODE", "VM-exit interruption error code"),
    VmcsField(0x4408, "IDT_VECTORING_INFO", "IDT-vectoring information field"),
    VmcsField(0x440A, "IDT_VECTORING_ERROR_CODE", "IDT-vectoring error code"),
    VmcsField(0x440C, "VM_EXIT_INSTRUCTION_LENGTH", "VM-exit instruction length"),
    VmcsField(0x440E, "VM_EXIT_INSTRUCTION_INFO", "VM-exit instruction information"),
    *_per_segment(0x4800, "GUEST", "LIMIT", "Guest {} limit"),
    VmcsField(0x4810, "GUEST_GDTR_LIMIT", "Guest GDTR limit"),
    VmcsField(0x4812, "GUEST_IDTR_LIMIT", "Guest IDTR limit"),
    *_per_segment(0x4814, "GUEST", "ACCESS_RIGHTS", "Guest {} access rights"),
    VmcsField(0x4824, "GUEST_INTERRUPTIBILITY_STATE", "Guest interruptibility state"),
    VmcsField(0x4826, "GUEST_ACTIVITY_STATE", "Guest activity state"),
    VmcsField(0x4828, "GUEST_SMBASE", "Guest SMBASE"),
    VmcsField(0x482A, "GUEST_SYSENTER_CS", "Guest IA32_SYSENTER_CS"),
    VmcsField(0x4C00, "HOST_SYSENTER_CS", "Host IA32_SYSENTER_CS"),
    VmcsField(0x6000, "CR0_GUEST_HOST_MASK", "CR0 guest/host mask"),
    VmcsField(0x6002, "CR4_GUEST_HOST_MASK", "CR4 guest/host mask"),
    VmcsField(0x6004, "CR0_READ_SHADOW", "CR0 read shadow"),
    VmcsField(0x6006, "CR4_READ_SHADOW", "CR4 read shadow"),
    VmcsField(0x6008, "CR3_TARGET_VALUE0", "CR3-target value 0"),
    VmcsField(0x600A, "CR3_TARGET_VALUE1", "CR3-target value 1"),
    VmcsField(0x600C, "CR3_TARGET_VALUE2", "CR3-target value 2"),
    VmcsField(0x600E, "CR3_TARGET_VALUE3", "CR3-target value 3"),
    VmcsField(0x6400, "EXIT_QUALIFICATION", "Exit qualification"),
    VmcsField(0x6402, "IO_RCX", "I/O RCX"),
    VmcsField(0x6404, "IO_RSI", "I/O RSI"),
    VmcsField(0x6406, "IO_RDI", "I/O RDI"),
    VmcsField(0x6408, "IO_RIP", "I/O RIP"),
    VmcsField(0x640A, "GUEST_LINEAR_ADDRESS", "Guest-linear address"),
    VmcsField(0x6800, "GUEST_CR0", "Guest CR0"),
    VmcsField(0x6802, "GUEST_CR3", "Guest CR3"),
    VmcsField(0x6804, "GUEST_CR4", "Guest CR4"),
    *_per_segment(0x6806, "GUEST", "BASE", "Guest {} base"),
    VmcsField(0x6816, "GUEST_GDTR_BASE", "Guest GDTR base"),
    VmcsField(0x6818, "GUEST_IDTR_BASE", "Guest IDTR base"),
    VmcsField(0x681A, "GUEST_DR7", "Guest DR7"),
    VmcsField(0x681C, "GUEST_RSP", "Guest RSP"),
    VmcsField(0x681E, "GUEST_RIP", "Guest RIP"),
    VmcsField(0x6820, "GUEST_RFLAGS", "Guest RFLAGS"),
    VmcsField(0x6822, "GUEST_PENDING_DEBUG_EXCEPTIONS", "Guest pending debug exceptions"),
    VmcsField(0x6824, "GUEST_SYSENTER_ESP", "Guest IA32_SYSENTER_ESP"),
    VmcsField(0x6826, "GUEST_SYSENTER_EIP", "Guest IA32_SYSENTER_EIP"),
    VmcsField(0x6C00, "HOST_CR0", "Host CR0"),
    VmcsField(0x6C02, "HOST_CR3", "Host CR3"),
    VmcsField(0x6C04, "HOST_CR4", "Host CR4"),
    VmcsField(0x6C06, "HOST_FS_BASE", "Host FS base"),
    VmcsField(0x6C08, "HOST_GS_BASE", "Host GS base"),
    VmcsField(0x6C0A, "HOST_TR_BASE", "Host TR base"),
    VmcsField(0x6C0C, "HOST_GDTR_BASE", "Host GDTR base"),
    VmcsField(0x6C0E, "HOST_IDTR_BASE", "Host IDTR base"),
    VmcsField(0x6C10, "HOST_SYSENTER_ESP", "Host IA32_SYSENTER_ESP"),
    VmcsField(0x6C12, "HOST_SYSENTER_EIP", "Host IA32_SYSENTER_EIP"),
    VmcsField(0x6C14, "HOST_RSP", "Host RSP"),
    VmcsField(0x6C16, "HOST_RIP", "Host RIP"),
)
"""The fields that this VMM or this CPU model has a use for, in Intel's numbering."""

FIELDS_BY_NAME: Mapping[str, VmcsField] = by("name", *VMCS_FIELDS.values())


# ---- controls --------------------------------------------------------------------------------------------------------

Word = Literal["pin", "primary", "secondary", "exit", "entry"]

CONTROL_FIELDS: Mapping[Word, str] = {
    "pin": "PIN_BASED_VM_EXEC_CONTROL",
    "primary": "CPU_BASED_VM_EXEC_CONTROL",
    "secondary": "SECONDARY_VM_EXEC_CONTROL",
    "exit": "VM_EXIT_CONTROLS",
    "entry": "VM_ENTRY_CONTROLS",
}
"""Which VMCS field holds which controls."""


@dataclass(frozen=True, slots=True)
class VmxControl:
    """One control bit."""

    word: Word
    bit: int
    name: str
    """Intel's name."""
    title: str
    """What it does while set, one line."""
    source: Source = _EXECUTION

    @property
    def id(self) -> str:
        """The name in kebab case, as on the command line; the exit and entry controls say which they are."""
        words = self.name.lower().replace("“", "").replace("”", "").replace("/", "").replace(" ", "-")
        return f"{words}-on-{self.word}" if self.word in ("exit", "entry") else words

    @property
    def mask(self) -> int:
        """The bit, in place."""
        return 1 << self.bit


def _exit_control(bit: int, name: str, title: str) -> VmxControl:
    return VmxControl("exit", bit, name, title, _EXIT_CONTROLS)


def _entry_control(bit: int, name: str, title: str) -> VmxControl:
    return VmxControl("entry", bit, name, title, _ENTRY_CONTROLS)


VMX_CONTROLS: Mapping[str, VmxControl] = by(
    "id",
    VmxControl("pin", 0, "External-interrupt exiting", "Physical interrupts exit"),
    VmxControl("pin", 3, "NMI exiting", "Non-maskable interrupts exit"),
    VmxControl("pin", 5, "Virtual NMIs", "NMI blocking is kept for the guest alone"),
    VmxControl("pin", 6, "Activate VMX-preemption timer", "A timer counts down in the guest and exits"),
    VmxControl("pin", 7, "Process posted interrupts", "Posted interrupts are delivered without an exit"),
    VmxControl("primary", 2, "Interrupt-window exiting", "Exit as soon as the guest could take an interrupt"),
    VmxControl("primary", 3, "Use TSC offsetting", "The guest's time-stamp counter is shifted by the TSC offset"),
    VmxControl("primary", 7, "HLT exiting", "HLT exits"),
    VmxControl("primary", 9, "INVLPG exiting", "INVLPG exits"),
    VmxControl("primary", 10, "MWAIT exiting", "MWAIT exits"),
    VmxControl("primary", 11, "RDPMC exiting", "RDPMC exits"),
    VmxControl("primary", 12, "RDTSC exiting", "RDTSC exits"),
    VmxControl("primary", 15, "CR3-load exiting", "MOV to CR3 exits, unless the value is a CR3-target value"),
    VmxControl("primary", 16, "CR3-store exiting", "MOV from CR3 exits"),
    VmxControl("primary", 17, "Activate tertiary controls", "The tertiary controls count"),
    VmxControl("primary", 19, "CR8-load exiting", "MOV to CR8 exits"),
    VmxControl("primary", 20, "CR8-store exiting", "MOV from CR8 exits"),
    VmxControl("primary", 21, "Use TPR shadow", "CR8 and the APIC's task priority are virtual"),
    VmxControl("primary", 22, "NMI-window exiting", "Exit as soon as the guest could take an NMI"),
    VmxControl("primary", 23, "MOV-DR exiting", "MOV to and from debug registers exits"),
    VmxControl("primary", 24, "Unconditional I/O exiting", "IN and OUT exit, unless the I/O bitmaps are used"),
    VmxControl("primary", 25, "Use I/O bitmaps", "IN and OUT exit on the ports whose bit is set"),
    VmxControl("primary", 27, "Monitor trap flag", "Exit after each instruction"),
    VmxControl("primary", 28, "Use MSR bitmaps", "RDMSR and WRMSR exit only on the registers whose bit is set"),
    VmxControl("primary", 29, "MONITOR exiting", "MONITOR exits"),
    VmxControl("primary", 30, "PAUSE exiting", "PAUSE exits"),
    VmxControl("primary", 31, "Activate secondary controls", "The secondary controls count"),
    VmxControl("secondary", 0, "Virtualize APIC accesses", "Accesses to the APIC's page are virtual"),
    VmxControl("secondary", 1, "Enable EPT", "Guest-physical addresses go through extended page tables"),
    VmxControl("secondary", 2, "Descriptor-table exiting", "LGDT, LIDT, LLDT, LTR, SGDT, SIDT, SLDT and STR exit"),
    VmxControl("secondary", 3, "Enable RDTSCP", "The guest has RDTSCP"),
    VmxControl("secondary", 4, "Virtualize x2APIC mode", "The guest's x2APIC registers are virtual"),
    VmxControl("secondary", 5, "Enable VPID", "TLB entries are tagged with the virtual processor's number"),
    VmxControl("secondary", 6, "WBINVD exiting", "WBINVD exits"),
    VmxControl("secondary", 7, "Unrestricted guest", "The guest may clear CR0.PG and CR0.PE"),
    VmxControl("secondary", 8, "APIC-register virtualization", "Reads of APIC registers need no exit"),
    VmxControl("secondary", 9, "Virtual-interrupt delivery", "Virtual interrupts are delivered without an exit"),
    VmxControl("secondary", 10, "PAUSE-loop exiting", "PAUSEs close together exit"),
    VmxControl("secondary", 11, "RDRAND exiting", "RDRAND exits"),
    VmxControl("secondary", 12, "Enable INVPCID", "The guest has INVPCID"),
    VmxControl("secondary", 13, "Enable VM functions", "The guest has VMFUNC"),
    VmxControl("secondary", 14, "VMCS shadowing", "VMREAD and VMWRITE in the guest may use a shadow VMCS"),
    VmxControl("secondary", 16, "RDSEED exiting", "RDSEED exits"),
    VmxControl("secondary", 17, "Enable PML", "The CPU logs the pages that the guest dirties"),
    VmxControl("secondary", 18, "EPT-violation #VE", "Some EPT violations become exceptions of the guest"),
    VmxControl("secondary", 20, "Enable XSAVES/XRSTORS", "The guest has XSAVES and XRSTORS"),
    _exit_control(2, "Save debug controls", "DR7 and IA32_DEBUGCTL are saved"),
    _exit_control(9, "Host address-space size", "The host runs in 64-bit mode after the exit"),
    _exit_control(15, "Acknowledge interrupt", "The interrupt that caused the exit is acknowledged"),
    _exit_control(20, "Save IA32_EFER", "The guest's EFER is saved"),
    _exit_control(21, "Load IA32_EFER", "The host's EFER is loaded"),
    _entry_control(2, "Load debug controls", "DR7 and IA32_DEBUGCTL are loaded"),
    _entry_control(9, "IA-32e mode guest", "The guest runs in long mode after the entry"),
    _entry_control(10, "Entry to SMM", "The guest is in system management mode"),
    _entry_control(11, "Deactivate dual-monitor treatment", "System management mode is handled the plain way again"),
    _entry_control(15, "Load IA32_EFER", "The guest's EFER is loaded"),
)

DEFAULT1: Mapping[Word, int] = {
    "pin": 0x0000_0016,
    "primary": 0x0401_E172,
    "secondary": 0,
    "exit": 0x0003_6DFF,
    "entry": 0x0000_11FF,
}
"""Bits that the first VT-x CPUs want set: reserved ones, and CR3-load and CR3-store exiting among them.

Source: Intel SDM Vol. 3D, "VMX Capability Reporting Facility" (the default1 class), checked against Linux's header.
"""


# ---- exits -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ExitReason:
    """One basic exit reason."""

    number: int
    """Bits 15:0 of the exit-reason field."""
    name: str
    """Intel's name."""
    title: str
    """When it happens, one line for a learner."""
    controls: tuple[str, ...] = ()
    """Ids of the controls that ask for it; none for exits that are unconditional or have conditions of their own."""
    source: Source = _REASONS


class Reason(IntEnum):
    """The exit reasons that code needs by name."""

    EXCEPTION_NMI = 0
    EXTERNAL_INTERRUPT = 1
    TRIPLE_FAULT = 2
    INTERRUPT_WINDOW = 7
    TASK_SWITCH = 9
    CPUID = 10
    GETSEC = 11
    HLT = 12
    INVD = 13
    INVLPG = 14
    RDPMC = 15
    RDTSC = 16
    RSM = 17
    VMCALL = 18
    VMCLEAR = 19
    VMLAUNCH = 20
    VMPTRLD = 21
    VMPTRST = 22
    VMREAD = 23
    VMRESUME = 24
    VMWRITE = 25
    VMXOFF = 26
    VMXON = 27
    CR_ACCESS = 28
    MOV_DR = 29
    IO_INSTRUCTION = 30
    RDMSR = 31
    WRMSR = 32
    ENTRY_GUEST_STATE = 33
    ENTRY_MSR_LOAD = 34
    MWAIT = 36
    MONITOR_TRAP_FLAG = 37
    MONITOR = 39
    PAUSE = 40
    ENTRY_MACHINE_CHECK = 41
    GDTR_IDTR_ACCESS = 46
    LDTR_TR_ACCESS = 47
    EPT_VIOLATION = 48
    EPT_MISCONFIGURATION = 49
    INVEPT = 50
    INVVPID = 53
    WBINVD = 54
    XSETBV = 55


ENTRY_FAILURE_BIT = 1 << 31
"""Set in the exit-reason field where a VM entry failed. Source: Intel SDM Vol. 3C, "Basic VM-Exit Information"."""

EXIT_REASONS: Mapping[int, ExitReason] = by(
    "number",
    ExitReason(0, "Exception or NMI", "An exception whose bit is set in the exception bitmap, or an NMI"),
    ExitReason(1, "External interrupt", "A physical interrupt arrived", ("external-interrupt-exiting",)),
    ExitReason(2, "Triple fault", "Not even the double fault could be delivered"),
    ExitReason(3, "INIT signal", "An INIT signal arrived"),
    ExitReason(4, "Start-up IPI (SIPI)", "A start-up IPI arrived while the virtual processor waited for one"),
    ExitReason(5, "I/O system-management interrupt (SMI)", "An SMI arrived right after an I/O instruction"),
    ExitReason(6, "Other SMI", "An SMI arrived"),
    ExitReason(7, "Interrupt window", "The guest could take an interrupt now", ("interrupt-window-exiting",)),
    ExitReason(8, "NMI window", "The guest could take an NMI now", ("nmi-window-exiting",)),
    ExitReason(9, "Task switch", "Guest is about to switch tasks"),
    ExitReason(10, "CPUID", "Guest executed CPUID"),
    ExitReason(11, "GETSEC", "Guest executed GETSEC"),
    ExitReason(12, "HLT", "Guest executed HLT", ("hlt-exiting",)),
    ExitReason(13, "INVD", "Guest executed INVD"),
    ExitReason(14, "INVLPG", "Guest executed INVLPG", ("invlpg-exiting",)),
    ExitReason(15, "RDPMC", "Guest executed RDPMC", ("rdpmc-exiting",)),
    ExitReason(16, "RDTSC", "Guest executed RDTSC", ("rdtsc-exiting",)),
    ExitReason(17, "RSM", "Guest executed RSM in system management mode"),
    ExitReason(18, "VMCALL", "Guest executed VMCALL, a hypercall"),
    ExitReason(19, "VMCLEAR", "Guest executed VMCLEAR"),
    ExitReason(20, "VMLAUNCH", "Guest executed VMLAUNCH"),
    ExitReason(21, "VMPTRLD", "Guest executed VMPTRLD"),
    ExitReason(22, "VMPTRST", "Guest executed VMPTRST"),
    ExitReason(23, "VMREAD", "Guest executed VMREAD"),
    ExitReason(24, "VMRESUME", "Guest executed VMRESUME"),
    ExitReason(25, "VMWRITE", "Guest executed VMWRITE"),
    ExitReason(26, "VMXOFF", "Guest executed VMXOFF"),
    ExitReason(27, "VMXON", "Guest executed VMXON"),
    ExitReason(
        28,
        "Control-register accesses",
        "Guest used a control register in a way that the masks or the CR3 and CR8 controls reserve",
        ("cr3-load-exiting", "cr3-store-exiting", "cr8-load-exiting", "cr8-store-exiting"),
    ),
    ExitReason(29, "MOV DR", "Guest used a debug register", ("mov-dr-exiting",)),
    ExitReason(
        30, "I/O instruction", "Guest executed IN, OUT, INS or OUTS", ("unconditional-io-exiting", "use-io-bitmaps")
    ),
    ExitReason(31, "RDMSR", "Guest executed RDMSR", ("use-msr-bitmaps",)),
    ExitReason(32, "WRMSR", "Guest executed WRMSR", ("use-msr-bitmaps",)),
    ExitReason(33, "VM-entry failure due to invalid guest state", "VM entry found the guest-state area wrong"),
    ExitReason(34, "VM-entry failure due to MSR loading", "VM entry could not load the MSRs of its list"),
    ExitReason(36, "MWAIT", "Guest executed MWAIT", ("mwait-exiting",)),
    ExitReason(37, "Monitor trap flag", "One guest instruction has completed", ("monitor-trap-flag",)),
    ExitReason(39, "MONITOR", "Guest executed MONITOR", ("monitor-exiting",)),
    ExitReason(40, "PAUSE", "Guest executed PAUSE", ("pause-exiting", "pause-loop-exiting")),
    ExitReason(41, "VM-entry failure due to machine-check event", "A machine check came during VM entry"),
    ExitReason(43, "TPR below threshold", "The virtual task priority fell below its threshold", ("use-tpr-shadow",)),
    ExitReason(44, "APIC access", "Guest used the APIC's page", ("virtualize-apic-accesses",)),
    ExitReason(45, "Virtualized EOI", "Guest ended a virtual interrupt", ("virtual-interrupt-delivery",)),
    ExitReason(46, "Access to GDTR or IDTR", "Guest executed LGDT, LIDT, SGDT or SIDT", ("descriptor-table-exiting",)),
    ExitReason(47, "Access to LDTR or TR", "Guest executed LLDT, LTR, SLDT or STR", ("descriptor-table-exiting",)),
    ExitReason(48, "EPT violation", "The extended page tables do not allow the access", ("enable-ept",)),
    ExitReason(49, "EPT misconfiguration", "An extended page-table entry makes no sense", ("enable-ept",)),
    ExitReason(50, "INVEPT", "Guest executed INVEPT"),
    ExitReason(51, "RDTSCP", "Guest executed RDTSCP", ("rdtsc-exiting", "enable-rdtscp")),
    ExitReason(52, "VMX-preemption timer expired", "The timer ran out", ("activate-vmx-preemption-timer",)),
    ExitReason(53, "INVVPID", "Guest executed INVVPID"),
    ExitReason(54, "WBINVD", "Guest executed WBINVD", ("wbinvd-exiting",)),
    ExitReason(55, "XSETBV", "Guest executed XSETBV"),
    ExitReason(56, "APIC write", "Guest wrote a virtual APIC register", ("apic-register-virtualization",)),
    ExitReason(57, "RDRAND", "Guest executed RDRAND", ("rdrand-exiting",)),
    ExitReason(58, "INVPCID", "Guest executed INVPCID", ("enable-invpcid", "invlpg-exiting")),
    ExitReason(59, "VMFUNC", "Guest executed VMFUNC in a way that is not enabled", ("enable-vm-functions",)),
    ExitReason(61, "RDSEED", "Guest executed RDSEED", ("rdseed-exiting",)),
    ExitReason(62, "Page-modification log full", "The log of dirty pages is full", ("enable-pml",)),
    ExitReason(63, "XSAVES", "Guest executed XSAVES", ("enable-xsavesxrstors",)),
    ExitReason(64, "XRSTORS", "Guest executed XRSTORS", ("enable-xsavesxrstors",)),
)

Needs = Literal["any-ring", "ring-0", "ring-0-or-ud", "tsd", "pce", "exit-first"]
"""What is checked before an exit is considered: nothing; CPL 0, else #GP(0); CPL 0, else #UD; CR4.TSD; CR4.PCE.

`exit-first`: the exit comes before the privilege check.
Source: Intel SDM Vol. 3C, "Relative Priority of Faults and VM Exits".
"""


@dataclass(frozen=True, slots=True)
class InstructionExit:
    """How one form of an instruction (`facts.instructions`) comes to exit."""

    form: str
    reason: Reason
    control: str | None
    """Id of the control that must be set; None: it exits unconditionally, or by a rule of its own."""
    needs: Needs
    is_ruled: bool = False
    """A rule beyond one control bit decides: bitmaps, masks, target values."""
    source: Source = _CONDITIONAL


def _always(form: str, reason: Reason, needs: Needs) -> InstructionExit:
    return InstructionExit(form, reason, None, needs, False, _UNCONDITIONAL)


INSTRUCTION_EXITS: Mapping[str, InstructionExit] = by(
    "form",
    _always("cpuid", Reason.CPUID, "any-ring"),
    _always("invd", Reason.INVD, "ring-0"),
    _always("vmcall", Reason.VMCALL, "exit-first"),
    _always("vmclear", Reason.VMCLEAR, "exit-first"),
    _always("vmlaunch", Reason.VMLAUNCH, "exit-first"),
    _always("vmptrld", Reason.VMPTRLD, "exit-first"),
    _always("vmptrst", Reason.VMPTRST, "exit-first"),
    _always("vmread", Reason.VMREAD, "exit-first"),
    _always("vmresume", Reason.VMRESUME, "exit-first"),
    _always("vmwrite", Reason.VMWRITE, "exit-first"),
    _always("vmxoff", Reason.VMXOFF, "exit-first"),
    _always("vmxon", Reason.VMXON, "exit-first"),
    InstructionExit("hlt", Reason.HLT, "hlt-exiting", "ring-0"),
    InstructionExit("invlpg", Reason.INVLPG, "invlpg-exiting", "ring-0"),
    InstructionExit("rdpmc", Reason.RDPMC, "rdpmc-exiting", "pce"),
    InstructionExit("rdtsc", Reason.RDTSC, "rdtsc-exiting", "tsd"),
    InstructionExit("mov-to-dr", Reason.MOV_DR, "mov-dr-exiting", "exit-first"),
    InstructionExit("mov-from-dr", Reason.MOV_DR, "mov-dr-exiting", "exit-first"),
    InstructionExit("wbinvd", Reason.WBINVD, "wbinvd-exiting", "ring-0"),
    InstructionExit("mwait", Reason.MWAIT, "mwait-exiting", "ring-0-or-ud"),
    InstructionExit("monitor", Reason.MONITOR, "monitor-exiting", "ring-0-or-ud"),
    InstructionExit("lgdt", Reason.GDTR_IDTR_ACCESS, "descriptor-table-exiting", "ring-0"),
    InstructionExit("lidt", Reason.GDTR_IDTR_ACCESS, "descriptor-table-exiting", "ring-0"),
    InstructionExit("sgdt", Reason.GDTR_IDTR_ACCESS, "descriptor-table-exiting", "any-ring"),
    InstructionExit("sidt", Reason.GDTR_IDTR_ACCESS, "descriptor-table-exiting", "any-ring"),
    InstructionExit("lldt", Reason.LDTR_TR_ACCESS, "descriptor-table-exiting", "ring-0"),
    InstructionExit("ltr", Reason.LDTR_TR_ACCESS, "descriptor-table-exiting", "ring-0"),
    InstructionExit("sldt", Reason.LDTR_TR_ACCESS, "descriptor-table-exiting", "any-ring"),
    InstructionExit("str", Reason.LDTR_TR_ACCESS, "descriptor-table-exiting", "any-ring"),
    InstructionExit("mov-to-cr", Reason.CR_ACCESS, None, "ring-0", True),
    InstructionExit("mov-from-cr", Reason.CR_ACCESS, "cr3-store-exiting", "ring-0", True),
    InstructionExit("clts", Reason.CR_ACCESS, None, "ring-0", True),
    InstructionExit("lmsw", Reason.CR_ACCESS, None, "ring-0", True),
    InstructionExit("in", Reason.IO_INSTRUCTION, None, "any-ring", True),
    InstructionExit("out", Reason.IO_INSTRUCTION, None, "any-ring", True),
    InstructionExit("ins", Reason.IO_INSTRUCTION, None, "any-ring", True),
    InstructionExit("outs", Reason.IO_INSTRUCTION, None, "any-ring", True),
    InstructionExit("rdmsr", Reason.RDMSR, None, "ring-0", True),
    InstructionExit("wrmsr", Reason.WRMSR, None, "ring-0", True),
)
"""IN and OUT pass their IOPL and I/O-map checks before the exit too; those have nothing to do with CPL 0 alone.

What is not here never exits: PUSHF, POPF, CLI, STI, IRET, INT n, SYSENTER, far transfers, segment loads, LAR, LSL,
VERR, VERW, SMSW.
"""


# ---- what an exit reports --------------------------------------------------------------------------------------------


def _fields(source: Source, *rows: tuple[str, int, int, str]) -> Mapping[str, BitField]:
    return by("name", *(BitField(name, low, high, title, source) for name, low, high, title in rows))


_CR_TABLE = SDM3C.at("Exit Qualification for Control-Register Accesses")
CR_QUALIFICATION = _fields(
    _CR_TABLE,
    ("NUMBER", 0, 3, "Number of the control register; 0 for CLTS and LMSW"),
    ("TYPE", 4, 5, "0 MOV to CR, 1 MOV from CR, 2 CLTS, 3 LMSW"),
    ("LMSW_MEMORY", 6, 6, "LMSW: 0 register operand, 1 memory operand"),
    ("GPR", 8, 11, "MOV: number of the general-purpose register"),
    ("LMSW_SOURCE", 16, 31, "LMSW: the value to load"),
)


class CrAccess(IntEnum):
    """Values of TYPE in CR_QUALIFICATION. Source: as there."""

    MOV_TO_CR = 0
    MOV_FROM_CR = 1
    CLTS = 2
    LMSW = 3


DR_QUALIFICATION = _fields(
    SDM3C.at("Exit Qualification for MOV DR"),
    ("NUMBER", 0, 2, "Number of the debug register"),
    ("DIRECTION", 4, 4, "0 MOV to DR, 1 MOV from DR"),
    ("GPR", 8, 11, "Number of the general-purpose register"),
)
IO_QUALIFICATION = _fields(
    SDM3C.at("Exit Qualification for I/O Instructions"),
    ("SIZE", 0, 2, "0 1 byte, 1 2 bytes, 3 4 bytes"),
    ("DIRECTION", 3, 3, "0 OUT, 1 IN"),
    ("STRING", 4, 4, "A string instruction"),
    ("REP", 5, 5, "With a repeat prefix"),
    ("IMMEDIATE", 6, 6, "Port: 0 in DX, 1 immediate"),
    ("PORT", 16, 31, "Port number"),
)
EPT_QUALIFICATION = _fields(
    SDM3C.at("Exit Qualification for EPT Violations"),
    ("READ", 0, 0, "The access was a read"),
    ("WRITE", 1, 1, "The access was a write"),
    ("FETCH", 2, 2, "The access was an instruction fetch"),
    ("READABLE", 3, 3, "The entries used for the translation allow reading"),
    ("WRITABLE", 4, 4, "They allow writing"),
    ("EXECUTABLE", 5, 5, "They allow fetching"),
    ("LINEAR_VALID", 7, 7, "The guest-linear address field is valid"),
    ("TRANSLATED", 8, 8, "1 the access was to what the linear address translates to, 0 to a paging structure"),
)
DEBUG_QUALIFICATION = _fields(
    SDM3C.at("Exit Qualification for Debug Exceptions"),
    ("B", 0, 3, "Breakpoint conditions that were met"),
    ("BD", 13, 13, "A debug register was about to be used while DR7.GD was set"),
    ("BS", 14, 14, "Single step"),
)
TASK_SWITCH_QUALIFICATION = _fields(
    SDM3C.at("Exit Qualification for Task Switches"),
    ("SELECTOR", 0, 15, "Selector of the task-state segment to switch to"),
    ("CAUSE", 30, 31, "0 CALL, 1 IRET, 2 JMP, 3 task gate in the IDT"),
)
INTERRUPTION = _fields(
    _VECTORED,
    ("VECTOR", 0, 7, "Vector"),
    ("TYPE", 8, 10, "Type of the interruption"),
    ("ERROR_CODE_VALID", 11, 11, "There is an error code"),
    ("NMI_UNBLOCKING", 12, 12, "An IRET had just unblocked NMIs"),
    ("VALID", 31, 31, "The field holds something"),
)
"""VM-exit interruption information and IDT-vectoring information alike."""
ENTRY_INTERRUPTION = _fields(
    _INJECTION,
    ("VECTOR", 0, 7, "Vector to deliver"),
    ("TYPE", 8, 10, "Type of the interruption"),
    ("DELIVER_ERROR_CODE", 11, 11, "Push the error code"),
    ("RESERVED", 12, 30, "Must be 0"),
    ("VALID", 31, 31, "There is an event to inject"),
)


class InterruptionType(IntEnum):
    """Values of TYPE in INTERRUPTION and ENTRY_INTERRUPTION. Source: as there."""

    EXTERNAL_INTERRUPT = 0
    NMI = 2
    HARDWARE_EXCEPTION = 3
    SOFTWARE_INTERRUPT = 4
    PRIVILEGED_SOFTWARE_EXCEPTION = 5
    """INT1."""
    SOFTWARE_EXCEPTION = 6
    """INT3 and INTO."""
    OTHER_EVENT = 7


INSTRUCTION_INFORMATION = _fields(
    SDM3C.at("Information for VM Exits Due to Instruction Execution"),
    ("SCALING", 0, 1, "Scale of the index: 0 1, 1 2, 2 4, 3 8"),
    ("REGISTER_1", 3, 6, "The register operand"),
    ("ADDRESS_SIZE", 7, 9, "0 16 bits, 1 32 bits, 2 64 bits"),
    ("IS_REGISTER", 10, 10, "0 memory operand, 1 register operand"),
    ("OPERAND_SIZE", 11, 11, "LGDT, LIDT, SGDT, SIDT: 0 16 bits, 1 32 bits"),
    ("SEGMENT", 15, 17, "0 ES, 1 CS, 2 SS, 3 DS, 4 FS, 5 GS"),
    ("INDEX", 18, 21, "Index register"),
    ("INDEX_INVALID", 22, 22, "There is no index register"),
    ("BASE", 23, 26, "Base register"),
    ("BASE_INVALID", 27, 27, "There is no base register"),
    ("IDENTITY", 28, 29, "0 SGDT or SLDT, 1 SIDT or STR, 2 LGDT or LLDT, 3 LIDT or LTR"),
    ("REGISTER_2", 28, 31, "VMREAD and VMWRITE: the register that names the field"),
)
"""VM-exit instruction information, the layouts of all instructions together; each uses what it needs."""
ACCESS_RIGHTS = _fields(
    _GUEST_STATE,
    ("TYPE", 0, 3, "Segment type"),
    ("S", 4, 4, "0 system, 1 code or data"),
    ("DPL", 5, 6, "Descriptor privilege level"),
    ("P", 7, 7, "Present"),
    ("RESERVED_LOW", 8, 11, "Must be 0"),
    ("AVL", 12, 12, "Available for software"),
    ("L", 13, 13, "64-bit code"),
    ("DB", 14, 14, "Default operation size"),
    ("G", 15, 15, "Granularity"),
    ("UNUSABLE", 16, 16, "The register holds no segment"),
)
INTERRUPTIBILITY = _fields(
    _GUEST_STATE,
    ("BLOCKING_BY_STI", 0, 0, "STI has just set IF: interrupts wait for one instruction"),
    ("BLOCKING_BY_MOV_SS", 1, 1, "SS has just been loaded: interrupts and debug traps wait for one instruction"),
    ("BLOCKING_BY_SMI", 2, 2, "System management mode is active"),
    ("BLOCKING_BY_NMI", 3, 3, "An NMI is being handled"),
)


class ActivityState(IntEnum):
    """Values of the guest activity state. Source: Intel SDM Vol. 3C, "Guest Non-Register State"."""

    ACTIVE = 0
    HLT = 1
    SHUTDOWN = 2
    WAIT_FOR_SIPI = 3


class EntryFailure(IntEnum):
    """Exit qualifications of a VM entry that failed on the guest state."""

    OTHER = 0
    PDPTE = 2
    NMI_BLOCKED = 3
    LINK_POINTER = 4


ENTRY_FAILURES: Mapping[int, tuple[str, Source]] = {
    EntryFailure.OTHER: ("a check on the guest state failed", _ENTRY_FAILURES),
    EntryFailure.PDPTE: ("the page-directory-pointer entries could not be loaded", _ENTRY_FAILURES),
    EntryFailure.NMI_BLOCKED: ("an NMI was to be injected while NMIs are blocked", _ENTRY_FAILURES),
    EntryFailure.LINK_POINTER: ("the VMCS link pointer is not valid", _ENTRY_FAILURES),
}


# ---- VMX instructions ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class InstructionError:
    """One VM-instruction error number, left in the VMCS by VMfailValid."""

    number: int
    title: str
    source: Source = _ERRORS


INSTRUCTION_ERRORS: Mapping[int, InstructionError] = by(
    "number",
    InstructionError(1, "VMCALL executed in VMX root operation"),
    InstructionError(2, "VMCLEAR with invalid physical address"),
    InstructionError(3, "VMCLEAR with VMXON pointer"),
    InstructionError(4, "VMLAUNCH with non-clear VMCS"),
    InstructionError(5, "VMRESUME with non-launched VMCS"),
    InstructionError(6, "VMRESUME after VMXOFF"),
    InstructionError(7, "VM entry with invalid control field(s)"),
    InstructionError(8, "VM entry with invalid host-state field(s)"),
    InstructionError(9, "VMPTRLD with invalid physical address"),
    InstructionError(10, "VMPTRLD with VMXON pointer"),
    InstructionError(11, "VMPTRLD with incorrect VMCS revision identifier"),
    InstructionError(12, "VMREAD/VMWRITE from/to unsupported VMCS component"),
    InstructionError(13, "VMWRITE to read-only VMCS component"),
    InstructionError(15, "VMXON executed in VMX root operation"),
    InstructionError(16, "VM entry with invalid executive-VMCS pointer"),
    InstructionError(17, "VM entry with non-launched executive VMCS"),
    InstructionError(18, "VM entry with executive-VMCS pointer not VMXON pointer"),
    InstructionError(19, "VMCALL with non-clear VMCS"),
    InstructionError(20, "VMCALL with invalid VM-exit control fields"),
    InstructionError(22, "VMCALL with incorrect MSEG revision identifier"),
    InstructionError(23, "VMXOFF under dual-monitor treatment of SMIs and SMM"),
    InstructionError(24, "VMCALL with invalid SMM-monitor features"),
    InstructionError(25, "VM entry with invalid VM-execution control fields in executive VMCS"),
    InstructionError(26, "VM entry with events blocked by MOV SS"),
    InstructionError(28, "Invalid operand to INVEPT/INVVPID"),
)


@dataclass(frozen=True, slots=True)
class CapabilityMsr:
    """A model-specific register that says what a CPU's VMX can do."""

    number: int
    name: str
    title: str
    source: Source = _CAPABILITY


CAPABILITY_MSRS: Mapping[int, CapabilityMsr] = by(
    "number",
    CapabilityMsr(0x480, "IA32_VMX_BASIC", "Revision identifier, region size, memory type"),
    CapabilityMsr(0x481, "IA32_VMX_PINBASED_CTLS", "Pin-based controls: allowed 0-settings low, 1-settings high"),
    CapabilityMsr(0x482, "IA32_VMX_PROCBASED_CTLS", "Primary controls, likewise"),
    CapabilityMsr(0x483, "IA32_VMX_EXIT_CTLS", "VM-exit controls, likewise"),
    CapabilityMsr(0x484, "IA32_VMX_ENTRY_CTLS", "VM-entry controls, likewise"),
    CapabilityMsr(0x485, "IA32_VMX_MISC", "CR3-target values, activity states, MSR lists"),
    CapabilityMsr(0x486, "IA32_VMX_CR0_FIXED0", "CR0 bits that must be 1 in VMX operation"),
    CapabilityMsr(0x487, "IA32_VMX_CR0_FIXED1", "CR0 bits that may be 1"),
    CapabilityMsr(0x488, "IA32_VMX_CR4_FIXED0", "CR4 bits that must be 1 in VMX operation"),
    CapabilityMsr(0x489, "IA32_VMX_CR4_FIXED1", "CR4 bits that may be 1"),
    CapabilityMsr(0x48A, "IA32_VMX_VMCS_ENUM", "Highest index of a VMCS field"),
    CapabilityMsr(0x48B, "IA32_VMX_PROCBASED_CTLS2", "Secondary controls, as the primary ones"),
    CapabilityMsr(0x48C, "IA32_VMX_EPT_VPID_CAP", "What EPT and VPID can do"),
    CapabilityMsr(0x48D, "IA32_VMX_TRUE_PINBASED_CTLS", "Pin-based controls, the default1 class as it really is"),
    CapabilityMsr(0x48E, "IA32_VMX_TRUE_PROCBASED_CTLS", "Primary controls, likewise"),
    CapabilityMsr(0x48F, "IA32_VMX_TRUE_EXIT_CTLS", "VM-exit controls, likewise"),
    CapabilityMsr(0x490, "IA32_VMX_TRUE_ENTRY_CTLS", "VM-entry controls, likewise"),
)

CONTROL_MSRS: Mapping[Word, int] = {
    "pin": 0x481, "primary": 0x482, "exit": 0x483, "entry": 0x484, "secondary": 0x48B,
}  # fmt: skip
"""Which capability MSR says what settings a word of controls may have."""


# ---- EPT -------------------------------------------------------------------------------------------------------------

EPTP_FIELDS = _fields(
    SDM3C.at("Extended-Page-Table Pointer (EPTP)"),
    ("MEMORY_TYPE", 0, 2, "Memory type of the tables: 0 uncacheable, 6 write-back"),
    ("WALK_LENGTH", 3, 5, "Levels less one: 3"),
    ("ACCESSED_DIRTY", 6, 6, "The CPU sets accessed and dirty bits"),
    ("ADDRESS", 12, 51, "The table of the first level"),
)
EPT_ENTRY = _fields(
    _EPT,
    ("READ", 0, 0, "Reads are allowed"),
    ("WRITE", 1, 1, "Writes are allowed"),
    ("EXECUTE", 2, 2, "Fetches are allowed"),
    ("MEMORY_TYPE", 3, 5, "Leaf: memory type; tables: must be 0"),
    ("IGNORE_PAT", 6, 6, "Leaf: the guest's page attribute table does not count"),
    ("LARGE", 7, 7, "The entry maps a large page"),
    ("ADDRESS", 12, 51, "The next table, or the page"),
)
EPT_MEMORY_TYPES: Mapping[int, str] = {0: "UC", 1: "WC", 4: "WT", 5: "WP", 6: "WB"}
"""Memory types of a leaf; 2, 3 and 7 are reserved, and a misconfiguration. Source: Intel SDM Vol. 3C, "EPT-Induced VM
Exits"."""
EPT_SOURCE = _EPT_EXITS
