"""The page tables the CPU really walks: shadows of the guest's, with the VMM's own pages for nobody but the CPU.

The VMM's pages hang at the top of every address space: the CPU must reach its descriptor tables wherever the guest is.
"""

from __future__ import annotations

from collections.abc import Callable

from ringviz.machine.memory import Ram
from ringviz.machine.paging import ACCESSED, DIRTY, P
from ringviz.vmm.guest_space import GuestSpace
from ringviz.vmm.mmu.formats import PAE, TWO_LEVEL, TableFormat
from ringviz.vmm.mmu.shadow import Places, ShadowPaging
from ringviz.vmm.ring_compression import layout

_FOR_THE_CPU = P | ACCESSED | DIRTY
_OWN_TABLES = {
    TWO_LEVEL: {layout.HOLE >> 22: layout.HOLE_TABLE},
    PAE: {(layout.HOLE >> 21) + number: table for number, table in enumerate(layout.HOLE_TABLES_PAE)},
}
POOL = layout.SHADOW_POOL


def map_in_hole(ram: Ram, page: int, entry: int) -> None:
    """Write the entry of one of the VMM's own linear pages, in every space at once.

    Args:
        ram: the machine's memory.
        page: counted from the hole's first.
        entry: frame address and attributes, as in 32-bit paging.
    """
    _write(ram, TWO_LEVEL, page, entry)
    _write(ram, PAE, page, entry)


def _write(ram: Ram, kind: TableFormat, page: int, entry: int) -> None:
    table = _OWN_TABLES[kind][((layout.HOLE >> 12) + page) >> kind.index_bits]
    ram.write_int(table + kind.entry_bytes * (page & kind.entries - 1), entry, kind.entry_bytes)


def make_shadows(ram: Ram, space: GuestSpace, flush: Callable[[], None]) -> ShadowPaging:
    """Build the VMM's own part, and the shadows of a guest that has not turned paging on yet."""
    for page in sorted(layout.HOLE_PAGES):
        map_in_hole(ram, page, page << 12 | _FOR_THE_CPU)
    places = Places(layout.PAGE_DIRECTORY, layout.GUEST_TABLES, POOL, _OWN_TABLES)
    return ShadowPaging(ram, space, places, flush)
