"""The page tables that the guest lives on: its memory one to one, and the hypervisor at the top.

Under Xen a domain starts on tables that the domain builder has made, and changes them by hypercall only. Here they
stay in the hypervisor's memory; the guest sees machine frame numbers, as under direct paging.

Source of the entry format: Intel SDM Vol. 3A, "32-Bit Paging".
"""

from __future__ import annotations

from ringviz.machine.memory import PAGE_SHIFT, Ram
from ringviz.machine.paging import ACCESSED, DIRTY, RW, US, P
from ringviz.vmm.paravirt import layout

_USER = P | RW | US


class PageTables:
    """Two levels of tables in the hypervisor's memory."""

    def __init__(self, ram: Ram, guest_base: int, guest_bytes: int) -> None:
        self._ram = ram
        self._first_frame = guest_base >> PAGE_SHIFT
        self.pages = guest_bytes >> PAGE_SHIFT
        """How many pages the guest has."""
        for index in range((self.pages + 1023) >> 10):
            ram.write_int(layout.PAGE_DIRECTORY + 4 * index, layout.GUEST_TABLES + (index << 12) | _USER, 4)
        for page in range(self.pages):
            self.set_entry(page, self.frame_of(page) << PAGE_SHIFT | _USER)
        ram.write_int(layout.PAGE_DIRECTORY + 4 * (layout.HOLE >> 22), layout.HOLE_TABLE | _USER, 4)
        for page in sorted(layout.HOLE_PAGES):
            ram.write_int(layout.HOLE_TABLE + 4 * page, page << PAGE_SHIFT | P | RW, 4)

    def frame_of(self, page: int) -> int:
        """The machine frame that holds a page of the guest."""
        return self._first_frame + page

    def page_of(self, frame: int) -> int | None:
        """The guest's page that a machine frame holds; None if the frame is not the guest's."""
        page = frame - self._first_frame
        return page if 0 <= page < self.pages else None

    def entry(self, page: int) -> int:
        """The entry that maps a page of the guest's address space, as it is, accessed and dirty bits included."""
        return self._ram.read_int(layout.GUEST_TABLES + 4 * page, 4)

    def set_entry(self, page: int, entry: int) -> None:
        """Change the entry that maps a page; the CPU's TLB is the caller's to flush."""
        self._ram.write_int(layout.GUEST_TABLES + 4 * page, entry, 4)

    def is_writable(self, page: int) -> bool:
        """Tell whether the guest can write to the frame of a page; each is mapped at its own page or not at all."""
        entry = self.entry(page)
        return entry >> PAGE_SHIFT == self.frame_of(page) and entry & (P | RW) == P | RW

    def plain(self, page: int) -> int:
        """The entry without the bits that the CPU sets."""
        return self.entry(page) & ~(ACCESSED | DIRTY)
