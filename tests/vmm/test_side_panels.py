"""The VMCS and the VMCB beside the guest: what they hold is so, who wrote it is right, going back gives it again."""

from __future__ import annotations

from pathlib import Path

import pytest

from ringviz.engine.session import Session
from ringviz.facts.registers import Eflags
from ringviz.guest.scenario import find_scenario
from ringviz.machine.state import fields_of
from ringviz.vmm.side import Mark, Side, SideRow
from ringviz.vmm.vtx.guest_area import load_guest
from ringviz.vmm.vtx.technique import VtX
from tests.vmm.guests import kernel_scenario, slots
from tests.vmm.lockstep import Run
from tests.vmm.test_vtx_lockstep import every_kind_of_instruction

_MARK_OF_ACCESSED = 1


def rows_of(side: Side | None) -> dict[str, SideRow]:
    assert side is not None
    return {row.name: row for row in side.rows}


def stopped(folder: Path, code: str, technique: str, cpu: str | None = None) -> dict[str, SideRow]:
    """The panel right after one instruction exited."""
    run = Run(kernel_scenario(folder / "guest", slots(bytes.fromhex(code))), technique, cpu)
    while not any(event.via_ring == -1 for event in run.events) and run.ended is None:
        run.reach(run.position + 1)
    return rows_of(run.technique.side())


def test_the_vmcs_tells_exit_reason_and_qualification_in_words(tmp_path: Path) -> None:
    rows = stopped(tmp_path, "e680", "vt-x")
    assert rows["Exit reason"].note.startswith("30, I/O instruction")
    assert rows["Exit qualification"].note == "OUT port 80h, 1 byte, port immediate"
    assert rows["VM-exit instruction length"].value == "00000002"
    assert rows["Exit reason"].mark is Mark.BY_CPU
    assert rows["Guest RIP"].mark is Mark.BY_VMM
    assert int(rows["Guest RIP"].value, 16) == int(rows["Guest RIP"].old, 16) + 2


def test_the_vmcs_begins_with_the_exit_and_has_the_encodings() -> None:
    run = Run(find_scenario("hello-serial"), "vt-x")
    run.reach(100)
    side = run.technique.side()
    assert side is not None
    assert (side.title, side.rows[0].place, side.rows[0].name) == ("VMCS", "4402h", "Exit reason")
    assert "launched" in side.caption
    assert len({row.place for row in side.rows}) == len(side.rows)


@pytest.mark.parametrize(("cpu", "has"), [("p4-672", False), ("westmere", True)])
def test_the_vmcs_has_the_fields_that_the_cpu_has(cpu: str, has: bool) -> None:
    run = Run(find_scenario("hello-serial"), "vt-x", cpu)
    names = rows_of(run.technique.side())
    assert ("EPT pointer (EPTP)" in names) is has


def test_masks_and_shadows_name_their_bits(tmp_path: Path) -> None:
    rows = stopped(tmp_path, "0fa2", "vt-x")
    assert rows["CR0 guest/host mask"].note == "the VMM owns: PE, NE, WP, NW, CD, PG"
    assert rows["Guest CR0"].note == "real: PE, ET, NE, WP, PG"
    assert rows["CR0 read shadow"].note == "where masked, the guest reads: PE, ET"


def test_an_injected_exception_stands_in_the_vmcs(tmp_path: Path) -> None:
    rows = stopped(tmp_path, "0f33", "vt-x")  # rdpmc: the VMM injects #GP(0)
    assert rows["VM-entry interruption-information field"].note == "#GP, hardware exception, error code"
    assert rows["VM-entry interruption-information field"].mark is Mark.BY_VMM


