"""How the page tables translate one linear address, read by a spectator: who would touch which entry, in which order.

Reading sets no accessed or dirty bits, fills no TLB and no shadow. `Technique.walks` gives it for every technique.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from ringviz.facts.paging import PagingMode
from ringviz.facts.registers import Cr0, Cr4, Efer
from ringviz.machine.paging import Access, Entry, ReadEntry, Walk, walk
from ringviz.machine.state import CpuState


class Walker(Enum):
    """Who reads the entries."""

    CPU = "CPU"
    """The hardware's page walker."""
    VMM = "VMM"
    """Code of the VMM, to make a shadow from the guest's tables."""
    EMULATOR = "emulator"
    """Code of the program that plays the guest's CPU."""


class Tables(Enum):
    """Whose tables they are."""

    GUEST = "guest"
    """The guest's own."""
    SHADOW = "shadow"
    """The VMM's, derived from the guest's."""
    DIRECT = "direct"
    """The guest's own, as the hypervisor has checked them."""
    NESTED = "nested"
    """The VMM's, from guest-physical to host-physical."""


@dataclass(frozen=True, slots=True)
class TableRead:
    """One entry that a walk reads."""

    tables: Tables
    mode: PagingMode
    entry: Entry
    """At the address by which its walker knows it."""
    gpa: int | None
    """Guest-physical address of the entry; None where it is no memory of the guest's."""
    hpa: int | None
    """Host-physical address of the entry; None where nothing answers, and where no CPU's memory is meant."""
    translates: int | None = None
    """Nested tables: the guest-physical address that is being translated."""


@dataclass(frozen=True, slots=True)
class TableWalk:
    """One walk from its root to its end."""

    walker: Walker
    tables: Tables
    mode: PagingMode | None
    """None with paging off: then no table of these is read."""
    root: int
    """CR3, or with paging off 0."""
    reads: tuple[TableRead, ...]
    done: Walk
    """The walk in the tables that `linear` is looked up in, without the nested ones."""
    gpa: int | None
    """Guest-physical address that it ends at."""
    hpa: int | None
    """Host-physical address that it ends at."""
    refusal: str = ""
    """What the second level raises, in its maker's words; empty where it does not refuse."""
    refused_gpa: int | None = None
    """Guest-physical address that the second level refuses."""
    nested_mode: PagingMode | None = None
    nested_root: int | None = None
    """Two dimensions: root of the nested tables."""

    @property
    def is_by_cpu(self) -> bool:
        """The hardware walks."""
        return self.walker is Walker.CPU


class Verdict(Enum):
    """How a shadow stands to the guest's tables, for one access."""

    AGREES = "agrees"
    OUT_OF_DATE = "out of date"
    """The guest's tables allow what the shadow does not know yet, or lead elsewhere."""
    TRACED = "read-only on purpose"
    """The guest's tables allow a write that the VMM wants to hear of."""
    NOT_MAPPED = "not to be mapped"
    """The guest's tables lead to where no shadow entry can."""
    TOO_GENEROUS = "allows too much"
    """The shadow allows what the guest's tables refuse: an error of the VMM."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """What the comparison of both says."""

    verdict: Verdict
    text: str


@dataclass(frozen=True, slots=True)
class Walks:
    """All walks that belong to one access, in the order in which they would be made."""

    walks: tuple[TableWalk, ...]
    agreement: Agreement | None = None
    """Shadow tables: how they stand to the guest's."""
    note: str = ""
    """What else decides about the access, one sentence, or empty."""


@dataclass(frozen=True, slots=True)
class NestedWalk:
    """One walk through nested tables."""

    entries: tuple[Entry, ...]
    hpa: int | None
    """None if the tables refuse."""
    refusal: str = ""
    """What the CPU raises then."""


Nested = Callable[[int, Access], NestedWalk]
"""Translates a guest-physical address for an access, changing nothing."""
Place = Callable[[int], int | None]
"""From the address of an entry or page in one space to that in another; None where it has none there."""


def paging_mode(state: CpuState) -> PagingMode | None:
    """Name the format of the tables that a CPU walks; None with paging off."""
    if not state.cr0 & Cr0.PG:
        return None
    if not state.cr4 & Cr4.PAE:
        return PagingMode.TWO_LEVEL
    return PagingMode.FOUR_LEVEL if state.efer & Efer.LMA else PagingMode.PAE


