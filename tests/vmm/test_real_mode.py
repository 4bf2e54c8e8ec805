"""Real-mode guests, in lockstep with bare metal under every technique that runs them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ringviz.facts.registers import Eflags, iopl
from tests.machine.guests import NASM
from tests.vmm.lockstep import Run, assert_lockstep, default_cpu, difference, silent_events
from tests.vmm.real_mode_guests import (
    END,
    EVERYDAY,
    INTERRUPTED,
    PROLOGUE,
    THERE_AND_BACK,
    UNREAL,
    VIRTUAL_8086,
    real_mode_scenario,
)

pytestmark = pytest.mark.skipif(NASM is None, reason="NASM is not installed (apt-get install nasm)")

GUESTS = {
    "everyday": EVERYDAY,
    "there and back": THERE_AND_BACK,
    "unreal": UNREAL,
    "virtual 8086": VIRTUAL_8086,
    "interrupted": INTERRUPTED,
}
WAYS: tuple[tuple[str, str | None, str | None], ...] = (
    ("emulation", None, None),
    ("classic", None, None),
    ("binary-translation", None, None),
    ("vt-x", "p4-672", "shadow"),
    ("vt-x", "nehalem", "nested"),
    ("vt-x", "westmere", "nested"),
    ("amd-v", None, "nested"),
    ("amd-v", None, "shadow"),
)
"""Technique, CPU, MMU; Nehalem has EPT and no unrestricted guest."""


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("guest", GUESTS)
def test_a_real_mode_guest_is_the_same_at_every_instruction(
    tmp_path: Path, guest: str, way: tuple[str, str | None, str | None]
) -> None:
    technique, cpu, mmu = way
    run = assert_lockstep(real_mode_scenario(tmp_path / "guest", GUESTS[guest]), technique, cpu=cpu, mmu=mmu)
    assert run.ended is not None
    assert run.ended.how == "halted"


@pytest.mark.parametrize("technique", ["classic", "binary-translation"])
def test_real_mode_really_runs_in_virtual_8086_mode_and_shows_nothing_of_it(tmp_path: Path, technique: str) -> None:
    run = Run(real_mode_scenario(tmp_path / "guest", PROLOGUE + "pushfd\n pop eax\n" + END), technique)
    run.reach(5)
    real, guest = run.technique.real_state(), run.technique.guest_state()
    assert (real.cpl, real.eflags & Eflags.VM, real.eflags & Eflags.IF) == (3, Eflags.VM, Eflags.IF)
    assert iopl(real.eflags) == 0
    assert (guest.cpl, guest.eflags) == (0, 2 | guest.eflags & ~(Eflags.VM | Eflags.IF | Eflags.IOPL))
    run.finish()
    assert run.technique.guest_state().gpr[0] & ~0x8D5 == 2


def test_only_three_instructions_are_silent_in_virtual_8086_mode(tmp_path: Path) -> None:
    scenario = real_mode_scenario(tmp_path / "guest", EVERYDAY)
    run = Run(scenario, "trap-emulate")
    run.finish()
    assert [event.form for event in silent_events(run)] == ["sidt", "sgdt", "smsw"]
    native, again = Run(scenario, "native", default_cpu("trap-emulate")), Run(scenario, "trap-emulate")
    for position in range(1, silent_events(run)[0].at + 1):
        native.reach(position)
        again.reach(position)
        assert difference(native, again) is None, position


def test_the_stretch_behind_mov_cr0_is_interpreted_until_cs_and_ss_are_loaded(tmp_path: Path) -> None:
    run = Run(real_mode_scenario(tmp_path / "guest", THERE_AND_BACK), "trap-emulate")
    run.finish()
    first = [event for event in run.events if event.cause == "interpreted"][:5]
    assert [event.form for event in first] == ["pushf", "jmp-far", "mov-to-sreg", "mov-to-sreg", "mov-to-sreg"]
    assert all("real mode" in event.rule for event in first)
    assert run.technique.tallies()["interpreted-instruction"] > 0


def test_big_real_mode_is_interpreted_and_every_instruction_counts_as_the_vmms(tmp_path: Path) -> None:
    scenario = real_mode_scenario(tmp_path / "guest", UNREAL)
    for technique in ("classic", "binary-translation", "vt-x"):
        run = Run(scenario, technique)
        run.finish()
        interpreted = sum("interpreted-instruction" in event.charges for event in run.events)
        interpreted += run.technique.tallies()["interpreted-instruction"]
        assert interpreted > 60
        assert run.position - run.technique.completed_by_vmm() < 20


def test_positions_and_counts_are_the_same_however_a_run_is_cut_up(tmp_path: Path) -> None:
    for name, source in GUESTS.items():
        scenario = real_mode_scenario(tmp_path / name.replace(" ", "-"), source)
        for technique in ("classic", "binary-translation", "vt-x"):
            whole, cut = Run(scenario, technique), Run(scenario, technique)
            whole.finish()
            while cut.ended is None:
                cut.reach(cut.position + 1)
                saved = cut.technique.save()
                cut.technique.restore(saved)
            assert cut.events == whole.events
            assert cut.technique.completed_by_vmm() == whole.technique.completed_by_vmm()
            assert cut.technique.tallies() == whole.technique.tallies()


def test_a_guest_in_real_mode_exits_from_virtual_8086_mode_on_the_first_vt_x_cpus(tmp_path: Path) -> None:
    run = Run(real_mode_scenario(tmp_path / "guest", PROLOGUE + "cli\n int 0x21\n" + END), "vt-x", "p4-672")
    assert (run.technique.real_state().cpl, run.technique.real_state().cr0 & 1) == (3, 1)
    run.reach(6)
    assert run.events[-1].form == "cli"
    assert run.events[-1].cause == "VM exit 0, Exception or NMI"
    assert dict(run.events[-1].detail)["VM_EXIT_INTR_INFO"] == "80000B0Dh"