@pytest.mark.parametrize(
    ("code", "expected"), [("fb 0fa2", "STI"), ("8cd0 8ed0 0fa2", "SS"), ("fb 90 0fa2", ""), ("fb 0fa2 0fa2", "STI")]
)
def test_interrupts_wait_for_one_instruction_behind_sti_and_mov_ss(tmp_path: Path, code: str, expected: str) -> None:
    run = Run(kernel_scenario(tmp_path / "guest", slots(bytes.fromhex(code))), "vt-x")
    while not any(event.form == "cpuid" for event in run.events):
        run.reach(run.position + 1)
    note = rows_of(run.technique.side())["Guest interruptibility state"]
    told = "STI" if "STI has" in (note.note or "") else "SS" if "SS has" in note.note else ""
    assert note.value == "00000000", "the VMM has emulated the instruction: nothing waits any more"
    assert (note.old not in ("", "00000000")) is bool(expected)
    image = {"STI": "00000001", "SS": "00000002", "": ""}[expected]
    assert note.old == image
    assert told == ""


def test_only_the_instruction_right_behind_sti_waits(tmp_path: Path) -> None:
    run = Run(kernel_scenario(tmp_path / "guest", slots(bytes.fromhex("fb 0fa2 0fa2"))), "vt-x")
    while sum(event.form == "cpuid" for event in run.events) < 2:
        run.reach(run.position + 1)
    assert rows_of(run.technique.side())["Guest interruptibility state"].mark is not Mark.BY_VMM


def test_the_vmcb_tells_exit_and_intercepts_in_words(tmp_path: Path) -> None:
    rows = stopped(tmp_path, "e680", "amd-v")
    assert rows["EXITCODE"].note.startswith("VMEXIT_IOIO")
    assert rows["EXITINFO1"].note == "OUT port 80h, 8 bits"
    assert rows["RIP"].mark is Mark.BY_VMM
    assert "IOIO_PROT" in rows["INTERCEPT_MISC1"].note
    assert rows["EXITCODE"].place == "070h"


def test_the_vmcb_holds_the_event_that_was_injected(tmp_path: Path) -> None:
    rows = stopped(tmp_path, "b900123400 0f32", "amd-v")  # rdmsr of a register that is not there
    assert rows["EVENTINJ"].note == "#GP, exception, error code 0h"


@pytest.mark.parametrize("cpu", ["p4-672", "nehalem", "westmere"])
@pytest.mark.parametrize("ring", [0, 3])
def test_what_the_vmcs_saved_is_the_state_of_the_cpu(tmp_path: Path, cpu: str, ring: int) -> None:
    """At each exit that the VMM answered by going on, the guest-state area loads back to the real CPU."""
    run = Run(kernel_scenario(tmp_path / "guest", every_kind_of_instruction(), ring=ring), "vt-x", cpu)
    technique = run.technique
    assert isinstance(technique, VtX)
    compared = 0
    while run.ended is None:
        count = len(run.events)
        run.reach(run.position + 1)
        new = run.events[count:]
        if not new or new[-1].via_ring != -1 or "injected" in new[-1].action:
            continue
        real = technique.real_state()
        loaded = load_guest(technique.vmx.vmcs.fields(), real)
        ours, theirs = fields_of(loaded), fields_of(real)
        for name in ours:
            differs = ours[name] ^ theirs[name]
            if name.endswith(".access"):
                differs &= ~_MARK_OF_ACCESSED
            if name == "eflags":
                differs &= ~Eflags.RF
            assert not differs, f"{name} after {new[-1].instruction}"
        compared += 1
    assert compared > (1 if ring else 5)


@pytest.mark.parametrize("technique", ["vt-x", "amd-v"])
def test_a_seek_gives_the_same_panel_as_a_run(technique: str) -> None:
    session = Session(find_scenario("popf-hole"), technique)
    straight: dict[int, Side | None] = {}
    for position in range(0, 600, 60):
        session.seek(position)
        straight[position] = session.snapshot().side
    session.seek(3000)
    for position in (540, 60, 300, 0):
        session.seek(position)
        assert session.snapshot().side == straight[position]
