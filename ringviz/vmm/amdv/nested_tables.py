"""Nested page tables: real tables in VMM memory that translate guest-physical to host-physical addresses.

The host of this VMM is in long mode, so its nested tables have four levels. Guest accesses count as user accesses, as
AMD defines it: every entry has U set.

Source: AMD APM Vol. 2, "Nested Paging" and "Long-Mode Page Translation".
"""

from __future__ import annotations

from collections.abc import Set

from ringviz.machine.memory import PAGE, PAGE_SHIFT, Ram
from ringviz.machine.paging import Entry
from ringviz.machine.stops import NestedFault
from ringviz.vmm.walks import NestedWalk

_PRESENT, _WRITABLE, _USER, _ACCESSED, _DIRTY = 1, 2, 4, 0x20, 0x40
_RWU = _PRESENT | _WRITABLE | _USER
_ADDRESS = 0x000F_FFFF_FFFF_F000
_SHIFTS = (39, 30, 21, 12)
_TABLE_REACH = 512 << 12
"""Bytes that one last-level table maps."""


class NestedTables:
    """The tables, their builder (a VMM's work) and their walker (the hardware's)."""

    def __init__(self, ram: Ram, root: int, guest_base: int, guest_bytes: int) -> None:
        """Build tables that map all guest RAM with 4 KiB pages.

        Args:
            ram: the machine's memory.
            root: host-physical address of the first table; the others follow it.
            guest_base: host-physical address of guest-physical 0.
            guest_bytes: size of guest RAM.
        """
        self._ram = ram
        self.root = root
        self.next_table = root + 0x1000
        """Host-physical address at which the next table will be made."""
        self._guest_base, self._guest_bytes = guest_base, guest_bytes
        self.withdrawn: set[int] = set()
        """Guest-physical pages whose entries do not say what they otherwise would, because of the host."""
        if ram.keeper is not None:
            ram.on_withdraw, ram.withdrawn_at = self.withdraw, self.behind
        for start in range(0, guest_bytes, _TABLE_REACH):  # a machine is powered on often, and has thousands of pages
            gpas = range(start, min(start + _TABLE_REACH, guest_bytes), 0x1000)
            ram.write_ints(self._leaf(start), [guest_base + gpa | _RWU for gpa in gpas], 8)

    def map(self, gpa: int, hpa: int | None) -> None:
        """Map one guest-physical page, or unmap it."""
        self._ram.write_int(self._leaf(gpa), 0 if hpa is None else hpa | _RWU, 8)

    # ---- pages that the host withdraws -------------------------------------------------------------------------------

    def withdraw(self, pages: Set[int], may_read: bool) -> None:
        """Let no entry lead to these pages of RAM, or none allow writing: the host wants to be asked first."""
        for page in sorted(pages):
            gpa = (page << PAGE_SHIFT) - self._guest_base
            if 0 <= gpa < self._guest_bytes:
                self.withdrawn.add(gpa >> PAGE_SHIFT)
                entry = self._ram.read_int(self._leaf(gpa), 8)
                self._ram.write_int(self._leaf(gpa), entry & ~_WRITABLE if may_read else 0, 8)

    def give_back(self, gpa: int, *, may_write: bool) -> None:
        """Let an entry lead to its page again."""
        page = gpa & ~(PAGE - 1)
        entry = (self._guest_base + page) | (_RWU if may_write else _RWU & ~_WRITABLE)
        self._ram.write_int(self._leaf(page), entry, 8)
        if may_write:
            self.withdrawn.discard(gpa >> PAGE_SHIFT)

    def behind(self, gpa: int) -> int | None:
        """Give the host-physical address of a page that was withdrawn; None if it was not."""
        return self._guest_base + gpa if gpa >> PAGE_SHIFT in self.withdrawn else None

    def _leaf(self, gpa: int) -> int:
        """Address of the last-level entry for a page, with tables made on the way."""
        table = self.root
        for shift in _SHIFTS[:-1]:
            address = table + 8 * (gpa >> shift & 511)
            entry = self._ram.read_int(address, 8)
            if not entry & _PRESENT:
                entry = self.next_table | _RWU
                self.next_table += 0x1000
                self._ram.write_int(address, entry, 8)
            table = entry & _ADDRESS
        return table + 8 * (gpa >> 12 & 511)

    def translate(self, gpa: int, *, is_write: bool, is_fetch: bool) -> int | NestedFault:
        """Walk as the CPU does, setting accessed and dirty bits."""
        done = self.walk(gpa, is_write=is_write)
        if done.hpa is None:
            is_present = bool(done.entries[-1].value & _PRESENT)
            return NestedFault(gpa, is_write, is_fetch, False, is_present, None)
        for number, entry in enumerate(done.entries):
            is_last = number == len(done.entries) - 1
            marked = entry.value | _ACCESSED | (_DIRTY if is_write and is_last else 0)
            if marked != entry.value:
                self._ram.write_int(entry.address, marked, 8)
        return done.hpa

    def walk(self, gpa: int, *, is_write: bool) -> NestedWalk:
        """Walk and change nothing."""
        table = self.root
        entries: list[Entry] = []
        for level, shift in zip((4, 3, 2, 1), _SHIFTS, strict=True):
            address = table + 8 * (gpa >> shift & 511)
            entry = self._ram.read_int(address, 8)
            entries.append(Entry(level, address, entry, 8))
            if not entry & _PRESENT or (is_write and not entry & _WRITABLE) or not entry & _USER:
                return NestedWalk(tuple(entries), None, "#VMEXIT(NPF)")
            table = entry & _ADDRESS
        return NestedWalk(tuple(entries), table | gpa & 0xFFF)
