"""The architectural state of one 32-bit x86 CPU, hidden segment parts included."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from ringviz.facts.registers import Cr0
from ringviz.facts.segments import SegmentCache

ES, CS, SS, DS, FS, GS = range(6)
"""Segment registers in encoding order; indexes into `CpuState.segments`."""

EAX, ECX, EDX, EBX, ESP, EBP, ESI, EDI = range(8)
"""General-purpose registers in encoding order; indexes into `CpuState.gpr`."""


class TableRegister(NamedTuple):
    """GDTR or IDTR: linear base and limit (offset of the last byte)."""

    base: int
    limit: int


@dataclass(slots=True)
class CpuState:
    """Everything a program can see or feel of the CPU, except FPU and SSE registers.

    Mutable on purpose: it is the working copy that delivery and interpreter routines change step by step.
    Snapshots for others are made with `copy`, whose lists nobody else holds.
    """

    gpr: list[int]
    eip: int
    eflags: int
    segments: list[SegmentCache]
    ldtr: SegmentCache
    tr: SegmentCache
    gdtr: TableRegister
    idtr: TableRegister
    cr0: int
    cr2: int
    cr3: int
    cr4: int
    cpl: int
    dr: list[int]
    """DR0..DR7; DR4 and DR5 stay 0, they are aliases."""
    efer: int
    sysenter: list[int]
    """SYSENTER_CS, SYSENTER_ESP, SYSENTER_EIP."""

    def copy(self) -> CpuState:
        """Give an independent copy; segment caches are immutable and shared."""
        return CpuState(
            self.gpr.copy(),
            self.eip,
            self.eflags,
            self.segments.copy(),
            self.ldtr,
            self.tr,
            self.gdtr,
            self.idtr,
            self.cr0,
            self.cr2,
            self.cr3,
            self.cr4,
            self.cpl,
            self.dr.copy(),
            self.efer,
            self.sysenter.copy(),
        )

    @property
    def is_protected(self) -> bool:
        """CR0.PE is set."""
        return bool(self.cr0 & Cr0.PE)

    @property
    def is_paged(self) -> bool:
        """CR0.PG is set."""
        return bool(self.cr0 & Cr0.PG)

    @property
    def code_bits(self) -> int:
        """Default operand and address size of the code segment: 16 or 32.

        Also in real mode: there it is 32 between the clearing of CR0.PE in a 32-bit segment and the far jump.
        """
        return 32 if self.segments[CS].db else 16

    @property
    def linear_eip(self) -> int:
        """Linear address of the next instruction."""
        return (self.segments[CS].base + self.eip) & 0xFFFF_FFFF


@lru_cache(maxsize=8192)
def segment(selector: int, base: int, limit: int, access: int) -> SegmentCache:
    """Make a segment cache; the same values give the same object, which makes comparing states cheap."""
    return SegmentCache(selector, base, limit, access)


def same_but_plain(a: CpuState, b: CpuState) -> bool:
    """Tell whether two states differ in nothing but general registers, EIP, EFLAGS and CR2."""
    return (
        a.segments == b.segments
        and a.cpl == b.cpl
        and a.cr0 == b.cr0
        and a.cr3 == b.cr3
        and a.cr4 == b.cr4
        and a.ldtr == b.ldtr
        and a.tr == b.tr
        and a.gdtr == b.gdtr
        and a.idtr == b.idtr
        and a.dr == b.dr
        and a.efer == b.efer
        and a.sysenter == b.sysenter
    )


def fields_of(state: CpuState) -> dict[str, int]:
    """Flatten a state into named integers, in a fixed order: for comparison, hashing and display."""
    fields: dict[str, int] = dict(zip(("eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"), state.gpr, strict=True))
    fields["eip"] = state.eip
    fields["eflags"] = state.eflags
    names = ("es", "cs", "ss", "ds", "fs", "gs", "ldtr", "tr")
    for name, cache in zip(names, (*state.segments, state.ldtr, state.tr), strict=True):
        fields[name] = cache.selector
        fields[f"{name}.base"] = cache.base
        fields[f"{name}.limit"] = cache.limit
        fields[f"{name}.access"] = cache.access
    fields["gdtr.base"], fields["gdtr.limit"] = state.gdtr
    fields["idtr.base"], fields["idtr.limit"] = state.idtr
    for name in ("cr0", "cr2", "cr3", "cr4", "cpl", "efer"):
        fields[name] = getattr(state, name)
    for number in (0, 1, 2, 3, 6, 7):
        fields[f"dr{number}"] = state.dr[number]
    for name, value in zip(("sysenter_cs", "sysenter_esp", "sysenter_eip"), state.sysenter, strict=True):
        fields[name] = value
    return fields


def real_mode_cache(value: int, access: int = 0x93) -> SegmentCache:
    """Give a segment register as it is in real or virtual-8086 mode: base is 16 times the value, limit FFFFh.

    Source: Intel SDM Vol. 3B, "Real-Address Mode Operation".
    """
    return SegmentCache(value, value << 4, 0xFFFF, access)


def reloaded_in_real_mode(old: SegmentCache, value: int) -> SegmentCache:
    """Give a segment register after a load in real or virtual-8086 mode: selector and base are new, the rest stays.

    A limit left over from protected mode stays, too ("unreal" mode).
    """
    return segment(value, value << 4, old.limit, old.access)
