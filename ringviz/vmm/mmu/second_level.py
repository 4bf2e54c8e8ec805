"""Tables of a second level: what a VMM maps guest RAM with, whichever maker's format the entries have.

Both makers' formats for 64-bit hosts are four levels of 512 entries of 8 bytes; what the bits of an entry mean differs.

Sources: AMD APM Vol. 2, "Nested Paging"; Intel SDM Vol. 3C, "The Extended Page Table Mechanism (EPT)".
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

from ringviz.machine.memory import PAGE, PAGE_SHIFT, Ram

ADDRESS = 0x000F_FFFF_FFFF_F000
"""Bits of an entry that name the next table, or the page."""
SHIFTS = (39, 30, 21, 12)
"""Of an address, the first bit of each level's index, outermost first."""
_TABLE_REACH = 512 << PAGE_SHIFT
"""Bytes that one last-level table maps."""


@dataclass(frozen=True, slots=True)
class EntryFormat:
    """What entries look like."""

    table: int
    """Set in an entry that leads to a table."""
    page: int
    """Set in an entry that maps a page without restriction."""
    writable: int
    present: int
    """An entry with none of these bits leads nowhere."""


class SecondLevelTables:
    """The tables and their builder, which is a VMM's work; how the hardware walks them is for those who know more."""

    def __init__(self, ram: Ram, root: int, guest_base: int, guest_bytes: int, entries: EntryFormat) -> None:
        """Build tables that map all guest RAM with 4 KiB pages.

        Args:
            ram: the machine's memory.
            root: host-physical address of the first table; the others follow it.
            guest_base: host-physical address of guest-physical 0.
            guest_bytes: size of guest RAM.
            entries: what entries look like.
        """
        self._ram = ram
        self.root = root
        self.next_table = root + PAGE
        """Host-physical address at which the next table will be made."""
        self._guest_base, self._guest_bytes, self._format = guest_base, guest_bytes, entries
        self.withdrawn: set[int] = set()
        """Guest-physical pages whose entries do not say what they otherwise would, because of the host."""
        if ram.keeper is not None:
            ram.on_withdraw, ram.withdrawn_at = self.withdraw, self.behind
        for start in range(0, guest_bytes, _TABLE_REACH):  # a machine is powered on often, and has thousands of pages
            gpas = range(start, min(start + _TABLE_REACH, guest_bytes), PAGE)
            ram.write_ints(self._leaf(start), [guest_base + gpa | entries.page for gpa in gpas], 8)

    def map(self, gpa: int, hpa: int | None) -> None:
        """Map one guest-physical page, or unmap it."""
        self._ram.write_int(self._leaf(gpa), 0 if hpa is None else hpa | self._format.page, 8)

    # ---- pages that the host withdraws -------------------------------------------------------------------------------

    def withdraw(self, pages: Set[int], may_read: bool) -> None:
        """Let no entry lead to these pages of RAM, or none allow writing: the host wants to be asked first."""
        for page in sorted(pages):
            gpa = (page << PAGE_SHIFT) - self._guest_base
            if 0 <= gpa < self._guest_bytes:
                self.withdrawn.add(gpa >> PAGE_SHIFT)
                entry = self._ram.read_int(self._leaf(gpa), 8)
                self._ram.write_int(self._leaf(gpa), entry & ~self._format.writable if may_read else 0, 8)

    def give_back(self, gpa: int, *, may_write: bool) -> None:
        """Let an entry lead to its page again."""
        page = gpa & ~(PAGE - 1)
        bits = self._format.page if may_write else self._format.page & ~self._format.writable
        self._ram.write_int(self._leaf(page), self._guest_base + page | bits, 8)
        if may_write:
            self.withdrawn.discard(gpa >> PAGE_SHIFT)

    def behind(self, gpa: int) -> int | None:
        """Give the host-physical address of a page that was withdrawn; None if it was not."""
        return self._guest_base + gpa if gpa >> PAGE_SHIFT in self.withdrawn else None

    def _leaf(self, gpa: int) -> int:
        """Address of the last-level entry for a page, with tables made on the way."""
        table = self.root
        for shift in SHIFTS[:-1]:
            address = table + 8 * (gpa >> shift & 511)
            entry = self._ram.read_int(address, 8)
            if not entry & self._format.present:
                entry = self.next_table | self._format.table
                self.next_table += PAGE
                self._ram.write_int(address, entry, 8)
            table = entry & ADDRESS
        return table + 8 * (gpa >> PAGE_SHIFT & 511)
