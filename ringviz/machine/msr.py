"""Model-specific registers a 32-bit guest may use.

Source: Intel SDM Vol. 4, "Architectural MSRs".
"""

from __future__ import annotations

from ringviz.facts.registers import EFER_MSR, Efer
from ringviz.machine.state import CpuState

TSC, APIC_BASE = 0x10, 0x1B
_SYSENTER_FIRST, _SYSENTER_LAST = 0x174, 0x176
_APIC_BASE_VALUE = 0xFEE0_0900
"""The local APIC's page, on the boot processor, switched on. Here it can be neither moved nor switched off."""


def read_msr(state: CpuState, number: int, time_stamp: int) -> int | None:
    """Value of a register, or None if this machine has no such register."""
    if _SYSENTER_FIRST <= number <= _SYSENTER_LAST:
        return state.sysenter[number - _SYSENTER_FIRST]
    return {EFER_MSR: state.efer, TSC: time_stamp, APIC_BASE: _APIC_BASE_VALUE}.get(number)


def write_msr(state: CpuState, number: int, value: int) -> bool:
    """Set a register; False if there is none of that number, or the value is not one it takes."""
    if _SYSENTER_FIRST <= number <= _SYSENTER_LAST:
        state.sysenter[number - _SYSENTER_FIRST] = value & 0xFFFF_FFFF
        return True
    if number == APIC_BASE:
        return value == _APIC_BASE_VALUE
    if number == EFER_MSR and not value & ~Efer.NXE:  # long mode and SYSCALL are not offered to 32-bit guests
        state.efer = value
        return True
    return False
