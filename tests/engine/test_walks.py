"""Page walks against tables written by hand: what is read, in which order, and where it ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from ringviz.engine.session import Session
from ringviz.engine.walks import TableWalkView, WalkView
from ringviz.guest.scenario import Scenario, find_scenario
from ringviz.machine.paging import Access
from tests.engine.complete_state import ram_digest
from tests.vmm.paged_guests import (
    DIRECTORY,
    FRAMES,
    LOW_TABLE,
    NX,
    PAE,
    PAE_DIRECTORIES,
    PAE_TABLE,
    POINTERS,
    PS,
    PSE,
    TABLE,
    WINDOW,
    D,
    P,
    U,
    W,
    paged_scenario,
    read,
    two_level,
    with_pae,
    write,
)

READ, WRITE = Access(), Access(is_write=True)
USER, USER_WRITE = Access(is_user=True), Access(is_write=True, is_user=True)
SHADOWED = ("classic", "trap-emulate", "binary-translation", "vt-x", "amd-v")
BASE = 0x0100_0000
"""Host-physical address of guest-physical 0 under every VMM."""


def at_end(scenario: Scenario, technique: str = "native", mmu: str | None = None, cpu: str | None = None) -> Session:
    session = Session(scenario, technique, mmu, cpu)
    session.run()
    return session


def walk_of(view: WalkView, tables: str) -> TableWalkView:
    return next(walk for walk in view.walks if walk.tables == tables)


def places(walk: TableWalkView) -> list[tuple[str, int | None, int | None]]:
    return [(row.name, row.gpa, row.hpa) for row in walk.reads]


def guest(folder: Path, entries: dict[int, int], **more: object) -> Scenario:
    """A guest that turns paging on and stops, with these entries behind `WINDOW`."""
    directory = more.pop("directory", {})
    assert isinstance(directory, dict)
    return paged_scenario(folder, [b"\x90"], two_level(entries, directory=directory), **more)  # type: ignore[arg-type]


# ---- one dimension ---------------------------------------------------------------------------------------------------


def test_bare_metal_reads_two_entries_where_the_tables_say(tmp_path: Path) -> None:
    session = at_end(guest(tmp_path, {3: FRAMES | P | W | U | D}))
    view = session.walk(WINDOW + 0x3123, WRITE)
    (walk,) = view.walks
    assert (walk.walker, walk.tables, walk.mode, walk.dimensions) == ("CPU", "guest", "32-bit paging", 1)
    assert places(walk) == [
        ("PDE", DIRECTORY + 4, DIRECTORY + 4),
        ("PTE", TABLE + 12, TABLE + 12),
    ]
    assert [row.index for row in walk.reads] == [1, 3]
    pde, pte = (row.bits for row in walk.reads)
    assert (pde.address, pde.page_bytes, pde.is_dirty) == (TABLE, None, None)
    assert (pte.address, pte.page_bytes, pte.is_dirty, pte.is_accessed) == (FRAMES, 4096, True, False)
    assert (walk.gpa, walk.hpa, walk.error_code) == (FRAMES + 0x123, FRAMES + 0x123, None)
    assert (view.references, view.agreement) == (2, None)


def test_a_4_mib_page_takes_one_reference_and_only_with_cr4_pse(tmp_path: Path) -> None:
    large = {2: 0x40_0000 | P | W | PS}
    with_pse = at_end(guest(tmp_path / "pse", {}, directory=large, cr4=PSE))
    walk = with_pse.walk(0x80_1234).walks[0]
    assert [(row.name, row.bits.page_bytes) for row in walk.reads] == [("PDE", 4 << 20)]
    assert walk.end == "guest-physical 00401234, where there is no memory"  # the guest has 4 MiB
    without = at_end(guest(tmp_path / "none", {}, directory={2: TABLE | P | W | PS}))
    assert [row.bits.page_bytes for row in without.walk(0x80_0000).walks[0].reads] == [None, None]


def test_pae_takes_three_references_and_a_2_mib_page_two(tmp_path: Path) -> None:
    tables = with_pae({3: FRAMES | P | NX}, directory={3: 0x20_0000 | P | W | PS})
    session = at_end(paged_scenario(tmp_path, [b"\x90"], tables, cr3=POINTERS, cr4=PAE, nxe=True))
    walk = session.walk(WINDOW + 0x3000).walks[0]
    assert walk.mode == "PAE paging"
    assert places(walk) == [
        ("PDPTE", POINTERS, POINTERS),
        ("PDE", PAE_DIRECTORIES + 16, PAE_DIRECTORIES + 16),
        ("PTE", PAE_TABLE + 24, PAE_TABLE + 24),
    ]
    assert [row.index for row in walk.reads] == [0, 2, 3]
    assert (walk.reads[0].bits.is_writable, walk.reads[2].bits.is_executable) == (None, False)
    large = session.walk(0x60_0000).walks[0]
    assert [(row.name, row.bits.page_bytes) for row in large.reads] == [("PDPTE", None), ("PDE", 2 << 20)]
    fetched = session.walk(WINDOW + 0x3000, Access(is_fetch=True)).walks[0]
    assert fetched.error_code == 0x11
    assert fetched.end.endswith("XD = 1 in the PTE: not to be executed")


def test_with_paging_off_no_entry_is_read() -> None:
    session = Session(find_scenario("paging-tour"))
    walk = session.walk(0x10_0000).walks[0]
    assert (walk.reads, walk.dimensions, walk.hpa) == ((), 0, 0x10_0000)
    assert walk.arithmetic == "paging is off: no entry is read"


@pytest.mark.parametrize(
    ("linear", "access", "count", "code", "reason"),
    [
        (0x80_0000, READ, 1, 0, "the PDE has P = 0"),
        (WINDOW, USER_WRITE, 2, 6, "the PTE has P = 0"),
        (WINDOW + 0x1000, USER, 2, 5, "U/S = 0 in the PTE: not for ring 3"),
        (WINDOW + 0x2000, WRITE, 2, 3, "R/W = 0 in the PTE, and CR0.WP = 1 binds rings 0 to 2 too"),
        (WINDOW + 0x2000, USER_WRITE, 2, 7, "R/W = 0 in the PTE"),
        (0xC0_0000, USER, 2, 5, "U/S = 0 in the PDE: not for ring 3"),
        (0xC0_0000, WRITE, 2, 3, "R/W = 0 in the PDE, and CR0.WP = 1 binds rings 0 to 2 too"),
        (0x100_0000, READ, 1, 9, "a reserved bit of the PDE is set"),
    ],
)
def test_a_walk_that_fails_names_the_entry_and_the_bit(
    linear: int, access: Access, count: int, code: int, reason: str, tmp_path: Path
) -> None:
    entries = {0: 0, 1: FRAMES | P | W, 2: FRAMES | P | U}
    directory = {3: LOW_TABLE | P, 4: 0x20_0000 | P | PS}
    session = at_end(guest(tmp_path, entries, directory=directory, cr4=PSE))
    walk = session.walk(linear, access).walks[0]
    assert (walk.count, walk.error_code, walk.hpa) == (count, code, None)
    assert walk.end.endswith(f": {reason}")


# ---- two dimensions --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("technique", "name"), [("amd-v", "4-level paging"), ("vt-x", "EPT")])
def test_two_levels_under_nested_paging_take_fourteen_references(technique: str, name: str, tmp_path: Path) -> None:
    session = at_end(guest(tmp_path, {3: FRAMES | P | W}), technique, "nested")
    view = session.walk(WINDOW + 0x3123)
    (walk,) = view.walks
    assert (walk.dimensions, walk.nested_mode, view.references) == (2, name, 14)
    assert walk.arithmetic == "2 guest + 3 translations × 4 nested = 14"
    four = ["PML4E", "PDPTE", "PDE", "PTE"]
    assert [row.name for row in walk.reads] == [*four, "PDE", *four, "PTE", *four]
    assert [row.tables for row in walk.reads] == [*["nested"] * 4, "guest"] * 2 + ["nested"] * 4
    assert [row.translates for row in walk.reads] == [
        *[DIRECTORY + 4] * 4, None, *[TABLE + 12] * 4, None, *[FRAMES + 0x123] * 4,
    ]  # fmt: skip
    assert places(walk)[4] == ("PDE", DIRECTORY + 4, BASE + DIRECTORY + 4)
    assert places(walk)[9] == ("PTE", TABLE + 12, BASE + TABLE + 12)
    assert (walk.gpa, walk.hpa) == (FRAMES + 0x123, BASE + FRAMES + 0x123)
    last = walk.reads[-1]
    assert (last.bits.address, last.bits.page_bytes) == (BASE + FRAMES, 4096)


@pytest.mark.parametrize("technique", ["amd-v", "vt-x"])
def test_a_large_page_saves_a_row_of_the_nested_walk_and_pae_adds_one(technique: str, tmp_path: Path) -> None:
    large = at_end(guest(tmp_path / "pse", {}, directory={2: P | W | PS}, cr4=PSE), technique, "nested")
    assert large.walk(0x80_1234).walks[0].arithmetic == "1 guest + 2 translations × 4 nested = 9"
    pae = paged_scenario(tmp_path / "pae", [b"\x90"], with_pae({3: FRAMES | P}), cr3=POINTERS, cr4=PAE)
    view = at_end(pae, technique, "nested").walk(WINDOW + 0x3000)
    assert view.walks[0].arithmetic == "3 guest + 4 translations × 4 nested = 19"
    assert view.walks[0].hpa == BASE + FRAMES


@pytest.mark.parametrize(
    ("technique", "cpu", "references"), [("amd-v", None, 4), ("vt-x", "westmere", 4), ("vt-x", "nehalem", 9)]
)
def test_a_guest_without_paging_still_has_the_second_dimension(
    technique: str, cpu: str | None, references: int
) -> None:
    """Only a CPU with the unrestricted guest runs it without paging: the others give it a directory of large pages."""
    session = Session(find_scenario("paging-tour"), technique, "nested", cpu)
    view = session.walk(0x10_0000)
    assert (view.references, view.walks[0].hpa) == (references, BASE + 0x10_0000)
    assert bool(view.note) == (references == 9)


@pytest.mark.parametrize(("technique", "refusal"), [("amd-v", "#VMEXIT(NPF)"), ("vt-x", "EPT violation")])
def test_the_second_dimension_refuses_what_is_not_the_guests(technique: str, refusal: str, tmp_path: Path) -> None:
    beyond = 0x7000_0000
    session = at_end(guest(tmp_path, {3: beyond | P | W}, directory={2: beyond | P | W}), technique, "nested")
    page = session.walk(WINDOW + 0x3000).walks[0]
    assert (page.gpa, page.hpa, page.refusal) == (beyond, None, refusal)
    table = session.walk(0x80_5000).walks[0]
    assert (table.gpa, table.hpa, table.refusal) == (None, None, refusal)
    assert table.end == f"{refusal}: the nested tables refuse guest-physical {beyond + 0x14:08X}"
    # Four for the directory, its entry, and two for the table, whose second gigabyte has no nested page directory.
    assert table.arithmetic == "1 guest + (4 + 2) nested = 7"
    assert table.reads[-1].text == "not present"


@pytest.mark.parametrize(("technique", "mmu"), [("amd-v", "nested"), ("vt-x", "nested"), ("native", None)])
def test_a_fault_of_the_guests_own_tables_ends_the_walk_early(technique: str, mmu: str | None, tmp_path: Path) -> None:
    session = at_end(guest(tmp_path, {}), technique, mmu)
    no_table, no_page = session.walk(0x80_0000, USER_WRITE), session.walk(WINDOW, USER_WRITE)
    assert (no_table.walks[0].error_code, no_page.walks[0].error_code) == (6, 6)
    assert (no_table.references, no_page.references) == ((5, 10) if mmu else (1, 2))


# ---- shadows ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("technique", SHADOWED)
def test_a_shadow_and_the_guests_tables_lead_to_the_same_byte(technique: str, tmp_path: Path) -> None:
    scenario = paged_scenario(tmp_path, [write(WINDOW + 0x3000)], two_level({3: FRAMES | P | W}))
    session = at_end(scenario, technique, "shadow")
    view = session.walk(WINDOW + 0x3123, WRITE)
    shadow, own = view.walks
    assert (shadow.walker, shadow.tables, shadow.count) == ("CPU", "shadow", 2)
    assert (own.walker, own.tables, own.count) == ("VMM", "guest", 2)
    assert places(own) == [
        ("PDE", DIRECTORY + 4, BASE + DIRECTORY + 4),
        ("PTE", TABLE + 12, BASE + TABLE + 12),
    ]
    assert all(row.gpa is None and row.hpa is not None for row in shadow.reads)
    assert shadow.root != own.root == DIRECTORY
    assert shadow.hpa == own.hpa == BASE + FRAMES + 0x123
    assert view.references == 2
    assert view.agreement is not None
    assert view.agreement.verdict == "agrees"
    assert [(row.table, row.word) for row in view.agreement.levels] == [
        ("page directory", "same"),
        ("page table", "same"),
    ]


@pytest.mark.parametrize("technique", SHADOWED)
def test_a_shadow_is_out_of_date_until_the_first_access_and_again_until_the_first_write(
    technique: str, tmp_path: Path
) -> None:
    body = [b"\x90", read(WINDOW + 0x3000), write(WINDOW + 0x3000)]
    scenario = paged_scenario(tmp_path, body, two_level({3: FRAMES | P | W}))
    session = Session(scenario, technique, "shadow")
    seen: list[list[tuple[str, int]]] = []
    while not session.is_over:
        words = []
        for access in (READ, WRITE):
            view = session.walk(WINDOW + 0x3000, access)
            assert view.agreement is not None
            words.append((view.agreement.verdict, len(view.walks[1].reads)))
        if not seen or seen[-1] != words:
            seen.append(words)
        session.step()
    paged = [words for words in seen if words[0][1] == 2]
    assert [[verdict for verdict, _ in words] for words in paged] == [
        ["out of date", "out of date"],
        ["agrees", "out of date"],
        ["agrees", "agrees"],
    ]


@pytest.mark.parametrize("technique", SHADOWED)
def test_a_page_that_holds_a_page_table_is_read_only_on_purpose(technique: str, tmp_path: Path) -> None:
    scenario = paged_scenario(tmp_path, [read(WINDOW), read(LOW_TABLE)], two_level({0: FRAMES | P | W}))
    session = at_end(scenario, technique, "shadow")
    written, seen = session.walk(TABLE, WRITE).agreement, session.walk(LOW_TABLE, READ).agreement
    assert written is not None
    assert seen is not None
    assert (written.verdict, seen.verdict) == ("read-only on purpose", "agrees")
    assert seen.levels[-1].word == "without W for now"


@pytest.mark.parametrize("technique", SHADOWED)
def test_both_tables_refuse_what_is_the_guests_own_fault(technique: str, tmp_path: Path) -> None:
    scenario = paged_scenario(tmp_path, [read(WINDOW)], two_level({0: FRAMES | P}))
    session = at_end(scenario, technique, "shadow")
    for access in (USER, WRITE):
        view = session.walk(WINDOW, access)
        assert view.agreement is not None
        assert view.agreement.verdict == "agrees"
        assert view.agreement.text.startswith("both refuse")
        assert [walk.hpa for walk in view.walks] == [None, None]


@pytest.mark.parametrize("technique", SHADOWED)
def test_a_shadow_cuts_a_large_page_into_small_ones(technique: str, tmp_path: Path) -> None:
    tables = two_level(directory={2: P | W | PS})
    session = at_end(paged_scenario(tmp_path, [read(0x80_1000)], tables, cr4=PSE), technique, "shadow")
    view = session.walk(0x80_1234)
    assert view.agreement is not None
    assert [walk.count for walk in view.walks] == [2, 1]
    assert [row.word for row in view.agreement.levels] == ["the page is cut into small ones", "a part of the 4M page"]
    assert view.walks[0].hpa == BASE + 0x1234


@pytest.mark.parametrize("technique", SHADOWED)
def test_a_guest_without_paging_is_on_flat_tables_of_the_vmm(technique: str) -> None:
    view = Session(find_scenario("paging-tour"), technique, "shadow").walk(0x10_0123)
    assert [walk.count for walk in view.walks] == [2, 0]
    assert view.agreement is not None
    assert view.agreement.verdict == "agrees"
    assert {row.word for row in view.agreement.levels} == {"made for a guest without paging"}


@pytest.mark.parametrize("technique", ["classic", "trap-emulate", "binary-translation"])
def test_the_vmms_own_addresses_are_not_the_guests(technique: str) -> None:
    view = at_end(find_scenario("paging-tour"), technique).walk(0xFFC1_0000)
    assert view.note.startswith("The VMM has these linear addresses for itself")
    assert view.walks[0].error_code is None
    assert view.walks[0].gpa is None


def test_the_emulator_reads_the_tables_as_data() -> None:
    view = at_end(find_scenario("paging-tour"), "emulation").walk(0x30_0000)
    (walk,) = view.walks
    assert (walk.walker, walk.count, walk.gpa, walk.hpa, view.references) == ("emulator", 2, 0x20_0000, None, 0)


def test_paravirtualization_walks_the_guests_tables_with_machine_frames() -> None:
    view = at_end(find_scenario("rings-tour"), "paravirt").walk(0x10_0000)
    (walk,) = view.walks
    assert (walk.walker, walk.tables, walk.count, view.references) == ("CPU", "direct", 2, 2)
    assert (walk.gpa, walk.hpa) == (0x10_0000, BASE + 0x10_0000)


# ---- a spectator -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("technique", "mmu"),
    [
        ("native", None),
        ("emulation", None),
        *((t, "shadow") for t in SHADOWED),
        ("amd-v", "nested"),
        ("vt-x", "nested"),
    ],
)
def test_looking_changes_nothing_not_a_bit_and_not_the_rest_of_the_run(technique: str, mmu: str | None) -> None:
    scenario = find_scenario("paging-tour")
    one, other = Session(scenario, technique, mmu), Session(scenario, technique, mmu)
    for position in (0, 500, 7_200, 9_000):
        for session in (one, other):
            session.seek(position)
        before = _everything(one)
        for linear in (0, 0x10_0000, 0x10_5000, 0x30_0000, 0x40_0000, 0xFFC1_0000, 0xFFFF_FFFF):
            for access in (READ, WRITE, USER_WRITE, Access(is_fetch=True)):
                one.walk(linear, access)
        assert _everything(one) == before == _everything(other)
    one.run()
    other.run()
    assert _everything(one) == _everything(other)
    assert [event.action for event in one.events] == [event.action for event in other.events]


def _everything(session: Session) -> tuple[str, str, str]:
    """The machine to the last bit: all RAM, the CPU and the devices, and what the VMM keeps."""
    technique = session._recording.technique
    machine = technique.machine
    dirty = repr(sorted(machine.ram.dirty))
    saved = machine.save()
    return (
        ram_digest(machine.ram),
        repr((saved.cpu[1:], saved.bus, saved.step_trap_due, dirty)),
        repr(technique.save_vmm()),
    )
