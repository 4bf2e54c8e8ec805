"""The formats of page tables that a CPU walks, and the shadow entries written in them.

A shadow is made in the format of the guest's own tables: entry stands beside entry, and PAE's no-execute bit is there
exactly when the guest has it.

Source: Intel SDM Vol. 3A, "32-Bit Paging", "PAE Paging" and "4-Level Paging".
"""

from __future__ import annotations

from dataclasses import dataclass

from ringviz.machine.paging import ACCESSED, DIRTY, NX, RW, US, P


@dataclass(frozen=True, slots=True, order=True)
class TableFormat:
    """Sizes of one format."""

    levels: int
    entry_bytes: int
    index_bits: int
    """Bits of a linear address that choose an entry of a page directory or page table."""

    @property
    def is_pae(self) -> bool:
        """CR4.PAE is set: entries have 64 bits."""
        return self.levels > 2

    @property
    def directory_shift(self) -> int:
        """Lowest bit of a linear address that chooses a page table: 22, or 21 with PAE."""
        return 12 + self.index_bits

    @property
    def entries(self) -> int:
        """Entries in one directory or table."""
        return 1 << self.index_bits

    @property
    def directories(self) -> int:
        """Page directories that every space has: PAE four, one for each gigabyte. Long mode makes them on demand."""
        return {2: 1, 3: 4}.get(self.levels, 0)


TWO_LEVEL = TableFormat(levels=2, entry_bytes=4, index_bits=10)
PAE = TableFormat(levels=3, entry_bytes=8, index_bits=9)
FOUR_LEVEL = TableFormat(levels=4, entry_bytes=8, index_bits=9)

DIRECTORY_ENTRY = P | RW | US | ACCESSED
"""Attributes of every shadow entry that leads to a table: what is allowed is decided in the last level."""


def leaf(frame_address: int, *, is_writable: bool, is_user: bool, is_executable: bool = True) -> int:
    """Give the shadow entry of one page.

    Accessed and dirty are set from the start: the CPU then never writes to a shadow, and its bytes are the VMM's alone.
    """
    entry = frame_address | P | ACCESSED | DIRTY | (RW if is_writable else 0) | (US if is_user else 0)
    return entry if is_executable else entry | NX
