"""A CPU state as the guest-state area of a VMCS, and back.

General-purpose registers but RSP, CR2, and the debug registers but DR7 are not in a VMCS: the VMM carries them itself.

Source: Intel SDM Vol. 3C, "Guest-State Area".
"""

from __future__ import annotations

import struct

from ringviz.facts.segments import SegmentCache
from ringviz.machine.state import ESP, CpuState, TableRegister, segment
from ringviz.vmm.vtx.vmcs import NAMES, Vmcs

_SELECTORS = struct.Struct("<8Q")
_DOUBLES = struct.Struct("<22Q")
_NATURALS = struct.Struct("<20Q")
_UNUSABLE = 1 << 16
_DPL = 0x60
_ACCESSED = 1
_CODE_OR_DATA = 0x10


def access_rights(cache: SegmentCache) -> int:
    """Give the access-rights field of a segment register.

    A CPU marks every segment that it loads as accessed, and VM entry insists on it; the emulated one forgets to where
    IRET loads CS.
    """
    if not cache.access & 0x80:
        return _UNUSABLE | cache.access & _DPL  # the DPL of SS is the CPL, though it be null: in 64-bit mode it may be
    accessed = _ACCESSED if cache.access & _CODE_OR_DATA else 0
    return cache.access & 0xFF | accessed | (cache.access & 0xF00) << 4


def _selectors(state: CpuState) -> list[int]:
    return [cache.selector for cache in (*state.segments, state.ldtr, state.tr)]


def _doubles(state: CpuState, interruptibility: int, activity: int) -> list[int]:
    caches = (*state.segments, state.ldtr, state.tr)
    return [
        *(cache.limit for cache in caches),
        state.gdtr.limit,
        state.idtr.limit,
        *(access_rights(cache) for cache in caches),
        interruptibility,
        activity,
        0,
        state.sysenter[0],
    ]


def _naturals(state: CpuState) -> list[int]:
    return [
        state.cr0,
        state.cr3,
        state.cr4,
        *(cache.base for cache in (*state.segments, state.ldtr, state.tr)),
        state.gdtr.base,
        state.idtr.base,
        state.dr[7],
        state.gpr[ESP],
        state.eip,
        state.eflags,
        0,
        state.sysenter[1],
        state.sysenter[2],
    ]


def store_guest(vmcs: Vmcs, state: CpuState, interruptibility: int = 0, activity: int = 0) -> None:
    """Save a CPU state as a VM exit does."""
    vmcs.put_run("GUEST_ES_SELECTOR", _SELECTORS.pack(*_selectors(state)))
    vmcs.put_run("GUEST_ES_LIMIT", _DOUBLES.pack(*_doubles(state, interruptibility, activity)))
    vmcs.put_run("GUEST_CR0", _NATURALS.pack(*_naturals(state)))


def guest_fields(state: CpuState) -> dict[str, int]:
    """Give the guest-state fields of a CPU state by name."""
    values = (*_selectors(state), *_doubles(state, 0, 0), *_naturals(state))
    return dict(zip(_NAMES, values, strict=True))


def _run(first: str, count: int) -> tuple[str, ...]:
    start = NAMES.index(first)
    return NAMES[start : start + count]


_NAMES = (*_run("GUEST_ES_SELECTOR", 8), *_run("GUEST_ES_LIMIT", 22), *_run("GUEST_CR0", 20))
_SEGMENTS = ("ES", "CS", "SS", "DS", "FS", "GS", "LDTR", "TR")


def load_guest(fields: dict[str, int], beside: CpuState) -> CpuState:
    """Give the CPU state that a VM entry loads.

    Args:
        fields: the VMCS.
        beside: where the registers that are in no VMCS come from.
    """
    state = beside.copy()
    caches = [_load_segment(fields, name) for name in _SEGMENTS]
    state.segments, state.ldtr, state.tr = caches[:6], caches[6], caches[7]
    state.gdtr = TableRegister(fields["GUEST_GDTR_BASE"], fields["GUEST_GDTR_LIMIT"])
    state.idtr = TableRegister(fields["GUEST_IDTR_BASE"], fields["GUEST_IDTR_LIMIT"])
    state.cr0, state.cr3, state.cr4 = fields["GUEST_CR0"], fields["GUEST_CR3"], fields["GUEST_CR4"]
    state.dr[7] = fields["GUEST_DR7"]
    state.gpr[ESP] = fields["GUEST_RSP"]
    state.eip, state.eflags = fields["GUEST_RIP"], fields["GUEST_RFLAGS"]
    state.sysenter = [fields["GUEST_SYSENTER_CS"], fields["GUEST_SYSENTER_ESP"], fields["GUEST_SYSENTER_EIP"]]
    # VMX has no field for the CPL: it is the DPL of SS, whether SS is usable or not.
    state.cpl = fields["GUEST_SS_ACCESS_RIGHTS"] >> 5 & 3
    return state


def _load_segment(fields: dict[str, int], name: str) -> SegmentCache:
    rights = fields[f"GUEST_{name}_ACCESS_RIGHTS"]
    access = rights & _DPL if rights & _UNUSABLE else rights & 0xFF | rights >> 4 & 0xF00
    return segment(
        fields[f"GUEST_{name}_SELECTOR"], fields[f"GUEST_{name}_BASE"], fields[f"GUEST_{name}_LIMIT"], access
    )
