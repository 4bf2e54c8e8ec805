"""Which machine frames are the guest's, and what each is in use as: Xen's frame table.

A frame is a page table, a page directory, part of the GDT or LDT, or something that can be written to, and only one of
these at a time: that is the whole of Xen's protection of memory. How long it stays so is counted. Every entry of a
valid table that leads to a frame counts once, so does being pinned, and so does being the directory that the CPU uses.

Source: Barham et al. 2003, section 3.3.3; Xen 3.0, x86-32 (`get_page_type`, `put_page_type`).
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from enum import IntEnum

from ringviz.machine.memory import PAGE_SHIFT
from ringviz.vmm.paravirt import layout


class FrameType(IntEnum):
    """What a frame is in use as."""

    NONE = 0
    L1 = 1
    L2 = 2
    GDT = 3
    LDT = 4
    WRITABLE = 5


TITLES = {
    FrameType.NONE: "in no use",
    FrameType.L1: "an L1 table",
    FrameType.L2: "an L2 table",
    FrameType.GDT: "part of the GDT",
    FrameType.LDT: "part of the LDT",
    FrameType.WRITABLE: "mapped writable",
}
"""In words. L1 tables are the page tables, L2 tables the page directories, in Xen's names."""


@dataclass(slots=True)
class FrameUse:
    """Type and count of each frame of the guest's, by page; the last is the page shared with the hypervisor."""

    types: bytearray = field(default_factory=bytearray)
    counts: array[int] = field(default_factory=lambda: array("L"))
    pinned: set[int] = field(default_factory=set)
    """Tables that the guest wants to stay valid though nothing may lead to them."""

    @classmethod
    def unused(cls, pages: int) -> FrameUse:
        """Give the frames of a domain that has not started: only the shared page is in use, and stays writable."""
        use = cls(bytearray(pages + 1), array("L", bytes(array("L").itemsize * (pages + 1))))
        use.types[pages], use.counts[pages] = FrameType.WRITABLE, 1
        return use

    def copy(self) -> FrameUse:
        """Give an independent copy."""
        return FrameUse(self.types[:], self.counts[:], self.pinned.copy())

    def type_of(self, page: int) -> FrameType:
        """What a frame is in use as."""
        return FrameType(self.types[page]) if self.counts[page] else FrameType.NONE


class Frames:
    """The machine frames that a guest has, and its own numbers for them."""

    def __init__(self, guest_base: int, guest_bytes: int) -> None:
        self._first = guest_base >> PAGE_SHIFT
        self.pages = guest_bytes >> PAGE_SHIFT
        """How many pages the guest has; as the number of a page it means the shared one."""

    def frame_of(self, page: int) -> int:
        """The machine frame that holds a page of the guest."""
        return layout.SHARED_INFO >> PAGE_SHIFT if page == self.pages else self._first + page

    def page_of(self, frame: int) -> int | None:
        """The guest's page that a machine frame holds, the shared one included; None if it is not the guest's."""
        if frame == layout.SHARED_INFO >> PAGE_SHIFT:
            return self.pages
        page = frame - self._first
        return page if 0 <= page < self.pages else None

    def name(self, page: int) -> str:
        """How events name a page."""
        return "the shared page" if page == self.pages else f"page {page:X}h"
