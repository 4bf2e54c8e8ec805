"""Every linear page that a run touches, in order: instruction fetches block by block, loads and stores one by one.

The emulator reports a load or store when it is about to succeed, with its physical address; the linear page is found
in the page tables (`ReverseMap`), and where several lead to the same memory, in the operands of the instruction. A
block of code is fetched when it is entered, up to its jump: straight on, as a prefetcher does.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Protocol

from ringviz.facts.registers import Cr0, Efer
from ringviz.guest.decode import decode
from ringviz.guest.instruction import Instruction
from ringviz.machine.machine import LOADS_DESCRIPTORS, Machine
from ringviz.machine.memory import PAGE, PAGE_SHIFT
from ringviz.machine.microcode.operands import linear_address, segment_base
from ringviz.machine.paging import Access
from ringviz.machine.reverse_map import ReverseMap
from ringviz.machine.state import ADDRESS_32, ADDRESS_64, DS, EDI, ES, ESI, ESP, SS, CpuState

_NEAR_THE_STACK = 256
"""An instruction that pushes or pops does so within so many bytes of ESP."""
_LONGEST_STRING_STEP, _LONGEST_STRING_STEP_64 = 4, 8
"""Bytes; 16-bit code has the longer ones by prefix."""
_BLOCKS_OF_A_FLUSH = 2
"""MOV to CR3 ends its block: in the second one from there CR3 has changed."""


class Sink(Protocol):
    """Takes what the trace finds. Linear pages are given by number."""

    def fetched(self, page: int) -> None:
        """Code was fetched from a page."""

    def touched(self, page: int) -> int | None:
        """Data on a page was read or written.

        Returns:
            A number: as long as no other page with the same number is touched, touching this one again is nothing new.
            None if that cannot be said.
        """

    def refused(self, linear: int, error_code: int) -> None:
        """A walk ended in a page fault."""

    def flushed(self, *, everything: bool) -> None:
        """Microcode, a VMM or a change of world made the CPU forget translations, global ones too or not."""

    def reloaded(self) -> None:
        """The guest itself loaded CR3."""

    def invalidated(self, linear: int) -> None:
        """The guest itself executed INVLPG."""


class AccessTrace:
    """Watches one machine from the moment it is made; an `Observer`."""

    def __init__(self, machine: Machine, physical_base: int, sink: Sink) -> None:
        """Attach.

        Args:
            machine: at the start of its run.
            physical_base: RAM address of what the CPU's walks call physical 0.
            sink: takes what is found.
        """
        self._machine = machine
        self._base_page = physical_base >> PAGE_SHIFT
        self._sink = sink
        self._map = ReverseMap(lambda page: machine.read_physical(page << PAGE_SHIFT, PAGE))
        self._known: dict[int, int] = {}
        """Physical page to linear page, as long as nothing has changed and there is only one."""
        self._candidates: dict[int, list[int]] = {}
        """The same where there are several, or none."""
        self._registers = (0, 0, 0, 0)
        """CR0, CR3, CR4 and EFER."""
        self._told = 0
        """Loads and stores that came to be told here."""
        self._latest: dict[int, int] = {}
        """By the sink's number: the physical page on which a load or store is nothing new."""
        self._blocks_to_see = 0
        """Blocks to come that must be told, because CR3 may have changed before."""
        self.unresolved = 0
        """Those whose linear page could not be found out for certain."""
        machine.observe(self)
        self._hooks = machine.cpu.trace(self._on_block, self._on_access)

    @property
    def accesses(self) -> int:
        """Loads and stores."""
        return self._told + self._hooks.passed

    def forget(self) -> None:
        """What leads where may be different now: a VMM or microcode has been at work."""
        self._known.clear()
        self._candidates.clear()
        self._latest.clear()
        # Tables of other address spaces lead nowhere now; those in use are met again with the next access.
        self._map.table_pages.clear()
        self._hooks.tell_everything()

    # ---- Observer ----------------------------------------------------------------------------------------------------

    def accessed(self, linear: int, access: Access) -> None:
        """Take an access that the CPU makes on its own account."""
        state = self._machine.state
        self._registers = state.cr0, state.cr3, state.cr4, state.efer
        self.forget()
        if self._is_translated():
            (self._sink.fetched if access.is_fetch else self._sink.touched)(linear >> PAGE_SHIFT)
        self._told += not access.is_fetch

    def refused(self, linear: int, error_code: int) -> None:
        """Take a page fault."""
        self.forget()
        self._sink.refused(linear, error_code)

    def flushed(self, *, everything: bool = False) -> None:
        """Take a flush by somebody else than the guest's own code."""
        self.forget()
        self._sink.flushed(everything=everything)

    def passing(self, instruction: Instruction) -> None:
        """Take a flush by the guest's own code. It faults instead in rings 1 to 3."""
        self.forget()
        self._blocks_to_see = _BLOCKS_OF_A_FLUSH
        state = self._machine.state
        if state.cpl:
            return
        if instruction.form == "invlpg":
            self._sink.invalidated(linear_address(state, instruction.ops[0], instruction.address_size_bits))
        elif any(operand.register == "cr3" for operand in instruction.ops):
            self._sink.reloaded()

    # ---- from the emulator -------------------------------------------------------------------------------------------

    def _on_block(self, linear: int, size: int) -> None:
        registers = self._machine.cpu.control_registers()
        if registers != self._registers:
            self._registers = registers
            self.forget()
        if not self._is_translated():
            return
        first, last = linear >> PAGE_SHIFT, (linear + max(size, 1) - 1) >> PAGE_SHIFT
        for page in range(first, last + 1):
            self._sink.fetched(page & self._last_page())
        if self._blocks_to_see:
            self._blocks_to_see -= 1
        else:
            self._hooks.quiet_code(last if first == last else None)

    def _on_access(self, is_write: bool, physical: int, size: int) -> None:
        self._told += 1
        if not self._is_translated():
            return
        page = (physical >> PAGE_SHIFT) - self._base_page
        linear = self._known.get(page)
        if linear is None:
            linear = self._resolve(page, physical)
        if linear is not None:
            self._touch(linear, page)
            if (physical & (PAGE - 1)) + size > PAGE:
                self._touch((linear + 1) & self._last_page(), None)
        if is_write and page in self._map.table_pages:
            self.forget()

    def _touch(self, linear: int, page: int | None) -> None:
        """Tell the sink, and keep in mind what will be nothing new.

        Args:
            linear: number of the linear page.
            page: of the physical one, if it is known.
        """
        number = self._sink.touched(linear)
        if number is None:
            return
        before = self._latest.pop(number, None)
        # Several linear pages may lead to one in memory, and a store to a page table is always told.
        is_plain = page is not None and page in self._known and page not in self._map.table_pages
        after = page if is_plain else None
        if before is not None and before != after:
            self._hooks.quiet(before + self._base_page, is_quiet=False)
        if after is not None:
            self._latest[number] = after
            self._hooks.quiet(after + self._base_page, is_quiet=True)

    def _last_page(self) -> int:
        """Give the number of the last linear page there is."""
        return (ADDRESS_64 if self._registers[3] & Efer.LMA else ADDRESS_32) >> PAGE_SHIFT

    def _is_translated(self) -> bool:
        return bool(self._registers[0] & Cr0.PG) or self._machine.second_level is not None

    def _resolve(self, page: int, physical: int) -> int | None:
        """Find the linear page of an access that is just being made."""
        cr0, cr3, cr4, efer = self._registers
        if not cr0 & Cr0.PG:
            return page
        candidates = self._candidates.get(page)
        if candidates is None:
            candidates = self._candidates[page] = self._map.linear_pages(
                cr3, cr4, page, is_user=self._machine.cpu.entered_ring == 3, is_long=bool(efer & Efer.LMA)
            )
        if len(candidates) == 1:
            self._known[page] = candidates[0]
            return candidates[0]
        state, code = self._machine.cpu.glance()
        # Only in 64-bit mode does an operand depend on where the instruction is.
        instruction = _decoded(code, state.eip if state.is_64bit else 0, state.code_bits)
        used = set() if instruction is None else _pages_with_offset(state, instruction, physical & (PAGE - 1))
        if candidates:
            used &= set(candidates)
        if len(used) == 1:
            return used.pop()
        self.unresolved += 1
        return min(used or candidates, default=None)


