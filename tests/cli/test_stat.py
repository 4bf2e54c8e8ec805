from pathlib import Path

import pytest

from tests.cli.guests import from_bytes
from tests.cli.program import as_process, one_complaint, ringviz, valid_json

TECHNIQUES = ("native", "trap-emulate", "amd-v")


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_stat_json_is_what_the_contract_promises(technique: str) -> None:
    result = ringviz("stat", "rings-tour", "-t", technique, "--json")
    assert (result.returncode, result.stderr) == (0, "")
    stat = valid_json(result.stdout, "stat")
    assert (stat["scenario"], stat["technique"]) == ("rings-tour", technique)
    assert stat["fidelity"] is None
    assert stat["slowdown"] is None
    assert 0 <= stat["direct"] <= stat["retired"]
    assert stat["cycles"]["guest"] + stat["cycles"]["overhead"] == stat["cycles"]["total"]
    assert stat["safety"]["contained"] == stat["safety"]["attempts"]


def test_stat_json_gives_the_same_bytes_twice() -> None:
    arguments = ("stat", "rings-tour", "-t", "trap-emulate", "--json")
    assert ringviz(*arguments).stdout == as_process(*arguments, COLUMNS="200", LC_ALL="C", PYTHONHASHSEED="1").stdout


def test_trap_and_emulate_pays_for_what_bare_metal_has_for_nothing() -> None:
    native, virtual = (
        valid_json(ringviz("stat", "rings-tour", "-t", technique, "--json").stdout, "stat")
        for technique in ("native", "trap-emulate")
    )
    assert native["cycles"]["overhead"] == 0
    assert virtual["cycles"]["overhead"] > 0
    assert native["console"] == virtual["console"] != ""


def test_fidelity_needs_the_bare_metal_run_and_gives_slowdown_too() -> None:
    stat = valid_json(ringviz("stat", "rings-tour", "-t", "amd-v", "--fidelity", "--json").stdout, "stat")
    assert stat["fidelity"] == {"identical": True, "first_divergence": None, "closely_until": None}
    assert stat["slowdown"] >= 1


def test_divergence_at_silent_instructions_is_what_trap_and_emulate_is_known_for_and_no_failure() -> None:
    result = ringviz("stat", "popf-hole", "-t", "trap-emulate", "--fidelity", "--json")
    stat = valid_json(result.stdout, "stat")
    assert result.returncode == 0
    assert stat["fidelity"]["identical"] is False
    assert stat["fidelity"]["first_divergence"]["native"] != stat["fidelity"]["first_divergence"]["here"]


def test_the_text_has_every_cause_of_the_json_and_says_that_cycles_are_modelled() -> None:
    arguments = ("stat", "rings-tour", "-t", "trap-emulate")
    stat = valid_json(ringviz(*arguments, "--json").stdout, "stat")
    text = ringviz(*arguments).stdout
    for event in stat["events"]:
        line = next(line for line in text.splitlines() if line.startswith(event["cause"]))
        assert f"{event['count']:,}" in line.split()
        assert f"{event['cycles']:,}" in line.split()
    assert f"{stat['cycles']['total']:,}" in text
    assert f"{stat['retired']:,} guest instructions" in text
    assert "modelled" in text
    for line in stat["console"].splitlines():
        assert f"  {line}" in text


def test_the_ledger_has_prices_with_their_status_and_adds_up() -> None:
    stat = valid_json(ringviz("stat", "rings-tour", "-t", "vt-x", "--json").stdout, "stat")
    rows = {row["cause"]: row for row in stat["ledger"]["rows"]}
    assert sum(row["cycles"] for row in rows.values()) == stat["cycles"]["total"]
    assert all(rows[event["cause"]]["cycles"] == event["cycles"] for event in stat["events"])
    assert rows["exit"]["low"] <= rows["exit"]["each"] <= rows["exit"]["high"]
    assert rows["native-gate"]["status"] == "borrowed"
    assert stat["ledger"]["overhead_curve"][-1] == stat["cycles"]["overhead"]
    assert all(r["count"] * r["least_cycles"] <= r["cycles"] <= r["count"] * r["most_cycles"] for r in stat["reasons"])


