"""Reading and writing memory at linear addresses on behalf of the CPU, through its page tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ringviz.machine.paging import Access, mark_path, mark_used, walk
from ringviz.machine.state import ADDRESS_32, ADDRESS_64, CpuState, is_canonical


class PageFault(Exception):  # noqa: N818 - the manual's name; it is control flow, never an error of ours
    """A linear access was refused; becomes a #PF of the guest."""

    def __init__(self, linear: int, error_code: int) -> None:
        super().__init__(f"#PF at {linear:#010x}, error code {error_code:#x}")
        self.linear = linear
        self.error_code = error_code


class NotCanonical(Exception):  # noqa: N818 - likewise
    """A linear address of long mode that no page table is asked about; becomes a #GP or #SS of the guest."""

    def __init__(self, linear: int) -> None:
        super().__init__(f"{linear:#018x} is not canonical")
        self.linear = linear


class PhysicalSpace(Protocol):
    """Physical memory as a CPU sees it: guest-physical for a guest, the machine's own otherwise."""

    def read_physical(self, address: int, size: int) -> bytes:
        """Read bytes; where nothing answers, ones."""

    def write_physical(self, address: int, data: bytes) -> None:
        """Write bytes; where nothing answers, they are lost."""


class LinearMemory:
    """Linear memory under one CPU state. Make a new one when the state's control registers change."""

    def __init__(self, state: CpuState, physical: PhysicalSpace, seen: Callable[[int, Access], None] | None = None):
        """Make one.

        Args:
            state: whose control registers count.
            physical: what lies behind the page tables.
            seen: told of every access before it is made, but for those of spectators.
        """
        self._state = state
        self._physical = physical
        self._seen = seen
        # The CPU's own tables may lie anywhere in long mode, whatever the width of the code it runs.
        self._mask = ADDRESS_64 if state.is_long_active else ADDRESS_32

    def told_to(self, seen: Callable[[int, Access], None] | None) -> LinearMemory:
        """Give this memory, with somebody told of every access."""
        self._seen = seen
        return self

    def translate(self, linear: int, access: Access, *, touch: bool = True) -> int:
        """Give the physical address, setting accessed and dirty bits if `touch`.

        Raises:
            PageFault: the page tables refuse.
            NotCanonical: they are not asked: the address has more than 48 bits, in long mode.
        """
        state = self._state
        if self.is_beyond(linear):
            raise NotCanonical(linear)
        if touch and self._seen is not None:
            self._seen(linear, access)
        done = walk(self._read_entry, state.cr0, state.cr3, state.cr4, state.efer, linear, access)
        if done.physical is None:
            if touch:
                mark_path(self._write_entry, done)
            raise PageFault(linear, done.fault or 0)
        if touch and done.entries:
            mark_used(self._write_entry, done, is_write=access.is_write)
        return done.physical

    def is_beyond(self, linear: int) -> bool:
        """Tell whether page tables are not even asked about an address: in long mode, where it is not canonical."""
        return self._mask != ADDRESS_32 and not is_canonical(linear)

    def read(self, linear: int, size: int, access: Access = Access()) -> bytes:  # noqa: B008 - frozen
        """Read bytes, across pages if need be."""
        linear &= self._mask
        room = 4096 - (linear & 0xFFF)
        if size <= room:
            return self._physical.read_physical(self.translate(linear, access), size)
        return self.read(linear, room, access) + self.read(linear + room, size - room, access)

    def write(self, linear: int, data: bytes, *, is_user: bool = False) -> None:
        """Write bytes; where they cross a page, both pages are checked before the first is written."""
        linear &= self._mask
        access = Access(is_write=True, is_user=is_user)
        room = 4096 - (linear & 0xFFF)
        if len(data) <= room:
            self._physical.write_physical(self.translate(linear, access), data)
            return
        first, second = self.translate(linear, access), self.translate((linear + room) & self._mask, access)
        self._physical.write_physical(first, data[:room])
        self._physical.write_physical(second, data[room:])

    def read_int(self, linear: int, size: int, access: Access = Access()) -> int:  # noqa: B008 - frozen
        """Read a little-endian integer."""
        return int.from_bytes(self.read(linear, size, access), "little")

    def write_int(self, linear: int, value: int, size: int, *, is_user: bool = False) -> None:
        """Write a little-endian integer."""
        self.write(linear, (value & ((1 << 8 * size) - 1)).to_bytes(size, "little"), is_user=is_user)

    def peek(self, linear: int, size: int) -> bytes | None:
        """Read for a spectator: no bits are set, any ring's pages; None if some page is absent."""
        linear &= self._mask
        room = 4096 - (linear & 0xFFF)
        try:
            data = self._physical.read_physical(self.translate(linear, Access(), touch=False), min(size, room))
        except (PageFault, NotCanonical):
            return None
        if size <= room:
            return data
        rest = self.peek(linear + room, size - room)
        return None if rest is None else data + rest

    def _read_entry(self, address: int, size: int) -> int:
        return int.from_bytes(self._physical.read_physical(address, size), "little")

    def _write_entry(self, address: int, value: int, size: int) -> None:
        self._physical.write_physical(address, value.to_bytes(size, "little"))


class SpectatorMemory(LinearMemory):
    """Linear memory for somebody who looks on: reading leaves no accessed bit behind."""

    def translate(self, linear: int, access: Access, *, touch: bool = False) -> int:
        """Give the physical address, and change nothing."""
        del touch
        return super().translate(linear, access, touch=False)

    def is_accessed(self, linear: int) -> bool:
        """Tell whether every entry that leads to an address bears the accessed bit."""
        state = self._state
        done = walk(self._read_entry, state.cr0, state.cr3, state.cr4, state.efer, linear, Access())
        return done.is_accessed
