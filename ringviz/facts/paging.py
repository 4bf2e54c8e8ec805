"""Entries of page tables: what their bits mean, for every format, level and kind that a CPU here can walk.

The nested tables of AMD-V have the format of 4-level paging; Intel's extended page tables have one of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from ringviz.facts.layout import BitField
from ringviz.facts.source import Source
from ringviz.facts.sources import SDM3A, SDM3C

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


class PagingMode(Enum):
    """A format of page tables; the value is the manual's name for it."""

    TWO_LEVEL = "32-bit paging"
    PAE = "PAE paging"
    FOUR_LEVEL = "4-level paging"
    EPT = "EPT"

    @property
    def levels(self) -> int:
        """Tables that a walk goes through when the page is as small as can be."""
        return {PagingMode.TWO_LEVEL: 2, PagingMode.PAE: 3}.get(self, 4)

    @property
    def entry_bytes(self) -> int:
        """Size of an entry."""
        return 4 if self is PagingMode.TWO_LEVEL else 8


@dataclass(frozen=True, slots=True)
class EntryFormat:
    """One kind of entry."""

    mode: PagingMode
    level: int
    """4 outermost, 1 innermost, whatever the format's own number of levels."""
    name: str
    """The manual's abbreviation."""
    title: str
    """The table that it stands in."""
    page_bytes: int | None
    """Size of the page that it maps; None where it leads to another table."""
    fields: Mapping[str, BitField]
    source: Source

    @property
    def is_leaf(self) -> bool:
        """It maps a page."""
        return self.page_bytes is not None


_NAMES = MappingProxyType(
    {
        4: ("PML4E", "page-map level-4 table"),
        3: ("PDPTE", "page-directory-pointer table"),
        2: ("PDE", "page directory"),
        1: ("PTE", "page table"),
    }
)
_BITS: Mapping[str, tuple[int, str]] = MappingProxyType(
    {
        "P": (0, "Present: the entry counts"),
        "RW": (1, "Writable (R/W)"),
        "US": (2, "For ring 3 too (U/S)"),
        "PWT": (3, "Page-level write-through"),
        "PCD": (4, "Page-level cache disable"),
        "A": (5, "Accessed: set by the CPU when it uses the entry"),
        "D": (6, "Dirty: set by the CPU when the page is written"),
        "PS": (7, "Page size: the entry maps a large page"),
        "G": (8, "Global: the translation outlives a load of CR3"),
        "NX": (63, "No execute (XD)"),
    }
)
_EPT_BITS: Mapping[str, tuple[int, str]] = MappingProxyType(
    {
        "R": (0, "May be read"),
        "W": (1, "May be written"),
        "X": (2, "May be fetched from"),
        "IPAT": (6, "Ignore the guest's memory type"),
        "PS": (7, "The entry maps a large page"),
        "A": (8, "Accessed, where the EPTP enables it"),
        "D": (9, "Dirty, where the EPTP enables it"),
    }
)
_TO_TABLE = "P RW US PWT PCD A"
_TO_PAGE = "P RW US PWT PCD A D"


def _format(mode: PagingMode, level: int, page: int | None, address: tuple[int, int], bits: str) -> EntryFormat:
    """Give one kind of entry with the named single bits and its address field."""
    source = SDM3C.at("EPT Translation Mechanism") if mode is PagingMode.EPT else SDM3A.at(_SECTIONS[mode])
    known = _EPT_BITS if mode is PagingMode.EPT else _BITS
    fields = {name: BitField(name, known[name][0], known[name][0], known[name][1], source) for name in bits.split()}
    what = "Address of the page" if page else "Address of the next table"
    fields["ADDRESS"] = BitField("ADDRESS", *address, what, source)
    if page == 4 * MIB:
        fields["ADDRESS_HIGH"] = BitField("ADDRESS_HIGH", 13, 20, "Bits 39:32 of the page's address", source)
    if mode is PagingMode.EPT and page:
        fields["TYPE"] = BitField("TYPE", 3, 5, "Memory type", source)
    if page and mode is not PagingMode.EPT:
        bit = 7 if level == 1 else 12
        fields["PAT"] = BitField("PAT", bit, bit, "Page-attribute table", source)
    name, title = _NAMES[level]
    return EntryFormat(mode, level, name, title, page, MappingProxyType(fields), source)


_SECTIONS = {
    PagingMode.TWO_LEVEL: "32-Bit Paging",
    PagingMode.PAE: "PAE Paging",
    PagingMode.FOUR_LEVEL: "4-Level Paging",
}
_TWO, _PAE, _FOUR, _EPT = PagingMode.TWO_LEVEL, PagingMode.PAE, PagingMode.FOUR_LEVEL, PagingMode.EPT

