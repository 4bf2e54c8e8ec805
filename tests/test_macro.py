"""The two benchmarks on teachos: one console and one end under every technique, and the winner of the paper of 2006."""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType

import pytest

from ringviz.engine.fidelity import check_fidelity
from ringviz.engine.generations import over_generations
from ringviz.engine.state_hash import guest_state_sha256
from ringviz.engine.work import count_work
from ringviz.facts.costs import CPU_PROFILES
from ringviz.guest.scenario import Scenario, find_scenario
from ringviz.machine.devices import Uart
from ringviz.vmm.registry import choose
from tests.consoles import GOLDEN
from tests.vmm.lockstep import Run, default_cpu

FORKWAIT, COMPILE_LIKE = find_scenario("forkwait"), find_scenario("compile-like")
both = pytest.mark.parametrize("scenario", [FORKWAIT, COMPILE_LIKE], ids=lambda scenario: scenario.id)
OK = 1
FAITHFUL = (
    ("emulation", None, None),
    ("classic", None, None),
    ("binary-translation", None, None),
    ("vt-x", "shadow", "p4-672"),
    ("vt-x", "nested", "nehalem"),
    ("amd-v", "shadow", None),
    ("amd-v", "nested", None),
)


def make_program() -> ModuleType:
    """The script that writes the text that compile-like compiles."""
    spec = spec_from_file_location("make_program", COMPILE_LIKE.path / "make_program.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@both
def test_it_ends_in_one_state_and_says_one_thing_under_every_faithful_technique(scenario: Scenario) -> None:
    said = (GOLDEN / f"{scenario.id}.console.txt").read_text(encoding="ascii")
    states: dict[str, str] = {}
    for technique, mmu, cpu in (("native", None, None), *FAITHFUL):
        run = Run(scenario, technique, cpu or default_cpu(technique), mmu=mmu)
        run.finish()
        bus = run.technique.machine.bus
        assert (bus.printed(Uart.name), bus.exit_code) == (said, OK), technique
        cpu_id = cpu or default_cpu(technique)
        if cpu_id not in states:  # firmware tells a guest of its CPU, so each CPU has a state of its own
            native = Run(scenario, "native", cpu_id)
            native.finish()
            states[cpu_id] = guest_state_sha256(native.technique)
        assert guest_state_sha256(run.technique) == states[cpu_id], technique


@both
def test_recompiled_for_a_hypervisor_it_means_the_same_at_its_markers(scenario: Scenario) -> None:
    verdict = check_fidelity(scenario, "paravirt")
    assert verdict.identical, verdict.first_divergence
    assert verdict.markers == 2


@both
def test_on_the_pentium_4_the_paper_and_the_model_have_the_same_winner(scenario: Scenario) -> None:
    result = over_generations(scenario, ["binary-translation", "vt-x"], cpus=[CPU_PROFILES["p4-672"]])
    (beside,) = result.beside_the_paper()
    assert beside.same_winner
    assert 1 < beside.software.slowdown < beside.hardware.slowdown
    assert not beside.software.lent_percent  # the paper's CPU: no price is another's


def test_each_child_of_forkwait_costs_bare_metal_the_same() -> None:
    work = count_work(FORKWAIT, "native", choose("native"))
    assert work.bill.native == {"native-gate": 3 * 40, "native-page-fault": 2 * 40}  # fork, wait, exit; two copies
    assert not work.bill.vmm
    assert work.walks is not None
    assert work.walks.misses % 40 == 0
    assert not work.walks.is_nested


def test_compile_like_hardly_ever_leaves_ring_3_and_forkwait_hardly_stays_there() -> None:
    for scenario, most, least in ((FORKWAIT, 0.02, 0.0), (COMPILE_LIKE, 1.0, 0.75)):
        run = Run(scenario, "native")
        steps = in_ring_3 = 0
        position = 100_000
        while run.ended is None and position < 1_000_000:
            run.reach(position)
            steps += 1
            in_ring_3 += run.technique.guest_state().cpl == 3
            position += 9_973  # prime: no rhythm of the guest's
        assert least <= in_ring_3 / steps <= most, scenario.id


def test_what_compile_like_computes_is_what_python_makes_of_the_same_text() -> None:
    maker = make_program()
    text = (COMPILE_LIKE.path / "program.txt").read_text(encoding="ascii")
    assert text == maker.make_program()
    said = (GOLDEN / "compile-like.console.txt").read_text(encoding="ascii")
    texts = 40
    assert f"{texts} texts; all values add up to {maker.value_of(text) * texts % 2**32}\n" in said
