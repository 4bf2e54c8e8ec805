"""What stands behind each physical page: the emulator's own second level of translation, filled on first use.

Unicorn runs every guest under nested paging, and this is the nested table: a cache of what the real memory system
would answer. Because it belongs to us and not to any VMM, it can do what a bus does (nothing there: open bus) and what
a VMM's dirty logging does, without showing in a single bit that a guest or a VMM could read.
"""

from __future__ import annotations

import struct
from collections.abc import Set

from unicorn import Uc

from ringviz.machine.memory import PAGE_SHIFT

_PRESENT, _WRITABLE, _USER = 1, 2, 4
_ALL = 7


class FrameMap:
    """Two-level table without PAE, in emulator memory that no guest-physical address reaches."""

    _leaf_tables = 4096
    """Where the last level begins, from the root on."""
    _entry_bytes = 4

    def __init__(self, uc: Uc, root: int) -> None:
        self._uc = uc
        self.root = root
        """Physical address of the root table, for the emulator's nested CR3."""
        self._build()
        self._leaves = root + self._leaf_tables
        self._entries: dict[int, int] = {}
        self.never_written: frozenset[int] = frozenset()
        """Physical pages that `watch_writes` leaves alone: page tables that the CPU only reads. The emulated CPU asks
        for write access to every table it walks, and could look nothing up by itself while they are read-only."""

    def _build(self) -> None:
        """Write all levels but the last, which starts empty."""
        leaves = self.root + self._leaf_tables
        self._uc.mem_write(self.root, struct.pack("<1024I", *range(leaves | _ALL, (leaves | _ALL) + 4096 * 1024, 4096)))

    def fill(self, page: int, frame: int, *, writable: bool) -> None:
        """Let accesses to a physical page reach a frame of emulator memory."""
        entry = frame << PAGE_SHIFT | _PRESENT | _USER | (_WRITABLE if writable else 0)
        self._entries[page] = entry
        self._put(page, entry)

    def drop(self, page: int) -> None:
        """Forget one page. The caller flushes the CPU's TLB."""
        if self._entries.pop(page, None) is not None:
            self._put(page, 0)

    def drop_all(self) -> None:
        """Forget every page. The caller flushes the CPU's TLB."""
        for page in list(self._entries):
            self.drop(page)

    def withdraw(self, frames: Set[int], *, may_read: bool) -> None:
        """Forget every page that leads to one of these frames, or only that it may be written.

        The caller flushes the CPU's TLB.
        """
        for page, entry in list(self._entries.items()):
            if entry >> PAGE_SHIFT not in frames:
                continue
            if not may_read:
                self.drop(page)
            elif entry & _WRITABLE:
                self._entries[page] = entry & ~_WRITABLE
                self._put(page, entry & ~_WRITABLE)

    def watch_writes(self) -> None:
        """Make every page read-only, so that its next write is noticed. The caller flushes the CPU's TLB."""
        for page, entry in self._entries.items():
            if entry & _WRITABLE and page not in self.never_written:
                entry &= ~_WRITABLE
                self._entries[page] = entry
                self._put(page, entry)

    def _put(self, page: int, entry: int) -> None:
        size = self._entry_bytes
        self._uc.mem_write(self._leaves + size * page, entry.to_bytes(size, "little"))


class LongFrameMap(FrameMap):
    """Four-level table: the emulator's nested tables have the format of its host, which is in long mode here.

    Physical addresses have 40 bits, of which 32 reach memory, as on a CPU without long mode: the tables that cover the
    first 4 GiB stand in every place.
    """

    _leaf_tables = 4096 * 6
    _entry_bytes = 8

    def _build(self) -> None:
        pointers, directories, leaves = (self.root + offset for offset in (4096, 2 * 4096, self._leaf_tables))
        write = self._uc.mem_write
        write(self.root, struct.pack("<2Q", *(pointers | _ALL for _ in range(2))))
        write(pointers, struct.pack("<512Q", *((directories + 4096 * (i % 4)) | _ALL for i in range(512))))
        write(directories, struct.pack("<2048Q", *((leaves + 4096 * i) | _ALL for i in range(2048))))
