"""Direct paging: the CPU walks the guest's own page tables, and the hypervisor sees to it that they do no harm.

A table is validated entry by entry before it is used, and from then on the guest cannot write to it, for no valid
table maps it writable. Each change is asked for and checked by itself. No shadow is kept, and nothing is translated:
the entries hold machine frames, and the CPU sets their accessed and dirty bits.

Source: Barham et al. 2003, section 3.3.3; Xen 3.0, x86-32 (`get_page_from_l1e`, `alloc_l2_table`, `mod_l2_entry` ...).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from ringviz.facts.hypercalls import FIRST_HYPERVISOR_SLOT, PT_FLAGS_REFUSED, Error
from ringviz.machine.memory import PAGE, PAGE_SHIFT, Ram
from ringviz.machine.paging import RW, US, P
from ringviz.vmm.paravirt import descriptors
from ringviz.vmm.paravirt.domain import Domain
from ringviz.vmm.paravirt.frames import TITLES, Frames, FrameType
from ringviz.vmm.paravirt.guest_access import Refused
from ringviz.vmm.paravirt.own_slots import own_entries, set_machine_to_physical

_TABLE = struct.Struct("<1024I")
_DESCRIPTORS = struct.Struct(f"<{PAGE // 8}Q")
_READ_ONLY_TYPES = frozenset({FrameType.L1, FrameType.L2, FrameType.GDT, FrameType.LDT})


class DirectMmu:
    """Checks what a domain asks of its page tables, and keeps count of what its frames are in use as."""

    def __init__(self, ram: Ram, frames: Frames, domain: Domain) -> None:
        self._ram = ram
        self._frames = frames
        self._domain = domain
        self._use = domain.use

    # ---- references --------------------------------------------------------------------------------------------------

    def own(self, frame: int) -> int:
        """Give the guest's page that a machine frame holds.

        Raises:
            Refused: the frame is somebody else's.
        """
        page = self._frames.page_of(frame)
        if page is None:
            raise Refused(Error.EINVAL, f"frame {frame:X}h is not the guest's", is_attempt=True)
        return page

    def get(self, page: int, wanted: FrameType) -> None:
        """Take a reference to a frame as what it is in use as; the first one has it validated.

        Raises:
            Refused: it is in use as something else, or is not fit for that; nothing is changed then.
        """
        use = self._use
        if use.counts[page]:
            if use.types[page] != wanted:
                count = f"{use.counts[page]} use{'s' if use.counts[page] > 1 else ''}"
                raise Refused(
                    Error.EINVAL, f"{self._frames.name(page)} is {TITLES[use.type_of(page)]} ({count})",
                    is_attempt=wanted is FrameType.WRITABLE,
                )  # fmt: skip
            use.counts[page] += 1
            return
        # First, so that a table which maps itself finds a table, and not a page that may be written to.
        use.types[page], use.counts[page] = wanted, 1
        try:
            self._validate(page, wanted)
        except Refused:
            use.types[page], use.counts[page] = FrameType.NONE, 0
            raise

    def put(self, page: int) -> None:
        """Give a reference back; a table that nobody refers to any more gives back what it refers to.

        Not by recursion: directories may name each other, and so a guest can make a chain of any length.
        """
        use, pending = self._use, [page]
        while pending:
            page = pending.pop()
            use.counts[page] -= 1
            if not use.counts[page]:
                kind, use.types[page] = use.types[page], FrameType.NONE
                if kind == FrameType.L1:
                    pending += self._given_back_by_l1(self._entries(page))
                elif kind == FrameType.L2:
                    pending += self._given_back_by_l2(page, self._entries(page)[:FIRST_HYPERVISOR_SLOT])

    def _given_back_by_l1(self, entries: tuple[int, ...]) -> Iterator[int]:
        """Pages to which these entries were references."""
        for entry in entries:
            if entry & P:
                page = self.own(entry >> PAGE_SHIFT)
                if entry & RW:
                    yield page
                elif self._use.type_of(page) is FrameType.LDT:
                    yield from self.drop_ldt()

    def _given_back_by_l2(self, table: int, entries: tuple[int, ...]) -> Iterator[int]:
        for entry in entries:
            if entry & P:
                page = self.own(entry >> PAGE_SHIFT)
                if page != table:
                    yield page

    def drop_ldt(self) -> tuple[int, ...]:
        """Have no page in use as LDT for the time being; give those that were, for `put`.

        The LDT is named by its linear address: once a page of it is mapped elsewhere, it has to be looked up anew.
        """
        pages, self._domain.ldt_pages = self._domain.ldt_pages, ()
        self._domain.is_ldt_stale = bool(self._domain.ldt_entries)
        return tuple(page for page in pages if page is not None)

    # ---- validation --------------------------------------------------------------------------------------------------

    def _validate(self, page: int, wanted: FrameType) -> None:
        match wanted:
            case FrameType.L1:
                self._validate_entries(page, self._entries(page))
            case FrameType.L2:
                self._validate_entries(page, self._entries(page)[:FIRST_HYPERVISOR_SLOT])
                self._ram.write(self._address(page) + 4 * FIRST_HYPERVISOR_SLOT, own_entries())
            case FrameType.GDT | FrameType.LDT:
                self._validate_descriptors(page)
            case FrameType.WRITABLE | FrameType.NONE:
                pass

    def _validate_entries(self, page: int, entries: tuple[int, ...]) -> None:
        """Take the references that the entries of a table are; all of them or none."""
        is_l1 = self._use.types[page] == FrameType.L1
        for slot, entry in enumerate(entries):
            if not entry & P:
                continue
            try:
                if is_l1:
                    self._get_l1_entry(entry)
                else:
                    self._get_l2_entry(entry, page)
            except Refused as refused:
                done = entries[:slot]
                for taken in list(self._given_back_by_l1(done) if is_l1 else self._given_back_by_l2(page, done)):
                    self.put(taken)
                why = f"{self._place(page, slot)}: {refused}"
                raise Refused(refused.error, why, is_attempt=refused.is_attempt) from None

    def _validate_descriptors(self, page: int) -> None:
        """Check a page of descriptors, and cut segments off below the hypervisor where the guest can see it."""
        fixed = []
        for number, raw in enumerate(_DESCRIPTORS.unpack(self._ram.page(self._frames.frame_of(page)))):
            checked = descriptors.checked(raw)
            if checked is None:
                raise Refused(Error.EINVAL, f"the descriptor at {(page << PAGE_SHIFT) + 8 * number:08X}h is refused")
            fixed.append(checked)
        self._ram.write(self._address(page), _DESCRIPTORS.pack(*fixed))

    def _get_l1_entry(self, entry: int) -> None:
        """Take the reference that an entry of a page table is: a writable page must not be in use as a table."""
        _check_flags(entry)
        page = self.own(entry >> PAGE_SHIFT)
        if entry & RW:
            self.get(page, FrameType.WRITABLE)

    def _get_l2_entry(self, entry: int, table: int) -> None:
        """Take the reference that an entry of a page directory is.

        It leads to a page table, or, for the guest to see its own tables, read-only to a directory that is valid
        already; to itself without a count, or it could never be given back.
        """
        _check_flags(entry)
        page = self.own(entry >> PAGE_SHIFT)
        if self._use.type_of(page) is not FrameType.L2:
            self.get(page, FrameType.L1)
        elif entry & RW:
            raise Refused(Error.EINVAL, f"{self._frames.name(page)} is an L2 table: only read-only", is_attempt=True)
        elif page != table:
            self._use.counts[page] += 1

    # ---- changes -----------------------------------------------------------------------------------------------------

    def update(self, machine_address: int, value: int) -> str:
        """Change the word at a machine address: an entry, if it lies in a table; say what it is now.

        Raises:
            Refused: that would not be harmless.
        """
        table, slot = self.own(machine_address >> PAGE_SHIFT), machine_address % PAGE // 4
        match self._use.type_of(table):
            case FrameType.L1:
                return self._update_l1(table, slot, value)
            case FrameType.L2:
                return self._update_l2(table, slot, value)
            case FrameType.WRITABLE | FrameType.NONE:
                self._write(table, slot, value)
                return f"word {slot:X}h of {self._frames.name(table)}, no table: {value:08X}h"
            case kind:
                raise Refused(Error.EINVAL, f"{self._frames.name(table)} is {TITLES[kind]}", is_attempt=True)

    def _update_l1(self, table: int, slot: int, entry: int) -> str:
        old = self._entry(table, slot)
        if entry & P:
            _check_flags(entry)
        if not _is_same(old, entry, P | RW):
            if entry & P:
                self._get_l1_entry(entry)
            self._write(table, slot, entry)
            if old & P:
                for page in list(self._given_back_by_l1((old,))):
                    self.put(page)
        else:
            self._write(table, slot, entry)
        return f"{self._place(table, slot)}: {self.describe(entry)}"

    def _update_l2(self, table: int, slot: int, entry: int) -> str:
        if slot >= FIRST_HYPERVISOR_SLOT:
            raise Refused(Error.EINVAL, f"{self._place(table, slot)} is the hypervisor's own", is_attempt=True)
        old = self._entry(table, slot)
        if entry & P:
            _check_flags(entry)
        # The right to write counts here too: without a look at it, a directory mapped read-only would become writable
        # (as it did in Xen until 2016: security advisory XSA-182).
        if not _is_same(old, entry, P | RW):
            if entry & P:
                self._get_l2_entry(entry, table)
            self._write(table, slot, entry)
            if old & P:
                for page in list(self._given_back_by_l2(table, (old,))):
                    self.put(page)
        else:
            self._write(table, slot, entry)
        if not entry & P:
            return f"{self._place(table, slot)}: nothing"
        return f"{self._place(table, slot)}: {self._named_table(entry >> PAGE_SHIFT)}"

    def update_mapping(self, linear: int, entry: int) -> None:
        """Change the entry of the page table that maps an address now.

        Raises:
            Refused: no page table of the guest's does, or the entry would not be harmless.
        """
        directory_entry = self._entry(self._domain.base_page, linear >> 22)
        table = self._frames.page_of(directory_entry >> PAGE_SHIFT) if directory_entry & P else None
        if table is None or self._use.type_of(table) is not FrameType.L1:
            raise Refused(Error.EINVAL, f"no L1 table maps {linear:08X}h")
        self._update_l1(table, linear >> PAGE_SHIFT & 0x3FF, entry)

    def update_machine_to_physical(self, machine_address: int, page: int) -> str:
        """Change which page the machine-to-physical table says that a frame is: the guest's own business."""
        frame = machine_address >> PAGE_SHIFT
        name = self._frames.name(self.own(frame))
        set_machine_to_physical(self._ram, frame, page)
        return f"machine-to-physical entry of frame {frame:X}h, {name}: {page:X}h"

    def pin(self, frame: int, wanted: FrameType) -> str:
        """Validate a table and keep it valid until it is unpinned."""
        page = self.own(frame)
        self.get(page, wanted)
        if page in self._use.pinned:
            self.put(page)
            raise Refused(Error.EINVAL, f"{self._frames.name(page)} is pinned already")
        self._use.pinned.add(page)
        entries = self._entries(page)[: FIRST_HYPERVISOR_SLOT if wanted is FrameType.L2 else None]
        present = sum(entry & P for entry in entries)
        word = "entry" if present == 1 else "entries"
        return f"{self._frames.name(page)} pinned as {wanted.name} table, {present} {word} valid"

    def unpin(self, frame: int) -> str:
        """Let a table go."""
        page = self.own(frame)
        if page not in self._use.pinned:
            raise Refused(Error.EINVAL, f"{self._frames.name(page)} is not pinned")
        self._use.pinned.remove(page)
        self.put(page)
        left = self._use.counts[page]
        still = (
            f"still {TITLES[self._use.type_of(page)]}, {left} use{'s' if left > 1 else ''}" if left else "no table now"
        )
        return f"{self._frames.name(page)} unpinned, {still}"

    def new_base(self, frame: int) -> str:
        """Make a directory the one that the CPU uses; whoever asks loads CR3."""
        page = self.own(frame)
        self.get(page, FrameType.L2)
        old, self._domain.base_page = self._domain.base_page, page
        for dropped in self.drop_ldt():
            self.put(dropped)
        if old is not None:
            self.put(old)
        return f"CR3 = {frame << PAGE_SHIFT:08X}, L2 table {self._frames.name(page)}"

    # ---- looking -----------------------------------------------------------------------------------------------------

    def mapped(self, linear: int) -> int:
        """The entry of a page table that maps an address now, with the rights that both levels give; 0 if none does."""
        directory_entry = self._entry(self._domain.base_page, linear >> 22)
        if not directory_entry & P:
            return 0
        table = directory_entry >> PAGE_SHIFT << PAGE_SHIFT
        entry = self._ram.read_int(table + 4 * (linear >> PAGE_SHIFT & 0x3FF), 4)
        return entry & (directory_entry | ~(RW | US)) if entry & P else 0

    def why_protected(self, linear: int, *, is_user: bool) -> str:
        """Say what a page is in use as, if that is why the guest may not write to it; else nothing."""
        entry = self.mapped(linear)
        page = self._frames.page_of(entry >> PAGE_SHIFT)
        if not entry & P or entry & RW or page is None or (is_user and not entry & US):
            return ""
        kind = self._use.type_of(page)
        name, title = self._frames.name(page), TITLES[kind]
        return f"{name} is {title}: changes go through the hypervisor" if kind in _READ_ONLY_TYPES else ""

    def describe(self, entry: int) -> str:
        """Say what an entry of a page table maps."""
        if not entry & P:
            return "nothing"
        page = self._frames.page_of(entry >> PAGE_SHIFT)
        assert page is not None
        rights = "writable" if entry & RW else "read-only"
        return f"{self._frames.name(page)}, {rights}{', for ring 3 too' if entry & US else ''}"

    def _named_table(self, frame: int) -> str:
        page = self._frames.page_of(frame)
        assert page is not None
        return f"{self._use.type_of(page).name} table, {self._frames.name(page)}"

    def _place(self, table: int, slot: int) -> str:
        return f"{FrameType(self._use.types[table]).name} entry {slot:X}h of table {table:X}h"

    def _address(self, page: int | None) -> int:
        assert page is not None
        return self._frames.frame_of(page) << PAGE_SHIFT

    def _entries(self, table: int) -> tuple[int, ...]:
        return _TABLE.unpack(self._ram.page(self._frames.frame_of(table)))

    def _entry(self, table: int | None, slot: int) -> int:
        return self._ram.read_int(self._address(table) + 4 * slot, 4)

    def _write(self, table: int, slot: int, value: int) -> None:
        self._ram.write_int(self._address(table) + 4 * slot, value, 4)


def _check_flags(entry: int) -> None:
    if entry & PT_FLAGS_REFUSED:
        raise Refused(Error.EINVAL, f"flags {entry & PT_FLAGS_REFUSED:X}h of entry {entry:08X}h are not the guest's")


def _is_same(old: int, new: int, flags: int) -> bool:
    """Tell whether two present entries lead to the same frame with the same flags, so that no reference changes."""
    return bool(old & new & P) and (old ^ new) & (-PAGE | flags) & 0xFFFF_FFFF == 0
