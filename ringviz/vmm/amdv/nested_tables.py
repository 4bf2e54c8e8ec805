"""Nested page tables: real tables in VMM memory that translate guest-physical to host-physical addresses.

The host of this VMM is in long mode, so its nested tables have four levels. Guest accesses count as user accesses, as
AMD defines it: every entry has U set.

Source: AMD APM Vol. 2, "Nested Paging" and "Long-Mode Page Translation".
"""

from __future__ import annotations

from ringviz.machine.memory import Ram
from ringviz.machine.paging import Entry
from ringviz.machine.stops import NestedFault
from ringviz.vmm.mmu.second_level import ADDRESS, SHIFTS, EntryFormat, SecondLevelTables
from ringviz.vmm.walks import NestedWalk

_PRESENT, _WRITABLE, _USER, _ACCESSED, _DIRTY = 1, 2, 4, 0x20, 0x40
_RWU = _PRESENT | _WRITABLE | _USER
_FORMAT = EntryFormat(table=_RWU, page=_RWU, writable=_WRITABLE, present=_PRESENT)


class NestedTables(SecondLevelTables):
    """The tables, with their walker (the hardware's)."""

    def __init__(self, ram: Ram, root: int, guest_base: int, guest_bytes: int) -> None:
        """Build tables that map all guest RAM; see `SecondLevelTables`."""
        super().__init__(ram, root, guest_base, guest_bytes, _FORMAT)

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
        for level, shift in zip((4, 3, 2, 1), SHIFTS, strict=True):
            address = table + 8 * (gpa >> shift & 511)
            entry = self._ram.read_int(address, 8)
            entries.append(Entry(level, address, entry, 8))
            if not entry & _PRESENT or (is_write and not entry & _WRITABLE) or not entry & _USER:
                return NestedWalk(tuple(entries), None, "#VMEXIT(NPF)")
            table = entry & ADDRESS
        return NestedWalk(tuple(entries), table | gpa & 0xFFF)
