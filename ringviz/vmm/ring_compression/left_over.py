"""Segment registers that no load in protected mode could have filled: left over from real mode.

Between setting CR0.PE and the far jump behind it, CS still begins at 16 times the selector, as real mode wants it. A
VMM cannot put a guest into ring 1 like that: its shadow table has another descriptor at that selector, or none, and the
null selector loads nothing at all. So the VMM interprets this stretch, a few instructions long, until CS and SS have
been loaded anew. DS, ES, FS and GS need not be: a null selector there faults at its first use, and the VMM sees to it.
"""

from __future__ import annotations

from ringviz.facts.segments import SegmentCache, Selector
from ringviz.machine.descriptors import find_entry
from ringviz.machine.linear import PageFault, PhysicalSpace, SpectatorMemory
from ringviz.machine.state import CS, SS, CpuState


def is_left_over(virtual: CpuState, space: PhysicalSpace) -> bool:
    """Tell whether the kernel of a guest in protected mode still runs on what real mode left in CS or SS."""
    if virtual.cpl:
        return False
    return any(_is_left_over(virtual.segments[index], virtual, space) for index in (CS, SS))


def _is_left_over(cache: SegmentCache, virtual: CpuState, space: PhysicalSpace) -> bool:
    if cache.base != cache.selector << 4 or cache.limit != 0xFFFF or cache.db:
        return False
    memory = SpectatorMemory(virtual, space)
    if Selector(cache.selector).is_null:
        return True
    try:
        entry = find_entry(virtual, memory, cache.selector)
    except PageFault:
        return True
    return entry is None or (entry.descriptor.base, entry.descriptor.limit) != (cache.base, cache.limit)
