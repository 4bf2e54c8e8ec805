"""The virtual machine control block as bytes: the state save area of a CPU state.

Source: AMD APM Vol. 2, "Layout of VMCB".
"""

from __future__ import annotations

import struct

from ringviz.facts.registers import Efer
from ringviz.facts.svm import SAVE_AREA_OFFSET, VMCB_SAVE
from ringviz.machine.state import EAX, ESP, CpuState

_SEGMENT = struct.Struct("<HHIQ")
SAVE_AREA_BYTES = 0x280
"""As far as the fields of a guest go."""


def _at(name: str) -> int:
    return VMCB_SAVE[name].offset - SAVE_AREA_OFFSET


_SEGMENT_OFFSETS = tuple(_at(f"{name}.selector") for name in ("ES", "CS", "SS", "DS", "FS", "GS"))
_GDTR, _LDTR, _IDTR, _TR = (_at(f"{name}.selector") for name in ("GDTR", "LDTR", "IDTR", "TR"))
_CPL, _EFER, _CR2 = _at("CPL"), _at("EFER"), _at("CR2")
_QUADS = tuple(_at(name) for name in ("CR4", "CR3", "CR0", "DR7", "DR6", "RFLAGS", "RIP", "RSP", "RAX"))
_LONG = tuple(_at(name) for name in ("STAR", "LSTAR", "CSTAR", "SFMASK", "KernelGsBase"))
_SYSENTER = tuple(_at(name) for name in ("SYSENTER_CS", "SYSENTER_ESP", "SYSENTER_EIP"))


def encode_save_area(state: CpuState) -> bytes:
    """Lay a CPU state out as the VMCB's state save area, with EFER.SVME set as VMRUN insists."""
    area = bytearray(SAVE_AREA_BYTES)
    for offset, cache in zip(_SEGMENT_OFFSETS, state.segments, strict=True):
        _SEGMENT.pack_into(area, offset, cache.selector, cache.access, cache.limit, cache.base)
    for offset, table in ((_GDTR, state.gdtr), (_IDTR, state.idtr)):
        _SEGMENT.pack_into(area, offset, 0, 0, table.limit, table.base)
    for offset, cache in ((_LDTR, state.ldtr), (_TR, state.tr)):
        _SEGMENT.pack_into(area, offset, cache.selector, cache.access, cache.limit, cache.base)
    area[_CPL] = state.cpl
    put = struct.pack_into
    put("<Q", area, _EFER, state.efer | Efer.SVME)
    values = (state.cr4, state.cr3, state.cr0, state.dr[7], state.dr[6], state.eflags, state.eip)
    for offset, value in zip(_QUADS, (*values, state.gpr[ESP], state.gpr[EAX]), strict=True):
        put("<Q", area, offset, value)
    for offset, value in zip(_SYSENTER, state.sysenter, strict=True):
        put("<Q", area, offset, value)
    put("<Q", area, _CR2, state.cr2)
    if state.long is not None:
        for offset, value in zip(_LONG, state.long[:5], strict=True):
            put("<Q", area, offset, value)
    return bytes(area)