def one_dimension(
    read: ReadEntry,
    state: CpuState,
    linear: int,
    access: Access,
    *,
    walker: Walker,
    tables: Tables,
    gpa_of: Place,
    hpa_of: Place,
) -> TableWalk:
    """Walk tables whose entries lie where their addresses say.

    Args:
        read: entry at an address of this space.
        state: whose control registers count.
        linear: the address.
        access: what for.
        walker: who reads.
        tables: what is read.
        gpa_of: from an address of this space to guest-physical.
        hpa_of: from an address of this space to host-physical.
    """
    mode = paging_mode(state)
    done = walk(read, state.cr0, state.cr3, state.cr4, state.efer, linear, access)
    reads = tuple(
        TableRead(tables, mode, entry, gpa_of(entry.address), hpa_of(entry.address))
        for entry in done.entries
        if mode is not None
    )
    gpa, hpa = (None, None) if done.physical is None else (gpa_of(done.physical), hpa_of(done.physical))
    return TableWalk(walker, tables, mode, state.cr3 if mode else 0, reads, done, gpa, hpa)


class _NestedRefusal(Exception):  # noqa: N818 - control flow within one walk
    """The second level refuses an entry of the guest's tables: the walk ends there."""

    def __init__(self, gpa: int, refusal: str) -> None:
        super().__init__(refusal)
        self.gpa = gpa
        self.refusal = refusal


def two_dimensions(
    read_host: ReadEntry,
    state: CpuState,
    linear: int,
    access: Access,
    *,
    nested: Nested,
    nested_mode: PagingMode,
    nested_root: int,
) -> TableWalk:
    """Walk the guest's tables where the CPU translates each address in them once more.

    Before each entry of the guest's come the nested ones that say where it lies, and at the end those for the page.

    Args:
        read_host: entry at a host-physical address.
        state: the real CPU, whose CR3 holds a guest-physical address.
        linear: the address.
        access: what for.
        nested: the second dimension.
        nested_mode: format of its tables.
        nested_root: root of its tables.
    """
    mode = paging_mode(state)
    reads: list[TableRead] = []
    guest_reads: list[Entry] = []

    def translated(gpa: int, wanted: Access) -> int:
        done = nested(gpa, wanted)
        reads.extend(TableRead(Tables.NESTED, nested_mode, entry, None, entry.address, gpa) for entry in done.entries)
        if done.hpa is None:
            raise _NestedRefusal(gpa, done.refusal)
        return done.hpa

    def read(gpa: int, size: int) -> int:
        assert mode is not None
        hpa = translated(gpa, Access())
        # A walk goes inward level by level, so how many entries it has read says which one this is.
        entry = Entry(mode.levels - len(guest_reads), gpa, read_host(hpa, size), size)
        guest_reads.append(entry)
        reads.append(TableRead(Tables.GUEST, mode, entry, gpa, hpa))
        return entry.value

    done, hpa, refused = Walk((), None, None), None, None
    try:
        done = walk(read, state.cr0, state.cr3, state.cr4, state.efer, linear, access)
        if done.physical is not None:
            hpa = translated(done.physical, access)
    except _NestedRefusal as refusal:
        refused = refusal
        done = done if done.physical is not None else Walk(tuple(guest_reads), None, None)
    return TableWalk(
        Walker.CPU,
        Tables.GUEST,
        mode,
        state.cr3 if mode else 0,
        tuple(reads),
        done,
        done.physical,
        hpa,
        "" if refused is None else refused.refusal,
        None if refused is None else refused.gpa,
        nested_mode,
        nested_root,
    )


def within(base: int, size: int) -> Place:
    """Give the place of a window: address 0 of a space lies at `base`, and the space has `size` bytes."""
    return lambda address: base + address if 0 <= address < size else None


def window_of(base: int, size: int) -> Place:
    """Give the way back: from an address in the space that holds the window to one in the window."""
    return lambda address: address - base if base <= address < base + size else None


def nowhere(_address: int) -> int | None:
    """No address of this space has a place in the other."""
    return None
