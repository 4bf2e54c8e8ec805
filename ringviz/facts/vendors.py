"""Intel VT-x beside AMD-V: not compatible, but similar. Which concept of the one is which of the other.

Each row pairs names of `facts.vmx` with names of `facts.svm`; where one side is empty, only the other make has it. The
pairing is ringviz's own reading of the two manuals; the names on either side are theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ringviz.facts.source import Source, by
from ringviz.facts.sources import APM2, SDM3C

_PAIRING = Source.ringviz(f"names of {SDM3C.cite} and {APM2.cite}, paired by what they do")

Aspect = Literal["instruction", "exit", "control", "field"]
"""What a row compares: instructions of the VMM, why a guest exits, what makes it exit, what the structure holds."""


@dataclass(frozen=True, slots=True)
class VendorPair:
    """One concept on both makes."""

    id: str
    aspect: Aspect
    title: str
    intel: tuple[str, ...]
    """Instruction: mnemonic. Exit: number of the basic exit reason. Control: id. Field: name in the VMCS."""
    amd: tuple[str, ...]
    """Instruction: mnemonic. Exit: name of the EXITCODE. Control: name of the intercept. Field: name in the VMCB."""
    note: str = ""
    source: Source = _PAIRING

    @property
    def only(self) -> Literal["intel", "amd"] | None:
        """The make that alone has it; None where both do."""
        if self.intel and self.amd:
            return None
        return "intel" if self.intel else "amd"


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _row(id_: str, aspect: Aspect, title: str, intel: str = "", amd: str = "", note: str = "") -> VendorPair:
    return VendorPair(id_, aspect, title, _words(intel), _words(amd), note)


_SEGMENTS = ("ES", "CS", "SS", "DS", "FS", "GS", "LDTR", "TR")


def _segment_fields() -> tuple[VendorPair, ...]:
    """Give the four parts of each segment register."""
    return tuple(
        _row(
            f"field-{name.lower()}",
            "field",
            f"Guest {name}",
            f"GUEST_{name}_SELECTOR GUEST_{name}_BASE GUEST_{name}_LIMIT GUEST_{name}_ACCESS_RIGHTS",
            f"{name}.selector {name}.base {name}.limit {name}.attrib",
            "Intel has a bit for “unusable”, AMD a clear P bit" if name == "ES" else "",
        )
        for name in _SEGMENTS
    )


VENDOR_PAIRS: Mapping[str, VendorPair] = by(
    "id",
    # ---- what the VMM executes
    _row("enter", "instruction", "Enter the guest", "VMLAUNCH VMRESUME", "VMRUN", "Intel tells the first entry apart"),
    _row("choose", "instruction", "Say which guest", "VMCLEAR VMPTRLD VMPTRST", "", "AMD: VMRUN is given the address"),
    _row("read-write", "instruction", "Read and write the structure", "VMREAD VMWRITE", "", "AMD: plain loads"),
    _row("switch-on", "instruction", "Switch virtualization on and off", "VMXON VMXOFF", "", "AMD: the bit EFER.SVME"),
    _row("more-state", "instruction", "Load and save more of the state", "", "VMLOAD VMSAVE", "Intel: always"),
    _row("global-interrupts", "instruction", "Keep all interrupts out", "", "STGI CLGI"),
    _row("hypercall", "instruction", "Call the VMM from the guest", "VMCALL", "VMMCALL"),
    _row("flush-tag", "instruction", "Forget translations of one guest", "INVVPID INVEPT", "INVLPGA"),
    _row("measured-launch", "instruction", "Start a measured VMM", "GETSEC", "SKINIT"),
    # ---- why the guest exits
    _row("exit-exception", "exit", "Exception", "0", "VMEXIT_EXCP6 VMEXIT_EXCP13 VMEXIT_EXCP14", "AMD: one each"),
    _row("exit-interrupt", "exit", "Physical interrupt", "1", "VMEXIT_INTR"),
    _row("exit-shutdown", "exit", "Triple fault", "2", "VMEXIT_SHUTDOWN"),
    _row("exit-init", "exit", "INIT signal", "3", "VMEXIT_INIT"),
    _row("exit-smi", "exit", "System management interrupt", "5 6", "VMEXIT_SMI"),
    _row("exit-window", "exit", "The guest could take an interrupt", "7", "VMEXIT_VINTR"),
    _row("exit-task-switch", "exit", "Task switch", "9", "VMEXIT_TASK_SWITCH"),
    _row("exit-cpuid", "exit", "CPUID", "10", "VMEXIT_CPUID"),
    _row("exit-hlt", "exit", "HLT", "12", "VMEXIT_HLT"),
    _row("exit-invd", "exit", "INVD", "13", "VMEXIT_INVD"),
    _row("exit-wbinvd", "exit", "WBINVD", "54", "VMEXIT_WBINVD"),
    _row("exit-invlpg", "exit", "INVLPG", "14", "VMEXIT_INVLPG"),
    _row("exit-rdpmc", "exit", "RDPMC", "15", "VMEXIT_RDPMC"),
    _row("exit-rdtsc", "exit", "RDTSC", "16", "VMEXIT_RDTSC"),
    _row("exit-rdtscp", "exit", "RDTSCP", "51", "VMEXIT_RDTSCP"),
    _row("exit-rsm", "exit", "RSM", "17", "VMEXIT_RSM"),
    _row("exit-hypercall", "exit", "Hypercall", "18", "VMEXIT_VMMCALL"),
    _row(
        "exit-own-instructions", "exit", "The make's own VMM instructions, in a guest",
        "19 20 21 22 23 24 25 26 27 50 53",
        "VMEXIT_VMRUN VMEXIT_VMLOAD VMEXIT_VMSAVE VMEXIT_STGI VMEXIT_CLGI VMEXIT_SKINIT VMEXIT_INVLPGA",
    ),
    _row(
        "exit-cr", "exit", "Control registers", "28",
        "VMEXIT_CR0_READ VMEXIT_CR0_WRITE VMEXIT_CR3_READ VMEXIT_CR3_WRITE VMEXIT_CR4_READ VMEXIT_CR4_WRITE"
        " VMEXIT_CR0_SEL_WRITE",
        "Intel: one reason, and the qualification says which; AMD: a code for each register and direction",
    ),
    _row("exit-dr", "exit", "Debug registers", "29", "VMEXIT_DR7_READ VMEXIT_DR7_WRITE", "AMD: a code each"),
    _row("exit-io", "exit", "Port I/O", "30", "VMEXIT_IOIO"),
    _row("exit-msr", "exit", "Model-specific registers", "31 32", "VMEXIT_MSR", "AMD: EXITINFO1 says read or write"),
    _row(
        "exit-descriptor-tables", "exit", "Descriptor-table registers", "46 47",
        "VMEXIT_IDTR_READ VMEXIT_GDTR_READ VMEXIT_LDTR_READ VMEXIT_TR_READ"
        " VMEXIT_IDTR_WRITE VMEXIT_GDTR_WRITE VMEXIT_LDTR_WRITE VMEXIT_TR_WRITE",
    ),
    _row("exit-second-level", "exit", "Second-level paging refused an access", "48", "VMEXIT_NPF"),
    _row("exit-misconfiguration", "exit", "A second-level entry makes no sense", "49", "", "AMD: VMEXIT_NPF with RSV"),
    _row("exit-bad-guest", "exit", "The guest state was refused", "33", "VMEXIT_INVALID"),
    _row("exit-mwait", "exit", "MONITOR and MWAIT", "36 39", "VMEXIT_MONITOR VMEXIT_MWAIT VMEXIT_MWAIT_CONDITIONAL"),
    _row("exit-pause", "exit", "PAUSE", "40", "VMEXIT_PAUSE"),
    _row("exit-xsetbv", "exit", "XSETBV", "55", "VMEXIT_XSETBV"),
    _row("exit-icebp", "exit", "INT1", "", "VMEXIT_ICEBP", "Intel: as #DB, through the exception bitmap"),
    _row("exit-pushf", "exit", "PUSHF", "", "VMEXIT_PUSHF", "VT-x has no way to exit"),
    _row("exit-popf", "exit", "POPF", "", "VMEXIT_POPF", "VT-x has no way to exit"),
    _row("exit-iret", "exit", "IRET", "", "VMEXIT_IRET", "VT-x has no way to exit"),
    _row("exit-swint", "exit", "INT n", "", "VMEXIT_SWINT", "VT-x has no way to exit"),
    _row("exit-ferr", "exit", "FPU error, reported the old way", "", "VMEXIT_FERR_FREEZE"),
    _row("exit-getsec", "exit", "GETSEC", "11"),
    _row("exit-monitor-trap", "exit", "One instruction has completed", "37"),
    _row("exit-timer", "exit", "A timer for the guest ran out", "52"),
    _row("exit-tpr", "exit", "Task priority below a threshold", "43"),
    # ---- what makes it exit
    _row("control-interrupt", "control", "Physical interrupts", "external-interrupt-exiting", "INTR"),
    _row("control-nmi", "control", "NMIs", "nmi-exiting", "NMI"),
    _row("control-window", "control", "Interrupt window", "interrupt-window-exiting", "VINTR"),
    _row("control-hlt", "control", "HLT", "hlt-exiting", "HLT"),
    _row("control-invlpg", "control", "INVLPG", "invlpg-exiting", "INVLPG"),
    _row("control-mwait", "control", "MWAIT", "mwait-exiting", "MWAIT"),
    _row("control-monitor", "control", "MONITOR", "monitor-exiting", "MONITOR"),
    _row("control-pause", "control", "PAUSE", "pause-exiting", "PAUSE"),
    _row("control-rdpmc", "control", "RDPMC", "rdpmc-exiting", "RDPMC"),
    _row("control-rdtsc", "control", "RDTSC", "rdtsc-exiting", "RDTSC"),
    _row("control-wbinvd", "control", "WBINVD", "wbinvd-exiting", "WBINVD"),
    _row("control-cr3-load", "control", "MOV to CR3", "cr3-load-exiting", "CR3_WRITE"),
    _row("control-cr3-store", "control", "MOV from CR3", "cr3-store-exiting", "CR3_READ"),
    _row("control-cr8-load", "control", "MOV to CR8", "cr8-load-exiting", "CR8_WRITE"),
    _row("control-cr8-store", "control", "MOV from CR8", "cr8-store-exiting", "CR8_READ"),
    _row("control-dr", "control", "Debug registers", "mov-dr-exiting", "DR0_READ DR7_READ DR0_WRITE DR7_WRITE"),
    _row("control-io", "control", "Ports", "use-io-bitmaps", "IOIO_PROT"),
    _row("control-all-io", "control", "All ports", "unconditional-io-exiting", "", "AMD: a map of ones"),
    _row("control-msr", "control", "Model-specific registers", "use-msr-bitmaps", "MSR_PROT", "Intel: without it, all"),
    _row(
        "control-descriptor-tables", "control", "Descriptor-table registers", "descriptor-table-exiting",
        "IDTR_READ GDTR_READ LDTR_READ TR_READ IDTR_WRITE GDTR_WRITE LDTR_WRITE TR_WRITE",
        "Intel: one bit for eight instructions; AMD: a bit each",
    ),
    _row("control-cr0", "control", "Writes to CR0", "", "CR0_WRITE CR0_SEL_WRITE CR0_READ", "Intel: mask and shadow"),
    _row("control-cr4", "control", "CR4", "", "CR4_WRITE CR4_READ", "Intel: mask and read shadow, bit by bit"),
    _row("control-cpuid", "control", "CPUID", "", "CPUID", "Intel: unconditional"),
    _row("control-invd", "control", "INVD", "", "INVD", "Intel: unconditional"),
    _row("control-task-switch", "control", "Task switches", "", "TASK_SWITCH", "Intel: unconditional"),
    _row("control-shutdown", "control", "Triple faults", "", "SHUTDOWN", "Intel: unconditional"),
    _row("control-hypercall", "control", "Hypercalls", "", "VMMCALL", "Intel: unconditional; AMD: else #UD"),
    _row("control-vmrun", "control", "The entry instruction itself", "", "VMRUN", "AMD: must be set"),
    _row("control-flags", "control", "PUSHF and POPF", "", "PUSHF POPF", "VT-x has no control for them"),
    _row("control-iret", "control", "IRET", "", "IRET", "VT-x has no control for it"),
    _row("control-intn", "control", "INT n", "", "INTN", "VT-x has no control for it"),
    _row("control-monitor-trap", "control", "Every instruction", "monitor-trap-flag"),
    _row("control-timer", "control", "A timer", "activate-vmx-preemption-timer"),
    # ---- what the structure holds
    _row("field-reason", "field", "Why the guest exited", "VM_EXIT_REASON", "EXITCODE"),
    _row("field-qualification", "field", "More about it", "EXIT_QUALIFICATION", "EXITINFO1 EXITINFO2"),
    _row("field-length", "field", "Length of the instruction", "VM_EXIT_INSTRUCTION_LENGTH", "nRIP", "AMD: later CPUs"),
    _row("field-vectored", "field", "The exception that exited", "VM_EXIT_INTR_INFO VM_EXIT_INTR_ERROR_CODE", "",
         "AMD: in EXITCODE and EXITINFO1"),
    _row("field-on-the-way", "field", "What was being delivered", "IDT_VECTORING_INFO IDT_VECTORING_ERROR_CODE",
         "EXITINTINFO"),
    _row("field-injection", "field", "Event to deliver at the entry",
         "VM_ENTRY_INTR_INFO VM_ENTRY_EXCEPTION_ERROR_CODE VM_ENTRY_INSTRUCTION_LENGTH", "EVENTINJ"),
    _row("field-rip", "field", "Where the guest goes on", "GUEST_RIP", "RIP"),
    _row("field-rsp", "field", "Its stack pointer", "GUEST_RSP", "RSP"),
    _row("field-rflags", "field", "Its flags", "GUEST_RFLAGS", "RFLAGS"),
    _row("field-cr0", "field", "CR0", "GUEST_CR0", "CR0"),
    _row("field-cr3", "field", "CR3", "GUEST_CR3", "CR3"),
    _row("field-cr4", "field", "CR4", "GUEST_CR4", "CR4"),
    _row("field-efer", "field", "EFER", "GUEST_IA32_EFER", "EFER"),
    _row("field-dr7", "field", "DR7", "GUEST_DR7", "DR7"),
    *_segment_fields(),
    _row("field-gdtr", "field", "Guest GDTR", "GUEST_GDTR_BASE GUEST_GDTR_LIMIT", "GDTR.base GDTR.limit"),
    _row("field-idtr", "field", "Guest IDTR", "GUEST_IDTR_BASE GUEST_IDTR_LIMIT", "IDTR.base IDTR.limit"),
    _row("field-sysenter", "field", "SYSENTER registers",
         "GUEST_SYSENTER_CS GUEST_SYSENTER_ESP GUEST_SYSENTER_EIP", "SYSENTER_CS SYSENTER_ESP SYSENTER_EIP"),
    _row("field-shadow", "field", "Interrupts wait for one instruction", "GUEST_INTERRUPTIBILITY_STATE",
         "INTERRUPT_SHADOW"),
    _row("field-intercepts", "field", "What exits",
         "PIN_BASED_VM_EXEC_CONTROL CPU_BASED_VM_EXEC_CONTROL SECONDARY_VM_EXEC_CONTROL",
         "INTERCEPT_CR INTERCEPT_DR INTERCEPT_MISC1 INTERCEPT_MISC2"),
    _row("field-exceptions", "field", "Which exceptions exit", "EXCEPTION_BITMAP", "INTERCEPT_EXCEPTIONS"),
    _row("field-io-map", "field", "Which ports exit", "IO_BITMAP_A IO_BITMAP_B", "IOPM_BASE_PA"),
    _row("field-msr-map", "field", "Which MSRs exit", "MSR_BITMAP", "MSRPM_BASE_PA"),
    _row("field-tsc", "field", "Shift of the time-stamp counter", "TSC_OFFSET", "TSC_OFFSET"),
    _row("field-tag", "field", "Tag of the guest's TLB entries", "VIRTUAL_PROCESSOR_ID", "GUEST_ASID"),
    _row("field-tables", "field", "Root of the second-level tables", "EPT_POINTER", "N_CR3"),
    _row("field-physical", "field", "Guest-physical address of a refused access", "GUEST_PHYSICAL_ADDRESS",
         "EXITINFO2"),
    _row("field-masks", "field", "Bits of CR0 and CR4 that the VMM owns",
         "CR0_GUEST_HOST_MASK CR4_GUEST_HOST_MASK CR0_READ_SHADOW CR4_READ_SHADOW", "", "AMD: intercept, and emulate"),
    _row("field-cr3-targets", "field", "Values of CR3 that do not exit",
         "CR3_TARGET_COUNT CR3_TARGET_VALUE0 CR3_TARGET_VALUE1 CR3_TARGET_VALUE2 CR3_TARGET_VALUE3"),
    _row("field-page-fault-filter", "field", "Which page faults exit",
         "PAGE_FAULT_ERROR_CODE_MASK PAGE_FAULT_ERROR_CODE_MATCH"),
    _row("field-host", "field", "Where the VMM goes on",
         "HOST_CR0 HOST_CR3 HOST_CR4 HOST_RIP HOST_RSP", "", "AMD: VMRUN's own address, and a save area"),
    _row("field-cpl", "field", "The guest's ring", "", "CPL", "Intel: the DPL of SS"),
    _row("field-rax", "field", "RAX", "", "RAX", "Intel: the VMM saves it itself"),
    _row("field-cr2", "field", "CR2", "", "CR2", "Intel: the VMM saves it itself"),
    _row("field-virtual-interrupt", "field", "A virtual interrupt that waits", "", "VINTR_CONTROL V_INTR_VECTOR"),
)  # fmt: skip
