"""Page tables read backwards: the linear pages that lead to a physical page.

The emulator tells of a load or store only where in memory it goes. Which linear address was used follows from the
tables that the CPU walks, as long as only one leads there.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

from ringviz.facts.registers import Cr4
from ringviz.machine.memory import PAGE, PAGE_SHIFT
from ringviz.machine.paging import PS, US, P

ReadPage = Callable[[int], bytes]
"""(physical page number) -> its 4096 bytes."""
_Slot = tuple[int, bool]
"""Number of an entry in its table, and whether it lets ring 3 in."""
_FRAME = 0x000F_FFFF_FFFF_F000
_PDPT_BYTES = 32
_HIGH_HALF = 0xFFFF << 36
"""What the number of a canonical linear page of the upper half has above its 36 bits."""


class ReverseMap:
    """One address space, read anew where its tables have changed."""

    def __init__(self, read_page: ReadPage) -> None:
        self._read_page = read_page
        self._known: dict[int, tuple[bytes, dict[int, list[_Slot]]]] = {}
        """By page of a table: its bytes, and the entries that lead to each physical page."""
        self._known_directories: dict[int, tuple[bytes, list[tuple[int, int]]]] = {}
        """By page of a directory: its bytes, and the entries that are present."""
        self.table_pages: set[int] = set()
        """Physical pages met since this was cleared that hold tables: a write there may change everything."""

    def linear_pages(self, cr3: int, cr4: int, page: int, *, is_user: bool, is_long: bool = False) -> list[int]:
        """Give the linear pages, by number, that the tables translate to a physical page.

        Args:
            cr3: of the CPU.
            cr4: likewise.
            page: number of the physical page.
            is_user: only those that ring 3 may use.
            is_long: EFER.LMA, for tables of four levels.
        """
        found: list[int] = []
        size, bits = (8, 9) if cr4 & Cr4.PAE else (4, 10)
        has_large = bool(cr4 & (Cr4.PAE | Cr4.PSE))
        if is_long:
            directories = self._long_directories(cr3, page, found, is_user=is_user)
        else:
            directories = self._directories(cr3, cr4)
        for first, number in directories:
            for slot, entry in self._directory(number, size):
                if is_user and not entry & US:
                    self.table_pages.add((entry & _FRAME) >> PAGE_SHIFT)
                    continue
                base = first + (slot << bits)
                if has_large and entry & PS:
                    start = (entry & _FRAME) >> PAGE_SHIFT & ~((1 << bits) - 1)
                    if 0 <= page - start < 1 << bits:
                        found.append(base + page - start)
                    continue
                slots = self._table((entry & _FRAME) >> PAGE_SHIFT, size).get(page, ())
                found += [base + at for at, allows_user in slots if allows_user or not is_user]
        return found

    def _directories(self, cr3: int, cr4: int) -> Iterator[tuple[int, int]]:
        """Give the first linear page that each page directory maps, and the physical page that holds it."""
        if not cr4 & Cr4.PAE:
            yield 0, cr3 >> PAGE_SHIFT
            return
        self.table_pages.add(cr3 >> PAGE_SHIFT)
        at = cr3 & (PAGE - 1) & ~(_PDPT_BYTES - 1)
        pointers = struct.unpack_from("<4Q", self._read_page(cr3 >> PAGE_SHIFT), at)
        for number, pointer in enumerate(pointers):
            if pointer & P:
                yield number << 18, (pointer & _FRAME) >> PAGE_SHIFT

    def _long_directories(self, cr3: int, page: int, found: list[int], *, is_user: bool) -> Iterator[tuple[int, int]]:
        """Do the same for tables of four levels; pages of 1 GiB that hold `page` are added to `found`."""
        for top, upper in self._directory(cr3 >> PAGE_SHIFT & _FRAME >> PAGE_SHIFT, 8):
            half = _HIGH_HALF if top & 0x100 else 0
            for slot, entry in self._directory((upper & _FRAME) >> PAGE_SHIFT, 8):
                first = half | top << 27 | slot << 18
                if is_user and not upper & entry & US:
                    self.table_pages.add((entry & _FRAME) >> PAGE_SHIFT)
                elif entry & PS:
                    start = (entry & _FRAME) >> PAGE_SHIFT & ~((1 << 18) - 1)
                    if 0 <= page - start < 1 << 18:
                        found.append(first + page - start)
                else:
                    yield first, (entry & _FRAME) >> PAGE_SHIFT

    def _directory(self, page: int, size: int) -> list[tuple[int, int]]:
        """Give the slots and entries of one page directory that are present."""
        self.table_pages.add(page)
        content = self._read_page(page)
        known = self._known_directories.get(page)
        if known is None or known[0] != content:
            entries = enumerate(struct.unpack("<512Q" if size == 8 else "<1024I", content))
            known = content, [(slot, entry) for slot, entry in entries if entry & P]
            self._known_directories[page] = known
        return known[1]

    def _table(self, page: int, size: int) -> dict[int, list[_Slot]]:
        """Give the slots of one page table by the page that they lead to."""
        self.table_pages.add(page)
        content = self._read_page(page)
        known = self._known.get(page)
        if known is not None and known[0] == content:
            return known[1]
        slots: dict[int, list[_Slot]] = {}
        for slot, entry in enumerate(struct.unpack("<512Q" if size == 8 else "<1024I", content)):
            if entry & P:
                frame = (entry & _FRAME) >> PAGE_SHIFT
                slots.setdefault(frame, []).append((slot, bool(entry & US)))
        self._known[page] = content, slots
        return slots
