"""Extended page tables: real tables in VMM memory that translate guest-physical to host-physical addresses.

Four levels. An entry's low three bits allow reading, writing and fetching; a leaf names its memory type. Accessed and
dirty bits came with a later generation and are off.

Source: Intel SDM Vol. 3C, "The Extended Page Table Mechanism (EPT)".
"""

from __future__ import annotations

from dataclasses import dataclass

from ringviz.facts.vmx import EPT_MEMORY_TYPES, EPT_QUALIFICATION
from ringviz.machine.memory import Ram
from ringviz.machine.paging import Entry
from ringviz.machine.stops import NestedFault
from ringviz.vmm.mmu.second_level import ADDRESS, SHIFTS, EntryFormat, SecondLevelTables
from ringviz.vmm.vtx.capabilities import PHYSICAL_BITS

READ, WRITE, EXECUTE = 1, 2, 4
_ALL = READ | WRITE | EXECUTE
_WRITE_BACK = 6 << 3
_LARGE = 1 << 7
_FORMAT = EntryFormat(table=_ALL, page=_WRITE_BACK | _ALL, writable=WRITE, present=_ALL)
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
    for level, shift in zip((4, 3, 2, 1), SHIFTS, strict=True):
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
            hpa = entry & ADDRESS & ~offset | gpa & offset
            return EptWalk(hpa if allowed & wanted == wanted else None, allowed, entries=tuple(read))
        table = entry & ADDRESS
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
    if entry & ADDRESS & ~((1 << PHYSICAL_BITS) - 1):
        return True
    if not is_leaf:
        return bool(entry & 0xF8)
    if entry >> 3 & 7 in _TYPES_BAD:
        return True
    return bool(entry & ((1 << shift) - 1) & ~0xFFF)


class ExtendedTables(SecondLevelTables):
    """The tables, with their walker (the hardware's)."""

    def __init__(self, ram: Ram, root: int, guest_base: int, guest_bytes: int) -> None:
        """Build tables that map all guest RAM; see `SecondLevelTables`."""
        self.must_invalidate = False
        """The VMM has changed an entry that the CPU may have cached, and has not executed INVEPT yet."""
        super().__init__(ram, root, guest_base, guest_bytes, _FORMAT)

    @property
    def pointer(self) -> int:
        """The EPTP: write-back tables, four levels, no accessed and dirty bits."""
        return self.root | 6 | 3 << 3

    def show(self, gpa: int, hpa: int | None) -> None:
        """Map one page, or unmap it, and note that INVEPT is due where that changes anything."""
        wanted = 0 if hpa is None else hpa | _FORMAT.page
        if self._ram.read_int(self._leaf(gpa), 8) != wanted:
            self._ram.write_int(self._leaf(gpa), wanted, 8)
            self.must_invalidate = True

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
