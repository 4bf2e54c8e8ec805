"""Callbacks of a traced run: what is nothing new ends in a few instructions of the host's machine code.

As with `native_hooks`, other hosts have the same in Python, slower and equal in every count.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable
from enum import IntEnum
from typing import Any

from unicorn.unicorn_const import UC_MEM_WRITE

from ringviz.machine.native_hooks import NONE, host_has_native_code

_MACHINE_CODE = bytes.fromhex(
    "4889d048c1e80c493b4108731f4d8b1141803c0200741589d025ff0f000001c83d00100000770549ff4110c341ff611889d24889"
    "f048c1e80c483b4120750f4c8d4416ff49c1e80c4939c07501c3ff6128"
)
ACCESS_OFFSET, BLOCK_OFFSET = 0x00, 0x30


class TraceSlot(IntEnum):
    """Fields of the context, in 8-byte slots; trace_hooks.asm names the same."""

    QUIET = 0
    PAGES = 1
    PASSED = 2
    ON_ACCESS = 3
    CODE_PAGE = 4
    ON_BLOCK = 5


class TraceHooks:
    """The context, and the addresses of the callbacks."""

    def __init__(
        self, ram_pages: int, on_block: Callable[[int, int], None], on_access: Callable[[bool, int, int], None]
    ) -> None:
        """Make them.

        Args:
            ram_pages: pages of RAM.
            on_block: takes linear address and length of a block.
            on_access: takes whether it is a store, RAM address and size.
        """
        self.slots = (ctypes.c_uint64 * len(TraceSlot))()
        self._quiet = (ctypes.c_uint8 * ram_pages)()
        self.context_address = ctypes.addressof(self.slots)

        def access(_engine: int, kind: int, address: int, size: int, _value: int, _context: int) -> None:
            on_access(kind == UC_MEM_WRITE, address, size)

        def block(_engine: int, address: int, size: int, _context: int) -> None:
            on_block(address, size)

        pointer, word = ctypes.c_void_p, ctypes.c_uint64
        thunks: tuple[Any, ...] = (
            ctypes.CFUNCTYPE(None, pointer, ctypes.c_int, word, ctypes.c_int, ctypes.c_int64, pointer)(access),
            ctypes.CFUNCTYPE(None, pointer, word, ctypes.c_uint32, pointer)(block),
        )
        self._thunks = thunks  # the emulator keeps only their addresses
        self.access, self.block = (ctypes.cast(thunk, pointer).value or 0 for thunk in thunks)
        slots = self.slots
        slots[TraceSlot.QUIET], slots[TraceSlot.PAGES] = ctypes.addressof(self._quiet), ram_pages
        slots[TraceSlot.ON_ACCESS], slots[TraceSlot.ON_BLOCK] = self.access, self.block
        slots[TraceSlot.CODE_PAGE] = NONE
        if host_has_native_code():
            self._page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
            self._page.write(_MACHINE_CODE)
            base = ctypes.addressof(ctypes.c_char.from_buffer(self._page))
            self.access, self.block = base + ACCESS_OFFSET, base + BLOCK_OFFSET

    @property
    def passed(self) -> int:
        """Loads and stores that were nothing new, and of which nobody was told."""
        return self.slots[TraceSlot.PASSED]

    def quiet(self, page: int, *, is_quiet: bool) -> None:
        """Say whether a load or store within a page of RAM is nothing new."""
        if page < len(self._quiet):
            self._quiet[page] = is_quiet

    def quiet_code(self, page: int | None) -> None:
        """Say in which linear page a block is nothing new; None for nowhere."""
        self.slots[TraceSlot.CODE_PAGE] = NONE if page is None else page

    def tell_everything(self) -> None:
        """Take all that back."""
        ctypes.memset(self._quiet, 0, len(self._quiet))
        self.quiet_code(None)