def test_instructions_are_charged_by_class_and_that_is_said() -> None:
    told = valid_json(ringviz("stat", "rings-tour", "--json").stdout, "stat")
    row = next(row for row in told["ledger"]["rows"] if row["cause"] == "guest-instruction")
    assert (row["each"], row["count"], row["status"]) == (None, told["direct"], "chosen by ringviz")
    assert row["cycles"] + sum(event["cycles"] for event in told["events"]) == told["cycles"]["total"]
    assert row["cycles"] > told["direct"]
    text = " ".join(ringviz("stat", "rings-tour").stdout.split())
    assert "by class: Instructions that the CPU runs by itself cost the weight of their class" in text


def test_the_text_says_what_is_borrowed_or_unknown_why_the_vmm_was_entered_and_what_would_help() -> None:
    text = ringviz("stat", "rings-tour", "-t", "paravirt", "--cpu", "core2").stdout
    assert "* borrowed: no figure for this very thing" in text
    assert "unknown: no figure, counted and not charged" in text
    line = next(line for line in text.splitlines() if "INT 82h" in line)
    least, average, most = (int(number.replace(",", "")) for number in line.split()[6:9])
    assert 0 < least < average < most
    assert "The dearest causes, and what would make them cheaper:" in text
    assert "Ask for more at once" in text or "fewer and larger transfers" in text


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_the_text_fits_eighty_columns_and_has_no_colour_in_a_pipe(technique: str) -> None:
    text = ringviz("stat", "rings-tour", "-t", technique, "--fidelity", FORCE_COLOR="1").stdout
    assert "\x1b" not in text
    assert max(len(line) for line in text.splitlines()) <= 80


def test_page_walks_are_counted_where_they_are_asked_for() -> None:
    arguments = ("stat", "paging-tour", "-t", "amd-v", "--mmu", "nested")
    assert valid_json(ringviz(*arguments, "--json").stdout, "stat")["walks"] is None
    result = ringviz(*arguments, "--walks")
    walks = valid_json(ringviz(*arguments, "--walks", "--json").stdout, "stat")["walks"]
    assert walks["nested"]
    assert walks["references"]["two_dimensions"] > 4 * walks["references"]["one_dimension"]
    assert "Modelled TLB: 64 entries, 4 ways, LRU" in result.stdout
    for number in (walks["accesses"], walks["misses"]["data"], walks["references"]["cpu"]):
        assert any(line.split()[:1] == [f"{number:,}"] for line in result.stdout.splitlines())
    section = result.stdout[result.stdout.index("Page walks") : result.stdout.index("The guest printed")]
    assert max(len(line) for line in section.splitlines()) <= 80
    assert "Page walks" not in ringviz(*arguments).stdout


def test_page_walks_of_full_emulation_are_refused_with_the_reason() -> None:
    complaint = one_complaint(ringviz("stat", "paging-tour", "-t", "emulation", "--walks"))
    assert "has no page walks to count" in complaint


def test_a_scenario_that_a_technique_cannot_run_is_refused_with_the_reason(tmp_path: Path) -> None:
    guest = from_bytes(tmp_path, "f4", start="real")
    assert "needs a kernel that was recompiled" in one_complaint(ringviz("stat", guest, "-t", "paravirt"))


def test_a_technique_that_a_cpu_does_not_have_is_refused() -> None:
    assert "p4-672" in one_complaint(ringviz("stat", "rings-tour", "-t", "amd-v", "--cpu", "p4-672"))


def test_a_recompiled_kernel_says_what_it_took_and_is_compared_at_markers() -> None:
    result = ringviz("stat", "rings-tour", "-t", "paravirt", "--fidelity")
    assert (result.returncode, result.stderr) == (0, "")
    assert "source lines were written for the VMM" in result.stdout
    assert "Fidelity: identical at 7 markers" in result.stdout
    stat = valid_json(ringviz("stat", "rings-tour", "-t", "paravirt", "--fidelity", "--json").stdout, "stat")
    assert (stat["mmu"], stat["fidelity"]) == (
        "direct",
        {"identical": True, "first_divergence": None, "closely_until": None},
    )
    assert stat["slowdown"] > 0
    assert "source lines" not in ringviz("stat", "rings-tour", "-t", "native").stdout


def test_a_kernel_that_was_not_recompiled_is_refused_in_one_line() -> None:
    complaint = one_complaint(ringviz("stat", "msr-and-cr", "-t", "paravirt"))
    assert "needs a kernel that was recompiled for it; this one executes lgdt" in complaint
