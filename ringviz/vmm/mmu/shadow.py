"""Shadow page tables: real page tables of the VMM's under the guest's, kept true to them.

The guest's own tables are data; the CPU walks the shadows. They are filled on demand, and the real page faults that
come of it fall into three kinds:

- a hidden fault: the guest's tables allow the access, the shadow did not know it yet. It is filled in, and the guest
  never hears of it;
- a true fault: the guest's own tables refuse. It is the guest's, with the CR2 and the error code of its own walk;
- a trace fault: the page holds a page table of the guest's (or something else the VMM watches), which is mapped
  read-only in every shadow. The VMM carries the write out and drops what was derived from the old contents.

So a shadow is never out of date where it is more generous than the guest's tables, and the guest runs as on a CPU
without a TLB. On a CPU with one, a translation may stay in use until INVLPG or a load of CR3 throws it away; a guest
that depends on such a stale one depends on luck, here as on bare metal.

How the guest's accessed and dirty bits come out exact: no entry is present in a shadow before the guest's is marked
accessed, and none is writable before the guest's is marked dirty.

The calls: `enter` before the guest runs, `fault` for each real #PF, `lend` and `take_back` for the answers that need
one instruction carried out, `wrote` after that; `watch` for pages of other tables; `save` and `restore`.

Source of the method: Adams & Agesen 2006, section 2.4 (shadow page tables, traces, true and hidden page faults).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass
from typing import Any, NamedTuple

from ringviz.facts.exceptions import PageFaultError
from ringviz.facts.registers import Cr0
from ringviz.machine.memory import Ram
from ringviz.machine.paging import ACCESSED, DIRTY, NX, RW, US, Access, Entry, P, Walk, mark_path, mark_used, walk
from ringviz.machine.state import CpuState
from ringviz.vmm.guest_space import GuestSpace
from ringviz.vmm.mmu.address_space import Key, ShadowSpace, key_of
from ringviz.vmm.mmu.answers import Answer, Elsewhere, Filled, Refused, Traced, Why
from ringviz.vmm.mmu.formats import DIRECTORY_ENTRY, FOUR_LEVEL, TWO_LEVEL, TableFormat, leaf
from ringviz.vmm.mmu.pool import PagePool, PoolEmptyError

MOST_SPACES = 8
"""Address spaces whose shadows are kept; the one that was left longest ago goes first."""
_FRAME = 0xFFFF_F000


@dataclass(frozen=True, slots=True)
class Places:
    """Where the VMM keeps the tables, as RAM addresses, and the linear addresses it needs for itself."""

    flat_directory: int
    """Page directory for a guest without paging."""
    flat_tables: int
    """Page tables for it: as many pages as its memory has blocks of 4 MiB."""
    pool: tuple[int, int]
    """First and last but one address of the pages for shadows."""
    own: Mapping[TableFormat, Mapping[int, int]]
    """Page tables that hang in every space, by format and index: they map what is the VMM's own."""


class Root(NamedTuple):
    """What the real CPU needs to walk the right tables."""

    cr3: int
    is_pae: bool
    no_execute: bool


class Use(NamedTuple):
    """A guest frame serves as a paging structure: in which space, at which level, and which part it maps."""

    key: Key
    level: int
    """4 page-map level-4 table, 3 page-directory-pointer table, 2 page directory, 1 page table."""
    part: int
    """Level 1: index of the table; level 2: of the directory; level 3, in long mode: of the table."""


class Lent(NamedTuple):
    """What `take_back` needs."""

    linear: int
    address: int
    old: int
    made_table: bool


