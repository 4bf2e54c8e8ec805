"""One shadow: real page tables in VMM memory for one address space of the guest."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from ringviz.facts.registers import Cr0, Cr4, Efer
from ringviz.machine.memory import PAGE, Ram
from ringviz.machine.paging import P
from ringviz.machine.state import CpuState
from ringviz.vmm.mmu.formats import DIRECTORY_ENTRY, FOUR_LEVEL, PAE, TWO_LEVEL, TableFormat

_LINEAR_BITS = (1 << 48) - 1


class Key(NamedTuple):
    """What decides the meaning of a guest's page tables: where they start, and the modes they are read in."""

    cr3: int
    format: TableFormat
    large_pages: bool
    write_protect: bool
    no_execute: bool


def key_of(state: CpuState) -> Key:
    """Name the address space that a virtual CPU with paging on is in."""
    is_pae, is_long = bool(state.cr4 & Cr4.PAE), state.is_long_active
    return Key(
        state.cr3 & (0xFFFF_FFE0 if is_pae and not is_long else 0xFFFF_F000),
        FOUR_LEVEL if is_long else PAE if is_pae else TWO_LEVEL,
        is_pae or bool(state.cr4 & Cr4.PSE),
        bool(state.cr0 & Cr0.WP),
        is_pae and bool(state.efer & Efer.NXE),
    )


@dataclass(slots=True)
class ShadowSpace:
    """The tables of one address space. Writes them; what goes into them is `ShadowPaging`'s to say."""

    ram: Ram
    format: TableFormat
    root: int
    """What the real CR3 holds."""
    directories: tuple[int, ...]
    fixed: Mapping[int, int]
    """Tables that the VMM has in every space, by index: its own part of the linear addresses."""
    tables: dict[int, int] = field(default_factory=dict)
    """RAM address of each shadow page table, by the upper bits of the linear addresses that it maps."""
    sources: dict[int, int] = field(default_factory=dict)
    """Guest frame of the page table that a shadow table follows; absent for large pages, and outside RAM."""
    directory_sources: dict[int, int] = field(default_factory=dict)
    """Guest frame of the page directory that a shadow directory follows."""
    uppers: dict[tuple[int, int], int] = field(default_factory=dict)
    """Long mode: RAM addresses of the tables of levels 3 and 2, by level and the upper bits of what they map."""
    pointer_sources: dict[int, int] = field(default_factory=dict)
    """Long mode: guest frame of the page-directory-pointer table for each 512 GiB."""

    def link_all(self) -> None:
        """Write the upper levels: pointers to directories, and the VMM's own tables."""
        if self.format is PAE:
            for number, directory in enumerate(self.directories):
                self.ram.write_int(self.root + 8 * number, directory | P, 8)
        for index, table in self.fixed.items():
            self._link(index, table | DIRECTORY_ENTRY)

    def index_of(self, linear: int) -> int:
        """Which table maps an address."""
        return (linear & _LINEAR_BITS) >> self.format.directory_shift

    def missing_upper(self, index: int) -> tuple[int, int] | None:
        """Give level and number of the next table that has to be there before a page table can be hung in."""
        if self.format is FOUR_LEVEL:
            for place in ((3, index >> 18), (2, index >> 9)):
                if place not in self.uppers:
                    return place
        return None

    def add_upper(self, place: tuple[int, int], address: int) -> None:
        """Hang an empty table of level 3 or 2 in; the one above it is there."""
        level, number = place
        self.uppers[place] = address
        above = self.root if level == 3 else self.uppers[3, number >> 9]
        self.write(above + 8 * (number & 511), address | DIRECTORY_ENTRY)

    def cut_uppers(self) -> tuple[int, ...]:
        """Take out all tables of levels 3 and 2, which lead nowhere any more, and give their addresses."""
        addresses = tuple(self.uppers.values())
        for level, number in self.uppers:
            if level == 3:
                self.write(self.root + 8 * number, 0)
        self.uppers.clear()
        return addresses

    def add_table(self, index: int, address: int) -> None:
        """Hang an empty table in."""
        self.tables[index] = address
        self._link(index, address | DIRECTORY_ENTRY)

    def cut_table(self, index: int) -> int:
        """Take a table out and give its address."""
        self._link(index, 0)
        return self.tables.pop(index)

    def entry_address(self, linear: int) -> int | None:
        """RAM address of the entry that maps an address; None without a table there."""
        index = self.index_of(linear)
        table = self.fixed.get(index) or self.tables.get(index)
        if table is None:
            return None
        return table + self.format.entry_bytes * (linear >> 12 & (self.format.entries - 1))

    def read(self, address: int) -> int:
        """Read an entry at its RAM address."""
        return self.ram.read_int(address, self.format.entry_bytes)

    def write(self, address: int, entry: int) -> None:
        """Write an entry at its RAM address."""
        self.ram.write_int(address, entry, self.format.entry_bytes)

    def present(self, index: int) -> Iterator[tuple[int, int]]:
        """Walk through a table: RAM address and value of each present entry."""
        size, table = self.format.entry_bytes, self.tables[index]
        entries = struct.unpack("<512Q" if self.format.is_pae else "<1024I", self.ram.read(table, PAGE))
        for number, entry in enumerate(entries):
            if entry & P:
                yield table + size * number, entry

    def pages(self) -> tuple[int, ...]:
        """RAM addresses of all pages taken from the pool."""
        own = (self.root, *self.directories) if self.format is PAE else (self.root,)
        return (*own, *self.uppers.values(), *self.tables.values())

    def _link(self, index: int, entry: int) -> None:
        number = index >> self.format.index_bits
        directory = self.uppers[2, number] if self.format is FOUR_LEVEL else self.directories[number]
        self.write(directory + self.format.entry_bytes * (index & (self.format.entries - 1)), entry)
