"""The operating system in long mode: what it prints and how it ends, in QEMU, on bare metal, with hardware's help.

The software techniques refuse it, and say why.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cache

import pytest

from ringviz.cli.list import can_run
from ringviz.engine.fidelity import check_fidelity
from ringviz.engine.state_hash import guest_state_sha256
from ringviz.errors import UnsupportedError
from ringviz.guest.scenario import find_scenario
from ringviz.machine.devices.uart import Uart
from ringviz.vmm.events import Kind
from ringviz.vmm.host.host import Host, MachineSpec
from ringviz.vmm.registry import available, power_on
from tests.consoles import GOLDEN, behind, comparable
from tests.vmm.lockstep import Run, default_cpu, difference

TEACHOS64 = find_scenario("teachos64")
OK, NO_LONG_MODE = 1, 0x7D << 1 | 1
WAYS = (
    ("emulation", None, None),
    ("vt-x", "nested", "nehalem"),
    ("vt-x", "nested", "westmere"),
    ("amd-v", "nested", None),
)
"""Technique, way of memory virtualization, CPU."""
SAMPLED, STRIDE = 30_000, 997
"""So far a run is looked at often, and as often as that: past the first ticks, at every part of a loop."""


@cache
def bare_metal(cpu: str | None = None) -> Run:
    run = Run(TEACHOS64, "native", cpu)
    run.finish()
    return run


def said(run: Run) -> str:
    return run.technique.machine.bus.printed(Uart.name)


def test_bare_metal_says_what_qemu_says_and_runs_long_enough() -> None:
    run = bare_metal()
    bus = run.technique.machine.bus
    assert comparable("teachos64", said(run).encode("ascii")) == (GOLDEN / "teachos64.console.txt").read_bytes()
    assert run.ended is not None
    assert (run.ended.how, bus.exit_code) == ("exit", OK)
    assert run.position > 1_000_000
    ticks = int(bus.printed("debug-console").partition(" ")[0])
    due = run.technique.machine.now // 10_000  # a hundred a second
    assert due - 20 < ticks <= due + 1  # it takes tables apart with interrupts off, and misses some meanwhile
    assert run.technique.machine.idle > 150_000  # it sleeps while nobody is ready


def test_an_address_that_is_not_canonical_is_a_stack_fault_by_way_of_rsp() -> None:
    assert behind(said(bare_metal()), "[stack: ") == "stack fault; killed]"


@pytest.mark.parametrize(("technique", "mmu", "cpu"), WAYS)
def test_it_ends_as_on_bare_metal(technique: str, mmu: str | None, cpu: str | None) -> None:
    run, native = Run(TEACHOS64, technique, cpu, mmu=mmu), bare_metal(cpu or default_cpu(technique))
    run.finish()
    assert said(run) == said(native)
    assert run.position == native.position
    assert guest_state_sha256(run.technique) == guest_state_sha256(native.technique)
    assert difference(run, native) is None


@pytest.mark.parametrize(("technique", "mmu", "cpu"), WAYS)
def test_it_is_in_the_same_state_all_along(technique: str, mmu: str | None, cpu: str | None) -> None:
    run, native = Run(TEACHOS64, technique, cpu, mmu=mmu), Run(TEACHOS64, "native", cpu or default_cpu(technique))
    booting = range(1, 400, 7)
    for position in (*booting, *range(400, SAMPLED, STRIDE), *range(SAMPLED, 1_400_000, 100 * STRIDE)):
        run.reach(position)
        native.reach(position)
        assert difference(run, native) is None, position


def test_fidelity_holds_across_ticks_and_sleep() -> None:
    verdict = check_fidelity(TEACHOS64, "amd-v")
    assert verdict.identical, verdict.first_divergence


def test_nested_paging_hears_of_no_page_fault() -> None:
    run = Run(TEACHOS64, "amd-v", mmu="nested")
    run.finish()
    exits = Counter(event.cause for event in run.events if event.kind is Kind.EXIT)
    assert exits
    assert not [cause for cause in exits if "#PF" in cause or "CR3" in cause]


@pytest.mark.parametrize("technique", ["classic", "trap-emulate", "binary-translation", "paravirt"])
def test_a_software_technique_refuses_it_in_one_line(technique: str) -> None:
    with pytest.raises(UnsupportedError) as refused:
        power_on(TEACHOS64, technique)
    assert "teachos64" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_only_those_that_can_run_it_are_listed() -> None:
    able = {technique for technique in available() if can_run(technique, TEACHOS64)}
    assert able.isdisjoint({"classic", "trap-emulate", "binary-translation", "paravirt"})
    assert {"native", "emulation", "amd-v"} <= able


@pytest.mark.parametrize("technique", ["native", "amd-v"])
def test_a_cpu_without_long_mode_is_told_so(technique: str) -> None:
    run = Run(replace(TEACHOS64, guest=replace(TEACHOS64.guest, long=False)), technique)
    run.finish()
    assert said(run) == "teachos64 needs a CPU with long mode and no-execute pages\n"
    assert run.technique.machine.bus.exit_code == NO_LONG_MODE


@pytest.mark.parametrize(("technique", "cpu"), [("vt-x", "haswell"), ("amd-v", "barcelona")])
def test_it_powers_itself_off_soon_after_it_is_asked(technique: str, cpu: str) -> None:
    """The clock's interrupt looks at the exit port; whatever runs meanwhile, a hundred times a second."""
    host = Host(cpu, 32)
    machine = host.add(MachineSpec("teachos64", TEACHOS64, technique))
    host.run_until(1_500_000)
    assert machine.end is None
    machine.ask_to_shut_down()
    asked_at = machine.guest_ticks
    host.run_until(4_500_000)
    assert machine.end is not None
    assert machine.end.text == "the guest ended the run through port F4h, exit code 1"
    console = machine.technique.machine.bus.console
    assert "The machine is to be switched off.\nhalted: " in console
    printed = len(console) * 20  # instructions that wait for the serial port and give it a byte
    assert machine.guest_ticks - asked_at < 10_000 + printed
