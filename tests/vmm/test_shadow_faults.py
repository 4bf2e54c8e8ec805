"""Page faults under shadow page tables: the hidden ones stay hidden, the true ones arrive as on bare metal."""

from __future__ import annotations

from pathlib import Path

import pytest

from ringviz.vmm.events import Kind
from tests.machine.guests import STACK_TOP
from tests.vmm.lockstep import Run, assert_lockstep
from tests.vmm.paged_guests import (
    DIRECTORY,
    FRAMES,
    LAND,
    NX,
    PAE,
    PAE_TABLE,
    PAGED,
    POINTERS,
    TABLE,
    WINDOW,
    WP,
    A,
    Body,
    D,
    P,
    U,
    W,
    change,
    entry,
    faults,
    le,
    paged_scenario,
    read,
    two_level,
    with_pae,
    write,
)

TECHNIQUES = ("classic", "trap-emulate", "binary-translation")
PAGE = 0x1000


def hidden(run: Run) -> list[str]:
    """What the hidden faults at the window were about."""
    return [event.action for event in run.events if event.charges == ("hidden-fault",) and "page 0040" in event.action]


def pages(*attributes: int) -> dict[int, int]:
    """Entries behind `WINDOW` that map the frames in order."""
    return {i: FRAMES + i * PAGE | value for i, value in enumerate(attributes)}


@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize("write_protect", [WP, 0])
@pytest.mark.parametrize("ring", [0, 3])
def test_every_right_and_access_gives_the_fault_or_the_success_of_bare_metal(
    tmp_path: Path, ring: int, write_protect: int, technique: str
) -> None:
    rights = (0, P, P | W, P | U, P | W | U)
    body = [code(WINDOW + i * PAGE + 8) for i in range(len(rights)) for code in (read, write, change)]
    scenario = paged_scenario(tmp_path / "guest", body, two_level(pages(*rights)), cr0=PAGED | write_protect, ring=ring)
    run = assert_lockstep(scenario, technique)
    user = 4 if ring else 0
    expected = []
    for i, right in enumerate(rights):
        may_read = right & P and (ring == 0 or right & U)
        may_write = may_read and (right & W or (ring == 0 and not write_protect))
        at = WINDOW + i * PAGE + 8
        if not may_read:
            expected += [(right & P | user, at), (right & P | 2 | user, at), (right & P | user, at)]
        elif not may_write:
            expected += [(3 | user, at)] * 2
    assert faults(run) == expected


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_a_hidden_fault_reaches_the_shadow_and_not_the_guest(tmp_path: Path, technique: str) -> None:
    body = [read(WINDOW), read(WINDOW + 4), write(WINDOW + 8), write(WINDOW + 12), read(WINDOW + PAGE)]
    run = assert_lockstep(paged_scenario(tmp_path / "guest", body, two_level(pages(P | W, P | W))), technique)
    assert faults(run) == []
    told = hidden(run)
    assert len(told) == 3
    assert ["first write" in text for text in told] == [False, True, False]
    assert "page 00401 → guest frame 00201: no entry" in told[2]


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_a_true_fault_is_handed_on_with_what_the_guests_own_walk_says(tmp_path: Path, technique: str) -> None:
    body = [write(WINDOW + 0x123)]
    run = assert_lockstep(paged_scenario(tmp_path / "guest", body, two_level(pages(P | W)), ring=3), technique)
    assert faults(run) == [(7, WINDOW + 0x123)]
    (event,) = [event for event in run.events if event.cause == f"#PF at {WINDOW + 0x123:08X}"]
    assert event.kind is Kind.REFLECT
    assert "ring 3, write, not allowed" in event.rule
    assert event.native_charges == ("native-page-fault",)


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_accessed_and_dirty_bits_are_set_when_bare_metal_sets_them(tmp_path: Path, technique: str) -> None:
    body = [read(WINDOW), write(WINDOW + PAGE), read(WINDOW + 2 * PAGE), write(WINDOW + 2 * PAGE)]
    tables = two_level(pages(*[P | W] * 4))
    run = assert_lockstep(paged_scenario(tmp_path / "guest", body, tables), technique)
    marks = [entry(run, TABLE + 4 * i) & (A | D) for i in range(4)]
    assert marks == [A, A | D, A | D, 0]
    assert entry(run, DIRECTORY + 4) & A


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_bits_that_the_guest_clears_are_set_again(tmp_path: Path, technique: str) -> None:
    at = TABLE
    clear = write(at, FRAMES | P | W)
    flush = b"\x0f\x01\x3d" + le(WINDOW)  # invlpg
    body = [write(WINDOW), clear, flush, read(WINDOW), b"\x8b\x0d" + le(at), write(WINDOW)]  # mov ecx, [entry]
    run = assert_lockstep(paged_scenario(tmp_path / "guest", body, two_level(pages(P | W))), technique)
    assert run.technique.guest_state().gpr[1] & (A | D) == A
    assert entry(run, at) & (A | D) == A | D
    assert len(hidden(run)) == 3


@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize("second", [0, P, P | U, P | W])
@pytest.mark.parametrize("first", [P | W | U, P | U])
@pytest.mark.parametrize("ring", [0, 3])
def test_an_access_across_two_pages_faults_at_the_page_that_refuses(
    tmp_path: Path, ring: int, first: int, second: int, technique: str
) -> None:
    at = WINDOW + PAGE - 2
    tables = two_level(pages(first, second))
    body = [code(at) for code in (read, write, change)]
    run = assert_lockstep(paged_scenario(tmp_path / "guest", body, tables, ring=ring), technique)
    for code, cr2 in faults(run):
        assert cr2 == (at if not first & W and code & 2 else at + 2)


