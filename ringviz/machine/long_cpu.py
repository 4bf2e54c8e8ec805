"""The emulated CPU with long mode: sixteen registers of 64 bits, and a host that is in long mode itself.

Its guest may be in any mode, from real mode up; what is the same in all of them is in `cpu`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from unicorn import UC_MODE_64
from unicorn import x86_const as x86

from ringviz.facts.registers import Cr4, Efer, Eflags
from ringviz.facts.segments import SegmentCache, null_cache
from ringviz.machine import layout
from ringviz.machine.cpu import Cpu
from ringviz.machine.emulator import INTERCEPT_CR
from ringviz.machine.frames import FrameMap, LongFrameMap
from ringviz.machine.state import (
    ADDRESS_32,
    ADDRESS_64,
    FS,
    GS,
    CpuState,
    LongRegisters,
    TableRegister,
    segment,
)
from ringviz.machine.telling_state import long_telling_state

_EFER_MSR = 0xC000_0080
_RF = int(Eflags.RF)
_INTERCEPT_MORE_CR = 1 << 8 | 1 << 24 | 1 << 19  # CR8, for which there is no APIC; writes of CR3: see INTERCEPT_CR
_LDTR, _TR = 6, 7
_WIDE_BASES = frozenset({FS, GS, _LDTR, _TR})
"""Segment registers whose bases have 64 bits."""


@lru_cache(maxsize=4096)
def _cache(selector: int, base: int, limit: int, flags: int) -> SegmentCache:
    """Make a segment cache of QEMU's fields."""
    return segment(selector & 0xFFFF, base, limit, flags >> 8 & 0xFF | flags >> 12 & 0xF00)


@lru_cache(maxsize=4096)
def _segments(
    saved: bytes,
) -> tuple[tuple[SegmentCache, ...], SegmentCache, SegmentCache, TableRegister, TableRegister]:
    """Decode the saved segment registers, LDTR, TR, GDTR and IDTR, which seldom change."""
    fields = layout.SEGMENTS.unpack(saved)
    caches = []
    for index in range(8):
        selector, base, limit, flags = fields[4 * index : 4 * index + 4]
        caches.append(_cache(selector, base if index in _WIDE_BASES else base & ADDRESS_32, limit, flags))
    return (
        tuple(caches[:6]),
        caches[6] if caches[6].selector & ~3 else null_cache(caches[6].selector),
        caches[7],
        TableRegister(fields[33], fields[34]),
        TableRegister(fields[37], fields[38]),
    )


class LongCpu(Cpu):
    """A CPU that can enter long mode."""

    _mode = UC_MODE_64
    _frame_map: type[FrameMap] = LongFrameMap
    _registers = (
        x86.UC_X86_REG_RAX,
        x86.UC_X86_REG_RCX,
        x86.UC_X86_REG_RDX,
        x86.UC_X86_REG_RBX,
        x86.UC_X86_REG_RSP,
        x86.UC_X86_REG_RBP,
        x86.UC_X86_REG_RSI,
        x86.UC_X86_REG_RDI,
        *range(x86.UC_X86_REG_R8, x86.UC_X86_REG_R8 + 8),
    )
    _instruction_pointer = x86.UC_X86_REG_RIP
    _xmm_count = 16
    _intercept_cr = INTERCEPT_CR | _INTERCEPT_MORE_CR
    _telling_state = staticmethod(long_telling_state)
    _cr8 = 0

    def paging_registers(self) -> tuple[int, int, int, int]:
        """CR0, CR3, CR4 and EFER as the emulator holds them, current inside callbacks too."""
        cr0, _, _, cr3, cr4 = layout.CONTROL.unpack_from(self._view, layout.CONTROL_AT)
        return cr0, cr3, cr4, self._efer

    def _update_context(self) -> None:
        super()._update_context()
        self.address_mask = ADDRESS_64 if self._hidden_flags() & layout.CODE_IS_64BIT else ADDRESS_32

    def _hidden_flags(self) -> int:
        return int.from_bytes(self._view[layout.HFLAGS_AT : layout.HFLAGS_AT + 4], "little")

    def _code_bits(self) -> int:
        flags = self._hidden_flags()
        if flags & layout.CODE_IS_64BIT:
            return 64
        return 32 if flags & layout.CODE_IS_32BIT else 16

    def _read_state(self, eflags: int | None = None) -> CpuState:
        view = self._view
        *gpr, rip = layout.LONG_REGISTERS.unpack_from(view, layout.REGISTERS_AT)
        segments, ldtr, tr, gdtr, idtr = _segments(view[layout.SEGMENTS_AT : layout.SEGMENTS_END])
        cr0, _, cr2, cr3, cr4 = layout.CONTROL.unpack_from(view, layout.CONTROL_AT)
        star, lstar, cstar, sfmask, kernel_gs_base = layout.LONG_MSRS.unpack_from(view, layout.LONG_MSRS_AT)
        dr = list(layout.DEBUG.unpack_from(view, layout.DEBUG_AT))
        dr[4] = dr[5] = 0
        if eflags is None:
            eflags = self._read_eflags()
            self._real_rf = bool(eflags & _RF)
        return CpuState(
            gpr,
            rip & self.address_mask,
            eflags & ~_RF,
            list(segments),
            ldtr,
            tr,
            gdtr,
            idtr,
            cr0,
            cr2,
            cr3,
            cr4,
            self._hidden_flags() & 3,
            dr,
            self._efer,
            self._sysenter.copy(),
            LongRegisters(star, lstar, cstar, sfmask, kernel_gs_base, self._cr8),
        )

    def _enter(self, state: CpuState) -> None:
        assert state.long is not None, "a CPU with long mode is in a state of such a CPU"
        self._cr8 = state.long.cr8
        super()._enter(state)

    def _pack_registers(self, host: Any, gpr: list[int]) -> None:
        layout.LONG_REGISTERS.pack_into(host, layout.REGISTERS_AT, *gpr, layout.STUB)

    def _prepare_host_segments(self) -> None:
        """Match every guest it may enter: VMRUN looks at the host's LME and PAE where the guest has paging on."""
        uc = self.uc
        uc.reg_write(x86.UC_X86_REG_CR4, uc.reg_read(x86.UC_X86_REG_CR4) | Cr4.PAE)
        uc.msr_write(_EFER_MSR, uc.msr_read(_EFER_MSR) | Efer.LME)

    def save(self) -> Any:
        """Give everything the emulated CPU holds, to the last hidden bit; only for `restore` in this process."""
        return super().save(), self._cr8

    def restore(self, saved: Any) -> None:
        """Return to a saved state. Memory is the caller's to restore."""
        inner, self._cr8 = saved
        super().restore(inner)
        self._update_context()