class ShadowPaging:
    """All shadows of one guest."""

    def __init__(self, ram: Ram, space: GuestSpace, places: Places, flush: Callable[[], None]) -> None:
        """Build the tables of a guest without paging: linear is guest-physical, all of it there and writable.

        Args:
            ram: the machine's memory.
            space: the guest's; all that the VMM writes for the guest goes through it.
            places: where to build.
            flush: makes the CPU forget cached translations.
        """
        self._ram = ram
        self._space = space
        self._places = places
        self._flush = flush
        self._pool = PagePool(ram, *places.pool)
        self._frames = space.size >> 12
        self._spaces: dict[Key, ShadowSpace] = {}
        """By when they were entered last."""
        self._uses: dict[int, set[Use]] = {}
        self._watched: frozenset[int] = frozenset()
        self._mapped: dict[int, set[int]] = {}
        """RAM addresses of the shadow entries that map a guest frame; the flat ones are known without."""
        self._flat = self._build_flat()
        self._current = self._flat
        self._key: Key | None = None
        space.watch_writes(self._uses, self._changed)
        self._withdrawn: set[int] = set()
        """Guest frames whose entries went because of the host."""
        if ram.keeper is not None:
            ram.on_withdraw = self.withdraw

    # ---- the calls ---------------------------------------------------------------------------------------------------

    def enter(self, state: CpuState) -> Root:
        """Choose the tables for a virtual CPU, making new ones if need be."""
        if not state.is_paged:
            for key in list(self._spaces):
                self._drop_space(key)
            self._current, self._key = self._flat, None
            return Root(self._flat.root, is_pae=False, no_execute=False)
        key = key_of(state)
        if key != self._key:
            space = self._spaces.pop(key, None) or self._make_space(key)
            self._key, self._current = key, space
            self._spaces[key] = space
            if len(self._spaces) > MOST_SPACES:
                self._drop_space(next(iter(self._spaces)))
        return Root(self._current.root, key.format.is_pae, key.no_execute)

    def fault(self, state: CpuState, linear: int, access: Access) -> Answer:
        """Find out what a real page fault is, and do what it needs: fill the shadow, mark the guest's entries.

        Args:
            state: the virtual CPU, in the space last entered.
            linear: the address.
            access: what the guest wanted there.
        """
        done = walk(self._read_entry, state.cr0, state.cr3, state.cr4, state.efer, linear, access)
        if done.physical is None:
            mark_path(self._write_entry, done)
        else:
            mark_used(self._write_entry, done, is_write=access.is_write)
        answer = self.judge(linear, access, done)
        if answer is not None:
            return answer
        assert done.physical is not None
        return Filled(done.physical, self._fill(state, linear, access, done, done.physical))

    def judge(self, linear: int, access: Access, done: Walk) -> Refused | Traced | Elsewhere | None:
        """Say what the guest's own tables make of an access, changing nothing; None: a shadow entry can allow it.

        Args:
            linear: the address, in the space last entered.
            access: what the guest wants there.
            done: the walk through the guest's tables.
        """
        gpa = done.physical
        if gpa is None:
            return Refused(done.fault or 0)
        if gpa >= self._space.size or self._current.index_of(linear) in self._current.fixed:
            return Elsewhere(gpa, gpa < self._space.size)
        if access.is_write and self._is_traced(gpa >> 12):
            return Traced(gpa)
        return None

    def prefetch(self, state: CpuState) -> None:
        """Make the next instruction's page ready, as far as the guest's tables allow: the CPU is about to fetch it."""
        access = Access(is_user=state.cpl == 3, is_fetch=True)
        if self.refusal(state.linear_eip, access) is not None:
            self.fault(state, state.linear_eip, access)

    def refusal(self, linear: int, access: Access) -> int | None:
        """Give the error code with which the CPU refuses an access just now, or None if the shadow allows it."""
        space = self._current
        address = space.entry_address(linear)
        entry = 0 if address is None else space.read(address)
        has_nx = self._key is not None and self._key.no_execute
        missing = (access.is_user and not entry & US) or (access.is_write and not entry & RW)
        if entry & P and not missing and not (access.is_fetch and has_nx and entry & NX):
            return None
        error = PageFaultError.P if entry & P else 0
        error |= PageFaultError.W if access.is_write else 0
        error |= PageFaultError.U if access.is_user else 0
        return int(error | (PageFaultError.I if access.is_fetch and has_nx else 0))

    def lend(self, linear: int, frame_address: int, access: Access) -> Lent:
        """Map a page for one instruction, with no more rights than the access at hand needs."""
        space = self._current
        address = space.entry_address(linear)
        made_table = address is None
        if made_table:
            self._hang_table(space, space.index_of(linear))
            address = space.entry_address(linear)
        assert address is not None
        old = space.read(address)
        space.write(address, leaf(frame_address & _FRAME, is_writable=access.is_write, is_user=access.is_user))
        self._flush()
        return Lent(linear, address, old, made_table)

    def take_back(self, lent: Lent) -> None:
        """Undo `lend`; several are undone in reverse order."""
        space = self._current
        if space.entry_address(lent.linear) != lent.address:
            return  # its table had to go meanwhile
        space.write(lent.address, lent.old)
        index = space.index_of(lent.linear)
        if lent.made_table and index not in space.sources and not any(space.present(index)):
            self._pool.give_back(space.cut_table(index))
        self._flush()

    def wrote(self, gpa: int, old: bytes) -> None:
        """Tell that the guest has written to a traced page, which held `old` at `gpa` before."""
        new = self._space.read_physical(gpa, len(old))
        if new != old:
            self._changed(gpa, old, new)

    def watch(self, frames: Iterable[int]) -> None:
        """Trace just these frames for the VMM's other purposes, besides the guest's page tables."""
        wanted = frozenset(frames)
        if wanted == self._watched:
            return
        added, gone = wanted - self._watched, self._watched - wanted
        self._watched = wanted
        for frame in added - self._uses.keys():
            self._protect(frame)
        for frame in gone - self._uses.keys():
            self._release(frame)

    def withdraw(self, pages: Set[int], may_read: bool) -> None:
        """Let no entry lead to these pages of RAM, or none allow writing: the host wants to be asked first."""
        first = self._space.base >> 12
        kept = ~RW if may_read else ~(RW | P)
        for frame in sorted(page - first for page in pages if 0 <= page - first < self._frames):
            self._withdrawn.add(frame)
            mapped = self._mapped.get(frame, set())
            for address in (self._flat_entry(frame), *sorted(mapped)):
                self._ram.write_int(address, self._ram.read_int(address, 4) & kept, 4)
            if not may_read:
                mapped.clear()
        self._flush()

    def is_page_table(self, frame: int) -> bool:
        """Tell whether some shadow is derived from a guest frame."""
        return frame in self._uses

    def save(self) -> Any:
        """Give what is not in the tables' own bytes, in a form that does not depend on how it came to be."""
        return (
            tuple(
                (
                    key,
                    space.root,
                    space.directories,
                    *(tuple(sorted(item.items())) for item in (space.tables, space.sources, space.directory_sources)),
                    tuple(sorted(space.uppers.items())),
                    tuple(sorted(space.pointer_sources.items())),
                )
                for key, space in self._spaces.items()
            ),
            self._key,
            tuple(sorted((frame, tuple(sorted(uses))) for frame, uses in self._uses.items())),
            tuple(sorted(self._watched)),
        )

    def restore(self, saved: Any) -> None:
        """Take it back; the tables' bytes have been restored before."""
        spaces, self._key, uses, watched = saved
        self._spaces = {
            key: ShadowSpace(
                self._ram,
                key.format,
                root,
                directories,
                self._places.own.get(key.format, {}),
                dict(tables),
                dict(sources),
                dict(directory_sources),
                dict(uppers),
                dict(pointer_sources),
            )
            for key, root, directories, tables, sources, directory_sources, uppers, pointer_sources in spaces
        }
        self._current = self._flat if self._key is None else self._spaces[self._key]
        self._uses.clear()
        self._uses.update((frame, set(of_frame)) for frame, of_frame in uses)
        self._watched = frozenset(watched)
        self._pool.restore(page for space in self._spaces.values() for page in space.pages())
        self._mapped.clear()
        for space in self._spaces.values():
            for index in space.tables:
                for address, entry in space.present(index):
                    self._mapped.setdefault(self._frame_of(entry), set()).add(address)

    # ---- filling -----------------------------------------------------------------------------------------------------

    def _fill(self, state: CpuState, linear: int, access: Access, done: Walk, gpa: int) -> Why:
        """Bring the shadow entry of one page up to what the guest's tables allow and its bits admit."""
        space = self._current
        index = space.index_of(linear)
        self._follow(space, index, done.entries)
        if index not in space.tables:
            self._hang_table(space, index)
        address = space.entry_address(linear)
        assert address is not None
        frame = gpa >> 12
        may_write = self._ram.may_write((self._space.base >> 12) + frame, is_write=access.is_write)
        new = self._leaf(state, access, done, frame)
        if not may_write:
            new &= ~RW
        old = space.read(address)
        space.write(address, new)
        self._mapped.setdefault(frame, set()).add(address)
        is_from_host = frame in self._withdrawn
        if may_write:
            self._withdrawn.discard(frame)
        if not old & P:
            return Why.FROM_HOST if is_from_host else Why.NEW
        self._flush()
        if (old ^ new) & US:
            return Why.FOR_PROGRAM if new & US else Why.FOR_KERNEL
        if is_from_host:
            return Why.FROM_HOST
        return Why.OTHER_RIGHTS if done.entries[-1].value & DIRTY else Why.FIRST_WRITE

    def _leaf(self, state: CpuState, access: Access, done: Walk, frame: int) -> int:
        """Give the shadow entry for a page that the guest's tables, just marked, map."""
        rights, executable = RW | US, True
        for number, entry in enumerate(done.entries):
            if done.has_accessed_bit(number):
                rights &= entry.value
                executable &= not (entry.size_bytes == 8 and entry.value & NX)
        is_user = bool(rights & US)
        # Marking has set the dirty bit after the walk read the entry.
        is_dirty = access.is_write or not done.entries or bool(done.entries[-1].value & DIRTY)
        is_writable = bool(rights & RW)
        if not is_writable and not state.cr0 & Cr0.WP:
            # The guest's kernel may write to its read-only pages; the real WP must stay 1, or no trace would hold.
            # A page that both rings use cannot be both read-only for one and writable for the other: it changes sides.
            if not is_user:
                is_writable = True
            elif access.is_write:
                is_writable, is_user = True, False
        return leaf(
            self._space.base + (frame << 12),
            is_writable=is_writable and is_dirty and not self._is_traced(frame),
            is_user=is_user,
            is_executable=executable,
        )

    def _follow(self, space: ShadowSpace, index: int, entries: tuple[Entry, ...]) -> None:
        """Note which guest frames the shadow is derived from, and trace those that are new."""
        assert self._key is not None or not entries
        for entry in entries:
            frame = entry.address >> 12
            if frame >= self._frames or self._key is None:
                continue  # nothing answers there, and nobody can change it
            if entry.level == 1:
                if space.sources.get(index) == frame:
                    continue
                space.sources[index] = frame
                use = Use(self._key, 1, index)
            elif entry.level == 2:
                directory = index >> space.format.index_bits
                if space.directory_sources.get(directory) == frame:
                    continue
                space.directory_sources[directory] = frame
                use = Use(self._key, 2, directory)
            elif entry.level == 3 and space.format is FOUR_LEVEL:
                pointers = index >> 2 * space.format.index_bits
                if space.pointer_sources.get(pointers) == frame:
                    continue
                space.pointer_sources[pointers] = frame
                use = Use(self._key, 3, pointers)
            else:
                use = Use(self._key, entry.level, 0)
            self._add_use(frame, use)

    def _make_space(self, key: Key) -> ShadowSpace:
        """Make an empty shadow."""
        root = self._take_page()
        directories: tuple[int, ...] = (root,)
        if key.format is not TWO_LEVEL:
            directories = tuple(self._take_page() for _ in range(key.format.directories))
        space = ShadowSpace(self._ram, key.format, root, directories, self._places.own.get(key.format, {}))
        space.link_all()
        return space

    def _hang_table(self, space: ShadowSpace, index: int) -> None:
        """Give a space an empty page table, and what leads to it."""
        page = self._take_page()
        while (place := space.missing_upper(index)) is not None:
            space.add_upper(place, self._take_page())
        space.add_table(index, page)

    def _build_flat(self) -> ShadowSpace:
        """Make the tables for a guest without paging."""
        ram, places = self._ram, self._places
        tables = {index: places.flat_tables + (index << 12) for index in range((self._frames + 1023) >> 10)}
        flat = ShadowSpace(
            ram, TWO_LEVEL, places.flat_directory, (places.flat_directory,), places.own.get(TWO_LEVEL, {}), tables
        )
        flat.link_all()
        first = self._flat_leaf(0, is_writable=True)
        ram.write_ints(places.flat_directory, [table | DIRECTORY_ENTRY for table in tables.values()], 4)
        ram.write_ints(self._flat_entry(0), range(first, first + (self._frames << 12), 0x1000), 4)
        return flat

    # ---- dropping ----------------------------------------------------------------------------------------------------

    def _changed(self, gpa: int, old: bytes, new: bytes) -> None:
        """Drop what was derived from entries that are different now; the bytes lie in one page."""
        flushed = False
        for use in sorted(self._uses.get(gpa >> 12, ())):
            space = self._spaces.get(use.key)
            size = use.key.format.entry_bytes
            for offset in range(0, len(old), size):
                before, after = (int.from_bytes(data[offset : offset + size], "little") for data in (old, new))
                # Marks that are only set make no shadow entry wrong.
                if before == after or before | (after & (ACCESSED | DIRTY)) == after:
                    continue
                if space is not None:
                    self._drop_part(space, use, ((gpa & 0xFFF) + offset) // size)
                    flushed = True
        if flushed:
            self._flush()

    def _drop_part(self, space: ShadowSpace, use: Use, slot: int) -> None:
        """Drop what one guest entry decides about."""
        bits = space.format.index_bits
        if use.level == 1:
            linear = use.part << space.format.directory_shift | slot << 12
            address = space.entry_address(linear)
            if address is not None and use.part in space.tables:
                self._drop_leaf(space, address, space.read(address))
        elif use.level == 2:
            index = use.part << bits | slot
            if index in space.tables:
                self._drop_table(space, use.key, index)
        elif use.level == 4:
            for index in [index for index in space.tables if index >> 2 * bits == slot]:
                self._drop_table(space, use.key, index)
            for directory in [directory for directory in space.directory_sources if directory >> bits == slot]:
                self._drop_directory(space, use.key, directory)
            frame = space.pointer_sources.pop(slot, None)
            if frame is not None:
                self._remove_use(frame, Use(use.key, 3, slot))
        elif space.format is FOUR_LEVEL:
            self._drop_directory(space, use.key, use.part << bits | slot)
        else:
            directory = slot - (use.key.cr3 & 0xFFF) // 8
            if 0 <= directory < 4:
                self._drop_directory(space, use.key, directory)

    def _drop_directory(self, space: ShadowSpace, key: Key, directory: int) -> None:
        """Drop what was derived from one of the guest's page directories."""
        for index in [index for index in space.tables if index >> space.format.index_bits == directory]:
            self._drop_table(space, key, index)
        frame = space.directory_sources.pop(directory, None)
        if frame is not None:
            self._remove_use(frame, Use(key, 2, directory))

    def _drop_leaf(self, space: ShadowSpace, address: int, entry: int) -> None:
        if entry & P:
            self._mapped[self._frame_of(entry)].discard(address)
            space.write(address, 0)

    def _drop_table(self, space: ShadowSpace, key: Key, index: int) -> None:
        for address, entry in space.present(index):
            self._mapped[self._frame_of(entry)].discard(address)
        self._pool.give_back(space.cut_table(index))
        frame = space.sources.pop(index, None)
        if frame is not None:
            self._remove_use(frame, Use(key, 1, index))

    def _drop_space(self, key: Key) -> None:
        space = self._spaces.pop(key)
        for index in list(space.tables):
            self._drop_table(space, key, index)
        for directory, frame in space.directory_sources.items():
            self._remove_use(frame, Use(key, 2, directory))
        for pointers, frame in space.pointer_sources.items():
            self._remove_use(frame, Use(key, 3, pointers))
        self._remove_use(key.cr3 >> 12, Use(key, key.format.levels, 0))
        for page in space.pages():
            self._pool.give_back(page)

    def _take_page(self) -> int:
        """Take a page from the pool; if it is empty, the oldest shadow goes, and at last all tables.

        The two spaces entered last keep their upper levels: the CPU may still be in the one just left, and the VMM's
        own pages hang there.
        """
        while True:
            try:
                return self._pool.take()
            except PoolEmptyError:
                *older, _, _ = (None, None, *self._spaces)
                oldest = next((key for key in older if key is not None), None)
                if oldest is not None:
                    self._drop_space(oldest)
                    continue
                for key, space in self._spaces.items():
                    for index in list(space.tables):
                        self._drop_table(space, key, index)
                    for address in space.cut_uppers():
                        self._pool.give_back(address)
                self._flush()

    # ---- traces ------------------------------------------------------------------------------------------------------

    def _is_traced(self, frame: int) -> bool:
        return frame in self._uses or frame in self._watched

    def _add_use(self, frame: int, use: Use) -> None:
        uses = self._uses.setdefault(frame, set())
        if not uses and frame not in self._watched:
            self._protect(frame)
        uses.add(use)

    def _remove_use(self, frame: int, use: Use) -> None:
        uses = self._uses.get(frame)
        if uses is None:
            return
        uses.discard(use)
        if not uses:
            del self._uses[frame]
            if frame not in self._watched:
                self._release(frame)

    def _protect(self, frame: int) -> None:
        """Make a frame read-only wherever it is mapped."""
        if frame < self._frames:
            self._ram.write_int(self._flat_entry(frame), self._flat_leaf(frame, is_writable=False), 4)
        for address in sorted(self._mapped.get(frame, ())):
            self._ram.write_int(address, self._ram.read_int(address, 4) & ~RW, 4)
        self._flush()

    def _release(self, frame: int) -> None:
        """Let a frame be written again: at once without paging, else when a write asks for it."""
        if frame < self._frames:
            self._ram.write_int(self._flat_entry(frame), self._flat_leaf(frame, is_writable=True), 4)

    def _flat_entry(self, frame: int) -> int:
        return self._places.flat_tables + 4 * frame

    def _flat_leaf(self, frame: int, *, is_writable: bool) -> int:
        return leaf(self._space.base + (frame << 12), is_writable=is_writable, is_user=True)

    # ---- guest memory ------------------------------------------------------------------------------------------------

    def _frame_of(self, entry: int) -> int:
        """Guest frame that a shadow entry maps."""
        return ((entry & _FRAME) - self._space.base) >> 12

    def _read_entry(self, address: int, size: int) -> int:
        return int.from_bytes(self._space.read_physical(address, size), "little")

    def _write_entry(self, address: int, value: int, size: int) -> None:
        self._space.write_physical(address, value.to_bytes(size, "little"))
