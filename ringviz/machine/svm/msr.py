"""VM_CR and VM_HSAVE_PA, the model-specific registers of SVM.

Source: AMD APM Vol. 2, "SVM Related MSRs".
"""

from __future__ import annotations

from ringviz.machine.memory import PAGE
from ringviz.machine.svm.checks import PHYSICAL_BITS
from ringviz.machine.svm.registers import SvmRegisters

VM_CR, VM_HSAVE_PA = 0xC001_0114, 0xC001_0117
SVM_MSRS = frozenset({VM_CR, VM_HSAVE_PA})
LOCK, SVMDIS = 1 << 3, 1 << 4
"""Bits of VM_CR: the next one cannot be changed any more; EFER.SVME cannot be set."""
_VM_CR_BITS = 0x1F
_LOCKED = LOCK | SVMDIS


def can_switch_on(svm: SvmRegisters | None) -> bool:
    """Tell whether EFER.SVME may be set."""
    return svm is not None and not svm.vm_cr & SVMDIS


def read_svm_msr(svm: SvmRegisters | None, number: int) -> int | None:
    """Value of a register; None on a CPU without AMD-V."""
    if svm is None:
        return None
    return svm.vm_cr if number == VM_CR else svm.hsave


def write_svm_msr(svm: SvmRegisters, number: int, value: int, *, is_on: bool) -> SvmRegisters | None:
    """Set a register; None if it does not take the value.

    Args:
        svm: the registers.
        number: which of them.
        value: to be written.
        is_on: EFER.SVME is set, which cannot be switched off from here.
    """
    if number == VM_HSAVE_PA:
        return None if value % PAGE or value >> PHYSICAL_BITS else svm._replace(hsave=value)
    if value & ~_VM_CR_BITS:
        return None
    if svm.vm_cr & LOCK:  # no key opens it in this machine: what is locked stays as it is
        value = value & ~_LOCKED | svm.vm_cr & _LOCKED
    return None if value & SVMDIS and is_on else svm._replace(vm_cr=value)
