"""A host's physical memory as frames, and windows of it: each machine sees the frames behind its own pages as its RAM.

Where the system below offers it (Linux), a window is a stretch of address space in which every page can be made to show
any frame, the same frame in several windows: what is shared is there once, and what one window's page is told to show
is seen at once. Elsewhere a window holds copies, which are brought back when a page stops showing a frame; nobody but
the amount of memory in use can tell the difference, as long as whoever has the frames lets nobody write to one that
two pages show.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
import weakref
from typing import Protocol

from ringviz.machine.memory import PAGE, PAGE_SHIFT

ZERO_PAGE = bytes(PAGE)
_FAILED = ctypes.c_void_p(-1).value


class Window(Protocol):
    """The RAM of one machine, as its emulated CPU sees it."""

    buffer: memoryview
    """All of it; a page that shows no frame holds zeros."""

    def show(self, page: int, frame: int) -> None:
        """Let a page hold the bytes of a frame from now on."""

    def clear(self, page: int) -> None:
        """Let a page show no frame."""


class FrameBlock(Protocol):
    """All frames of a host."""

    def window(self, size_bytes: int) -> Window:
        """Give a window in which no page shows anything yet."""

    def read(self, frame: int) -> bytes:
        """Give the bytes of a frame."""

    def write(self, frame: int, data: bytes) -> None:
        """Let a frame that no page shows hold these bytes, a whole page."""


def make_block(size_bytes: int) -> FrameBlock:
    """Give a host's memory, all zero: mapped where the system can do that, else copied."""
    if sys.platform == "linux" and hasattr(os, "memfd_create"):
        try:
            return MappedBlock(size_bytes)
        except OSError:  # the system is told not to
            pass
    return CopiedBlock()


class MappedBlock:
    """Frames in a file that exists in memory only; a window maps them."""

    def __init__(self, size_bytes: int) -> None:
        self._file = os.memfd_create("ringviz-host")
        self._close = weakref.finalize(self, os.close, self._file)
        os.ftruncate(self._file, size_bytes)
        self._all = memoryview(mmap.mmap(self._file, size_bytes))

    def window(self, size_bytes: int) -> Window:
        """Give a stretch of address space."""
        return _MappedWindow(self._file, size_bytes, self)

    def read(self, frame: int) -> bytes:
        """Give the bytes of a frame."""
        return bytes(self._all[frame << PAGE_SHIFT : (frame + 1) << PAGE_SHIFT])

    def write(self, frame: int, data: bytes) -> None:
        """Write a frame."""
        self._all[frame << PAGE_SHIFT : (frame + 1) << PAGE_SHIFT] = data


class _MappedWindow:
    def __init__(self, file: int, size_bytes: int, block: MappedBlock) -> None:
        private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        self.buffer = memoryview(mmap.mmap(-1, size_bytes, flags=private))
        self._address = ctypes.addressof(ctypes.c_char.from_buffer(self.buffer))
        self._file = file
        self._block = block  # keeps the file open
        self._map = _system_mmap()

    def show(self, page: int, frame: int) -> None:
        self._put(page, mmap.MAP_SHARED, self._file, frame << PAGE_SHIFT)

    def clear(self, page: int) -> None:
        self._put(page, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)

    def _put(self, page: int, flags: int, file: int, offset: int) -> None:
        at = self._address + (page << PAGE_SHIFT)
        fixed = 0x10
        rights = mmap.PROT_READ | mmap.PROT_WRITE
        if self._map(at, PAGE, rights, flags | fixed, file, offset) != at:
            number = ctypes.get_errno()
            raise MemoryError(f"a page of a machine's memory cannot be mapped: {os.strerror(number)}")


class CopiedBlock:
    """Frames whose bytes lie in the window of a page that shows them, or here if none does."""

    def __init__(self) -> None:
        self._at_rest: dict[int, bytes] = {}
        self._shown: dict[int, tuple[_CopiedWindow, int]] = {}

    def window(self, size_bytes: int) -> Window:
        """Give memory of its own."""
        return _CopiedWindow(size_bytes, self)

    def read(self, frame: int) -> bytes:
        """Give the bytes of a frame."""
        if frame in self._shown:
            window, page = self._shown[frame]
            return bytes(window.buffer[page << PAGE_SHIFT : (page + 1) << PAGE_SHIFT])
        return self._at_rest.get(frame, ZERO_PAGE)

    def write(self, frame: int, data: bytes) -> None:
        """Write a frame."""
        if data == ZERO_PAGE:
            self._at_rest.pop(frame, None)
        else:
            self._at_rest[frame] = bytes(data)

    def moved_in(self, frame: int, window: _CopiedWindow, page: int) -> bytes:
        """Note that a page holds a frame's bytes from now on, and give these."""
        data = self.read(frame)
        self._shown[frame] = window, page
        self._at_rest.pop(frame, None)
        return data

    def moved_out(self, frame: int, window: _CopiedWindow, page: int) -> None:
        """Note that a page will not hold a frame's bytes any more."""
        if self._shown.get(frame) == (window, page):
            data = self.read(frame)
            del self._shown[frame]
            self.write(frame, data)


class _CopiedWindow:
    def __init__(self, size_bytes: int, block: CopiedBlock) -> None:
        self.buffer = memoryview(mmap.mmap(-1, size_bytes))
        self._block = block
        self._frames: dict[int, int] = {}

    def show(self, page: int, frame: int) -> None:
        self.clear(page)
        self._frames[page] = frame
        self.buffer[page << PAGE_SHIFT : (page + 1) << PAGE_SHIFT] = self._block.moved_in(frame, self, page)

    def clear(self, page: int) -> None:
        frame = self._frames.pop(page, None)
        if frame is not None:
            self._block.moved_out(frame, self, page)
            self.buffer[page << PAGE_SHIFT : (page + 1) << PAGE_SHIFT] = ZERO_PAGE


def _system_mmap() -> ctypes._NamedFuncPointer:
    call = ctypes.CDLL(None, use_errno=True).mmap
    call.restype = ctypes.c_void_p
    call.argtypes = (
        ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long,
    )  # fmt: skip
    return call
