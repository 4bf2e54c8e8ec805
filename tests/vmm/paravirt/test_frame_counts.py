"""Page types and their counts, through any sequence of requests: always what a walk of all tables finds.

No CPU takes part: the tables are bytes in RAM, and the requests are made of the part that checks them.
"""

from __future__ import annotations

import struct

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ringviz.machine.memory import PAGE, PAGE_SHIFT, Ram
from ringviz.vmm.paravirt import layout
from ringviz.vmm.paravirt.direct_mmu import DirectMmu
from ringviz.vmm.paravirt.domain import Domain
from ringviz.vmm.paravirt.frames import Frames, FrameType, FrameUse
from ringviz.vmm.paravirt.guest_access import Refused
from ringviz.vmm.paravirt.own_slots import make_own_tables, own_entries
from tests.vmm.paravirt.page_walks import reachable, recounted

BASE, PAGES = 0x20_0000, 12
FIRST, SHARED = BASE >> 12, layout.SHARED_INFO >> 12
P, RW, US, PS, G = 1, 2, 4, 0x80, 0x100
OWN_SLOT = 0xFC00_0000 >> 22


class Model:
    """A domain of a few pages."""

    def __init__(self) -> None:
        self.ram = Ram(BASE + PAGES * PAGE)
        make_own_tables(self.ram)
        self.frames = Frames(BASE, PAGES * PAGE)
        self.domain = Domain(use=FrameUse.unused(PAGES))

    @property
    def mmu(self) -> DirectMmu:
        return DirectMmu(self.ram, self.frames, self.domain)

    def poke(self, page: int, slot: int, value: int) -> None:
        """Write a word as the guest would, through a writable mapping or before the page is in use."""
        self.ram.write_int(BASE + page * PAGE + 4 * slot, value, 4)

    def peek(self, page: int, slot: int) -> int:
        return self.ram.read_int(BASE + page * PAGE + 4 * slot, 4)

    def use(self, page: int) -> tuple[FrameType, int]:
        return self.domain.use.type_of(page), self.domain.use.counts[page]

    def snapshot(self) -> tuple[object, ...]:
        table = self.ram.read(layout.M2P, 4 * (self.ram.size >> PAGE_SHIFT))
        return self.ram.read(BASE, PAGES * PAGE), table, self.domain.copy()

    def refused(self, act: object, *arguments: object) -> str:
        """Ask for something that must be refused, and see that nothing has changed."""
        before = self.snapshot()
        with pytest.raises(Refused) as refused:
            act(*arguments)  # type: ignore[operator]
        assert self.snapshot() == before
        return str(refused.value)


def entry(page: int, flags: int = P | RW | US) -> int:
    return (FIRST + page) << PAGE_SHIFT | flags


def machine(page: int, slot: int) -> int:
    return (FIRST + page) << PAGE_SHIFT | 4 * slot


@pytest.fixture
def model() -> Model:
    """Page 0 is the directory in use, page 1 its one table, which maps pages 2 to 5: the first two writable."""
    model = Model()
    model.poke(0, 0, entry(1))
    for page, flags in ((2, P | RW), (3, P | RW | US), (4, P), (5, P | US)):
        model.poke(1, page, entry(page, flags))
    model.mmu.new_base(FIRST)
    return model


# ---- one thing at a time -------------------------------------------------------------------------------------------


def test_loading_cr3_validates_the_directory_and_its_tables_and_counts_what_they_map(model: Model) -> None:
    assert [model.use(page) for page in range(6)] == [
        (FrameType.L2, 1), (FrameType.L1, 1), (FrameType.WRITABLE, 1), (FrameType.WRITABLE, 1), (FrameType.NONE, 0),
        (FrameType.NONE, 0),
    ]  # fmt: skip
    assert model.ram.read(BASE + 4 * OWN_SLOT, 64) == own_entries()


def test_pinning_counts_once_and_unpinning_gives_it_back(model: Model) -> None:
    assert model.mmu.pin(FIRST, FrameType.L2) == "page 0h pinned as L2 table, 1 entry valid"
    assert model.use(0) == (FrameType.L2, 2)
    assert model.refused(model.mmu.pin, FIRST, FrameType.L2) == "page 0h is pinned already"
    assert model.mmu.unpin(FIRST) == "page 0h unpinned, still an L2 table, 1 use"
    assert model.use(0) == (FrameType.L2, 1)
    assert model.refused(model.mmu.unpin, FIRST) == "page 0h is not pinned"


