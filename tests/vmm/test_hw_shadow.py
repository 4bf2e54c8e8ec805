"""Shadow page tables under hardware assistance: bare metal at every instruction, and an exit for every page fault."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from ringviz.engine.recording import Recording
from ringviz.errors import UnsupportedError
from ringviz.guest import Scenario
from ringviz.guest.scenario import find_scenario
from ringviz.vmm.events import Event, Kind
from ringviz.vmm.mmu.telling import HIDDEN_FAULT, TRACE_FAULT
from ringviz.vmm.registry import choose
from tests.engine.complete_state import everything
from tests.engine.test_recording_shadow import busy_guest
from tests.vmm.guests import END, GUEST_BYTES, bare_scenario, kernel_scenario, slots
from tests.vmm.lockstep import Run, assert_lockstep
from tests.vmm.paged_guests import (
    DIRECTORY,
    FRAMES,
    LOW_TABLE,
    NX,
    OTHER_DIRECTORY,
    OTHER_TABLE,
    PAE,
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
    D,
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
from tests.vmm.test_containment import accesses
from tests.vmm.test_shadow_random import build, guests
from tests.vmm.vmm_memory import assert_shadows_follow_the_guest, still

TECHNIQUES = ("vt-x", "amd-v")
PAGE = 0x1000
PWU = P | W | U


def lockstep(scenario: Scenario, technique: str) -> Run:
    """Compare with bare metal, on shadow page tables; look at what belongs to the VMM at the end."""
    made = still(Run(scenario, technique, mmu="shadow").technique)
    assert made
    run = assert_lockstep(scenario, technique, mmu="shadow")
    assert still(run.technique) == made
    assert_shadows_follow_the_guest(run.technique)
    return run


def told(run: Run, cause: str) -> list[Event]:
    return [event for event in run.events if event.cause == cause]


def tape_of(scenario: Scenario, technique: str) -> Recording:
    return Recording(scenario, technique, choose(technique, "shadow"))


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_paging_tour_is_bare_metal_at_every_instruction(technique: str) -> None:
    run = lockstep(find_scenario("paging-tour"), technique)
    assert run.ended is not None
    assert run.ended.how == "exit"
    assert len(told(run, HIDDEN_FAULT)) == 10
    assert len(told(run, TRACE_FAULT)) == 1


@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize("write_protect", [WP, 0])
@pytest.mark.parametrize("ring", [0, 3])
def test_every_right_and_access_gives_the_fault_or_the_success_of_bare_metal(
    tmp_path: Path, ring: int, write_protect: int, technique: str
) -> None:
    rights = (0, P, P | W, P | U, PWU)
    body = [code(WINDOW + i * PAGE + 8) for i in range(len(rights)) for code in (read, write, change)]
    entries = {i: FRAMES + i * PAGE | right for i, right in enumerate(rights)}
    scenario = paged_scenario(tmp_path / "guest", body, two_level(entries), cr0=PAGED | write_protect, ring=ring)
    run = lockstep(scenario, technique)
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
def test_page_faults_are_exits_and_cost_what_exits_cost(tmp_path: Path, technique: str) -> None:
    body = [read(WINDOW), write(WINDOW + 4), write(WINDOW + PAGE), write(TABLE, FRAMES | P)]
    run = lockstep(paged_scenario(tmp_path / "guest", body, two_level({0: FRAMES | PWU}), ring=0), technique)
    hidden = [event for event in told(run, HIDDEN_FAULT) if "page 00400" in event.action]
    assert ["first write" in event.action for event in hidden] == [False, True]
    (trace,) = told(run, TRACE_FAULT)
    (true,) = [event for event in run.events if event.native_charges == ("native-page-fault",)]
    for event in (*hidden, trace, true):
        assert event.kind is Kind.EXIT
        assert event.charges[:2] == ("exit", "vmm-work")
        assert set(event.charges[2:]) <= {"vmread", "vmwrite"}
        assert (event.from_ring, event.via_ring) == (0, -1)
    assert "kernel, write, no page" in true.rule
    fields = dict(hidden[1].detail)
    if technique == "vt-x":
        assert (fields["EXIT_REASON"], fields["EXIT_QUALIFICATION"]) == ("0", "400004h")
        assert fields["VM_EXIT_INTR_INFO"] == "80000B0Eh"
    else:
        assert (fields["EXITCODE"], fields["EXITINFO1"], fields["EXITINFO2"]) == ("04Eh", "3h", "400004h")


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_the_cpu_meets_the_shadows_where_it_delivers_an_event(tmp_path: Path, technique: str) -> None:
    body = Body().to_ring_3()
    body.slot(b"\xcd\x30")  # int 30h: the stack of ring 0 has not been used with paging on
    run = lockstep(paged_scenario(tmp_path / "guest", body, two_level()), technique)
    field = "IDT_VECTORING_INFO" if technique == "vt-x" else "EXITINTINFO"
    during = [event for event in told(run, HIDDEN_FAULT) if field in dict(event.detail)]
    assert during
    assert {event.instruction for event in during if "30" in event.instruction} == {"int 0x30"}


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_the_guest_keeps_its_registers_while_the_real_ones_are_the_vmms(tmp_path: Path, technique: str) -> None:
    body = [bytes.fromhex("0f20c0 89c6 0f20d8 89c7 0f20e1 0f01e2")]  # CR0 to ESI, CR3 to EDI, CR4 to ECX, SMSW EDX
    scenario = paged_scenario(tmp_path / "guest", body, two_level(), cr0=PAGED, cr4=PSE)
    run = lockstep(scenario, technique)
    guest, real = run.technique.guest_state(), run.technique.real_state()
    assert (guest.gpr[6], guest.gpr[7], guest.gpr[1]) == (guest.cr0, DIRECTORY, PSE)
    assert (guest.cr0 & WP, real.cr0 & WP) == (0, WP)
    assert guest.cr3 == DIRECTORY != real.cr3
    assert real.cr3 < run.technique.guest_base
    assert not real.cr4 & PSE


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_accessed_and_dirty_bits_are_set_when_bare_metal_sets_them(tmp_path: Path, technique: str) -> None:
    body = [read(WINDOW), write(WINDOW + PAGE), read(WINDOW + 2 * PAGE), write(WINDOW + 2 * PAGE)]
    entries = {i: FRAMES + i * PAGE | PWU for i in range(4)}
    run = lockstep(paged_scenario(tmp_path / "guest", body, two_level(entries)), technique)
    assert [entry(run, TABLE + 4 * i) & (A | D) for i in range(4)] == [A, A | D, A | D, 0]


@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize("flush", [invlpg(WINDOW), RELOAD_CR3])
def test_a_page_mapped_elsewhere_or_taken_away_is_seen_so(tmp_path: Path, flush: bytes, technique: str) -> None:
    body = [change(WINDOW), write(TABLE, FRAMES + PAGE | PWU), flush, change(WINDOW), write(TABLE, 0), flush]
    run = lockstep(paged_scenario(tmp_path / "guest", [*body, read(WINDOW)], two_level({0: FRAMES | PWU})), technique)
    assert (entry(run, FRAMES), entry(run, FRAMES + PAGE)) == (1, 1)
    assert faults(run) == [(0, WINDOW)]
    assert len(told(run, TRACE_FAULT)) == 2


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_two_address_spaces_have_their_own_pages(tmp_path: Path, technique: str) -> None:
    body = []
    for _ in range(3):
        body += [set_cr(3, OTHER_DIRECTORY), change(WINDOW), set_cr(3, DIRECTORY), change(WINDOW + 4)]
    tables = [
        *two_level({0: FRAMES | PWU}),
        (OTHER_DIRECTORY, le(LOW_TABLE | PWU) + le(OTHER_TABLE | PWU)),
        (OTHER_TABLE, le(FRAMES + PAGE | PWU)),
    ]
    run = lockstep(paged_scenario(tmp_path / "guest", body, tables), technique)
    assert entry(run, FRAMES + 4) == entry(run, FRAMES + PAGE) == 3


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_large_pages_with_pse_and_without(tmp_path: Path, technique: str) -> None:
    at = 2 << 22 | 1 << 12
    body = [read(at), write(at + PAGE), set_cr(4, 0), read(at), set_cr(4, PSE), read(at + 2 * PAGE)]
    body += [write(DIRECTORY + 8, PS | P | U), RELOAD_CR3, write(at)]
    run = lockstep(paged_scenario(tmp_path / "guest", body, two_level(directory={2: PS | PWU}), cr4=PSE), technique)
    assert faults(run)[-1] == (3, at)


@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize("nxe", [False, True])
def test_pae_and_no_execute(tmp_path: Path, nxe: bool, technique: str) -> None:
    body = Body().slot(read(WINDOW), change(WINDOW + PAGE), write(PAE_TABLE + 8, FRAMES | P), RELOAD_CR3)
    body.slot(change(WINDOW + PAGE)).fetch(WINDOW)
    entries = {0: FRAMES | PWU | (NX if nxe else 0), 1: FRAMES + PAGE | PWU}
    fill = write(FRAMES, 0x9090_E5FF)  # jmp ebp
    scenario = paged_scenario(
        tmp_path / "guest", body, with_pae(entries), cr3=POINTERS, cr4=PAE, nxe=nxe, before=fill, limit=400
    )
    run = lockstep(scenario, technique)
    assert faults(run)[:1] == [(3, WINDOW + PAGE)]
    assert faults(run)[1:] == ([(0x11, WINDOW)] if nxe else [])


@pytest.mark.parametrize("technique", TECHNIQUES)
@settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(guest=guests())
def test_random_tables_and_accesses_are_bare_metal_at_every_instruction(
    tmp_path: Path, technique: str, guest: tuple[Body, dict[str, object]]
) -> None:
    lockstep(build(tmp_path / "guest", *guest), technique)


@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize("ring", [0, 3])
@pytest.mark.parametrize("paged", [False, True])
@pytest.mark.parametrize("place", [GUEST_BYTES, GUEST_BYTES - 2, 0x0010_0000 + (1 << 24), 0xF000_1000])
def test_nothing_answers_beyond_the_guests_memory(
    tmp_path: Path, place: int, paged: bool, ring: int, technique: str
) -> None:
    ways = accesses(WINDOW + (place & 0xFFF) if paged else place)
    if paged:
        entries = {0: place & ~0xFFF | PWU, 1: (place & ~0xFFF) + PAGE | PWU}
        scenario = paged_scenario(tmp_path / "guest", list(ways.values()), two_level(entries), ring=ring)
    else:
        scenario = kernel_scenario(tmp_path / "guest", slots(*ways.values()), ring=ring, limit=10_000)
    run = lockstep(scenario, technique)
    attempts = [event for event in run.events if event.is_attempt]
    assert {event.kind for event in attempts} == {Kind.VIOLATION}
    assert len({event.address for event in attempts}) >= len(ways) - (1 if place == GUEST_BYTES - 2 else 0)


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_a_stack_beyond_the_guests_memory_loses_what_the_cpu_pushes(tmp_path: Path, technique: str) -> None:
    code = slots(b"\xbc" + le(GUEST_BYTES + 0x100) + END)  # mov esp, ..; int 40h
    run = lockstep(kernel_scenario(tmp_path / "guest", code, limit=200), technique)
    assert any(event.is_attempt for event in run.events)


def test_real_mode_runs_on_shadow_tables_where_the_hardware_allows_it(tmp_path: Path) -> None:
    scenario = bare_scenario(tmp_path / "guest", bytes.fromhex("0f20c0 24fe 0f22c0 aa f4"))  # PE off; stosb
    run = lockstep(scenario, "amd-v")
    state = run.technique.real_state()
    assert (state.cr0 & 1, state.cr0 >> 31) == (0, 1)
    lockstep(scenario, "vt-x")


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_every_position_has_the_bits_of_a_fresh_run_however_it_is_reached(tmp_path: Path, technique: str) -> None:
    scenario = busy_guest(tmp_path)
    tape, stepped = tape_of(scenario, technique), tape_of(scenario, technique)
    tape.play_to_the_end()
    while not stepped.is_at_end:
        stepped.play(stepped.position + 1)
    assert stepped.log.raw == tape.log.raw
    end = tape.position
    for place in (*range(20, end, 97), end - 1, 30, end, 100):
        again = tape_of(scenario, technique)
        again.play(place)
        if again.end is not None:
            again.settle_end()
        tape.seek(place)
        assert everything(tape) == everything(again)


def test_the_way_of_memory_follows_the_cpu_and_the_request() -> None:
    assert choose("amd-v").mmu == "nested"
    assert choose("amd-v", "shadow").cpu.id == choose("amd-v").cpu.id
    assert choose("amd-v", cpu="k8-revf").mmu == "shadow"
    assert choose("vt-x", "shadow", "nehalem").mmu == "shadow"
    with pytest.raises(UnsupportedError, match="nested paging"):
        choose("amd-v", "nested", "k8-revf")


@pytest.mark.parametrize(
    ("technique", "control", "why"),
    [
        ("vt-x", "-cr0-mask-wp", "WP is 1"),
        ("vt-x", "-cr4-mask-pae", "without EPT the page tables are the VMM's"),
        ("vt-x", "-exception-pf", "page faults of the VMM's own page tables"),
        ("amd-v", "-cr3-read", "the real paging registers are the VMM's"),
        ("amd-v", "-exception-pf", "page faults of the VMM's own page tables"),
        ("amd-v", "+npt", "--mmu shadow decides it"),
    ],
)
def test_what_shadow_tables_stand_on_cannot_be_switched_off(technique: str, control: str, why: str) -> None:
    with pytest.raises(UnsupportedError, match=why):
        choose(technique, "shadow", controls=[control])


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_invlpg_need_not_exit_where_page_tables_are_traced(tmp_path: Path, technique: str) -> None:
    control = "-invlpg-exiting" if technique == "vt-x" else "-invlpg"
    body = [change(WINDOW), write(TABLE, FRAMES + PAGE | PWU), invlpg(WINDOW), change(WINDOW)]
    scenario = paged_scenario(tmp_path / "guest", body, two_level({0: FRAMES | PWU}))
    run = assert_lockstep(scenario, technique, mmu="shadow", controls=[control])
    assert "invlpg" not in {event.form for event in run.events}
    assert (entry(run, FRAMES), entry(run, FRAMES + PAGE)) == (1, 1)
