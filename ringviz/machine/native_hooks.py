"""Unicorn callbacks in host machine code: exact instruction counts and stops without Python on the way.

On x86-64 hosts with the System V calling convention the bytes of `native_hooks.asm` are used. Everywhere else the
same three callbacks are Python functions: slower by far, and equal in every count and stop (a test runs both).
"""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import sys
from collections.abc import Callable
from enum import IntEnum
from typing import Any

from unicorn.unicorn_py3.unicorn import uclib

_MACHINE_CODE = bytes.fromhex(
    "89d24883b980000000000f85d80000004989d049c1e0304931f04c89c0480faf412848c1e8304989c149c1e1054c0349304d3901"
    "7413498339000f84bc000000ffc025ffff0000ebdd4c89c8483b71200f84840000004883781800744d4989f14c2b49104c3b4918"
    "73404d85c97506483b511874354c8b49704c3b49780f83810000004d89ca49c1e2054c0351684c8b59104d891a4c8b59184d895a"
    "084989721049ffc14c894970eb0f4883791800740848c74158ffffffff4c8b48084c03094c3b4908772e4c890948897110488951"
    "184c8b48104c894920c348ff496079e941b906000000eb2248c7818000000000000000c341b901000000eb0e41b902000000eb06"
    "41b9030000004c8949404889714848895150ff613890909090909090483b71587501c348c741400400000048897148ff61389090"
    "909090909090909089f648c742400500000048897248ff6238"
)
BLOCK_OFFSET, CODE_OFFSET, INTERRUPT_OFFSET = 0x00, 0x120, 0x140

PURE_PYTHON_VARIABLE = "RINGVIZ_PURE_PYTHON"
"""Set this environment variable to 1 to use the Python callbacks on any host."""

NONE = (1 << 64) - 1
_MASK = NONE
ROWS = 1 << 16
_LOG_ROWS = 1024


class Slot(IntEnum):
    """Fields of the shared context, in 8-byte slots; native_hooks.asm names the same."""

    RETIRED = 0
    LIMIT = 1
    LAST_PC = 2
    LAST_LEN = 3
    REP_PC = 4
    MULT = 5
    TABLE = 6
    STOPFN = 7
    REASON = 8
    ADDRESS = 9
    LENGTH = 10
    SKIP = 11
    PATIENCE = 12
    LOG = 13
    LOGGED = 14
    LOGMAX = 15
    ENTERING = 16


class Reason(IntEnum):
    """Why a callback asked the emulator to stop."""

    NOTHING = 0
    LIMIT = 1
    UNKNOWN_BLOCK = 2
    LOG_FULL = 3
    POINT = 4
    EXIT = 5
    PAUSE = 6


class TableFullError(Exception):
    """The table of blocks has no room for another one."""