def test_a_directory_that_is_left_gives_its_tables_back_and_their_pages_can_be_anything(model: Model) -> None:
    model.mmu.new_base(FIRST)  # the same again: one reference more, one less
    assert model.use(0) == (FrameType.L2, 1)
    model.mmu.new_base(FIRST + 6)  # an empty one
    assert [model.use(page)[1] for page in range(7)] == [0, 0, 0, 0, 0, 0, 1]
    model.poke(7, 0, entry(1, P | RW))
    model.mmu.pin(FIRST + 7, FrameType.L1)
    assert model.use(1) == (FrameType.WRITABLE, 1)


def test_a_table_that_is_only_pinned_stays_valid(model: Model) -> None:
    model.mmu.pin(FIRST + 1, FrameType.L1)
    model.mmu.update(machine(0, 0), 0)
    assert model.use(1) == (FrameType.L1, 1)
    assert model.use(2) == (FrameType.WRITABLE, 1)
    assert model.mmu.unpin(FIRST + 1) == "page 1h unpinned, no table now"
    assert model.use(2) == (FrameType.NONE, 0)


@pytest.mark.parametrize("table", [0, 1])
def test_no_table_can_be_mapped_writable(model: Model, table: int) -> None:
    why = model.refused(model.mmu.update, machine(1, 9), entry(table))
    assert why == f"page {table:X}h is an L{2 - table} table (1 use)"
    assert model.mmu.update(machine(1, 9), entry(table, P)) == f"L1 entry 9h of table 1h: page {table:X}h, read-only"


def test_a_page_that_is_mapped_writable_cannot_become_a_table_until_it_is_not(model: Model) -> None:
    assert model.refused(model.mmu.pin, FIRST + 2, FrameType.L1) == "page 2h is mapped writable (1 use)"
    model.mmu.update(machine(1, 2), entry(2, P))
    model.mmu.pin(FIRST + 2, FrameType.L1)
    assert model.use(2) == (FrameType.L1, 1)


def test_a_table_that_maps_itself_writable_is_refused_and_one_that_maps_itself_read_only_is_not(model: Model) -> None:
    model.poke(6, 0, entry(6))
    why = model.refused(model.mmu.pin, FIRST + 6, FrameType.L1)
    assert why == "L1 entry 0h of table 6h: page 6h is an L1 table (1 use)"
    model.poke(6, 0, entry(6, P))
    model.mmu.pin(FIRST + 6, FrameType.L1)
    assert model.use(6) == (FrameType.L1, 1)


def test_a_table_with_one_bad_entry_leaves_no_reference_behind(model: Model) -> None:
    for slot, page in enumerate((7, 8, 8, 9)):
        model.poke(6, slot, entry(page))
    model.poke(6, 1000, entry(PAGES))
    assert "entry 3E8h" in model.refused(model.mmu.pin, FIRST + 6, FrameType.L1)
    assert [model.use(page)[1] for page in (6, 7, 8, 9)] == [0, 0, 0, 0]


@pytest.mark.parametrize("frame", [0, 1, 2, 5, FIRST - 1, FIRST + PAGES, layout.M2P >> 12, 0xFFFFF])
def test_frames_of_others_are_refused_wherever_they_are_named_and_count_as_attempts(model: Model, frame: int) -> None:
    strange = frame << PAGE_SHIFT | P
    for act, arguments in (
        (model.mmu.update, (machine(1, 9), strange)),
        (model.mmu.update, (machine(0, 9), strange)),
        (model.mmu.update, (frame << PAGE_SHIFT, 0)),
        (model.mmu.update_machine_to_physical, (frame << PAGE_SHIFT, 0)),
        (model.mmu.update_mapping, (0x9000, strange)),
        (model.mmu.pin, (frame, FrameType.L1)),
        (model.mmu.unpin, (frame,)),
        (model.mmu.new_base, (frame,)),
    ):
        before = model.snapshot()
        with pytest.raises(Refused, match=f"frame {frame:X}h is not the guest's") as refused:
            act(*arguments)
        assert refused.value.is_attempt
        assert model.snapshot() == before


