"""A second opinion on a domain's page tables: everything they map and count, found by walking them from scratch."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator

from ringviz.machine.memory import PAGE, PAGE_SHIFT
from ringviz.machine.paging import RW, Access, P, ReadEntry, walk
from ringviz.vmm.paravirt import layout
from ringviz.vmm.paravirt.frames import FrameType, FrameUse
from ringviz.vmm.paravirt.technique import Paravirt

_GUEST_SLOTS = 0xFC00_0000 >> 22
_FIRST = layout.GUEST_BASE >> PAGE_SHIFT
_SHARED = layout.SHARED_INFO >> PAGE_SHIFT


def entries(technique: Paravirt, page: int, count: int = 1024) -> tuple[int, ...]:
    """The first entries of a table of the guest's."""
    return struct.unpack(f"<{count}I", technique.machine.ram.read((_FIRST + page) << PAGE_SHIFT, 4 * count))


def recounted(technique: Paravirt) -> FrameUse:
    """Count the references that the valid tables, the pins, CR3 and the descriptor tables are."""
    domain, pages = technique.hypervisor.domain, technique.hypervisor.frames.pages
    kinds: dict[int, FrameType] = {pages: FrameType.WRITABLE}
    counts: Counter[int] = Counter({pages: 1})

    def count(page: int, kind: FrameType) -> None:
        assert kinds.setdefault(page, kind) is kind, f"page {page:X}h is {kinds[page].name} and {kind.name}"
        counts[page] += 1

    def page_of(entry: int) -> int:
        frame = entry >> PAGE_SHIFT
        assert frame == _SHARED or 0 <= frame - _FIRST < pages, f"entry {entry:08X}h leads out of the guest"
        return pages if frame == _SHARED else frame - _FIRST

    tables = [page for page in range(pages) if domain.use.type_of(page) in (FrameType.L1, FrameType.L2)]
    for page in domain.use.pinned:
        count(page, domain.use.type_of(page))
    assert domain.base_page is not None
    count(domain.base_page, FrameType.L2)
    for page in domain.gdt_pages:
        count(page, FrameType.GDT)
    for ldt_page in domain.ldt_pages:
        if ldt_page is not None:
            count(ldt_page, FrameType.LDT)
    for table in tables:
        if domain.use.type_of(table) is FrameType.L1:
            for entry in entries(technique, table):
                if entry & P:
                    page = page_of(entry)
                    assert not entry & 0x180
                    if entry & RW:
                        count(page, FrameType.WRITABLE)
        else:
            for entry in entries(technique, table, _GUEST_SLOTS):
                if entry & P:
                    page = page_of(entry)
                    assert not entry & 0x180
                    kind = domain.use.type_of(page)
                    assert kind is FrameType.L1 or (kind is FrameType.L2 and not entry & RW)
                    if page != table:
                        count(page, kind)
    use = FrameUse.unused(pages)
    for page, kind in kinds.items():
        use.types[page], use.counts[page] = kind, counts[page]
    use.pinned = domain.use.pinned.copy()
    return use


def reachable(technique: Paravirt) -> set[int]:
    """Pages that code of the guest's can write to, by the rules of the MMU; checks where every mapping leads.

    Raises:
        AssertionError: some mapping leads to what is not the guest's, or a writable one to a table.
    """
    domain, machine = technique.hypervisor.domain, technique.machine
    state, pages = machine.state, technique.hypervisor.frames.pages
    writable: set[int] = set()
    for linear in _mapped(technique):
        for access in (Access(is_write=True), Access(is_write=True, is_user=True), Access()):
            done = walk(_read(technique), state.cr0, state.cr3, state.cr4, state.efer, linear, access)
            if done.physical is None:
                continue
            frame = done.physical >> PAGE_SHIFT
            page = pages if frame == _SHARED else frame - _FIRST
            if access.is_write:
                assert 0 <= page <= pages, f"{linear:08X}h can be written to and is not the guest's"
                kind = domain.use.type_of(page)
                assert kind is FrameType.WRITABLE, f"{linear:08X}h can be written to and is {kind.name}"
                writable.add(page)
            elif not 0 <= page <= pages:
                # Through a directory used as a table the guest sees the hypervisor's two tables; they say no secret.
                assert frame << PAGE_SHIFT in (layout.HOLE_TABLE, layout.M2P_TABLE), f"{linear:08X}h"
    return writable


def _read(technique: Paravirt) -> ReadEntry:
    return lambda address, size: technique.machine.ram.read_int(address, size)


def _mapped(technique: Paravirt) -> Iterator[int]:
    """Linear addresses below the hypervisor at which some page is."""
    ram = technique.machine.ram
    base = technique.machine.state.cr3
    for high in range(_GUEST_SLOTS):
        directory = ram.read_int(base + 4 * high, 4)
        if directory & P:
            for low, entry in enumerate(struct.unpack("<1024I", ram.read(directory & -PAGE, PAGE))):
                if entry & P:
                    yield high << 22 | low << PAGE_SHIFT