class Hooks:
    """The shared context, the table of known blocks, and the addresses of the three callbacks."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self.slots = (ctypes.c_uint64 * len(Slot))()
        self._table = (ctypes.c_uint64 * (4 * ROWS))()
        self._log = (ctypes.c_uint64 * (4 * _LOG_ROWS))()
        self.context_address = ctypes.addressof(self.slots)
        slots = self.slots
        slots[Slot.LIMIT] = NONE >> 1
        slots[Slot.REP_PC] = slots[Slot.SKIP] = NONE
        slots[Slot.MULT] = 0x9E37_79B9_7F4A_7C15
        slots[Slot.TABLE] = ctypes.addressof(self._table)
        slots[Slot.LOG] = ctypes.addressof(self._log)
        slots[Slot.LOGMAX] = _LOG_ROWS
        slots[Slot.STOPFN] = ctypes.cast(uclib.uc_emu_stop, ctypes.c_void_p).value or 0
        self._known = 0
        self.is_native = _host_has_native_code()
        if self.is_native:
            self._page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
            self._page.write(_MACHINE_CODE)
            base = ctypes.addressof(ctypes.c_char.from_buffer(self._page))
            self.block, self.code, self.interrupt = base + BLOCK_OFFSET, base + CODE_OFFSET, base + INTERRUPT_OFFSET
        else:
            self._thunks = self._python_callbacks()
            self.block, self.code, self.interrupt = (
                ctypes.cast(thunk, ctypes.c_void_p).value or 0 for thunk in self._thunks
            )

    def add(self, kind: int, callback: int, begin: int = 1, end: int = 0) -> ctypes.c_size_t:
        """Register one of the callbacks with the emulator; `begin` > `end` means everywhere."""
        handle = ctypes.c_size_t()
        status = uclib.uc_hook_add(
            self._engine,
            ctypes.byref(handle),
            ctypes.c_int(kind),
            ctypes.c_void_p(callback),
            ctypes.c_void_p(self.context_address),
            ctypes.c_uint64(begin),
            ctypes.c_uint64(end),
        )
        if status != 0:
            raise RuntimeError(f"uc_hook_add failed with status {status}")
        return handle

    def remove(self, handle: ctypes.c_size_t) -> None:
        """Take a callback away again."""
        uclib.uc_hook_del(self._engine, handle)

    def know_block(self, pc: int, length: int, instructions: int, rep_pc: int | None, *, may_be_replay: bool) -> None:
        """Enter a translated block in the table, or replace what it said of that address and length.

        Raises:
            TableFullError: there is no room left; `forget_blocks` makes room.
        """
        key = block_key(pc, length)
        index = self._find(key)
        if self._table[4 * index] != key:
            if self._known >= ROWS // 2:
                raise TableFullError
            self._known += 1
        base = 4 * index
        self._table[base : base + 4] = [key, instructions, NONE if rep_pc is None else rep_pc, int(may_be_replay)]

    def forget_blocks(self) -> None:
        """Empty the table. The caller throws the translated code away too, so that every block is met anew."""
        ctypes.memset(self._table, 0, ctypes.sizeof(self._table))
        self._known = 0

    def drain_log(self) -> list[tuple[int, int, int]]:
        """Give and forget the replays noticed: (block address, block length, address of the replayed instruction)."""
        count = self.slots[Slot.LOGGED]
        if not count:
            return []
        self.slots[Slot.LOGGED] = 0
        return [(self._log[4 * i], self._log[4 * i + 1], self._log[4 * i + 2]) for i in range(count)]

    def _find(self, key: int) -> int:
        """Row that holds a key, or the empty one where it would go."""
        index = (key * self.slots[Slot.MULT] & _MASK) >> 48
        while self._table[4 * index] not in (0, key):
            index = (index + 1) % ROWS
        return index

    def _python_callbacks(self) -> tuple[Any, ...]:
        """Make the callbacks as Python functions with C entry points."""
        slots, table, log = self.slots, self._table, self._log

        def stop(reason: Reason, address: int, length: int = 0) -> None:
            slots[Slot.REASON], slots[Slot.ADDRESS], slots[Slot.LENGTH] = reason, address, length
            uclib.uc_emu_stop(self._engine)

        def block(_engine: int, address: int, length: int, _context: int) -> None:
            if slots[Slot.ENTERING]:
                slots[Slot.ENTERING] = 0
                return
            key = block_key(address, length)
            base = 4 * self._find(key)
            if table[base] != key:
                stop(Reason.UNKNOWN_BLOCK, address, length)
                return
            if address == slots[Slot.REP_PC]:
                if slots[Slot.PATIENCE] == 0:
                    stop(Reason.PAUSE, address, length)
                    return
                slots[Slot.PATIENCE] -= 1
            else:
                last, last_length = slots[Slot.LAST_PC], slots[Slot.LAST_LEN]
                is_same = address == last and length == last_length
                if table[base + 3] and last <= address < last + last_length and not is_same:
                    count = slots[Slot.LOGGED]
                    if count >= slots[Slot.LOGMAX]:
                        stop(Reason.LOG_FULL, address, length)
                        return
                    log[4 * count : 4 * count + 3] = [last, last_length, address]
                    slots[Slot.LOGGED] = count + 1
                elif last_length:
                    slots[Slot.SKIP] = NONE
                total = slots[Slot.RETIRED] + table[base + 1]
                if total > slots[Slot.LIMIT]:
                    stop(Reason.LIMIT, address, length)
                    return
                slots[Slot.RETIRED] = total
            slots[Slot.LAST_PC], slots[Slot.LAST_LEN], slots[Slot.REP_PC] = address, length, table[base + 2]

        def code(_engine: int, address: int, _length: int, _context: int) -> None:
            if slots[Slot.SKIP] != address:
                stop(Reason.POINT, address)

        def interrupt(_engine: int, number: int, _context: int) -> None:
            stop(Reason.EXIT, number)

        address_hook = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint32, ctypes.c_void_p)
        number_hook = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_void_p)
        functions: tuple[Callable[..., None], ...] = (block, code)
        return (*(address_hook(function) for function in functions), number_hook(interrupt))


def block_key(pc: int, length: int) -> int:
    """Give the number under which a block is known: address and length together decide what it holds."""
    return (length << 48 ^ pc) & _MASK


def _host_has_native_code() -> bool:
    """Tell whether this host runs the bytes above: x86-64, System V, pages that may be executed."""
    if os.environ.get(PURE_PYTHON_VARIABLE) == "1":
        return False
    return platform.machine() == "x86_64" and sys.platform == "linux"
