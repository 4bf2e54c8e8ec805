"""What a CPU with AMD-V has besides: the registers of SVM, and what it knows of the guest that it runs.

Source: AMD APM Vol. 2, "SVM Related MSRs", "Global Interrupt Flag, STGI and CLGI Instructions", "VMRUN Instruction".
"""

from __future__ import annotations

from typing import NamedTuple

_TIME = (1 << 64) - 1


class GuestMode(NamedTuple):
    """What VMRUN has read of a VMCB, and keeps in the CPU until #VMEXIT."""

    vmcb: int
    """Physical address."""
    intercepts: frozenset[str]
    """Names of `facts.svm.INTERCEPTS`."""
    io_map: int
    msr_map: int
    tsc_offset: int
    asid: int
    host_if: bool
    """The host's IF at VMRUN: with V_INTR_MASKING it is the one that lets physical interrupts in."""
    v_intr_masking: bool = False
    v_irq: bool = False
    v_vector: int = 0
    v_prio: int = 0
    v_tpr: int = 0
    v_ign_tpr: bool = False

    @property
    def offers_interrupt(self) -> bool:
        """A virtual interrupt waits for the guest's IF and for nothing else."""
        return self.v_irq and (self.v_ign_tpr or self.v_prio > self.v_tpr)


class SvmRegisters(NamedTuple):
    """The registers of SVM on one CPU."""

    vm_cr: int = 0
    hsave: int = 0
    """VM_HSAVE_PA: physical address of the page in which VMRUN keeps the host."""
    gif: bool = True
    """The global interrupt flag."""
    guest: GuestMode | None = None
    """None in host mode."""

    def fields(self) -> dict[str, int]:
        """Flatten them into named integers, in a fixed order."""
        guest = self.guest or _NO_GUEST
        return {
            "vm_cr": self.vm_cr,
            "vm_hsave_pa": self.hsave,
            "gif": int(self.gif),
            "guest_mode": int(self.guest is not None),
            "vmcb": guest.vmcb,
            "asid": guest.asid,
            "tsc_offset": guest.tsc_offset,
            "host_if": int(guest.host_if),
            "v_intr_masking": int(guest.v_intr_masking),
            "v_irq": int(guest.v_irq),
            "v_tpr": guest.v_tpr,
        }


_NO_GUEST = GuestMode(0, frozenset(), 0, 0, 0, 0, host_if=False)


def guest_time(svm: SvmRegisters | None, now: int) -> int:
    """Give the time-stamp counter as RDTSC and RDMSR show it: a guest's has an offset.

    Args:
        svm: of the CPU; None without AMD-V.
        now: the counter itself.
    """
    if svm is None or svm.guest is None:
        return now
    return (now + svm.guest.tsc_offset) & _TIME