@lru_cache(maxsize=4096)
def _decoded(code: bytes, address: int, bits: int) -> Instruction | None:
    return decode(code, address, bits)


def _pages_with_offset(state: CpuState, instruction: Instruction, offset: int) -> set[int]:
    """Give the linear pages in which an instruction accesses a byte at an offset of the page."""
    bits = instruction.address_size_bits
    ranges = [
        (linear_address(state, operand, bits), max(operand.size_bytes, 1))
        for operand in instruction.ops
        if operand.kind == "mem"
    ]
    if instruction.is_string:
        for segment, register in ((ES, EDI), (DS, ESI)):
            start = (segment_base(state, segment) + state.gpr[register]) & state.address_mask
            ranges.append((start, _LONGEST_STRING_STEP_64 if state.is_64bit else _LONGEST_STRING_STEP))
    if instruction.form in LOADS_DESCRIPTORS:
        ranges += [(table.base, table.limit + 1) for table in (state.gdtr, state.ldtr)]
    mask = state.address_mask
    pages = {page for start, size in ranges for page in _pages_in(start, size, offset, mask)}
    if pages:
        return pages
    stack = (segment_base(state, SS) + state.gpr[ESP]) & mask
    return _pages_in(stack - _NEAR_THE_STACK, 2 * _NEAR_THE_STACK, offset, mask)


def _pages_in(start: int, size: int, offset: int, mask: int) -> set[int]:
    """Give the pages of a range whose byte at an offset of the page lies in the range."""
    first = start + (offset - start) % PAGE
    return {(at & mask) >> PAGE_SHIFT for at in range(first, start + size, PAGE)}
