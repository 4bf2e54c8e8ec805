"""Physical memory: one flat RAM shared with the emulated CPU, with the set of pages written since last asked."""

from __future__ import annotations

import ctypes
import mmap
import struct
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol

PAGE = 4096
PAGE_SHIFT = 12


class Keeper(Protocol):
    """Whoever has the frames behind a machine's RAM, where these are somebody else's: of a host.

    A page need not have a frame until it is used, two pages may have the same, and a page may lose its own for a while.
    """

    away: Set[int]
    """Pages whose bytes are elsewhere just now, and must be asked for."""

    def touch(self, page: int, *, is_write: bool) -> bool:
        """Have a frame behind a page for an access, and tell whether it may be written without asking again."""

    def content_of(self, page: int) -> bytes:
        """Give the bytes of a page that is away; it stays so."""

    def inflate(self, page: int) -> None:
        """Take the frame of a page that the guest's balloon driver gives up; it reads as zeros."""

    def deflate(self, page: int) -> None:
        """Let the guest's balloon driver have such a page back."""

    def attach(self, withdraw: Callable[[Set[int], bool], None]) -> None:
        """Take what to call before the frames of pages change: with these, and whether they can still be read."""


@dataclass(frozen=True, slots=True)
class Loan:
    """RAM that somebody else has made."""

    buffer: memoryview
    keeper: Keeper


_lender: ContextVar[Callable[[int], Loan] | None] = ContextVar("lender", default=None)


@contextmanager
def lent_by(lend: Callable[[int], Loan]) -> Iterator[None]:
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
        loan = None if lend is None else lend(size_bytes)
        self._buffer: mmap.mmap | memoryview = mmap.mmap(-1, size_bytes) if loan is None else loan.buffer
        self.keeper = None if loan is None else loan.keeper
        """Whoever has the frames behind this RAM; None if it has its own."""
        self.on_withdraw: Callable[[Set[int], bool], None] | None = None
        """Told which pages are withdrawn, and whether they can still be read: for tables of a VMM that lead there."""
        self.withdrawn_at: Callable[[int], int | None] | None = None
        """Gives the address of a page that a VMM's second level does not lead to just now; None if it is none such."""
        self._away: Set[int] = frozenset() if loan is None else loan.keeper.away
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
        if self._away and data:
            data = self._with_away(address, data)
        return data if len(data) == size else data + b"\xff" * (size - len(data))

    def write(self, address: int, data: bytes) -> None:
        """Write bytes; what lies beyond RAM is dropped."""
        data = data[: max(0, self.size - address)]
        if not data:
            return
        if self.on_write is not None:
            self.on_write(address, len(data))
        self._put(address, data)
        first, last = address >> PAGE_SHIFT, (address + len(data) - 1) >> PAGE_SHIFT
        pages = (first,) if first == last else range(first, last + 1)
        self.dirty.update(pages)
        if self.on_code_written is not None and not self.code_pages.isdisjoint(pages):
            self.on_code_written()

    def poke(self, address: int, data: bytes) -> None:
        """Write bytes within RAM without telling the emulator: the caller knows what translated code it touches."""
        self._put(address, data)
        self.dirty.update(range(address >> PAGE_SHIFT, (address + len(data) - 1 >> PAGE_SHIFT) + 1))

    def read_int(self, address: int, size: int) -> int:
        """Read a little-endian integer of 1, 2, 4 or 8 bytes."""
        return int.from_bytes(self.read(address, size), "little")

    def write_int(self, address: int, value: int, size: int) -> None:
        """Write a little-endian integer of 1, 2, 4 or 8 bytes."""
        self.write(address, (value & ((1 << 8 * size) - 1)).to_bytes(size, "little"))

    def write_ints(self, address: int, values: Sequence[int], size: int) -> None:
        """Write little-endian integers of 4 or 8 bytes, one behind the other: a whole table at once."""
        self.write(address, struct.pack(f"<{len(values)}{'I' if size == 4 else 'Q'}", *values))

    def page(self, number: int) -> bytes:
        """Give the bytes of one page."""
        if number in self._away and self.keeper is not None:
            return self.keeper.content_of(number)
        return bytes(self._buffer[number << PAGE_SHIFT : (number + 1) << PAGE_SHIFT])

    def may_write(self, page: int, *, is_write: bool) -> bool:
        """Have a frame behind a page that the CPU reaches for; tell whether it may write there without a stop."""
        return self.keeper is None or self.keeper.touch(page, is_write=is_write)

    def inflate(self, page: int) -> None:
        """Let a page that a balloon driver gives up hold zeros; where a host has the frames, it has one more."""
        if self.keeper is None:
            self.write(page << PAGE_SHIFT, bytes(PAGE))
            return
        self.keeper.inflate(page)
        self.dirty.add(page)
        if self.on_code_written is not None and page in self.code_pages:
            self.on_code_written()

    def deflate(self, page: int) -> None:
        """Let a balloon driver have a page back; it holds zeros."""
        if self.keeper is not None:
            self.keeper.deflate(page)

    def _put(self, address: int, data: bytes) -> None:
        """Store bytes, page by page where each needs its frame: the second may cost the first one its own."""
        if self.keeper is None:
            self._buffer[address : address + len(data)] = data
            return
        done = 0
        while done < len(data):
            at = address + done
            end = min(len(data), done + PAGE - at % PAGE)
            self.keeper.touch(at >> PAGE_SHIFT, is_write=True)
            self._buffer[at : address + end] = data[done:end]
            done = end

    def _with_away(self, address: int, data: bytes) -> bytes:
        """Put the bytes of pages that are away into what was read without them."""
        assert self.keeper is not None
        end = address + len(data)
        pages = range(address >> PAGE_SHIFT, (end - 1 >> PAGE_SHIFT) + 1)
        if len(pages) == 1 and pages[0] not in self._away:
            return data
        whole = bytearray(data)
        for page in pages:
            if page in self._away:
                first, last = max(address, page << PAGE_SHIFT), min(end, (page + 1) << PAGE_SHIFT)
                offset = page << PAGE_SHIFT
                whole[first - address : last - address] = self.keeper.content_of(page)[first - offset : last - offset]
        return bytes(whole)