@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize("ring", [0, 3])
def test_string_instructions_cross_pages_and_stop_where_one_is_missing(
    tmp_path: Path, ring: int, technique: str
) -> None:
    copy = b"\xbe" + le(WINDOW + PAGE - 24) + b"\xbf" + le(WINDOW + 4 * PAGE - 16)  # mov esi, ..; mov edi, ..
    body = [copy, b"\xb9" + le(32) + b"\xf3\xa5", b"\x89\xc8"]  # mov ecx, 32; rep movsd; mov eax, ecx
    tables = two_level(pages(P | W | U, P | U, 0, P | W | U, P | U))
    run = assert_lockstep(paged_scenario(tmp_path / "guest", body, tables, ring=ring), technique)
    assert faults(run) == [(3 | (4 if ring else 0), WINDOW + 4 * PAGE)]
    assert run.technique.guest_state().gpr[0] == 28


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_one_string_instruction_may_need_more_shadow_entries_than_a_guest_may_take_exceptions(
    tmp_path: Path, technique: str
) -> None:
    count = 1000
    entries = {i: FRAMES + (i % 64) * PAGE | P | W for i in range(1024)}
    fill = b"\xbf" + le(WINDOW) + b"\xb9" + le(count * 1024) + b"\xf3\xab"  # mov edi, ..; mov ecx, ..; rep stosd
    run = assert_lockstep(paged_scenario(tmp_path / "guest", [fill], two_level(entries)), technique)
    assert len([event for event in run.events if event.charges == ("hidden-fault",)]) >= count


@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize("rights", [0, P, P | U])
@pytest.mark.parametrize("ring", [0, 3])
def test_code_is_fetched_from_pages_that_allow_it(tmp_path: Path, ring: int, rights: int, technique: str) -> None:
    body = Body()
    if ring:
        body.to_ring_3()
    body.fetch(WINDOW + 0x800).slot(read(0x5_0000))
    tables = two_level({0: 0x6_0000 | rights})
    scenario = paged_scenario(tmp_path / "guest", body, tables, extra=[(0x6_0800, LAND)])
    run = assert_lockstep(scenario, technique)
    allowed = rights & P and (ring == 0 or rights & U)
    assert faults(run) == ([] if allowed else [((P if rights else 0) | (4 if ring else 0), WINDOW + 0x800)])


@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize("nxe", [True, False])
@pytest.mark.parametrize("ring", [0, 3])
def test_no_execute_keeps_code_from_running_where_the_guest_has_it_on(
    tmp_path: Path, ring: int, nxe: bool, technique: str
) -> None:
    body = Body()
    if ring:
        body.to_ring_3()
    body.slot(read(WINDOW)).fetch(WINDOW + 0x800).fetch(WINDOW + PAGE + 0x800)
    tables = with_pae({0: 0x6_0000 | P | U | NX, 1: 0x6_0000 | P | U})
    scenario = paged_scenario(
        tmp_path / "guest", body, tables, cr3=POINTERS, cr4=PAE, nxe=nxe, extra=[(0x6_0800, LAND)]
    )
    run = assert_lockstep(scenario, technique)
    user = 4 if ring else 0
    reserved = 1 | 8 | user  # without NXE, bit 63 is a reserved bit
    expected = [(0x11 | user, WINDOW + 0x800)] if nxe else [(reserved, WINDOW), (reserved, WINDOW + 0x800)]
    assert faults(run) == expected
    assert run.technique.real_state().efer == (0x800 if nxe else 0)


@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize("nxe", [True, False])
def test_reserved_bits_are_refused_at_every_level(tmp_path: Path, nxe: bool, technique: str) -> None:
    directory = {3: FRAMES | 0x80 | P | W | 0x2000, 4: PAE_TABLE | P | W | 1 << 62}  # a large page; a table
    tables = with_pae(
        {0: FRAMES | P | W | 1 << 52, 1: FRAMES | P | W}, directory=directory, pointers={2: 0x2_B000 | P | 1 << 50}
    )
    body = [code(at) for at in (WINDOW, WINDOW + PAGE, 0x60_0000, 0x80_0000, 0x8000_0000) for code in (read, write)]
    scenario = paged_scenario(tmp_path / "guest", body, tables, cr3=POINTERS, cr4=PAE, nxe=nxe)
    run = assert_lockstep(scenario, technique)
    assert {code for code, _ in faults(run)} == {9, 11}
    assert len(faults(run)) == 8


@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize("what", ["push", "call", "pop to memory", "exchange", "enter"])
def test_instructions_with_two_accesses_are_tried_again_without_harm(tmp_path: Path, what: str, technique: str) -> None:
    code = {
        "push": b"\xbc" + le(WINDOW + 8) + b"\xff\x35" + le(WINDOW + PAGE) + b"\x58",  # mov esp; push [..]; pop eax
        "call": b"\xbc" + le(WINDOW + 8) + b"\xe8" + le(0) + b"\x58",  # mov esp, ..; call next; pop eax
        "pop to memory": b"\xbc" + le(WINDOW + 8) + b"\x8f\x05" + le(WINDOW + PAGE - 2),  # mov esp; pop [..]
        "exchange": b"\x87\x05" + le(WINDOW + PAGE - 2),  # xchg [..], eax
        "enter": b"\xbc"
        + le(WINDOW + PAGE + 4)
        + b"\xbd"
        + le(WINDOW + 0x500)
        + b"\xc8\x10\x00\x03\xc9",  # enter; leave
    }[what]
    body = [code, b"\x31\xed\xbc" + le(STACK_TOP)]  # xor ebp, ebp; mov esp, ..
    run = assert_lockstep(paged_scenario(tmp_path / "guest", body, two_level(pages(P | W, P | W))), technique)
    assert faults(run) == []
    assert hidden(run)
