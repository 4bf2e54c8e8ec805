"""What the guests print and how they end, under every technique, against what they printed in QEMU."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from ringviz.errors import UnsupportedError
from ringviz.guest import Scenario, list_scenarios
from ringviz.guest.scenario import find_scenario
from ringviz.vmm.registry import available, check_fits
from tests.vmm.lockstep import Run

GOLDEN = Path(__file__).parent.parent / "golden"
EXIT_CODES = tomllib.loads((GOLDEN / "exit_codes.toml").read_text(encoding="utf-8"))


def fits(scenario: Scenario, technique: str) -> bool:
    """Tell whether a technique takes a scenario."""
    try:
        check_fits(scenario, technique)
    except UnsupportedError:
        return False
    return True


PAIRS = [
    (scenario.id, technique) for scenario in list_scenarios() for technique in available() if fits(scenario, technique)
]
LIES = {
    "CLI, PUSHF",
    "STI, POPF asking IF = 0",
    "SIDT",
    "SGDT",
    "STR AX",
    "MOV AX, CS",
    "PUSH CS",
    "LAR of 0010",
    "LSL of 0010",
    "VERR of 0011",
    "VERW of 0011",
}
"""Questions of popf-hole that ring compression answers wrongly."""


def oracle(scenario_id: str, technique: str) -> bytes:
    """QEMU's console, or for the guest that ring compression deceives, what it was deceived into printing."""
    folder = GOLDEN
    if (scenario_id, technique) == ("popf-hole", "trap-emulate"):
        folder = GOLDEN / "trap-emulate"
    return (folder / f"{scenario_id}.console.txt").read_bytes()


@pytest.mark.parametrize(("scenario_id", "technique"), PAIRS)
def test_a_guest_prints_and_ends_as_expected(scenario_id: str, technique: str) -> None:
    run = Run(find_scenario(scenario_id), technique)
    run.finish()
    bus = run.technique.machine.bus
    assert bus.console.encode() == oracle(scenario_id, technique)
    assert run.ended is not None
    assert (run.ended.how, bus.exit_code) == ("exit", EXIT_CODES[scenario_id])


def test_ring_compression_lies_to_popf_hole_in_the_expected_lines_only() -> None:
    truth = oracle("popf-hole", "native").decode().splitlines()
    told = oracle("popf-hole", "trap-emulate").decode().splitlines()
    assert len(truth) == len(told)
    assert {a.split(" -> ")[0].strip() for a, b in zip(truth, told, strict=True) if a != b} == LIES
