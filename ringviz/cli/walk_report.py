"""TLB misses and page-walk references of a run, as a text for people."""

import textwrap
from collections.abc import Iterator

from ringviz.cli.output import strong, width_cells
from ringviz.cli.table import Column, table
from ringviz.engine.walk_count import NESTED_LEVELS, WalkCount

_ROWS = (Column("Count", is_number=True), Column("Of what", wraps=True))


def walk_lines(count: WalkCount) -> Iterator[str]:
    """Give the section about page walks."""
    yield strong("Page walks")
    yield f"Modelled TLB: {count.tlb.entries} entries, {count.tlb.ways} ways, LRU; one for code, one for data"
    yield from textwrap.wrap(f"Its shape: {count.tlb.source}", width_cells(), subsequent_indent="  ")
    yield from table(_ROWS, [(f"{number:,}", what) for number, what in _figures(count)], width_cells())


def _figures(count: WalkCount) -> Iterator[tuple[int, str]]:
    yield count.accesses, "loads and stores"
    yield count.code_misses, "TLB misses of instruction fetches"
    yield count.data_misses, "TLB misses of loads and stores"
    yield count.failed_walks, "walks that ended in a page fault"
    yield count.flushes, "times the TLB lost everything, or all but global pages"
    yield count.references, "page-table entries read by the CPU in all these walks"
    if count.is_nested:
        yield count.one_dimension, "of them, entries of the guest's own tables: all that one dimension would take"
    else:
        what = f"that the same misses would take with nested tables of {NESTED_LEVELS} levels behind"
        yield count.two_dimensions, f"entries {what}"
    if count.unresolved:
        yield count.unresolved, "loads and stores whose linear page is a guess: several lead to the same memory"
