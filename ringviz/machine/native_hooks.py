"""Unicorn callbacks in host machine code: exact instruction counts and stops without Python on the way.

On x86-64 hosts with the System V calling convention the bytes of `native_hooks.asm` are used. Everywhere else the
same callbacks are Python functions: slower by far, and equal in every count and stop (a test runs both).
"""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import sys
from collections.abc import Callable, Iterable
from enum import IntEnum
from typing import Any

from unicorn import x86_const as x86
from unicorn.unicorn_const import UC_HOOK_BLOCK, UC_HOOK_MEM_READ, UC_HOOK_MEM_WRITE
from unicorn.unicorn_py3.unicorn import uclib

from ringviz.machine.code_cache import GUEST_INSTRUCTION, CodeCache, row_of, work_of

_MACHINE_CODE = bytes.fromhex(
    "89d24883b980000000000f85160100004989d049c1e0304931f04c89c0480faf412848c1e8304989c149c1e1054c0349304d3901"
    "7413498339000f84fc000000ffc025ffff0000ebdd4c89c8483b7120750c483b70100f84b1000000eb1ef640180174584989f14c"
    "2b49104c3b4918734b4d85c97506483b511874404c8b49704c3b49780f83ba0000004d89ca49c1e2054c0351684c8b59104d891a"
    "4c8b59184d895a084989721049ffc14c89497048c781e800000001000000eb0f4883791800740848c74158ffffffff440fb74808"
    "4c03094c3b4908775b4c89094c8b480849c1e91074074c0189880000004c8b481849c1e9084c0189f80000004889711048895118"
    "4c8b48104c894920c348c781e80000000100000048ff496079de41b906000000eb2448ff89800000000f84ddfeffffc341b90100"
    "0000eb0e41b902000000eb0641b9030000004c8949404889714848895150ff613890909090909090483b71587501c34883b98000"
    "00000075f548c741400400000048897148ff613889f648c742400500000048897248ff6238909090909090909090909090909090"
    "4889d0492b81a0000000493b81a80000000f8386000000498b4110492b8190000000493b819800000073724883ec3848897c2408"
    "4889742410488954241848894c24204c894c242848c7042400000000be1a0000004889e241ff91d0000000488b0424488b7c2408"
    "488b742410488b542418488b4c24204c8b4c24284883c438492b8190000000493b8198000000730d490381b00000008038007401"
    "c3498b81b8000000488b0410498981c00000004989b1c800000049c7414007000000498951484989495041ff6138909090909090"
    "4883b9d8000000000f85e2feffffc3904883b9e80000000075294889f0482b8190000000483b8198000000730c480381f0000000"
    "803800740948ff89e0000000780dc348c781e800000000000000c348c741400800000048897148ff6138"
)
BLOCK_OFFSET, CODE_OFFSET, INTERRUPT_OFFSET = 0x00, 0x160, 0x180
MEMORY_OFFSET, GATE_OFFSET, STEP_OFFSET = 0x1A0, 0x270, 0x280

_COUNTING = bytes.fromhex("48ff01c3")
"""inc qword [rcx]; ret: the counter is the callback's context."""
COUNTING_OFFSET = 0x800

_EIP = x86.UC_X86_REG_EIP
"""26 in every release; native_hooks.asm relies on it."""

PURE_PYTHON_VARIABLE = "RINGVIZ_PURE_PYTHON"
"""Set this environment variable to 1 to use the Python callbacks on any host."""

NONE = (1 << 64) - 1
_MASK = NONE
ROWS = 1 << 16
_LOG_ROWS = 1024
_WORK_AT = 8
"""Bit of a row's last field from which on it holds hundredths of a cycle; bit 0 tells of replays."""
_FEW_ROWS = 1024
"""So many rows are emptied faster one by one than all the table at once."""


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
    TALLY = 17
    CACHE = 18
    CACHE_LENGTH = 19
    PRIVATE = 20
    PRIVATE_LENGTH = 21
    ALLOWED = 22
    RAM = 23
    OLD = 24
    KIND = 25
    READ_REGISTER = 26
    WAITING = 27
    QUOTA = 28
    AGAIN = 29
    BEGINS = 30
    WORK = 31


class Reason(IntEnum):
    """Why a callback asked the emulator to stop."""

    NOTHING = 0
    LIMIT = 1
    UNKNOWN_BLOCK = 2
    LOG_FULL = 3
    POINT = 4
    EXIT = 5
    PAUSE = 6
    GUARD = 7
    STEPPED = 8


class TableFullError(Exception):
    """The table of blocks has no room for another one."""


