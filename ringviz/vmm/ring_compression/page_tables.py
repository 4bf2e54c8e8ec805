"""The page tables the CPU really walks: guest RAM for everyone, the VMM's own pages for nobody but the CPU.

Source of the entry format: Intel SDM Vol. 3A, "32-Bit Paging".
"""

from __future__ import annotations

from ringviz.machine.memory import Ram
from ringviz.vmm.ring_compression import layout

_PRESENT_WRITABLE_USER = 7
_PRESENT_SUPERVISOR = 1


class PageTables:
    """Two-level tables in VMM memory, for a guest that has paging off: linear is guest-physical."""

    def __init__(self, ram: Ram, guest_base: int, guest_bytes: int) -> None:
        self._ram = ram
        self._base = guest_base
        self._pages = guest_bytes >> 12
        write = ram.write_int
        for directory_index in range((self._pages + 1023) >> 10):
            write(layout.PAGE_DIRECTORY + 4 * directory_index, self._table(directory_index) | _PRESENT_WRITABLE_USER, 4)
        for page in range(self._pages):
            self.show(page)
        write(layout.PAGE_DIRECTORY + 4 * (layout.HOLE >> 22), layout.HOLE_TABLE | _PRESENT_WRITABLE_USER, 4)
        for page in sorted(layout.HOLE_PAGES):
            write(layout.HOLE_TABLE + 4 * page, page << 12 | _PRESENT_SUPERVISOR, 4)

    @staticmethod
    def _table(directory_index: int) -> int:
        return layout.GUEST_TABLES + (directory_index << 12)

    def _entry_address(self, page: int) -> int:
        return self._table(page >> 10) + 4 * (page & 1023)

    def show(self, page: int) -> None:
        """Map a page of guest RAM, readable and writable in every ring."""
        self._ram.write_int(self._entry_address(page), self._base + (page << 12) | _PRESENT_WRITABLE_USER, 4)

    def trace(self, page: int) -> None:
        """Make a page of guest RAM read-only, so that every write to it traps."""
        self._ram.write_int(self._entry_address(page), self._base + (page << 12) | 5, 4)

    def map_own(self, linear: int, physical: int, bits: int) -> None:
        """Map a page of the VMM's own in its part of the address space, for rings 0 to 2."""
        self._ram.write_int(layout.HOLE_TABLE + 4 * (linear - layout.HOLE >> 12), physical | bits, 4)

    def lend(self, page: int, frame: int) -> tuple[int, int]:
        """Show another frame at any linear page for a moment; give what `take_back` needs."""
        directory = layout.PAGE_DIRECTORY + 4 * (page >> 10)
        if page >> 10 == layout.HOLE >> 22:
            address = layout.HOLE_TABLE + 4 * (page & 1023)
        elif self._ram.read_int(directory, 4):
            address = self._entry_address(page)
        else:
            self._ram.write_int(directory, self._table(page >> 10) | _PRESENT_WRITABLE_USER, 4)
            address = self._entry_address(page)
        old = self._ram.read_int(address, 4)
        self._ram.write_int(address, frame | _PRESENT_WRITABLE_USER, 4)
        return address, old

    def take_back(self, lent: tuple[int, int]) -> None:
        """Undo `lend`."""
        self._ram.write_int(lent[0], lent[1], 4)
