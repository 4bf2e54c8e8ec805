"""Page walks: linear to physical, the way the MMU does it, with every entry it touches.

Pure functions: memory comes in as two callables, nothing is remembered. 32-bit paging with 4 KiB and 4 MiB pages, and
PAE paging with 4 KiB and 2 MiB pages.

The emulated CPU takes physical addresses of 40 bits, of which 32 reach memory. It looks at the reserved bits of
page-directory-pointer entries only where they are address bits or no-execute; on hardware MOV to CR3 checks all of
them.

Source: Intel SDM Vol. 3A, "32-Bit Paging", "PAE Paging", "Access Rights" and "Page-Fault Exceptions".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ringviz.facts.exceptions import PageFaultError
from ringviz.facts.registers import Cr0, Cr4, Efer

P, RW, US, ACCESSED, DIRTY, PS = 1, 2, 4, 0x20, 0x40, 0x80
NX = 1 << 63

ReadEntry = Callable[[int, int], int]
"""(physical address, size in bytes) -> entry."""
WriteEntry = Callable[[int, int, int], None]
"""(physical address, value, size in bytes)."""


@dataclass(frozen=True, slots=True)
class Access:
    """What is asked of a page."""

    is_write: bool = False
    is_user: bool = False
    """The access counts as ring 3: made by code at CPL 3, and not by the CPU itself."""
    is_fetch: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """One paging-structure entry that a walk read."""

    level: int
    """3 page-directory-pointer, 2 page directory, 1 page table."""
    address: int
    value: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Walk:
    """One translation: the entries visited, outermost first, and what came of it."""

    entries: tuple[Entry, ...]
    physical: int | None
    """Physical address, or None on a fault."""
    fault: int | None
    """Error code of the #PF, or None."""


def walk(read: ReadEntry, cr0: int, cr3: int, cr4: int, efer: int, linear: int, access: Access) -> Walk:
    """Translate one linear address under the given control registers, changing nothing.

    Args:
        read: entry of 4 or 8 bytes at a physical address.
        cr0: decides whether paging is on, and by WP whether rings 0 to 2 obey read-only pages.
        cr3: base of the outermost table.
        cr4: PAE and PSE choose the format.
        efer: NXE makes bit 63 of PAE entries mean no-execute.
        linear: 0 .. 2**32 - 1.
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

    if cr4 & Cr4.PAE:
        levels: tuple[tuple[int, int, int], ...] = ((3, 30, 2), (2, 21, 9), (1, 12, 9))
        size, table, reserved_high = 8, cr3 & 0xFFFF_FFE0, 0x7FFF_FF00_0000_0000
    else:
        levels = ((2, 22, 10), (1, 12, 10))
        size, table, reserved_high = 4, cr3 & 0xFFFF_F000, 0
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
        if level == 3:
            reserved |= value & NX
        else:
            may_write &= bool(value & RW)
            may_user &= bool(value & US)
            may_execute &= not (size == 8 and value & NX and efer & Efer.NXE)
        is_large = level == 2 and bool(value & PS) and (size == 8 or bool(cr4 & Cr4.PSE))
        if is_large:
            reserved |= value & (0x1F_E000 if size == 8 else 0x20_0000)
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
        if entry.level == 3:
            continue  # PAE page-directory-pointer entries have no such bits
        wanted = entry.value | ACCESSED
        if is_write and number == len(done.entries) - 1:
            wanted |= DIRTY
        if wanted != entry.value:
            write(entry.address, wanted, entry.size_bytes)


def mark_path(write: WriteEntry, refused: Walk) -> None:
    """Set the accessed bits that a walk leaves behind which ends in a fault: of the entries that led to the last one.

    The manual lets the CPU mark every entry it uses, and the emulated CPU marks a directory entry on the way to its
    table; the entry that refuses stays as it is.
    """
    for entry in refused.entries[:-1]:
        if entry.level != 3 and not entry.value & ACCESSED:
            write(entry.address, entry.value | ACCESSED, entry.size_bytes)
