"""What a VM exit writes into the VMCS, and what the VMM reads of it.

Source: Intel SDM Vol. 3C, "Recording VM-Exit Information and Updating VM-Entry Control Fields", "Saving Guest State".
"""

from __future__ import annotations

from ringviz.facts.vmx import CONTROL_FIELDS, VMX_CONTROLS, Reason
from ringviz.machine.state import CpuState
from ringviz.vmm.vtx.exits import VmExit
from ringviz.vmm.vtx.guest_area import store_guest
from ringviz.vmm.vtx.vmcs import Vmcs

_ENTRY_EVENT_VALID = 1 << 31
_ENTRY_CONTROLS = CONTROL_FIELDS["entry"]
_LONG_MODE_GUEST = VMX_CONTROLS["ia-32e-mode-guest-on-entry"].mask

READS = ("VM_EXIT_REASON", "IDT_VECTORING_INFO", "GUEST_RIP")
"""What the VMM reads at every exit."""
_AT_INSTRUCTIONS = ("VM_EXIT_INSTRUCTION_LENGTH",)
_QUALIFIED = (*_AT_INSTRUCTIONS, "EXIT_QUALIFICATION")
_PLAIN = (
    Reason.CPUID, Reason.HLT, Reason.INVD, Reason.RDPMC, Reason.RDTSC, Reason.RDMSR, Reason.WRMSR, Reason.WBINVD,
)  # fmt: skip
MORE_READS: dict[Reason, tuple[str, ...]] = {
    Reason.EXCEPTION_NMI: ("VM_EXIT_INTR_INFO", "VM_EXIT_INTR_ERROR_CODE", "EXIT_QUALIFICATION"),
    Reason.INVLPG: _QUALIFIED,
    Reason.CR_ACCESS: (*_QUALIFIED, "GUEST_CR0", "CR0_READ_SHADOW", "GUEST_CR4", "CR4_READ_SHADOW"),
    Reason.MOV_DR: (*_QUALIFIED, "GUEST_DR7"),
    Reason.IO_INSTRUCTION: _QUALIFIED,
    Reason.GDTR_IDTR_ACCESS: (*_QUALIFIED, "VM_EXIT_INSTRUCTION_INFO"),
    Reason.LDTR_TR_ACCESS: (*_QUALIFIED, "VM_EXIT_INSTRUCTION_INFO"),
    Reason.EPT_VIOLATION: ("EXIT_QUALIFICATION", "GUEST_PHYSICAL_ADDRESS"),
    **dict.fromkeys(_PLAIN, _AT_INSTRUCTIONS),
}
"""What it reads besides, by exit reason."""


def write_exit(
    vmcs: Vmcs, leaves: VmExit, state: CpuState, blocking: int, *, saves_efer: bool, is_unrestricted: bool
) -> None:
    """Do the hardware's part of a VM exit: save the guest, say why, and forget the event that was injected last.

    An unrestricted guest may have entered or left long mode by itself: the control that says so follows.
    """
    store_guest(vmcs, state, blocking)
    if saves_efer:
        vmcs.put("GUEST_IA32_EFER", state.efer)
    if is_unrestricted:
        entry = vmcs.get(_ENTRY_CONTROLS) & ~_LONG_MODE_GUEST
        vmcs.put(_ENTRY_CONTROLS, entry | (_LONG_MODE_GUEST if state.is_long_active else 0))
    report = {
        "VM_EXIT_REASON": leaves.reason,
        "EXIT_QUALIFICATION": leaves.qualification,
        "VM_EXIT_INSTRUCTION_LENGTH": leaves.length,
        "VM_EXIT_INSTRUCTION_INFO": leaves.instruction_information,
        "VM_EXIT_INTR_INFO": leaves.interruption,
        "VM_EXIT_INTR_ERROR_CODE": leaves.error_code,
        "IDT_VECTORING_INFO": leaves.idt_vectoring,
        "IDT_VECTORING_ERROR_CODE": leaves.idt_error_code,
        "VM_ENTRY_INTR_INFO": vmcs.get("VM_ENTRY_INTR_INFO") & ~_ENTRY_EVENT_VALID,
    }
    if leaves.linear is not None:
        report["GUEST_LINEAR_ADDRESS"] = leaves.linear
    if leaves.physical is not None:
        report["GUEST_PHYSICAL_ADDRESS"] = leaves.physical
    if leaves.io_registers is not None:
        report |= dict(zip(("IO_RCX", "IO_RSI", "IO_RDI", "IO_RIP"), leaves.io_registers, strict=True))
    for name, value in report.items():
        vmcs.put(name, value)


def exit_detail(leaves: VmExit) -> tuple[tuple[str, str], ...]:
    """Give the fields of the report that mean something for this exit, for the event."""
    detail = [
        ("EXIT_REASON", str(leaves.reason.value)),
        ("EXIT_QUALIFICATION", f"{leaves.qualification:X}h"),
        ("VM_EXIT_INSTRUCTION_LENGTH", str(leaves.length)),
    ]
    for name, value in (
        ("VM_EXIT_INSTRUCTION_INFO", leaves.instruction_information),
        ("VM_EXIT_INTR_INFO", leaves.interruption),
        ("GUEST_PHYSICAL_ADDRESS", leaves.physical or 0),
        ("IDT_VECTORING_INFO", leaves.idt_vectoring),
    ):
        if value:
            detail.append((name, f"{value:X}h"))
    return tuple(detail)
