"""Hypercalls about descriptors: a table is pages of the guest's that it can read, and the CPU use, and nobody write.

Source of the checks: Xen 3.0, x86-32 (`set_gdt`, `map_ldt_shadow_page`, `do_update_descriptor`).
"""

from __future__ import annotations

from ringviz.facts.hypercalls import FIRST_RESERVED_GDT_ENTRY, Error
from ringviz.facts.segments import null_cache
from ringviz.machine.memory import PAGE, PAGE_SHIFT
from ringviz.machine.paging import P
from ringviz.machine.state import segment
from ringviz.vmm.paravirt import descriptors, guest_access, layout
from ringviz.vmm.paravirt.answers import Answer
from ringviz.vmm.paravirt.frames import FrameType
from ringviz.vmm.paravirt.guest_access import Refused
from ringviz.vmm.paravirt.parts import Parts

_ENTRIES_PER_PAGE = PAGE // 8
_MOST_LDT_ENTRIES = 0x2000


class DescriptorCalls(Parts):
    """Answers `set_gdt`, `update_descriptor` and the part of `mmuext_op` that is about the LDT."""

    def set_gdt(self, frames_at: int, entries: int) -> Answer:
        """Have frames checked, entry by entry, and used as the GDT."""
        if entries > FIRST_RESERVED_GDT_ENTRY:
            raise Refused(Error.EINVAL, f"{entries} entries reach into the hypervisor's part of the GDT")
        count = (entries + _ENTRIES_PER_PAGE - 1) // _ENTRIES_PER_PAGE
        mmu, domain, pages = self.mmu, self.domain, list[int]()
        try:
            for frame in guest_access.read_words(self.memory, frames_at, count):
                page = mmu.own(frame)
                mmu.get(page, FrameType.GDT)
                pages.append(page)
        except Refused:
            for page in pages:
                mmu.put(page)
            raise
        for page in domain.gdt_pages:
            mmu.put(page)
        domain.gdt_pages, domain.gdt_entries = tuple(pages), entries
        self.tables.set_gdt(b"".join(self._content(page) for page in pages))
        domain.tables_version += 1
        return Answer(f"GDT of {entries} entries checked and in use")

    def _set_ldt(self, linear: int, entries: int) -> str:
        """Have pages checked and used as the LDT; no entries is no LDT."""
        domain = self.domain
        is_beyond = not guest_access.may_access(linear, 8 * entries)
        if linear % PAGE or entries > _MOST_LDT_ENTRIES or is_beyond:
            why = f"no LDT of {entries} entries can lie at {linear:08X}h"
            raise Refused(Error.EINVAL, why, is_attempt=is_beyond)
        pages: list[int] = []
        try:
            for place in range(linear, linear + 8 * entries, PAGE):
                pages.append(self._claimed_for_ldt(place))
        except Refused:
            for page in pages:
                self.mmu.put(page)
            raise
        for old in self.mmu.drop_ldt():
            self.mmu.put(old)
        domain.ldt_base, domain.ldt_entries, domain.ldt_pages = linear, entries, tuple(pages)
        self._use_ldt()
        return f"LDT of {entries} entries checked and in use" if entries else "no LDT"

    def _claimed_for_ldt(self, linear: int) -> int:
        """Give the page that is mapped at an address, in use as LDT from now on.

        Xen looks only when the CPU first uses a descriptor of the page, and then makes that fault; here a page that is
        not fit for it is refused at once.
        """
        entry = self.mmu.mapped(linear)
        page = self.frames.page_of(entry >> PAGE_SHIFT) if entry & P else None
        if page is None:
            raise Refused(Error.EINVAL, f"no page of the guest's is mapped at {linear:08X}h")
        self.mmu.get(page, FrameType.LDT)
        return page

    def refresh_ldt(self) -> None:
        """Look the LDT's pages up anew, once what is mapped at its address has changed; what is unfit now is empty."""
        domain = self.domain
        if not domain.is_ldt_stale:
            return
        pages: list[int | None] = []
        for place in range(domain.ldt_base, domain.ldt_base + 8 * domain.ldt_entries, PAGE):
            try:
                pages.append(self._claimed_for_ldt(place))
            except Refused:
                pages.append(None)
        domain.ldt_pages = tuple(pages)
        self._use_ldt()

    def _use_ldt(self) -> None:
        """Let the CPU have the LDT that the domain has."""
        domain, entries = self.domain, self.domain.ldt_entries
        domain.is_ldt_stale = False
        parts = [bytes(PAGE) if page is None else self._content(page) for page in domain.ldt_pages]
        self.tables.set_ldt(b"".join(parts), entries)
        self.state.ldtr = (
            segment(layout.LDT_SELECTOR, layout.LDT_LINEAR, 8 * entries - 1, 0x082) if entries else null_cache()
        )
        domain.tables_version += 1

    def _content(self, page: int) -> bytes:
        return self._machine.ram.page(self.frames.frame_of(page))

    def update_descriptor(self, address_lo: int, address_hi: int, low: int, high: int) -> Answer:
        """Have one descriptor checked and changed, at its machine address."""
        page = None if address_hi else self.frames.page_of(address_lo >> PAGE_SHIFT)
        raw = descriptors.checked(high << 32 | low)
        if address_lo % 8 or page is None:
            why = f"no descriptor of the guest's lies at machine address {address_lo:08X}h"
            raise Refused(Error.EINVAL, why, is_attempt=page is None)
        if raw is None:
            raise Refused(Error.EINVAL, f"descriptor {high:08X}_{low:08X} is refused")
        mmu, domain, offset = self.mmu, self.domain, address_lo % PAGE
        kind = domain.use.type_of(page)
        wanted = kind if kind in (FrameType.GDT, FrameType.LDT) else FrameType.WRITABLE
        mmu.get(page, wanted)  # a page of a page table is refused here
        self._machine.ram.write_int(address_lo, raw, 8)
        mmu.put(page)
        for number in (number for number, other in enumerate(domain.gdt_pages) if other == page):
            self.tables.set_gdt_entry(number, offset, raw)
        for number in (number for number, other in enumerate(domain.ldt_pages) if other == page):
            self.tables.set_ldt_entry(number, offset, raw)
        domain.tables_version += 1
        return Answer(f"descriptor at {(page << PAGE_SHIFT) + offset:08X}h is now {raw:016X}")
