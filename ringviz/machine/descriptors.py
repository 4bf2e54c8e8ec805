"""Looking up segment descriptors in the tables that GDTR and LDTR point to, and marking them accessed.

Source: Intel SDM Vol. 3A, "Segment Descriptor Tables".
"""

from __future__ import annotations

from typing import NamedTuple

from ringviz.facts.segments import Descriptor, Selector, decode_descriptor
from ringviz.machine.linear import LinearMemory
from ringviz.machine.state import ADDRESS_32, ADDRESS_64, CpuState


class TableEntry(NamedTuple):
    """A descriptor and where it lies."""

    descriptor: Descriptor
    linear: int
    raw: int


def find_entry(state: CpuState, memory: LinearMemory, selector: int) -> TableEntry | None:
    """Read the descriptor a selector names; None if it lies beyond its table's limit (or the LDT is absent).

    Raises:
        PageFault: the table's page refuses.
    """
    taken = Selector(selector)
    if taken.ti:
        base, limit = state.ldtr.base, state.ldtr.limit if state.ldtr.is_usable else -1
    else:
        base, limit = state.gdtr
    if taken.offset + 7 > limit:
        return None
    linear = (base + taken.offset) & (ADDRESS_64 if state.is_long_active else ADDRESS_32)
    raw = memory.read_int(linear, 8)
    return TableEntry(decode_descriptor(raw), linear, raw)


def mark_accessed(memory: LinearMemory, entry: TableEntry) -> Descriptor:
    """Set the accessed bit in the table, as loading a segment register does, and give the descriptor with it set.

    The emulated CPU writes the upper half of the descriptor; CR2 tells, where that page refuses.
    """
    if entry.raw >> 40 & 1:
        return entry.descriptor
    memory.write_int(entry.linear + 4, entry.raw >> 32 | 1 << 8, 4)
    old = entry.descriptor
    return Descriptor(old.base, old.limit, old.access | 1)
