"""What the guests print and how they end, under every technique, against what they printed in QEMU.

The runs are those of `tests/cli/told.py`, which other tests read too.
"""

from __future__ import annotations

import re
import tomllib

import pytest

from ringviz.cli.list import can_run
from ringviz.guest.scenario import find_scenario
from ringviz.vmm.registry import available, choose, power_on
from ringviz.vmm.ring_compression.layout import HOLE
from tests.cli.told import told
from tests.consoles import GOLDEN, MACHINE_DEPENDENT, behind, comparable
from tests.short_scenarios import SHORT

EXIT_CODES = tomllib.loads((GOLDEN / "exit_codes.toml").read_text(encoding="utf-8"))
PAIRS = [(scenario.id, technique) for scenario in SHORT for technique in available() if can_run(technique, scenario)]
LIES = {
    "popf-hole": (
        " -> ",
        {"CLI, PUSHF", "STI, POPF asking IF = 0", "SIDT", "SGDT", "STR AX", "MOV AX, CS", "PUSH CS"}
        | {"LAR of 0010", "LSL of 0010", "VERR of 0011", "VERW of 0011"},
    ),
    "sensitive-17": (
        " ",
        {"SGDT", "SIDT", "SLDT", "SMSW", "PUSHF", "POPF", "LAR", "LSL", "VERR", "VERW", "PUSH", "CALL", "JMP", "RET"}
        | {"STR", "MOV"},
    ),
    "msr-and-cr": ("  ", {"SMSW the same, low half"}),
    "escape-attempts": (
        "  ",
        {"SIDT says the IDT at", "SGDT says the GDT at", "read there", "write there", "read there + 8"},
    ),
}
"""Questions that ring compression answers wrongly: all of sensitive-17's eighteen but POP and INT n. First, what stands
between question and answer."""


def running(scenario_id: str) -> list[str]:
    """The techniques that can run a scenario."""
    return [technique for scenario, technique in PAIRS if scenario == scenario_id]


def oracle(scenario_id: str, technique: str) -> bytes:
    """QEMU's console, or for a guest that ring compression deceives, what it was deceived into printing."""
    name = f"{scenario_id}.console.txt"
    deceived = GOLDEN / "trap-emulate" / name
    return (deceived if technique == "trap-emulate" and deceived.exists() else GOLDEN / name).read_bytes()


@pytest.mark.parametrize(("scenario_id", "technique"), PAIRS)
def test_a_guest_prints_and_ends_as_expected(scenario_id: str, technique: str) -> None:
    scenario = find_scenario(scenario_id)
    if scenario.guest.svm and not power_on(scenario, technique, choose(technique, scenario=scenario)).lends_svm:
        pytest.skip("it keeps AMD-V to itself: see test_nested_svm")
    run = told(scenario, technique)
    assert comparable(scenario_id, run.console.encode("latin-1")) == oracle(scenario_id, technique)
    assert (run.outcome, run.exit_code) == ("exit", EXIT_CODES[scenario_id])


@pytest.mark.parametrize("scenario_id", LIES)
def test_ring_compression_lies_in_the_expected_lines_only(scenario_id: str) -> None:
    separator, lies = LIES[scenario_id]
    truth = oracle(scenario_id, "native").decode().splitlines()
    told = oracle(scenario_id, "trap-emulate").decode().splitlines()
    assert len(truth) == len(told)
    assert {a.strip().split(separator)[0].strip() for a, b in zip(truth, told, strict=True) if a != b} == lies


@pytest.mark.parametrize("technique", running("cpuid-loop"))
def test_cpuid_loop_names_a_cpu(technique: str) -> None:
    said = behind(told(find_scenario("cpuid-loop"), technique).console, "Vendor ")
    assert re.fullmatch(r"(GenuineIntel|AuthenticAMD), highest leaf [0-9A-F]{8}, signature [0-9A-F]{8}", said)


def test_hypercall_ping_finds_nobody_on_bare_metal() -> None:
    console = told(find_scenario("hypercall-ping"), "native").console
    assert behind(console, "CPUID 1, ECX bit 31 -> ") == "0: nobody who would say so."
    assert behind(console, "CPUID 40000000 -> ") == 'EAX 00000000, name "............"'


@pytest.mark.parametrize("technique", running("msr-and-cr"))
def test_msr_and_cr_is_refused_what_the_manual_forbids(technique: str) -> None:
    console = told(find_scenario("msr-and-cr"), technique).console
    assert {behind(console, label) for label in MACHINE_DEPENDENT["msr-and-cr"]} == {"#GP"}


@pytest.mark.parametrize("technique", running("escape-attempts"))
def test_escape_attempts_finds_nobody_wherever_the_vmm_really_is(technique: str) -> None:
    console = told(find_scenario("escape-attempts"), technique).console
    for label in MACHINE_DEPENDENT["escape-attempts"]:
        expected = "#GP"
        if label.startswith(("  read 0", "  read 8", "  read FFC", "  copy")):
            expected = "FFFF5678, memory" if "00FFFFFE" in label else "FFFFFFFF, nobody"
        assert behind(console, label).strip() == expected, label


@pytest.mark.parametrize("technique", ["classic", "trap-emulate", "binary-translation"])
def test_what_the_cut_off_segments_keep_away_is_told_as_such(technique: str) -> None:
    causes = {
        (int(match[1], 16) >= HOLE, cause.split(" at ")[0])
        for cause, action in told(find_scenario("escape-attempts"), technique).attempts
        if (match := re.search(r"\((\w{8})h\)", action))
    }
    assert causes == {(True, "#GP(0)"), (False, "#PF")}
