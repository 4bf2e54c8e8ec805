"""Model-specific registers a guest may use.

Those of long mode are there on a CPU that has it.

Source: Intel SDM Vol. 4, "Architectural MSRs"; Vol. 3A, "Extended Feature Enable Register"; Vol. 2, "WRMSR".
"""

from __future__ import annotations

from ringviz.facts.registers import EFER_MSR, Efer
from ringviz.machine.state import FS, GS, CpuState, is_canonical, segment
from ringviz.machine.svm.msr import SVM_MSRS, can_switch_on, read_svm_msr, write_svm_msr

TSC, APIC_BASE = 0x10, 0x1B
_SYSENTER_FIRST, _SYSENTER_LAST = 0x174, 0x176
_APIC_BASE_VALUE = 0xFEE0_0900
"""The local APIC's page, on the boot processor, switched on. Here it can be neither moved nor switched off."""


_LONG_NAMES = {
    0xC000_0081: "star",
    0xC000_0082: "lstar",
    0xC000_0083: "cstar",
    0xC000_0084: "sfmask",
    0xC000_0102: "kernel_gs_base",
}
_SEGMENT_BASES = {0xC000_0100: FS, 0xC000_0101: GS}
_ADDRESSES = frozenset({"lstar", "cstar", "kernel_gs_base"})
"""Of these registers, those that take canonical addresses only."""
_LONG_EFER = Efer.SCE | Efer.LME | Efer.NXE


def read_msr(state: CpuState, number: int, time_stamp: int) -> int | None:
    """Value of a register, or None if this machine has no such register."""
    if _SYSENTER_FIRST <= number <= _SYSENTER_LAST:
        return state.sysenter[number - _SYSENTER_FIRST]
    if state.long is not None:
        if number in _LONG_NAMES:
            return int(getattr(state.long, _LONG_NAMES[number]))
        if number in _SEGMENT_BASES:
            return state.segments[_SEGMENT_BASES[number]].base
    if number in SVM_MSRS:
        return read_svm_msr(state.svm, number)
    return {EFER_MSR: state.efer, TSC: time_stamp, APIC_BASE: _APIC_BASE_VALUE}.get(number)


def write_msr(state: CpuState, number: int, value: int) -> bool:
    """Set a register; False if there is none of that number, or the value is not one it takes."""
    if _SYSENTER_FIRST <= number <= _SYSENTER_LAST:
        if state.long is None or number == _SYSENTER_FIRST:
            value &= 0xFFFF_FFFF
        elif not is_canonical(value):
            return False
        state.sysenter[number - _SYSENTER_FIRST] = value
        return True
    if number == APIC_BASE:
        return value == _APIC_BASE_VALUE
    if state.long is not None:
        return _write_long_msr(state, number, value)
    if state.svm is not None and number in SVM_MSRS:
        written = write_svm_msr(state.svm, number, value, is_on=bool(state.efer & Efer.SVME))
        state.svm = state.svm if written is None else written
        return written is not None
    efer_bits = Efer.NXE | (Efer.SVME if can_switch_on(state.svm) else 0)
    if number == EFER_MSR and not value & ~efer_bits:  # long mode and SYSCALL are not offered to 32-bit guests
        state.efer = value
        return True
    return False


def _write_long_msr(state: CpuState, number: int, value: int) -> bool:
    """Set a register of a CPU with long mode."""
    assert state.long is not None
    if number == EFER_MSR:
        return _write_long_efer(state, value)
    if number in _LONG_NAMES:
        name = _LONG_NAMES[number]
        if name in _ADDRESSES and not is_canonical(value):
            return False
        state.long = state.long._replace(**{name: value & 0xFFFF_FFFF if name == "sfmask" else value})
        return True
    if number in _SEGMENT_BASES and is_canonical(value):
        index = _SEGMENT_BASES[number]
        old = state.segments[index]
        state.segments[index] = segment(old.selector, value, old.limit, old.access)
        return True
    return False


def _write_long_efer(state: CpuState, value: int) -> bool:
    """Set EFER: LMA is the CPU's to set, and LME cannot change while paging is on."""
    if value & ~(_LONG_EFER | Efer.LMA):
        return False
    if state.is_paged and (state.efer ^ value) & Efer.LME:
        return False
    state.efer = value & _LONG_EFER | state.efer & Efer.LMA
    return True
