"""What stands behind each physical page: the emulator's own second level of translation, filled on first use.

Unicorn runs every guest under nested paging, and this is the nested table: a cache of what the real memory system
would answer. Because it belongs to us and not to any VMM, it can do what a bus does (nothing there: open bus) and what
a VMM's dirty logging does, without showing in a single bit that a guest or a VMM could read.
"""

from __future__ import annotations

import struct

from unicorn import Uc

from ringviz.machine.memory import PAGE_SHIFT

_PRESENT, _WRITABLE, _USER = 1, 2, 4


class FrameMap:
    """Two-level table without PAE, in emulator memory that no guest-physical address reaches."""

    SIZE = 4096 * 1025

    def __init__(self, uc: Uc, root: int) -> None:
        self._uc = uc
        self.root = root
        """Physical address of the root table, for the emulator's nested CR3."""
        tables = struct.pack("<1024I", *((root + 4096 * (i + 1)) | 7 for i in range(1024)))
        uc.mem_write(root, tables)
        self._entries: dict[int, int] = {}
        self.never_written: frozenset[int] = frozenset()
        """Physical pages that `watch_writes` leaves alone: page tables that the CPU only reads. The emulated CPU asks
        for write access to every table it walks, and could look nothing up by itself while they are read-only."""

    def fill(self, page: int, frame: int, *, writable: bool) -> None:
        """Let accesses to a physical page reach a frame of emulator memory."""
        entry = frame << PAGE_SHIFT | _PRESENT | _USER | (_WRITABLE if writable else 0)
        self._entries[page] = entry
        self._uc.mem_write(self.root + 4096 + 4 * page, entry.to_bytes(4, "little"))

    def drop(self, page: int) -> None:
        """Forget one page. The caller flushes the CPU's TLB."""
        if self._entries.pop(page, None) is not None:
            self._uc.mem_write(self.root + 4096 + 4 * page, bytes(4))

    def drop_all(self) -> None:
        """Forget every page. The caller flushes the CPU's TLB."""
        for page in list(self._entries):
            self.drop(page)

    def watch_writes(self) -> None:
        """Make every page read-only, so that its next write is noticed. The caller flushes the CPU's TLB."""
        for page, entry in self._entries.items():
            if entry & _WRITABLE and page not in self.never_written:
                entry &= ~_WRITABLE
                self._entries[page] = entry
                self._uc.mem_write(self.root + 4096 + 4 * page, entry.to_bytes(4, "little"))
