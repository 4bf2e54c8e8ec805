"""What paravirtualization says before anything runs: who it refuses, and what will become of an instruction."""

from __future__ import annotations

from pathlib import Path

import pytest

from ringviz.engine.session import Session
from ringviz.errors import UnsupportedError
from ringviz.facts.hypercalls import FLAT_RING1_CS, FLAT_RING1_DS
from ringviz.guest.decode import decode
from ringviz.guest.image import Image, Segment, StartState
from ringviz.guest.scenario import find_scenario
from ringviz.machine.state import CS, ESI, ESP, SS
from ringviz.vmm.paravirt import layout
from ringviz.vmm.paravirt.not_recompiled import first_forbidden
from ringviz.vmm.paravirt.start_info import build_bootstrap
from ringviz.vmm.registry import available, check_fits, power_on
from ringviz.vmm.side import Mark
from tests.vmm.guests import bare_scenario
from tests.vmm.paravirt.guests import CODE, FIRST_FRAME, PAGES, STOP, guest_word, start, technique_of


def test_it_is_one_of_the_techniques() -> None:
    assert "paravirt" in available()


def test_a_kernel_that_was_not_recompiled_is_refused_by_its_first_instruction_that_ring_1_may_not_execute() -> None:
    with pytest.raises(UnsupportedError) as refused:
        check_fits(find_scenario("msr-and-cr"), "paravirt")
    assert str(refused.value) == (
        "msr-and-cr: paravirt needs a kernel that was recompiled for it; this one executes lgdt [0x102378] at"
        " 00100026h, which ring 1 may not"
    )


@pytest.mark.parametrize(
    ("code", "text", "why"),
    [
        ("90fa", "cli", "which ring 1 may not"),
        ("31c09c", "pushfd", "which ring 1 does not execute truly"),
        ("b0ffe621", "out 0x21, al", "which ring 1 may not"),
        ("0fa20f31f4", "hlt", "which ring 1 may not"),
        ("0f22d8", "mov cr3, eax", "which ring 1 may not"),
        ("eb01fa0f01d0", "(none)", ""),
    ],
)
def test_what_comes_first_is_found_by_running_and_not_by_searching(
    tmp_path: Path, code: str, text: str, why: str
) -> None:
    scenario = bare_scenario(tmp_path / "guest", bytes.fromhex(code) + STOP, limit=50)
    found = first_forbidden(scenario)
    assert (found.text if found is not None else "(none)") == text
    with pytest.raises(UnsupportedError, match=why or "this scenario has no second build"):
        power_on(scenario, "paravirt")


def test_a_guest_without_room_for_what_the_domain_builder_brings_is_refused(tmp_path: Path) -> None:
    run = start(tmp_path / "guest", STOP)
    image = Image((Segment((PAGES << 12) - 0x2FFF, b"x"),), (), CODE, StartState.PROTECTED, ())
    with pytest.raises(UnsupportedError, match="guest: paravirt has no room behind the kernel"):
        build_bootstrap("guest", image, technique_of(run).hypervisor.frames)


def test_a_domain_starts_in_ring_1_with_what_xen_promises(tmp_path: Path) -> None:
    run = start(tmp_path / "guest", STOP)
    state = run.technique.machine.state
    assert (state.cpl, state.segments[CS].selector, state.segments[SS].selector) == (1, FLAT_RING1_CS, FLAT_RING1_DS)
    at = state.gpr[ESI]
    assert run.technique.machine.ram.read(layout.GUEST_BASE + at, 14) == b"xen-3.0-x86_32"
    assert guest_word(run, at + 32) == PAGES
    assert guest_word(run, at + 36) == layout.SHARED_INFO
    frames = guest_word(run, at + 72)
    assert [guest_word(run, frames + 4 * page) for page in (0, 1, PAGES - 1)] == [
        FIRST_FRAME, FIRST_FRAME + 1, FIRST_FRAME + PAGES - 1,
    ]  # fmt: skip
    assert state.gpr[ESP] == at + 0x4000  # behind the directory, one page table and the stack
    assert technique_of(run).hypervisor.shared.is_masked
    assert run.technique.guest_state().eflags & 0x200 == 0


@pytest.mark.parametrize(
    ("code", "ring", "word"),
    [
        ("cd82", 1, "calls"),
        ("cd82", 3, "faults"),
        ("cd80", 3, "gate"),
        ("cd40", 1, "traps"),
        ("cc", 3, "traps"),
        ("fa", 1, "faults"),
        ("f4", 1, "faults"),
        ("0f22c0", 1, "faults"),
        ("e4f4", 3, "faults"),
        ("9c", 1, "silent"),
        ("9d", 1, "silent"),
        ("0f010d00000000", 1, "silent"),
        ("668cc8", 1, ""),
        ("0f02c0", 1, ""),
        ("cf", 1, "gate"),
        ("0fa2", 1, ""),
        ("90", 1, ""),
    ],
)
def test_the_verdict_says_what_will_happen(code: str, ring: int, word: str) -> None:
    session = Session(find_scenario("syscall-roundtrip"), "paravirt")
    session.seek(60)  # its gate is registered
    technique = session._recording.technique
    instruction = decode(bytes.fromhex(code), 0, 32)
    assert instruction is not None
    assert technique.verdict(instruction, ring)[0] == word


def test_the_panel_lists_the_recompiled_places_with_what_stood_there_and_how_often_they_called() -> None:
    session = Session(find_scenario("hello-serial"), "paravirt")
    session.seek(1)
    side = session.snapshot().side
    assert side is not None
    assert side.title == "Hypercalls"
    rows = {row.name: row for row in side.rows}
    assert rows["set_gdt"].old == "lgdt [gdt_pointer]"
    assert rows["console_io"].value == "0×"
    assert [row.mark for row in side.rows][:2] == [Mark.NONE, Mark.NONE]
    session.seek(4)
    side = session.snapshot().side
    assert side is not None
    assert [row.name for row in side.rows if row.mark is Mark.CURRENT] == ["update_va_mapping"]
    session.run()
    side = session.snapshot().side
    assert side is not None
    assert {row.name: row.value for row in side.rows} == {
        "update_va_mapping": "1×", "set_gdt": "1×", "sched_op_compat": "1×", "console_io": "1×",
    }  # fmt: skip
    assert side.caption.startswith("49 of 107 source lines were written for the hypervisor; 4 so far")
    session.seek(0)
    side = session.snapshot().side
    assert side is not None
    assert {row.value for row in side.rows} == {"0×"}


def test_the_source_shown_is_that_of_the_build_that_runs() -> None:
    session = Session(find_scenario("hello-serial"), "paravirt")
    while session.next_event():
        current = next(row for row in session.snapshot().code if row.is_current)
        before = session.source.line_at(session.events.raw[session.event_count() - 1].address)
        assert before is not None
        assert before.text.strip() == "int HYPERCALL"
        assert current.source_line is not None
