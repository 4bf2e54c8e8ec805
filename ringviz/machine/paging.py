"""Page walks: linear to physical, the way the MMU does it, with every entry it touches.

Pure functions: memory comes in as two callables, nothing is remembered. 32-bit paging with 4 KiB and 4 MiB pages, PAE
paging with 4 KiB and 2 MiB pages, and the 4-level paging of long mode with pages of 1 GiB besides.

The emulated CPU takes physical addresses of 40 bits, of which 32 reach memory. It looks at the reserved bits of
page-directory-pointer entries of PAE paging only where they are address bits or no-execute; on hardware MOV to CR3
checks all of them. It has pages of 1 GiB whatever CPUID says.

Source: Intel SDM Vol. 3A, "32-Bit Paging", "PAE Paging", "4-Level Paging", "Access Rights" and "Page-Fault Exceptions".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ringviz.facts.exceptions import PageFaultError
from ringviz.facts.registers import Cr0, Cr4, Efer

P, RW, US, ACCESSED, DIRTY, PS = 1, 2, 4, 0x20, 0x40, 0x80
NX = 1 << 63

ReadEntry = Callable[[int, int], int]
"""(physical address, size in bytes) -> entry."""
WriteEntry = Callable[[int, int, int], None]
"""(physical address, value, size in bytes)."""


class Access(NamedTuple):
    """What is asked of a page."""

    is_write: bool = False
    is_user: bool = False
    """The access counts as ring 3: made by code at CPL 3, and not by the CPU itself."""
    is_fetch: bool = False


class Entry(NamedTuple):
    """One paging-structure entry that a walk read."""

    level: int
    """4 page-map level 4, 3 page-directory-pointer, 2 page directory, 1 page table."""
    address: int
    value: int
    size_bytes: int


class Walk(NamedTuple):
    """One translation: the entries visited, outermost first, and what came of it."""

    entries: tuple[Entry, ...]
    physical: int | None
    """Physical address, or None on a fault."""
    fault: int | None
    """Error code of the #PF, or None."""

    def has_accessed_bit(self, number: int) -> bool:
        """Tell whether an entry has accessed and dirty bits: those do not with which a walk of PAE paging begins."""
        return number > 0 or self.entries[0].level != 3

    @property
    def is_accessed(self) -> bool:
        """Every entry that could bear the accessed bit does."""
        return all(entry.value & ACCESSED or not self.has_accessed_bit(i) for i, entry in enumerate(self.entries))


_PAE_LEVELS = ((3, 30, 2), (2, 21, 9), (1, 12, 9))
_LONG_LEVELS = ((4, 39, 9), (3, 30, 9), (2, 21, 9), (1, 12, 9))
_TWO_LEVELS = ((2, 22, 10), (1, 12, 10))
_BEYOND_40_BITS = 0x000F_FF00_0000_0000


def walk(read: ReadEntry, cr0: int, cr3: int, cr4: int, efer: int, linear: int, access: Access) -> Walk:
    """Translate one linear address under the given control registers, changing nothing.

    Args:
        read: entry of 4 or 8 bytes at a physical address.
        cr0: decides whether paging is on, and by WP whether rings 0 to 2 obey read-only pages.
        cr3: base of the outermost table.
        cr4: PAE and PSE choose the format.
        efer: NXE makes bit 63 of 64-bit entries mean no-execute; LMA makes PAE paging 4-level paging.
        linear: 0 .. 2**32 - 1; under 4-level paging a canonical address.
        access: what the address is wanted for.

    Returns:
        The entries visited, and the physical address or the error code of the #PF. With paging off: no entries.
    """
    if not cr0 & Cr0.PG:
        return Walk((), linear, None)
    entries: list[Entry] = []
    error = (
        (PageFaultError.W if access.is_write else 0)
        | (PageFaultError.U if access.is_user else 0)
        | (PageFaultError.I if access.is_fetch and cr4 & Cr4.PAE and efer & Efer.NXE else 0)
    )

    def fault(bits: int = 0) -> Walk:
        return Walk(tuple(entries), None, int(error | bits))

    levels: tuple[tuple[int, int, int], ...]
    if not cr4 & Cr4.PAE:
        levels = _TWO_LEVELS
        size, table, reserved_high = 4, cr3 & 0xFFFF_F000, 0
    elif efer & Efer.LMA:
        levels = _LONG_LEVELS
        size, table, reserved_high = 8, cr3 & 0xFFFF_F000, _BEYOND_40_BITS
    else:
        levels = _PAE_LEVELS
        size, table, reserved_high = 8, cr3 & 0xFFFF_FFE0, 0x7FFF_FF00_0000_0000
    may_write = may_user = may_execute = True
    for level, shift, width in levels:
        address = table + (linear >> shift & (1 << width) - 1) * size
        value = read(address, size)
        entries.append(Entry(level, address, value, size))
        if not value & P:
            return fault()
        reserved = value & reserved_high
        if size == 8 and not efer & Efer.NXE:
            reserved |= value & NX
        if level == 4:
            reserved |= value & PS
        if levels is _PAE_LEVELS and level == 3:
            reserved |= value & NX
        else:
            may_write &= bool(value & RW)
            may_user &= bool(value & US)
            may_execute &= not (size == 8 and value & NX and efer & Efer.NXE)
        is_large = level == 2 and bool(value & PS) and (size == 8 or bool(cr4 & Cr4.PSE))
        is_large |= level == 3 and bool(value & PS) and levels is _LONG_LEVELS
        if is_large:
            reserved |= value & ((1 << shift) - 0x2000 if size == 8 else 0x20_0000)
        if reserved:
            return fault(PageFaultError.P | PageFaultError.R)
        if is_large:
            table, offset_bits = value & 0xFFFF_FFFF & ~((1 << shift) - 1), shift
            break
        table, offset_bits = value & 0xFFFF_F000, shift
    if access.is_user and not may_user:
        return fault(PageFaultError.P)
    if access.is_write and not may_write and (access.is_user or cr0 & Cr0.WP):
        return fault(PageFaultError.P)
    if access.is_fetch and not may_execute:
        return fault(PageFaultError.P)
    return Walk(tuple(entries), table | linear & ((1 << offset_bits) - 1), None)


def mark_used(write: WriteEntry, done: Walk, *, is_write: bool) -> None:
    """Set the accessed bits, and for a write the dirty bit of the last entry, as the MMU does on success.

    Source: Intel SDM Vol. 3A, "Accessed and Dirty Flags".
    """
    for number, entry in enumerate(done.entries):
        if not done.has_accessed_bit(number):
            continue
        wanted = entry.value | ACCESSED
        if is_write and number == len(done.entries) - 1:
            wanted |= DIRTY
        if wanted != entry.value:
            write(entry.address, wanted, entry.size_bytes)


def mark_path(write: WriteEntry, refused: Walk) -> None:
    """Set the accessed bits that a walk leaves behind which ends in a fault: of the entries that led to the last one.

    The manual lets the CPU mark every entry it uses, and the emulated CPU marks a directory entry on the way to its
    table; the entry that refuses stays as it is, but where it maps 1 GiB and the access has too few rights.
    """
    *path, last = refused.entries
    lacks_rights = (
        refused.fault is not None and refused.fault & (PageFaultError.P | PageFaultError.R) == PageFaultError.P
    )
    is_1_gib = last.level == 3 and bool(last.value & PS) and refused.has_accessed_bit(len(path))
    for number, entry in enumerate(refused.entries if is_1_gib and lacks_rights else path):
        if refused.has_accessed_bit(number) and not entry.value & ACCESSED:
            write(entry.address, entry.value | ACCESSED, entry.size_bytes)