class Hooks:
    """The shared context, the table of known blocks, and the addresses of the callbacks."""

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
        slots[Slot.READ_REGISTER] = ctypes.cast(uclib.uc_reg_read, ctypes.c_void_p).value or 0
        self._rows: list[int] = []
        """Rows of the table that are in use."""
        self._counters: list[Any] = []
        """What the emulator has only the addresses of."""
        self._counting = 0
        self.is_native = host_has_native_code()
        if self.is_native:
            self._page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
            self._page.write(_MACHINE_CODE)
            base = ctypes.addressof(ctypes.c_char.from_buffer(self._page))
            self._page[COUNTING_OFFSET : COUNTING_OFFSET + len(_COUNTING)] = _COUNTING
            self._counting = base + COUNTING_OFFSET
            self.block, self.code = base + BLOCK_OFFSET, base + CODE_OFFSET
            self.interrupt, self.memory = base + INTERRUPT_OFFSET, base + MEMORY_OFFSET
            self.gate, self.step = base + GATE_OFFSET, base + STEP_OFFSET
        else:
            self._thunks = self._python_callbacks()
            self.block, self.code, self.gate, self.step, self.interrupt, self.memory = (
                ctypes.cast(thunk, ctypes.c_void_p).value or 0 for thunk in self._thunks
            )

    def add(
        self, kind: int, callback: int, begin: int = 1, end: int = 0, context: int | None = None
    ) -> ctypes.c_size_t:
        """Register a callback with the emulator; `begin` > `end` means everywhere. Its context is the shared one."""
        handle = ctypes.c_size_t()
        status = uclib.uc_hook_add(
            self._engine,
            ctypes.byref(handle),
            ctypes.c_int(kind),
            ctypes.c_void_p(callback),
            ctypes.c_void_p(self.context_address if context is None else context),
            ctypes.c_uint64(begin),
            ctypes.c_uint64(end),
        )
        if status != 0:
            raise RuntimeError(f"uc_hook_add failed with status {status}")
        return handle

    def count_at(self, linear: int) -> ctypes.c_uint64:
        """Count from now on how often the block at a linear address is entered; give the counter.

        Of blocks, and not of instructions: a callback on an instruction costs the emulator the flags where the
        instruction then faults. Code that has been translated before goes uncounted: its owner throws it away first.
        """
        counter = ctypes.c_uint64()
        self._counters.append(counter)
        if self.is_native:
            callback = self._counting
        else:
            signature = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint32, ctypes.c_void_p)

            def count(_engine: int, _address: int, _length: int, _context: int) -> None:
                counter.value += 1

            self._counters.append(thunk := signature(count))
            callback = ctypes.cast(thunk, ctypes.c_void_p).value or 0
        self.add(UC_HOOK_BLOCK, callback, linear, linear, ctypes.addressof(counter))
        return counter

    def remove(self, handle: ctypes.c_size_t) -> None:
        """Take a callback away again."""
        uclib.uc_hook_del(self._engine, handle)

    def guard(self, cache: CodeCache, ram_address: int) -> None:
        """Watch over the memory of a binary translator.

        Args:
            cache: where it is.
            ram_address: host address of physical address 0.
        """
        slots = self.slots
        slots[Slot.CACHE], slots[Slot.CACHE_LENGTH] = cache.linear, cache.size
        slots[Slot.PRIVATE], slots[Slot.PRIVATE_LENGTH] = cache.private_physical, cache.private_size
        slots[Slot.ALLOWED], slots[Slot.RAM] = ctypes.addressof(cache.allowed), ram_address
        self._begins = (ctypes.c_uint8 * cache.size)()
        slots[Slot.BEGINS] = ctypes.addressof(self._begins)
        cached, private = cache.physical, cache.private_physical
        self.add(UC_HOOK_MEM_READ, self.memory, cached, cached + cache.size - 1)
        self.add(UC_HOOK_MEM_READ, self.memory, private, private + cache.private_size - 1)
        self.add(UC_HOOK_MEM_WRITE, self.memory, private, private + cache.private_size - 1)

    def know_beginnings(self, linear: int, offsets: Iterable[int], weights: Iterable[int]) -> None:
        """Say of the instructions of a block in the code cache with which of them one of the guest's begins.

        Args:
            linear: address of the block.
            offsets: of its instructions.
            weights: what each counts for.
        """
        start = linear - self.slots[Slot.CACHE]
        for offset, weight in zip(offsets, weights, strict=True):
            self._begins[start + offset] = weight & GUEST_INSTRUCTION

    def know_block(self, pc: int, length: int, weight: int, rep_pc: int | None, *, may_be_replay: bool) -> None:
        """Enter a translated block in the table, or replace what it said of that address and length.

        Args:
            pc: linear address of the block.
            length: in bytes.
            weight: sum of what its instructions count for (see `code_cache`).
            rep_pc: address of the repeated string instruction that ends it, or None.
            may_be_replay: it may be the second try of an instruction that wrote over its own block.

        Raises:
            TableFullError: there is no room left; `forget_blocks` makes room.
        """
        key = block_key(pc, length)
        index = self._find(key)
        if self._table[4 * index] != key:
            if len(self._rows) >= ROWS // 2:
                raise TableFullError
            self._rows.append(index)
        base = 4 * index
        last = int(may_be_replay) | work_of(weight) << _WORK_AT
        self._table[base : base + 4] = [key, row_of(weight), NONE if rep_pc is None else rep_pc, last]

    def forget_blocks(self) -> None:
        """Empty the table. The caller throws the translated code away too, so that every block is met anew."""
        if len(self._rows) > _FEW_ROWS:
            ctypes.memset(self._table, 0, ctypes.sizeof(self._table))
        else:
            for index in self._rows:
                self._table[4 * index] = 0
        self._rows.clear()

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
                slots[Slot.ENTERING] -= 1
                if slots[Slot.ENTERING]:
                    return
            key = block_key(address, length)
            base = 4 * self._find(key)
            if table[base] != key:
                stop(Reason.UNKNOWN_BLOCK, address, length)
                return
            is_at_rep = address == slots[Slot.REP_PC]
            if is_at_rep and table[base + 2] == address:
                slots[Slot.AGAIN] = 1
                if slots[Slot.PATIENCE] == 0:
                    stop(Reason.PAUSE, address, length)
                    return
                slots[Slot.PATIENCE] -= 1
            else:
                last, last_length = slots[Slot.LAST_PC], slots[Slot.LAST_LEN]
                is_same = address == last and length == last_length
                is_replay = table[base + 3] & 1 and last <= address < last + last_length and not is_same
                # A repeated instruction that has written over itself: another one stands in its place by now.
                if is_at_rep or is_replay:
                    count = slots[Slot.LOGGED]
                    if count >= slots[Slot.LOGMAX]:
                        stop(Reason.LOG_FULL, address, length)
                        return
                    log[4 * count : 4 * count + 3] = [last, last_length, address]
                    slots[Slot.LOGGED] = count + 1
                    slots[Slot.AGAIN] = 1
                elif last_length:
                    slots[Slot.SKIP] = NONE
                weight = table[base + 1]
                total = slots[Slot.RETIRED] + (weight & 0xFFFF)
                if total > slots[Slot.LIMIT]:
                    stop(Reason.LIMIT, address, length)
                    return
                slots[Slot.RETIRED] = total
                slots[Slot.TALLY] += weight >> 16
                slots[Slot.WORK] += table[base + 3] >> _WORK_AT
            slots[Slot.LAST_PC], slots[Slot.LAST_LEN], slots[Slot.REP_PC] = address, length, table[base + 2]

        def code(_engine: int, address: int, _length: int, _context: int) -> None:
            if slots[Slot.SKIP] != address and not slots[Slot.ENTERING]:
                stop(Reason.POINT, address)

        def gate(_engine: int, address: int, _length: int, _context: int) -> None:
            if slots[Slot.WAITING]:
                code(_engine, address, _length, _context)

        def begins(address: int) -> bool:
            offset = address - slots[Slot.CACHE]
            is_in_cache = 0 <= offset < slots[Slot.CACHE_LENGTH]
            return not is_in_cache or bool(ctypes.c_uint8.from_address(slots[Slot.BEGINS] + offset).value)

        def step(_engine: int, address: int, _length: int, _context: int) -> None:
            if slots[Slot.AGAIN]:
                slots[Slot.AGAIN] = 0
            elif begins(address):
                if not slots[Slot.QUOTA]:
                    stop(Reason.STEPPED, address)
                else:
                    slots[Slot.QUOTA] -= 1

        def interrupt(_engine: int, number: int, _context: int) -> None:
            stop(Reason.EXIT, number)

        def may_reach(address: int) -> bool:
            last = slots[Slot.LAST_PC] - slots[Slot.CACHE]
            private = address - slots[Slot.PRIVATE]
            if not 0 <= private < slots[Slot.PRIVATE_LENGTH] or not 0 <= last < slots[Slot.CACHE_LENGTH]:
                return False
            pc = ctypes.c_uint64()
            uclib.uc_reg_read(self._engine, ctypes.c_int(_EIP), ctypes.byref(pc))
            offset = pc.value - slots[Slot.CACHE]
            return 0 <= offset < slots[Slot.CACHE_LENGTH] and bool(
                ctypes.c_uint8.from_address(slots[Slot.ALLOWED] + offset).value
            )

        def memory(_engine: int, kind: int, address: int, size: int, _value: int, _context: int) -> None:
            if not may_reach(address):
                slots[Slot.OLD] = ctypes.c_uint64.from_address(slots[Slot.RAM] + address).value
                slots[Slot.KIND] = kind
                stop(Reason.GUARD, address, size)

        address_hook = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint32, ctypes.c_void_p)
        number_hook = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_void_p)
        memory_hook = ctypes.CFUNCTYPE(
            None, ctypes.c_void_p, ctypes.c_int, ctypes.c_uint64, ctypes.c_int, ctypes.c_int64, ctypes.c_void_p
        )
        functions: tuple[Callable[..., None], ...] = (block, code, gate, step)
        thunks = (address_hook(function) for function in functions)
        return (*thunks, number_hook(interrupt), memory_hook(memory))


def block_key(pc: int, length: int) -> int:
    """Give the number under which a block is known: address and length together decide what it holds."""
    return (length << 48 ^ pc) & _MASK


def host_has_native_code() -> bool:
    """Tell whether this host runs the bytes above: x86-64, System V, pages that may be executed."""
    if os.environ.get(PURE_PYTHON_VARIABLE) == "1":
        return False
    return platform.machine() == "x86_64" and sys.platform == "linux"