@pytest.mark.parametrize("flag", [PS, G, PS | G])
def test_large_and_global_pages_are_refused(model: Model, flag: int) -> None:
    for place in (machine(1, 9), machine(0, 9), machine(1, 3), machine(0, 0)):
        assert "are not the guest's" in model.refused(model.mmu.update, place, model.peek(1, 3) | flag)
    model.poke(6, 0, entry(7, P | flag))
    model.refused(model.mmu.pin, FIRST + 6, FrameType.L1)
    model.refused(model.mmu.pin, FIRST + 6, FrameType.L2)


def test_bits_that_are_the_guests_own_are_not_looked_at(model: Model) -> None:
    bits = 0x0E00 | 0x60 | 0x18  # its own, dirty and accessed, PCD and PWT
    model.mmu.update(machine(1, 2), entry(2) | bits)
    assert model.use(2) == (FrameType.WRITABLE, 1)
    model.mmu.update(machine(1, 9), 0xFFFF_FFFE)  # not present: anything
    assert model.peek(1, 9) == 0xFFFF_FFFE


def test_the_hypervisors_slots_of_a_directory_are_its_own(model: Model) -> None:
    for slot in (OWN_SLOT, OWN_SLOT + 1, 1023):
        model.refused(model.mmu.update, machine(0, slot), 0)
        model.refused(model.mmu.update, machine(0, slot), entry(1))
    model.poke(6, 1023, entry(7))  # whatever it holds before is written over
    model.mmu.pin(FIRST + 6, FrameType.L2)
    assert model.ram.read(BASE + 6 * PAGE + 4 * OWN_SLOT, 64) == own_entries()


def test_one_table_may_serve_two_places(model: Model) -> None:
    model.mmu.update(machine(0, 7), entry(1, P | US))
    assert model.use(1) == (FrameType.L1, 2)
    model.mmu.update(machine(0, 0), 0)
    assert model.use(1) == (FrameType.L1, 1)
    assert model.use(2) == (FrameType.WRITABLE, 1)


# ---- directories as tables -----------------------------------------------------------------------------------------


def test_a_directory_may_show_itself_read_only_and_be_given_back_all_the_same(model: Model) -> None:
    model.mmu.update(machine(0, 9), entry(0, P))
    assert model.use(0) == (FrameType.L2, 1)
    model.mmu.new_base(FIRST + 6)
    assert model.use(0) == (FrameType.NONE, 0)
    model.mmu.new_base(FIRST)  # and be validated with it
    assert model.use(0) == (FrameType.L2, 1)


def test_a_directory_that_is_shown_cannot_be_made_writable_in_place(model: Model) -> None:
    """The bug of security advisory XSA-182: a changed right to write was taken for no change."""
    model.mmu.update(machine(0, 9), entry(0, P))
    assert model.refused(model.mmu.update, machine(0, 9), entry(0)) == "page 0h is an L2 table: only read-only"
    model.mmu.pin(FIRST + 6, FrameType.L2)
    model.mmu.update(machine(0, 10), entry(6, P))
    assert model.use(6) == (FrameType.L2, 2)
    model.refused(model.mmu.update, machine(0, 10), entry(6))
    model.mmu.update(machine(0, 10), entry(6, P | US))
    assert model.use(6) == (FrameType.L2, 2)


def test_a_directory_shown_by_another_stays_one_until_it_is_not_shown(model: Model) -> None:
    model.mmu.pin(FIRST + 6, FrameType.L2)
    model.mmu.update(machine(0, 10), entry(6, P))
    model.mmu.unpin(FIRST + 6)
    assert model.use(6) == (FrameType.L2, 1)
    model.mmu.update(machine(0, 10), 0)
    assert model.use(6) == (FrameType.NONE, 0)


