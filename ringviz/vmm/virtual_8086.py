"""Real-mode code of a guest in virtual-8086 mode: when the CPU can run it there, and in which state.

Virtual-8086 mode is protected mode with the address formation of real mode. It is the only mode with privilege levels
in which a CPU runs real-mode code, so every VMM that had no better hardware used it: ring compression, and VT-x before
the unrestricted guest. It fits as long as each segment register holds what a load in real mode gives it. A base or a
limit left over from protected mode ("unreal" mode) does not exist there: the VMM interprets such code until the
registers have been loaded again.

Source: Intel SDM Vol. 3B, "8086 Emulation"; Vol. 3C, "Checks on Guest Segment Registers" (the same rules, spelled out).
"""

from __future__ import annotations

from functools import lru_cache

from ringviz.facts.instructions import INSTRUCTIONS, PgClass
from ringviz.facts.registers import Eflags, iopl
from ringviz.facts.segments import SegmentCache
from ringviz.facts.virtual_8086 import IN_VIRTUAL_8086, SILENT_IN_VIRTUAL_8086, InVirtual8086
from ringviz.machine.state import CpuState, segment

ACCESS = 0xF3
"""Attributes of every segment in virtual-8086 mode: present, DPL 3, writable data, accessed."""
_KEPT_ATTRIBUTES = 0xC00
"""D/B and G of a segment left over from protected mode; while it is in use, the code is interpreted."""
_LIMIT = 0xFFFF
FAR_TRANSFERS = frozenset({"jmp-far", "call-far", "ret-far"})
"""The CPU executes them in virtual-8086 mode as real mode does; the emulator leaves them to us."""


def is_8086(state: CpuState) -> bool:
    """Tell whether addresses are formed as on an 8086: in real mode, and in virtual-8086 mode."""
    return not state.is_protected or bool(state.eflags & Eflags.VM)


def fits(state: CpuState) -> bool:
    """Tell whether the segment registers are such as virtual-8086 mode can have."""
    return all(_fits(cache) for cache in state.segments)


def _fits(cache: SegmentCache) -> bool:
    return cache.base == cache.selector << 4 and cache.limit == _LIMIT and not cache.db


@lru_cache(maxsize=1024)
def _in_virtual_8086(cache: SegmentCache) -> SegmentCache:
    return segment(cache.selector, cache.base, cache.limit, ACCESS | cache.access & _KEPT_ATTRIBUTES)


def segments_of(state: CpuState) -> list[SegmentCache]:
    """Give the real segment registers for a guest's."""
    return [_in_virtual_8086(cache) for cache in state.segments]


def reloaded_by_guest(real: SegmentCache, before: SegmentCache) -> SegmentCache:
    """Give the segment register that a guest believes in after it has loaded the real one by itself."""
    return segment(real.selector, real.base, before.limit, before.access)


def refuses_by_iopl(state: CpuState, form: str) -> bool:
    """Tell whether a guest that is itself in virtual-8086 mode gets #GP(0) for a form, by its own IOPL."""
    row = IN_VIRTUAL_8086.get(form)
    is_sensitive = row is not None and row.what is InVirtual8086.TRAPS_BY_IOPL
    return is_sensitive and bool(state.eflags & Eflags.VM) and iopl(state.eflags) < 3


def verdict(form: str) -> tuple[str, str]:
    """Say what becomes of an instruction of a real-mode guest that runs in virtual-8086 mode with IOPL 0."""
    row = IN_VIRTUAL_8086.get(form)
    if row is None and INSTRUCTIONS[form].pg_class is not PgClass.PRIVILEGED:
        return "", ""
    what = InVirtual8086.TRAPS_BY_PRIVILEGE if row is None else row.what
    if what is InVirtual8086.SAME:
        return "", what.value
    return ("silent" if form in SILENT_IN_VIRTUAL_8086 else "traps"), what.value
