"""Physical memory: one flat RAM shared with the emulated CPU, with the set of pages written since last asked."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

PAGE = 4096
PAGE_SHIFT = 12


_lender: ContextVar[Callable[[int], memoryview] | None] = ContextVar("lender", default=None)


@contextmanager
def lent_by(lend: Callable[[int], memoryview]) -> Iterator[None]:
    """Let machines that are made meanwhile have their RAM within memory of somebody else's: that of a host.

    A technique says how much it needs only while it is being made, many calls below whoever has the memory to give.

    Args:
        lend: gives so many bytes, page-aligned and zero, for that machine alone.
    """
    token = _lender.set(lend)
    try:
        yield
    finally:
        _lender.reset(token)


class Ram:
    """The machine's RAM, from physical address 0.

    The CPU writes it directly; those writes are noticed page by page through `FrameMap`. Writes made through
    `write` are noticed here. Both end in `dirty`.
    """

    def __init__(self, size_bytes: int) -> None:
        self.size = size_bytes
        lend = _lender.get()
        self._buffer: mmap.mmap | memoryview = mmap.mmap(-1, size_bytes) if lend is None else lend(size_bytes)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self._buffer))
        self.dirty: set[int] = set()
        """Page numbers written since the set was last emptied by its reader."""
        self.code_pages: set[int] = set()
        """Pages from which the emulator may hold translated code."""
        self.on_code_written: Callable[[], None] | None = None
        """Called after a write to a page of `code_pages`: the emulator does not notice writes made from outside."""
        self.on_write: Callable[[int, int], None] | None = None
        """Told of address and size before each `write`."""

    def read(self, address: int, size: int) -> bytes:
        """Read bytes; addresses beyond RAM read as open bus, all ones."""
        data = bytes(self._buffer[address : address + size]) if address < self.size else b""
        return data if len(data) == size else data + b"\xff" * (size - len(data))

    def write(self, address: int, data: bytes) -> None:
        """Write bytes; what lies beyond RAM is dropped."""
        data = data[: max(0, self.size - address)]
        if not data:
            return
        if self.on_write is not None:
            self.on_write(address, len(data))
        self._buffer[address : address + len(data)] = data
        first, last = address >> PAGE_SHIFT, (address + len(data) - 1) >> PAGE_SHIFT
        pages = (first,) if first == last else range(first, last + 1)
        self.dirty.update(pages)
        if self.on_code_written is not None and not self.code_pages.isdisjoint(pages):
            self.on_code_written()

    def poke(self, address: int, data: bytes) -> None:
        """Write bytes within RAM without telling the emulator: the caller knows what translated code it touches."""
        self._buffer[address : address + len(data)] = data
        self.dirty.update(range(address >> PAGE_SHIFT, (address + len(data) - 1 >> PAGE_SHIFT) + 1))

    def read_int(self, address: int, size: int) -> int:
        """Read a little-endian integer of 1, 2, 4 or 8 bytes."""
        return int.from_bytes(self.read(address, size), "little")

    def write_int(self, address: int, value: int, size: int) -> None:
        """Write a little-endian integer of 1, 2, 4 or 8 bytes."""
        self.write(address, (value & ((1 << 8 * size) - 1)).to_bytes(size, "little"))

    def page(self, number: int) -> bytes:
        """Give the bytes of one page."""
        return bytes(self._buffer[number << PAGE_SHIFT : (number + 1) << PAGE_SHIFT])