_FORMATS = (
    _format(_TWO, 2, None, (12, 31), f"{_TO_TABLE} PS"),
    _format(_TWO, 2, 4 * MIB, (22, 31), f"{_TO_PAGE} PS G"),
    _format(_TWO, 1, 4 * KIB, (12, 31), f"{_TO_PAGE} G"),
    _format(_PAE, 3, None, (12, 51), "P PWT PCD"),
    _format(_PAE, 2, None, (12, 51), f"{_TO_TABLE} PS NX"),
    _format(_PAE, 2, 2 * MIB, (21, 51), f"{_TO_PAGE} PS G NX"),
    _format(_PAE, 1, 4 * KIB, (12, 51), f"{_TO_PAGE} G NX"),
    _format(_FOUR, 4, None, (12, 51), f"{_TO_TABLE} NX"),
    _format(_FOUR, 3, None, (12, 51), f"{_TO_TABLE} PS NX"),
    _format(_FOUR, 3, GIB, (30, 51), f"{_TO_PAGE} PS G NX"),
    _format(_FOUR, 2, None, (12, 51), f"{_TO_TABLE} PS NX"),
    _format(_FOUR, 2, 2 * MIB, (21, 51), f"{_TO_PAGE} PS G NX"),
    _format(_FOUR, 1, 4 * KIB, (12, 51), f"{_TO_PAGE} G NX"),
    _format(_EPT, 4, None, (12, 51), "R W X A"),
    _format(_EPT, 3, None, (12, 51), "R W X PS A"),
    _format(_EPT, 3, GIB, (30, 51), "R W X IPAT PS A D"),
    _format(_EPT, 2, None, (12, 51), "R W X PS A"),
    _format(_EPT, 2, 2 * MIB, (21, 51), "R W X IPAT PS A D"),
    _format(_EPT, 1, 4 * KIB, (12, 51), "R W X IPAT A D"),
)
ENTRY_FORMATS: Mapping[tuple[PagingMode, int, bool], EntryFormat] = MappingProxyType(
    {(row.mode, row.level, row.is_leaf): row for row in _FORMATS}
)
"""By format, level, and whether the entry maps a page."""


def entry_format(mode: PagingMode, level: int, value: int, *, has_large_pages: bool = True) -> EntryFormat:
    """Tell what kind of entry a value is.

    Args:
        mode: format of the tables.
        level: 4 to 1.
        value: the entry.
        has_large_pages: CR4.PSE; only 32-bit paging asks for it.
    """
    large = ENTRY_FORMATS.get((mode, level, True))
    if large is None or level == 1:
        return ENTRY_FORMATS[mode, level, level == 1]
    may_be_large = has_large_pages or mode is not PagingMode.TWO_LEVEL
    return large if may_be_large and large.fields["PS"].get(value) else ENTRY_FORMATS[mode, level, False]


@dataclass(frozen=True, slots=True)
class EntryBits:
    """An entry decoded; None for what this kind of entry does not have."""

    is_present: bool
    is_writable: bool | None
    is_user: bool | None
    is_executable: bool | None
    is_accessed: bool | None
    is_dirty: bool | None
    is_global: bool | None
    page_bytes: int | None
    """Size of the page that it maps; None where it leads to a table, or nowhere."""
    address: int | None
    """Of the next table or the page; None where the entry is not present."""


def decode_entry(kind: EntryFormat, value: int, *, has_no_execute: bool = False) -> EntryBits:
    """Decode an entry. One that is not present says nothing else.

    Args:
        kind: what it is.
        value: the entry.
        has_no_execute: EFER.NXE.
    """
    fields = kind.fields

    def bit(name: str) -> bool | None:
        return bool(fields[name].get(value)) if name in fields else None

    if kind.mode is PagingMode.EPT:
        is_present = bool(value & 7)
        writable, executable, dirty, accessed = bit("W"), bit("X"), None, None
    else:
        is_present = bool(value & 1)
        writable, dirty, accessed = bit("RW"), bit("D"), bit("A")
        executable = None if bit("NX") is None else not (has_no_execute and bit("NX"))
    if not is_present:
        return EntryBits(False, None, None, None, None, None, None, None, None)
    address = value & fields["ADDRESS"].mask
    if "ADDRESS_HIGH" in fields:
        address |= fields["ADDRESS_HIGH"].get(value) << 32
    return EntryBits(True, writable, bit("US"), executable, accessed, dirty, bit("G"), kind.page_bytes, address)
