"""The descriptor tables the CPU really uses, made from the guest's own.

A guest descriptor of ring 0 becomes one of ring 1, limits are cut below the VMM, and what the VMM must hear of is
marked not present, so that its use traps:

- descriptors that the CPU would mark accessed, so that the guest's table gets the mark and not the shadow;
- code of outer rings while the guest's kernel runs, so that no return to a program goes unnoticed;
- gates and task-state segments, which are the VMM's business.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from ringviz.facts.segments import Descriptor, Gate, SegmentCache, decode_descriptor, encode_descriptor, encode_gate
from ringviz.machine.memory import PAGE, Ram
from ringviz.machine.paging import Access, Walk, walk
from ringviz.machine.state import CpuState
from ringviz.vmm.guest_space import GuestSpace
from ringviz.vmm.ring_compression import layout

_PRESENT = 0x80
_DPL = 0x60
_RING_1 = 0x20
_TSS_BYTES = 0x68
_EMPTY_TABLE = bytes(0x1_0000)


def compress_access(access: int) -> int:
    """Attributes of a code or data segment with ring 0 turned into ring 1."""
    return access if access & _DPL else access | _RING_1


def cut_limit(cache: Descriptor | SegmentCache) -> int:
    """A segment's limit, cut off below the VMM."""
    if cache.expand_down or cache.base > layout.TRUNCATED_LIMIT:
        return cache.limit
    room = layout.TRUNCATED_LIMIT + 1 - cache.base
    if cache.g:
        room &= ~0xFFF
    return min(cache.limit, max(room - 1, 0xFFF if cache.g else 0))


def shadow_entry(raw: int, *, kernel_runs: bool) -> int:
    """Make the shadow of one guest descriptor.

    Args:
        raw: the guest's entry, 8 bytes as a number.
        kernel_runs: the guest believes it is in ring 0, 1 or 2.
    """
    guest = decode_descriptor(raw)
    if not guest.s:
        return raw & ~(_PRESENT << 40)
    access = compress_access(guest.access)
    accessed = bool(access & 1)
    if not accessed or (kernel_runs and guest.is_code and guest.dpl):
        access &= ~_PRESENT
    return encode_descriptor(Descriptor(guest.base, cut_limit(guest), access))


@lru_cache(maxsize=64)
def _shadow_table(table: bytes, kernel_runs: bool) -> bytes:
    """Make the shadow of a whole table; a guest has few, and goes back and forth between them with every ring."""
    raws = (int.from_bytes(table[offset : offset + 8], "little") for offset in range(0, len(table) - 7, 8))
    return b"".join(shadow_entry(raw, kernel_runs=kernel_runs).to_bytes(8, "little") for raw in raws)


def pages_of(guest: CpuState, space: GuestSpace, base: int, limit: int) -> Iterator[tuple[int, int, Walk]]:
    """Walk the guest's page tables for a descriptor table: offset and size of each piece on one page, and its walk."""
    offset, size = 0, min(limit + 1, 0x1_0000)

    def read(address: int, count: int) -> int:
        return int.from_bytes(space.read_physical(address, count), "little")

    while offset < size:
        linear = (base + offset) & 0xFFFF_FFFF
        count = min(size - offset, PAGE - (linear & 0xFFF))
        yield offset, count, walk(read, guest.cr0, guest.cr3, guest.cr4, guest.efer, linear, Access())
        offset += count


def _guest_table(guest: CpuState, space: GuestSpace, base: int, limit: int) -> bytes:
    """Read a descriptor table of the guest's.

    Descriptors on a page that is not there, or that the guest's CPU would mark accessed when it reads one, are left
    empty: their use then traps, and the VMM does what that CPU does.
    """
    if not guest.is_paged:
        return space.read_physical(base, min(limit + 1, 0x1_0000))
    table = bytearray(min(limit + 1, 0x1_0000))
    empty: set[int] = set()
    for offset, count, done in pages_of(guest, space, base, limit):
        if done.physical is not None and done.is_accessed:
            table[offset : offset + count] = space.read_physical(done.physical, count)
        else:
            empty.update(range(offset & ~7, offset + count, 8))
    for offset in empty:  # one that crosses into such a page is among them
        table[offset : offset + 8] = bytes(len(table[offset : offset + 8]))
    return bytes(table)


class DescriptorTables:
    """Shadow GDT and LDT, the VMM's IDT and TSS: real bytes in VMM memory."""

    def __init__(self, ram: Ram) -> None:
        self._ram = ram
        self.own: dict[int, int] = {}
        """More descriptors of the VMM's own, by selector: they stand in the shadow GDT whatever the guest has there."""
        self._made: tuple[object, ...] | None = None
        self._lengths: dict[int, int] = {}
        ram.write(layout.TASK_STATE, bytes(_TSS_BYTES))
        # No I/O bitmap: it would start at the limit, so every port access of ring 1 and 3 traps.
        ram.write_int(layout.TASK_STATE + 0x66, _TSS_BYTES, 2)
        for vector in range(256):
            # Any ring may use INT n; the VMM looks the guest's own gate up and checks its DPL.
            gate = Gate(layout.HOLE + 0x1000 + 16 * vector, layout.VMM_CODE_SELECTOR, 0xE, 3, True)
            ram.write_int(layout.INTERRUPT_TABLE + 8 * vector, encode_gate(gate), 8)

    def refresh(self, guest: CpuState, space: GuestSpace) -> None:
        """Rebuild the shadows from the guest's tables, if anything they depend on has changed."""
        kernel_runs = guest.cpl < 3
        gdt = _guest_table(guest, space, guest.gdtr.base, guest.gdtr.limit)
        ldt = b""
        if guest.ldtr.is_usable:
            ldt = _guest_table(guest, space, guest.ldtr.base, guest.ldtr.limit)
        key = (gdt, ldt, kernel_runs)
        if key == self._made:
            return
        self._write(layout.SHADOW_GDT, gdt, kernel_runs=kernel_runs)
        for selector, descriptor in (
            (layout.TSS_SELECTOR, Descriptor(layout.TSS_LINEAR, _TSS_BYTES - 1, 0x08B)),
            (layout.VMM_CODE_SELECTOR, Descriptor(0, 0xFFFF_FFFF, 0xC9B)),
            (layout.LDT_SELECTOR, Descriptor(layout.LDT_LINEAR, max(len(ldt), 1) - 1, 0x082)),
        ):
            self._ram.write_int(layout.SHADOW_GDT + selector, encode_descriptor(descriptor), 8)
        for selector, raw in self.own.items():
            self._ram.write_int(layout.SHADOW_GDT + selector, raw, 8)
        self._write(layout.SHADOW_LDT, ldt, kernel_runs=kernel_runs)
        self._made = key

    def forget(self) -> None:
        """Rebuild at the next refresh whatever happens: memory was restored."""
        self._made = None
        self._lengths = dict.fromkeys((layout.SHADOW_GDT, layout.SHADOW_LDT), 0x1_0000)

    def _write(self, address: int, table: bytes, *, kernel_runs: bool) -> None:
        entries = _shadow_table(table, kernel_runs)
        old_length = self._lengths.get(address, 0)
        if old_length > len(entries):
            self._ram.write(address + len(entries), _EMPTY_TABLE[: old_length - len(entries)])
        self._ram.write(address, entries)
        self._lengths[address] = len(entries)
