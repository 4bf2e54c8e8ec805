"""Extended page tables: real tables in VMM memory that translate guest-physical to host-physical addresses.

Four levels. An entry's low three bits allow reading, writing and fetching; a leaf names its memory type. Accessed and
dirty bits came with a later generation and are off.

Source: Intel SDM Vol. 3C, "The Extended Page Table Mechanism (EPT)".
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

from ringviz.facts.vmx import EPT_MEMORY_TYPES, EPT_QUALIFICATION
from ringviz.machine.memory import PAGE, PAGE_SHIFT, Ram
from ringviz.machine.paging import Entry
from ringviz.machine.stops import NestedFault
from ringviz.vmm.vtx.capabilities import PHYSICAL_BITS

READ, WRITE, EXECUTE = 1, 2, 4
_ALL = READ | WRITE | EXECUTE
_WRITE_BACK = 6 << 3
_LARGE = 1 << 7
_ADDRESS = 0x000F_FFFF_FFFF_F000
_SHIFTS = (39, 30, 21, 12)
_TABLE_REACH = 512 << 12
"""Bytes that one last-level table maps."""
_TYPES_BAD = frozenset(range(8)) - EPT_MEMORY_TYPES.keys()


@dataclass(frozen=True, slots=True)
class EptWalk:
    """One walk through the tables."""

    hpa: int | None
    """Host-physical address, or None if some entry is not present or allows too little."""
    allowed: int
    """The AND of the permissions of all entries used."""
    is_misconfigured: bool = False
    """An entry means nothing: no permission that could be missing, an error of the VMM."""
    entries: tuple[Entry, ...] = ()
    """What was read, outermost first."""


def walk_ept(ram: Ram, root: int, gpa: int, wanted: int) -> EptWalk:
    """Translate one guest-physical address as the CPU does.

    Args:
        ram: the machine's memory.
        root: table of the first level.
        gpa: the address.
        wanted: READ, WRITE or EXECUTE.
    """
    table, allowed = root, _ALL
    read: list[Entry] = []
    for level, shift in zip((4, 3, 2, 1), _SHIFTS, strict=True):
        address = table + 8 * (gpa >> shift & 511)
        entry = ram.read_int(address, 8)
        read.append(Entry(level, address, entry, 8))
        permissions = entry & _ALL
        if not permissions:
            return EptWalk(None, 0, entries=tuple(read))
        is_leaf = shift == 12 or (shift in (21, 30) and bool(entry & _LARGE))
        if is_misconfigured(entry, shift, is_leaf=is_leaf):
            return EptWalk(None, allowed & permissions, True, tuple(read))
        allowed &= permissions
        if is_leaf:
            offset = (1 << shift) - 1
            hpa = entry & _ADDRESS & ~offset | gpa & offset
            return EptWalk(hpa if allowed & wanted == wanted else None, allowed, entries=tuple(read))
        table = entry & _ADDRESS
    raise AssertionError("the last level is a leaf")


def is_misconfigured(entry: int, shift: int, *, is_leaf: bool) -> bool:
    """Tell whether a present entry is one that the CPU refuses to use.

    Source: Intel SDM Vol. 3C, "EPT Misconfigurations".
    """
    permissions = entry & _ALL
    if permissions in (WRITE, WRITE | EXECUTE):  # writable but not readable
        return True
    if permissions == EXECUTE:  # execute-only, which this CPU does not offer
        return True
    if entry & _ADDRESS & ~((1 << PHYSICAL_BITS) - 1):
        return True
    if not is_leaf:
        return bool(entry & 0xF8)
    if entry >> 3 & 7 in _TYPES_BAD:
        return True
    return bool(entry & ((1 << shift) - 1) & ~0xFFF)


class ExtendedTables:
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
        self.must_invalidate = False
        """The VMM has changed an entry that the CPU may have cached, and has not executed INVEPT yet."""
        self._guest_base, self._guest_bytes = guest_base, guest_bytes
        self.withdrawn: set[int] = set()
        """Guest-physical pages whose entries do not say what they otherwise would, because of the host."""
        if ram.keeper is not None:
            ram.on_withdraw, ram.withdrawn_at = self.withdraw, self.behind
        for start in range(0, guest_bytes, _TABLE_REACH):  # a machine is powered on often, and has thousands of pages
            gpas = range(start, min(start + _TABLE_REACH, guest_bytes), 0x1000)
            ram.write_ints(self._leaf(start), [guest_base + gpa | _WRITE_BACK | _ALL for gpa in gpas], 8)

    @property
    def pointer(self) -> int:
        """The EPTP: write-back tables, four levels, no accessed and dirty bits."""
        return self.root | 6 | 3 << 3

    def map(self, gpa: int, hpa: int | None, allowed: int = _ALL) -> None:
        """Map one guest-physical page, or unmap it."""
        self._ram.write_int(self._leaf(gpa), 0 if hpa is None else hpa | _WRITE_BACK | allowed, 8)

    def show(self, gpa: int, hpa: int | None) -> None:
        """Map one page, or unmap it, and note that INVEPT is due where that changes anything."""
        wanted = 0 if hpa is None else hpa | _WRITE_BACK | _ALL
        if self._ram.read_int(self._leaf(gpa), 8) != wanted:
            self._ram.write_int(self._leaf(gpa), wanted, 8)
            self.must_invalidate = True

    # ---- pages that the host withdraws -------------------------------------------------------------------------------

    def withdraw(self, pages: Set[int], may_read: bool) -> None:
        """Let no entry lead to these pages of RAM, or none allow writing: the host wants to be asked first."""
        for page in sorted(pages):
            gpa = (page << PAGE_SHIFT) - self._guest_base
            if 0 <= gpa < self._guest_bytes:
                self.withdrawn.add(gpa >> PAGE_SHIFT)
                entry = self._ram.read_int(self._leaf(gpa), 8)
                self._ram.write_int(self._leaf(gpa), entry & ~WRITE if may_read else 0, 8)

    def give_back(self, gpa: int, *, may_write: bool) -> None:
        """Let an entry lead to its page again."""
        page = gpa & ~(PAGE - 1)
        self.map(page, self._guest_base + page, _ALL if may_write else _ALL & ~WRITE)
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
            if not entry & _ALL:
                entry = self.next_table | _ALL
                self.next_table += 0x1000
                self._ram.write_int(address, entry, 8)
            table = entry & _ADDRESS
        return table + 8 * (gpa >> 12 & 511)

    def walk(self, gpa: int, *, is_write: bool, is_fetch: bool) -> EptWalk:
        """Walk for one access."""
        return walk_ept(self._ram, self.root, gpa, WRITE if is_write else EXECUTE if is_fetch else READ)

    def translate(self, gpa: int, *, is_write: bool, is_fetch: bool) -> int | NestedFault:
        """Give the host-physical address, or the fault, as the machine asks for it."""
        done = self.walk(gpa, is_write=is_write, is_fetch=is_fetch)
        if done.hpa is None:
            return NestedFault(gpa, is_write, is_fetch, False, bool(done.allowed), None)
        return done.hpa


def violation_qualification(
    done: EptWalk, *, is_write: bool, is_fetch: bool, is_linear_valid: bool, is_table_walk: bool
) -> int:
    """Give the exit qualification of an EPT violation."""
    value = 0
    for name, part in (
        ("READ", not is_write and not is_fetch),
        ("WRITE", is_write),
        ("FETCH", is_fetch),
        ("READABLE", done.allowed & READ),
        ("WRITABLE", done.allowed & WRITE),
        ("EXECUTABLE", done.allowed & EXECUTE),
        ("LINEAR_VALID", is_linear_valid),
        ("TRANSLATED", is_linear_valid and not is_table_walk),
    ):
        value = EPT_QUALIFICATION[name].put(value, int(bool(part)))
    return value