def test_a_long_chain_of_directories_can_be_given_back_at_once() -> None:
    pages = 3000
    model = Model()
    model.ram = Ram(BASE + pages * PAGE)
    model.frames = Frames(BASE, pages * PAGE)
    model.domain = Domain(use=FrameUse.unused(pages))
    for page in range(pages):
        model.mmu.pin(FIRST + page, FrameType.L2)
        if page:
            model.mmu.update(machine(page, 0), entry(page - 1, P))
    for page in range(pages):  # the last unpinned holds all others
        model.mmu.unpin(FIRST + page)
    assert set(model.domain.use.counts[:pages]) == {0}


# ---- descriptors ---------------------------------------------------------------------------------------------------


def test_a_page_of_descriptors_is_neither_table_nor_writable(model: Model) -> None:
    model.mmu.get(6, FrameType.GDT)
    for act, arguments in (
        (model.mmu.pin, (FIRST + 6, FrameType.L1)),
        (model.mmu.update, (machine(1, 6), entry(6))),
        (model.mmu.update, (machine(6, 0), 0)),
        (model.mmu.get, (6, FrameType.LDT)),
    ):
        assert "page 6h is part of the GDT" in model.refused(act, *arguments)
    model.mmu.put(6)
    model.mmu.update(machine(1, 6), entry(6))


def test_a_plain_word_may_be_written_where_no_table_is(model: Model) -> None:
    assert model.mmu.update(machine(3, 5), 0x1234) == "word 5h of page 3h, no table: 00001234h"
    model.mmu.update(machine(8, 5), 0x1234)
    assert (model.peek(3, 5), model.peek(8, 5)) == (0x1234, 0x1234)


def test_taking_an_ldts_page_out_of_its_place_lets_the_ldt_go(model: Model) -> None:
    model.domain.ldt_base, model.domain.ldt_entries = 4 * PAGE, 8
    model.mmu.get(4, FrameType.LDT)
    model.domain.ldt_pages = (4,)
    model.mmu.update(machine(1, 4), 0)
    assert model.domain.copy().ldt_pages == ()
    assert model.domain.is_ldt_stale
    model.mmu.update(machine(1, 4), entry(4))
    assert model.use(4) == (FrameType.WRITABLE, 1)


# ---- any sequence --------------------------------------------------------------------------------------------------

PAGE_NUMBERS = st.integers(0, PAGES - 1)
SLOTS = st.sampled_from((0, 1, 2, 3, OWN_SLOT))
FLAGS = st.sampled_from((0, P, P | US, P | RW, P | RW | US, P | RW | US | 0x60, P | PS, P | G))
FOREIGN = st.sampled_from((0, 2, 5, FIRST - 1, FIRST + PAGES))
FRAMES_NAMED = st.one_of(PAGE_NUMBERS.map(lambda page: FIRST + page), st.just(SHARED), FOREIGN)
ENTRIES = st.builds(lambda frame, flags: frame << PAGE_SHIFT | flags, FRAMES_NAMED, FLAGS)
KINDS = st.sampled_from((FrameType.L1, FrameType.L2))


