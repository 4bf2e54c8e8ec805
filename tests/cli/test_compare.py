import json
from pathlib import Path
from typing import Any

import pytest

from ringviz.engine import compare as engine
from ringviz.engine.compare import Comparison
from tests.cli.guests import from_bytes
from tests.cli.program import as_process, once, ringviz, valid_json

SILENT = ("pushf", "popf", "sidt", "sgdt", "smsw", "str", "mov ax, cs", "push cs", "lar", "lsl", "verr", "verw")
"""Robin & Irvine's list, as far as `popf-hole` can tell the answers apart."""


_made: dict[str, Comparison] = {}


@pytest.fixture(autouse=True)
def _one_comparison_serves_all_its_forms(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make each comparison once, however often it is asked for in this process, and have it told each time."""
    compare = engine.compare

    def once_for_all(*question: Any) -> Comparison:
        scenario, techniques, cpu, _, controls = question
        key = repr((scenario, techniques, cpu, controls))
        if key not in _made:
            _made[key] = compare(*question)
        return _made[key]

    monkeypatch.setattr(engine, "compare", once_for_all)


def test_compare_json_is_what_the_contract_promises() -> None:
    result = once("compare", "popf-hole", "--json")
    assert (result.returncode, result.stderr) == (0, "")
    comparison = valid_json(result.stdout, "compare")
    runs = {run["technique"]: valid_json(json.dumps(run), "stat") for run in comparison["runs"]}
    assert next(iter(runs)) == "native"
    assert {"trap-emulate", "amd-v"} < set(runs)
    assert runs["native"]["fidelity"]["identical"]
    assert runs["amd-v"]["fidelity"]["identical"]
    assert not runs["trap-emulate"]["fidelity"]["identical"]
    assert runs["native"]["slowdown"] == 1


def test_compare_gives_the_same_bytes_twice() -> None:
    for form in (("-t", "native", "-t", "trap-emulate", "-t", "amd-v"), ("--json",)):
        arguments = ("compare", "popf-hole", *form)
        assert once(*arguments).stdout == as_process(*arguments, PYTHONHASHSEED="1", COLUMNS="200").stdout


def test_popf_hole_is_the_same_on_bare_metal_and_amd_v_and_trap_and_emulate_fails_at_every_silent_instruction() -> None:
    result = once("compare", "popf-hole")
    assert (result.returncode, result.stderr) == (0, "")
    cards = section(result.stdout, "Technique           Fidelity")
    assert "holds: the reference" in cards["native"]
    assert "holds: identical" in cards["amd-v"]
    assert "fails: differs" in cards["trap-emulate"]
    assert "fails: 0.0 %" in cards["emulation"]
    named = table_of(result.stdout, "trap-emulate")
    for instruction in SILENT:
        assert any(row.startswith(instruction) for row in named), instruction
    assert all(row.startswith(SILENT) for row in named), "nowhere else"
    assert "amd-v: where" not in result.stdout


def test_the_json_names_the_first_silent_instruction_with_both_values() -> None:
    runs = json.loads(ringviz("compare", "popf-hole", "-t", "trap-emulate", "--json").stdout)["runs"]
    first = runs[0]["fidelity"]["first_divergence"]
    assert first["instruction"].startswith(SILENT)
    assert first["native"] != first["here"]


def test_the_brief_comparison_is_one_line_a_technique() -> None:
    result = ringviz("compare", "popf-hole", "-t", "native", "-t", "trap-emulate", "-t", "amd-v", "--brief")
    assert (result.returncode, result.stderr) == (0, "")
    rows, _, note = result.stdout.partition("Cycles are modelled for ")
    assert "`ringviz cpus ID`" in note
    titles, *lines = rows.splitlines()
    assert titles.split() == ["Technique", "Fidelity", "Performance", "Safety", "Direct", "Slowdown"]
    assert [line.split()[0] for line in lines] == ["native", "trap-emulate", "amd-v"]
    assert lines[0].split()[1] == lines[2].split()[1] == "holds"
    assert lines[1].split()[1] == "fails"


def section(text: str, titles: str) -> dict[str, str]:
    """Give the rows of the table that begins with these titles, by their first word."""
    after = text.partition(titles)[2].partition("\n\n")[0]
    return {line.split()[0]: line for line in after.splitlines()[1:]}


def test_the_scorecard_says_what_each_property_asks_for_by_whose_word_and_where_ringviz_drew_its_line() -> None:
    text = " ".join(ringviz("compare", "rings-tour", "-t", "native", "-t", "emulation").stdout.split())
    for part in ("Fidelity (equivalence)", "Performance (efficiency)", "Safety (resource control)"):
        assert part in text
    assert "Adams & Agesen 2006, section 2" in text
    assert "ringviz asks for half" in text


def table_of(text: str, technique: str) -> list[str]:
    """Give the rows of the table of differences, from the instruction on; lines that only continue one are left out."""
    _, _, after = text.partition(f"{technique}: where the guest sees something else than on bare metal\n")
    titles, *lines = after.partition("\n\n")[0].splitlines()
    column = titles.index("Instruction")
    return [line[column:] for line in lines if line[:column].strip()]


def test_the_text_fits_eighty_columns_and_shows_rings_and_shares() -> None:
    text = once("compare", "rings-tour").stdout
    assert max(len(line) for line in text.splitlines()) <= 80
    rows = section(text, "Technique           VMM/kernel")
    assert "- / 0" in rows["native"]
    assert "- / -" in rows["emulation"]
    assert "0 / 1" in rows["trap-emulate"]
    assert "-1 / 0" in rows["amd-v"]
    assert "modelled" in text


@pytest.mark.parametrize("scenario", ["popf-hole", "paging-tour"])
def test_differences_and_refusals_fit_eighty_columns_too(scenario: str) -> None:
    assert max(len(line) for line in once("compare", scenario).stdout.splitlines()) <= 80


def test_the_text_says_for_which_cpu_the_cycles_of_each_run_are_modelled() -> None:
    text = " ".join(ringviz("compare", "rings-tour", "-t", "native", "-t", "amd-v").stdout.split())
    assert "Cycles are modelled for Intel Pentium 4 672 (native) and AMD Opteron (Barcelona) (amd-v)." in text


def test_only_the_named_techniques_are_run() -> None:
    comparison = valid_json(ringviz("compare", "rings-tour", "-t", "amd-v", "-t", "native", "--json").stdout, "compare")
    assert {run["technique"] for run in comparison["runs"]} == {"amd-v", "native"}


def test_a_technique_that_cannot_run_the_scenario_is_listed_with_the_reason(tmp_path: Path) -> None:
    guest = from_bytes(tmp_path, "f4", start="real")
    result = ringviz("compare", guest)
    assert result.returncode == 0
    line = next(line for line in result.stdout.splitlines() if line.startswith("paravirt was not run"))
    assert "paravirt needs a kernel" in line
    comparison = valid_json(ringviz("compare", guest, "--json").stdout, "compare")
    ran = {run["technique"] for run in comparison["runs"]}
    assert {"native", "amd-v", "trap-emulate", "vt-x"} <= ran
    assert "paravirt" not in ran
