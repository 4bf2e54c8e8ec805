"""Guests that work on their page tables: the VMM hears of every write, and no shadow stays behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from ringviz.vmm.events import Event
from ringviz.vmm.mmu.shadow import MOST_SPACES
from ringviz.vmm.ring_compression import layout
from ringviz.vmm.ring_compression.monitor import RingCompression
from tests.vmm.guests import GUEST_BYTES
from tests.vmm.lockstep import Run, assert_lockstep
from tests.vmm.paged_guests import (
    DIRECTORY,
    FRAMES,
    LOW_TABLE,
    OTHER_DIRECTORY,
    OTHER_TABLE,
    PAE,
    PAE_DIRECTORIES,
    PAE_TABLE,
    PAGED,
    POINTERS,
    PS,
    PSE,
    RELOAD_CR3,
    TABLE,
    WINDOW,
    WP,
    A,
    Body,
    P,
    U,
    W,
    change,
    entry,
    faults,
    invlpg,
    le,
    paged_scenario,
    read,
    set_cr,
    two_level,
    with_pae,
    write,
)

TECHNIQUES = ("classic", "trap-emulate", "binary-translation")
PAGE = 0x1000
PWU = P | W | U


def traces(run: Run) -> list[Event]:
    """Writes to page tables that the VMM carried out."""
    return [event for event in run.events if event.charges == ("trace",)]


def marked(*frames: int) -> list[tuple[int, bytes]]:
    """Content by which frames are told apart, put where the image reaches."""
    return [(frame, le(0xC0DE_0000 | frame >> 12)) for frame in frames]


LOW_FRAMES = (0x6_0000, 0x6_1000, 0x6_2000, 0x6_3000)


@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize("flush", [invlpg(WINDOW), RELOAD_CR3])
def test_a_page_mapped_elsewhere_is_seen_there(tmp_path: Path, flush: bytes, technique: str) -> None:
    first, second, *_ = LOW_FRAMES
    body = [read(WINDOW) + b"\x89\xc6", write(TABLE, second | PWU), flush, read(WINDOW) + b"\x89\xc7"]
    tables = two_level({0: first | PWU})
    run = assert_lockstep(paged_scenario(tmp_path / "guest", body, tables, extra=marked(first, second)), technique)
    assert run.technique.guest_state().gpr[6:8] == [0xC0DE_0060, 0xC0DE_0061]
    (event,) = traces(run)
    assert event.instruction == f"mov dword ptr [{TABLE:#x}], {second | PWU:#x}"
    assert (event.from_ring, event.via_ring) == (1, 0)


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_a_page_taken_away_or_closed_faults_again(tmp_path: Path, technique: str) -> None:
    frame = FRAMES
    body = [write(WINDOW)]
    for bits in (P, 0, P | W):
        body += [write(TABLE, frame | bits), invlpg(WINDOW), read(WINDOW), write(WINDOW)]
    run = assert_lockstep(paged_scenario(tmp_path / "guest", body, two_level({0: frame | PWU})), technique)
    assert faults(run) == [(3, WINDOW), (0, WINDOW), (2, WINDOW)]


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_tables_that_nothing_was_looked_up_in_are_not_watched(tmp_path: Path, technique: str) -> None:
    body = [write(OTHER_TABLE, 5), write(OTHER_DIRECTORY, 5), write(TABLE + 0x800, 5), read(WINDOW), write(TABLE + 8)]
    run = assert_lockstep(paged_scenario(tmp_path / "guest", body, two_level({0: FRAMES | PWU})), technique)
    assert len(traces(run)) == 1


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_a_table_hung_elsewhere_takes_its_pages_along(tmp_path: Path, technique: str) -> None:
    first, second, *_ = LOW_FRAMES
    body = [
        read(WINDOW) + b"\x89\xc1",  # mov ecx, eax
        write(DIRECTORY + 4, OTHER_TABLE | PWU),
        RELOAD_CR3,
        read(WINDOW) + b"\x89\xc2",
        write(DIRECTORY + 4, 0),
        RELOAD_CR3,
        read(WINDOW),
        write(TABLE, 7),
        write(OTHER_TABLE, 7),
    ]
    tables = [*two_level({0: first | PWU}), (OTHER_TABLE, le(second | PWU))]
    run = assert_lockstep(paged_scenario(tmp_path / "guest", body, tables, extra=marked(first, second)), technique)
    assert run.technique.guest_state().gpr[1:3] == [0xC0DE_0060, 0xC0DE_0061]
    assert faults(run) == [(0, WINDOW)]
    assert len(traces(run)) == 2  # of the directory; the tables are no tables any more


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_two_address_spaces_have_their_own_pages_and_share_the_kernels(tmp_path: Path, technique: str) -> None:
    first, second, *_ = LOW_FRAMES
    body = []
    for _ in range(3):
        body += [set_cr(3, OTHER_DIRECTORY), change(WINDOW), set_cr(3, DIRECTORY), change(WINDOW + 4)]
    tables = [
        *two_level({0: first | PWU}),
        (OTHER_DIRECTORY, le(LOW_TABLE | PWU) + le(OTHER_TABLE | PWU)),
        (OTHER_TABLE, le(second | PWU)),
    ]
    run = assert_lockstep(paged_scenario(tmp_path / "guest", body, tables), technique)
    assert entry(run, first + 4) == entry(run, second) == 3
    hidden = [event.at for event in run.events if event.charges == ("hidden-fault",) and "page 00400" in event.action]
    assert len(hidden) == 4  # a read and a write in each; the shadow that was left is found again


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_more_address_spaces_than_are_kept(tmp_path: Path, technique: str) -> None:
    count = MOST_SPACES + 3
    body, tables = [], two_level({0: FRAMES | PWU})
    for _ in range(2):
        for i in range(count):
            body += [set_cr(3, 0x6_0000 + i * PAGE), change(WINDOW + 4 * i)]
    for i in range(count):
        tables.append((0x6_0000 + i * PAGE, le(LOW_TABLE | PWU) + le(TABLE | PWU)))
    run = assert_lockstep(paged_scenario(tmp_path / "guest", body, tables), technique)
    assert [entry(run, FRAMES + 4 * i) for i in range(count)] == [2] * count
    assert isinstance(run.technique, RingCompression)
    assert len(run.technique._shadow._spaces) == MOST_SPACES


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_large_pages_with_pse_and_without(tmp_path: Path, technique: str) -> None:
    large = 2 * 1024 + 1  # linear page number of 8 MiB and a page
    at = large << 12
    body = [
        read(at) + b"\x89\xc6",
        write(at + PAGE),
        set_cr(4, 0),  # now it is a table, at 0
        read(at) + b"\x89\xc7",
        set_cr(4, PSE),
        read(at + 2 * PAGE),
        write(DIRECTORY + 8, PS | P | U),
        RELOAD_CR3,
        write(at),
    ]
    tables = two_level(directory={2: PS | PWU})
    run = assert_lockstep(paged_scenario(tmp_path / "guest", body, tables, cr4=PSE), technique)
    assert faults(run)[-1] == (3, at)


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_page_tables_inside_a_large_page_are_watched(tmp_path: Path, technique: str) -> None:
    first, second, *_ = LOW_FRAMES
    alias = 0x0080_0000 + TABLE
    body = [
        read(WINDOW),
        write(0x0080_0000 + 0x6_3000),  # the large page is in use, writable
        write(alias, second | PWU),
        invlpg(WINDOW),
        read(WINDOW),
        write(0x0080_0000 + DIRECTORY + 4, 0),
        RELOAD_CR3,
        read(WINDOW),
    ]
    tables = two_level({0: first | PWU}, directory={2: PS | PWU})
    scenario = paged_scenario(tmp_path / "guest", body, tables, cr4=PSE, extra=marked(first, second))
    run = assert_lockstep(scenario, technique)
    assert len(traces(run)) == 2
    assert faults(run) == [(0, WINDOW)]


@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize("slot", [3, 512, 1023])
def test_a_directory_that_maps_itself_shows_and_changes_its_tables(tmp_path: Path, slot: int, technique: str) -> None:
    first, second, *_ = LOW_FRAMES
    window_entry = (slot << 22) + ((WINDOW >> 22) << 12)
    own_entry = (slot << 22 | slot << 12) + 4 * slot
    body = [
        read(WINDOW),
        read(window_entry) + b"\x89\xc6",
        write(window_entry, second | PWU),
        invlpg(WINDOW),
        read(WINDOW) + b"\x89\xc7",
        read(own_entry),
        change(own_entry - 8 if slot == 1023 else own_entry + 8),
        RELOAD_CR3,
        write(own_entry, DIRECTORY | P),  # for the kernel, read-only, by itself
        RELOAD_CR3,
        write(window_entry),
    ]
    tables = two_level({0: first | PWU}, directory={slot: DIRECTORY | PWU})
    run = assert_lockstep(paged_scenario(tmp_path / "guest", body, tables, extra=marked(first, second)), technique)
    assert run.technique.guest_state().gpr[7] == 0xC0DE_0061
    assert faults(run) == [(3, window_entry)]
    if slot != 1023:  # up there every access is one of its own: the linear addresses are the VMM's
        assert len(traces(run)) >= 3


@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize("place", [GUEST_BYTES, 0x8000_0000, 0xFFFF_F000])
def test_tables_and_directories_where_nothing_answers_hold_ones(tmp_path: Path, place: int, technique: str) -> None:
    body = [code(at) for at in (WINDOW, WINDOW + 0x40_0000, WINDOW + 0x80_0000) for code in (read, write, change)]
    directory = {1: place | PWU, 2: place | P, 3: OTHER_TABLE | PWU}
    tables = [*two_level(directory=directory), (OTHER_TABLE, le(place | PWU))]
    run = assert_lockstep(paged_scenario(tmp_path / "guest", body, tables), technique)
    assert [event for event in run.events if event.is_attempt]


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_write_protection_switched_off_and_on(tmp_path: Path, technique: str) -> None:
    body = Body()
    body.slot(set_cr(0, PAGED), write(WINDOW), change(WINDOW), write(WINDOW + PAGE))
    body.to_ring_3().slot(read(WINDOW), write(WINDOW), read(WINDOW + PAGE)).to_ring_0()
    body.slot(change(WINDOW), set_cr(0, PAGED | WP), change(WINDOW), read(WINDOW), set_cr(0, PAGED), change(WINDOW))
    tables = two_level({0: FRAMES | P | U, 1: FRAMES + PAGE | P})
    run = assert_lockstep(paged_scenario(tmp_path / "guest", body, tables), technique)
    assert faults(run) == [(7, WINDOW), (5, WINDOW + PAGE), (3, WINDOW)]
    told = " ".join(event.action for event in run.events)
    assert "the kernel's to write" in told
    assert "ring 3's to read again" in told


@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize("wp", [0, WP])
def test_page_tables_are_watched_whatever_write_protection_the_guest_asks_for(
    tmp_path: Path, wp: int, technique: str
) -> None:
    body = [read(WINDOW), write(TABLE, FRAMES + PAGE | PWU), invlpg(WINDOW), write(WINDOW, 7), read(WINDOW)]
    tables = two_level({0: FRAMES | PWU}, low={TABLE >> 12: TABLE | P if wp == 0 else TABLE | PWU})
    run = assert_lockstep(paged_scenario(tmp_path / "guest", body, tables, cr0=PAGED | wp), technique)
    assert len(traces(run)) == 1
    assert entry(run, FRAMES + PAGE) == 7


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_paging_off_and_on_again(tmp_path: Path, technique: str) -> None:
    body = [
        change(WINDOW),
        set_cr(0, 0x11),
        write(TABLE, FRAMES + PAGE | PWU),
        change(FRAMES),
        set_cr(0, PAGED),
        change(WINDOW),
        read(WINDOW),
    ]
    run = assert_lockstep(paged_scenario(tmp_path / "guest", body, two_level({0: FRAMES | PWU})), technique)
    assert (entry(run, FRAMES), entry(run, FRAMES + PAGE)) == (2, 1)
    assert traces(run) == []


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_from_two_levels_to_pae_and_back(tmp_path: Path, technique: str) -> None:
    body = []
    for _ in range(2):
        body += [change(WINDOW), set_cr(0, 0x11), set_cr(3, POINTERS), set_cr(4, PAE), set_cr(0, PAGED)]
        body += [change(WINDOW), set_cr(0, 0x11), set_cr(3, DIRECTORY), set_cr(4, 0), set_cr(0, PAGED)]
    tables = [*two_level({0: FRAMES | PWU}), *with_pae({0: FRAMES + PAGE | PWU})]
    run = assert_lockstep(paged_scenario(tmp_path / "guest", body, tables), technique)
    assert (entry(run, FRAMES), entry(run, FRAMES + PAGE)) == (2, 2)


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_every_level_of_pae_is_watched(tmp_path: Path, technique: str) -> None:
    first, second, third, fourth = LOW_FRAMES
    body = []
    for at, value in (
        (PAE_TABLE, second | PWU),
        (PAE_DIRECTORIES + 16, OTHER_TABLE | PWU),
        (POINTERS, OTHER_DIRECTORY | P),
        (POINTERS + 8, 0),
    ):
        body += [read(WINDOW), write(at, value), RELOAD_CR3]
    body += [read(WINDOW), read(0x4000_0000)]
    # What maps the running code is marked already: until CR3 is loaded, the CPU may use the translation it knows.
    low = b"".join(le(0x2_D000 + (i << 12) | PWU | A, 8) for i in range(2))
    tables = [
        *with_pae({0: first | PWU}),
        (OTHER_TABLE, le(third | PWU, 8)),
        (OTHER_DIRECTORY, low + le(OTHER_TABLE + PAGE | PWU, 8)),
        (OTHER_TABLE + PAGE, le(fourth | PWU, 8)),
    ]
    scenario = paged_scenario(tmp_path / "guest", body, tables, cr3=POINTERS, cr4=PAE, extra=marked(*LOW_FRAMES))
    run = assert_lockstep(scenario, technique)
    assert len(traces(run)) == 4
    assert faults(run) == [(0, 0x4000_0000)]


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_one_instruction_that_fills_a_whole_page_table(tmp_path: Path, technique: str) -> None:
    fill = (
        b"\xbf" + le(TABLE) + b"\xb9" + le(1024) + b"\xb8" + le(FRAMES | PWU)
    )  # mov edi, ..; mov ecx, ..; mov eax, ..
    body = [read(WINDOW), fill, b"\xf3\xab", RELOAD_CR3, change(WINDOW + 5 * PAGE), change(WINDOW + 0x3F_F000)]
    run = assert_lockstep(paged_scenario(tmp_path / "guest", body, two_level({0: FRAMES + PAGE | PWU})), technique)
    assert len(traces(run)) == 1
    assert entry(run, FRAMES) == 2


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_shadows_are_made_anew_where_the_vmms_memory_for_them_is_used_up(
    tmp_path: Path, technique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = layout.SHADOW_POOL[0]
    monkeypatch.setattr("ringviz.vmm.ring_compression.page_tables.POOL", (start, start + 8 * PAGE))
    body = []
    for turn in range(2):
        for block in range(1, 12):
            body.append(change((block << 22) + 4 * block))
        body.append(set_cr(3, OTHER_DIRECTORY if turn == 0 else DIRECTORY))
    directory = dict.fromkeys(range(1, 12), TABLE | PWU)
    tables = two_level({0: FRAMES | PWU}, directory=directory)
    content = dict(tables)[DIRECTORY]
    run = assert_lockstep(paged_scenario(tmp_path / "guest", body, [*tables, (OTHER_DIRECTORY, content)]), technique)
    assert [entry(run, FRAMES + 4 * block) for block in range(1, 12)] == [2] * 11


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_the_kernels_memory_is_closed_to_programs(tmp_path: Path, technique: str) -> None:
    body = [read(0x5_0000), write(TABLE, 0), read(DIRECTORY)]
    low = {page: page << 12 | P | W for page in (0x50, TABLE >> 12, DIRECTORY >> 12)}
    run = assert_lockstep(paged_scenario(tmp_path / "guest", body, two_level(low=low), ring=3), technique)
    assert faults(run) == [(5, 0x5_0000), (7, TABLE), (5, DIRECTORY)]