class Requests(RuleBasedStateMachine):
    """Asks for anything; what is refused changes nothing, and what is not keeps the counts right."""

    @initialize()
    def start(self) -> None:
        self.model = Model()
        self.model.poke(0, 0, entry(1))
        for page in range(2, 6):
            self.model.poke(1, page, entry(page))
        self.model.mmu.new_base(FIRST)
        self.model.mmu.pin(FIRST + 6, FrameType.L2)
        self.model.mmu.update(machine(0, 2), entry(6, P))

    def _ask(self, act: object, *arguments: object) -> None:
        before = self.model.snapshot()
        try:
            act(*arguments)  # type: ignore[operator]
        except Refused:
            assert self.model.snapshot() == before, "a refused request has left a trace"

    @rule(page=PAGE_NUMBERS, slot=SLOTS, value=ENTRIES)
    def write(self, page: int, slot: int, value: int) -> None:
        """The guest writes to memory, wherever it is let."""
        if self.model.domain.use.type_of(page) in (FrameType.NONE, FrameType.WRITABLE):
            self.model.poke(page, slot, value)

    @rule(page=PAGE_NUMBERS, slot=SLOTS, value=ENTRIES)
    def update(self, page: int, slot: int, value: int) -> None:
        self._ask(self.model.mmu.update, machine(page, slot), value)

    @rule(data=st.data(), flags=FLAGS, frame=st.one_of(st.none(), FRAMES_NAMED))
    def change_an_entry(self, data: st.DataObject, flags: int, frame: int | None) -> None:
        """Change one that is there: its flags, or where it leads."""
        model = self.model
        tables = [page for page in range(PAGES) if model.domain.use.type_of(page) in (FrameType.L1, FrameType.L2)]
        table = data.draw(st.sampled_from(tables))
        present = [slot for slot in range(8) if model.peek(table, slot) & P]
        slot = data.draw(st.sampled_from([*present, OWN_SLOT]))
        old = model.peek(table, slot)
        new = old & -PAGE & 0xFFFF_FFFF if frame is None else frame << PAGE_SHIFT
        self._ask(model.mmu.update, machine(table, slot), new | flags)

    @rule(page=PAGE_NUMBERS)
    def show_a_directory_to_itself(self, page: int) -> None:
        """So that its being given back has a reference to leave out."""
        self._ask(self.model.mmu.update, machine(page, 3), entry(page, P))

    @rule(linear=st.sampled_from((0, 0x1000, 0x2000, 0x3000, 0x40_0000, 0xFBC0_0000)), value=ENTRIES)
    def map(self, linear: int, value: int) -> None:
        self._ask(self.model.mmu.update_mapping, linear, value)

    @rule(frame=FRAMES_NAMED, kind=KINDS)
    def pin(self, frame: int, kind: FrameType) -> None:
        self._ask(self.model.mmu.pin, frame, kind)

    @rule(frame=FRAMES_NAMED)
    def unpin(self, frame: int) -> None:
        self._ask(self.model.mmu.unpin, frame)

    @rule(data=st.data())
    def unpin_one(self, data: st.DataObject) -> None:
        if self.model.domain.use.pinned:
            page = data.draw(st.sampled_from(sorted(self.model.domain.use.pinned)))
            self.model.mmu.unpin(FIRST + page)

    @rule(frame=FRAMES_NAMED)
    def load_cr3(self, frame: int) -> None:
        self._ask(self.model.mmu.new_base, frame)

    @rule(page=PAGE_NUMBERS)
    def claim_for_the_gdt(self, page: int) -> None:
        self._ask(self.model.mmu.get, page, FrameType.GDT)
        if self.model.domain.use.type_of(page) is FrameType.GDT:
            counted = self.model.domain.gdt_pages.count(page)
            if self.model.domain.use.counts[page] > counted:
                self.model.domain.gdt_pages += (page,)

    @precondition(lambda self: self.model.domain.gdt_pages)
    @rule()
    def give_the_gdt_back(self) -> None:
        *rest, page = self.model.domain.gdt_pages
        self.model.domain.gdt_pages = tuple(rest)
        self.model.mmu.put(page)

    @invariant()
    def counts_are_what_the_tables_say(self) -> None:
        model = self.model
        assert model.domain.use == recounted(model.ram, model.frames, model.domain)

    @invariant()
    def nothing_leads_where_it_must_not(self) -> None:
        model = self.model
        assert model.domain.base_page is not None
        cr3 = (FIRST + model.domain.base_page) << PAGE_SHIFT
        assert model.ram.read(cr3 + 4 * OWN_SLOT, 64) == own_entries()
        reachable(model.ram, model.frames, model.domain, cr3)


TestRequests = Requests.TestCase
TestRequests.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_the_second_opinion_would_notice_a_wrong_count(model: Model) -> None:
    model.domain.use.counts[2] += 1
    assert model.domain.use != recounted(model.ram, model.frames, model.domain)


def test_the_second_opinion_would_notice_a_writable_table(model: Model) -> None:
    model.poke(1, 9, entry(1))
    with pytest.raises(AssertionError, match="can be written to and is L1"):
        reachable(model.ram, model.frames, model.domain, FIRST << PAGE_SHIFT)


def test_counts_are_bytes_that_can_be_kept_and_compared(model: Model) -> None:
    kept = model.domain.copy()
    model.mmu.pin(FIRST + 1, FrameType.L1)
    assert model.domain != kept
    model.mmu.unpin(FIRST + 1)
    assert model.domain == kept
    assert struct.calcsize("I") == 4
