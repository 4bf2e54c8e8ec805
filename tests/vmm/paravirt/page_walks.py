"""A second opinion on a domain's page tables: everything they map and count, found by walking them from scratch."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator

from ringviz.facts.registers import Cr0
from ringviz.machine.memory import PAGE, PAGE_SHIFT, Ram
from ringviz.machine.paging import RW, Access, P, walk
from ringviz.vmm.paravirt import layout
from ringviz.vmm.paravirt.domain import Domain
from ringviz.vmm.paravirt.frames import Frames, FrameType, FrameUse

_GUEST_SLOTS = 0xFC00_0000 >> 22
_CR0 = Cr0.PG | Cr0.WP | Cr0.PE


def entries(ram: Ram, frames: Frames, page: int, count: int = 1024) -> tuple[int, ...]:
    """The first entries of a table of the guest's."""
    return struct.unpack(f"<{count}I", ram.read(frames.frame_of(page) << PAGE_SHIFT, 4 * count))


def recounted(ram: Ram, frames: Frames, domain: Domain) -> FrameUse:
    """Count the references that the valid tables, the pins, CR3 and the descriptor tables are."""
    kinds: dict[int, FrameType] = {frames.pages: FrameType.WRITABLE}
    counts: Counter[int] = Counter({frames.pages: 1})

    def count(page: int, kind: FrameType) -> None:
        assert kinds.setdefault(page, kind) is kind, f"page {page:X}h is {kinds[page].name} and {kind.name}"
        counts[page] += 1

    def page_of(entry: int) -> int:
        page = frames.page_of(entry >> PAGE_SHIFT)
        assert page is not None, f"entry {entry:08X}h leads out of the guest"
        assert not entry & 0x180, f"entry {entry:08X}h has flags that are not the guest's"
        return page

    for page in domain.use.pinned:
        count(page, domain.use.type_of(page))
    if domain.base_page is not None:
        count(domain.base_page, FrameType.L2)
    for page in domain.gdt_pages:
        count(page, FrameType.GDT)
    for ldt_page in domain.ldt_pages:
        if ldt_page is not None:
            count(ldt_page, FrameType.LDT)
    for table in range(frames.pages):
        match domain.use.type_of(table):
            case FrameType.L1:
                for entry in entries(ram, frames, table):
                    if entry & P:
                        page = page_of(entry)
                        if entry & RW:
                            count(page, FrameType.WRITABLE)
            case FrameType.L2:
                for entry in entries(ram, frames, table, _GUEST_SLOTS):
                    if entry & P:
                        page = page_of(entry)
                        kind = domain.use.type_of(page)
                        assert kind is FrameType.L1 or (kind is FrameType.L2 and not entry & RW)
                        if page != table:
                            count(page, kind)
    use = FrameUse.unused(frames.pages)
    for page, kind in kinds.items():
        use.types[page], use.counts[page] = kind, counts[page]
    use.pinned = domain.use.pinned.copy()
    return use


def reachable(ram: Ram, frames: Frames, domain: Domain, cr3: int) -> set[int]:
    """Pages that code of the guest's can write to, by the rules of the MMU; checks where every mapping leads.

    Raises:
        AssertionError: some mapping leads to what is not the guest's, or a writable one to a table.
    """
    writable: set[int] = set()
    for linear in _mapped(ram, cr3):
        for access in (Access(is_write=True), Access(is_write=True, is_user=True), Access()):
            done = walk(ram.read_int, _CR0, cr3, 0, 0, linear, access)
            if done.physical is None:
                continue
            page = frames.page_of(done.physical >> PAGE_SHIFT)
            if access.is_write:
                assert page is not None, f"{linear:08X}h can be written to and is not the guest's"
                kind = domain.use.type_of(page)
                assert kind is FrameType.WRITABLE, f"{linear:08X}h can be written to and is {kind.name}"
                writable.add(page)
            elif page is None:
                # Through a directory used as a table the guest sees the hypervisor's two tables; they say no secret.
                assert done.physical & -PAGE in (layout.HOLE_TABLE, layout.M2P_TABLE), f"{linear:08X}h"
    return writable


def _mapped(ram: Ram, cr3: int) -> Iterator[int]:
    """Linear addresses below the hypervisor at which some page is."""
    for high in range(_GUEST_SLOTS):
        directory = ram.read_int(cr3 + 4 * high, 4)
        if directory & P:
            for low, entry in enumerate(struct.unpack("<1024I", ram.read(directory & -PAGE, PAGE))):
                if entry & P:
                    yield high << 22 | low << PAGE_SHIFT
