"""Page tables as stretches: what is mapped where, with which rights, by the guest and by what the CPU walks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ringviz.engine.table_rows import MemoryRow, Rows
from ringviz.facts.paging import PagingMode, decode_entry, entry_format
from ringviz.facts.registers import Cr4, Efer
from ringviz.facts.residents import RESIDENTS
from ringviz.machine.state import CpuState
from ringviz.vmm.technique import Technique
from ringviz.vmm.walks import paging_mode

_MOST_TABLES = 192
"""Tables read for one list; a guest of this laboratory has a few dozen."""
_SHIFTS = {
    PagingMode.TWO_LEVEL: ((2, 22, 10), (1, 12, 10)),
    PagingMode.PAE: ((3, 30, 2), (2, 21, 9), (1, 12, 9)),
    PagingMode.FOUR_LEVEL: ((4, 39, 9), (3, 30, 9), (2, 21, 9), (1, 12, 9)),
}
"""Level, lowest address bit and number of address bits of each table, outermost first."""

ReadBytes = Callable[[int, int], bytes]


@dataclass(slots=True)
class _Stretch:
    linear: int
    physical: int
    page_bytes: int
    rights: str
    pages: int = 0
    accessed: int = 0
    dirty: int = 0

    @property
    def end(self) -> int:
        """Linear address behind it."""
        return self.linear + self.pages * self.page_bytes

    def goes_on(self, other: _Stretch) -> bool:
        """Tell whether another one lies right behind it, with the same rights."""
        return (self.end, self.physical + self.pages * self.page_bytes, self.page_bytes, self.rights) == (
            other.linear,
            other.physical,
            other.page_bytes,
            other.rights,
        )


def page_rows(technique: Technique, guest: CpuState) -> Rows:
    """Give the guest's tables, and the shadow where the CPU walks one."""
    ram = technique.machine.ram
    base = 0 if technique.setup.mmu == "direct" else technique.guest_base
    mode = paging_mode(guest)
    rows: list[MemoryRow] = []
    real = technique.machine.state
    is_shadowed = technique.setup.mmu == "shadow" and not RESIDENTS[technique.id].guest_is_data
    if mode is not None:
        if is_shadowed:
            rows.append(MemoryRow("", f"the guest's own tables, CR3 {guest.cr3:08X}", is_heading=True))
        rows += _rows(guest, mode, lambda address, size: ram.read(base + address, size))
    real_mode = paging_mode(real)
    if is_shadowed and real_mode is not None:
        rows.append(MemoryRow("", f"the shadow that the CPU walks, CR3 {real.cr3:08X}", is_heading=True))
        rows += _rows(real, real_mode, ram.read)
    title = "page tables: paging is off" if mode is None else f"page tables: {mode.value}, CR3 {guest.cr3:08X}"
    notes = {
        "nested": "guest-physical; behind it the nested tables: w walks both",
        "direct": "machine addresses: the hypervisor checks every entry",
        "shadow": "the guest's lead to guest-physical addresses, the shadow to host-physical ones",
    }
    return tuple(rows), title, notes.get(technique.setup.mmu, "")


def _rows(state: CpuState, mode: PagingMode, read: ReadBytes) -> Iterator[MemoryRow]:
    last: _Stretch | None = None
    tables = [0]
    for found in _stretches(state, mode, read, tables):
        if last is not None and last.goes_on(found):
            last.pages += found.pages
            last.accessed += found.accessed
            last.dirty += found.dirty
            continue
        if last is not None:
            yield _row(last)
        last = found
    if last is not None:
        yield _row(last)
    if tables[0] > _MOST_TABLES:
        yield MemoryRow("", f"… only {_MOST_TABLES} tables were read", is_faint=True)


def _row(found: _Stretch) -> MemoryRow:
    size = {0x1000: "4K", 0x20_0000: "2M", 0x40_0000: "4M", 0x4000_0000: "1G"}[found.page_bytes]
    return MemoryRow(
        place=f"{found.linear:08X}-{found.end - 1:08X}",
        value=f"→ {found.physical:08X}  {found.rights:<6} {found.pages} × {size}",
        note=f"accessed {found.accessed}, dirty {found.dirty}",
        is_faint=not found.accessed,
    )


def _stretches(state: CpuState, mode: PagingMode, read: ReadBytes, tables: list[int]) -> Iterator[_Stretch]:
    """Give every page that is mapped, page by page, in order of linear addresses."""
    has_large = bool(state.cr4 & Cr4.PSE)
    has_nx = bool(state.efer & Efer.NXE)
    root = state.cr3 & (0xFFFF_FFE0 if mode is PagingMode.PAE else ~0xFFF)
    size = mode.entry_bytes

    def descend(table: int, depth: int, linear: int, can_write: bool, for_user: bool) -> Iterator[_Stretch]:
        tables[0] += 1
        if tables[0] > _MOST_TABLES:
            return
        level, shift, width = _SHIFTS[mode][depth]
        data = read(table, size << width)
        for index in range(1 << width):
            value = int.from_bytes(data[index * size : index * size + size], "little")
            if not value & 1:
                continue
            bits = decode_entry(
                entry_format(mode, level, value, has_large_pages=has_large), value, has_no_execute=has_nx
            )
            at = linear + (index << shift)
            if level == 4 and index >> (width - 1):
                at |= 0xFFFF << 48  # the upper half of canonical addresses
            # In the outermost table of PAE paging, entries have no rights of their own.
            writes, users = can_write and bits.is_writable is not False, for_user and bits.is_user is not False
            if bits.page_bytes is None:
                yield from descend(bits.address or 0, depth + 1, at, writes, users)
                continue
            letters = f"{'W' if writes else '-'}{'U' if users else '-'}{'G' if bits.is_global else '-'}"
            letters += "NX" if bits.is_executable is False else ""
            yield _Stretch(
                at,
                bits.address or 0,
                bits.page_bytes,
                letters,
                1,
                int(bool(bits.is_accessed)),
                int(bool(bits.is_dirty)),
            )

    yield from descend(root, 0, 0, True, True)
