from pathlib import Path

import pytest

from ringviz.facts.costs import CPU_PROFILES
from ringviz.facts.cpu_features import CPU_FEATURES
from tests.cli.program import ringviz, valid_json


def test_list_json_is_what_the_contract_promises() -> None:
    listed = valid_json(ringviz("list", "--json").stdout, "list")
    ids = {scenario["id"]: scenario["techniques"] for scenario in listed["scenarios"]}
    assert {"hello-serial", "paging-tour", "popf-hole", "rings-tour", "syscall-roundtrip"} <= set(ids)
    assert listed["techniques"][0]["id"] == "native"
    assert "native" in ids["popf-hole"]


def test_a_scenario_lists_only_techniques_that_can_run_it() -> None:
    listed = valid_json(ringviz("list", "--json").stdout, "list")
    every = [technique["id"] for technique in listed["techniques"]]
    ids = {scenario["id"]: scenario["techniques"] for scenario in listed["scenarios"]}
    assert set(ids["hello-serial"]) <= set(every)
    for scenario, techniques in ids.items():
        for technique in every:
            if technique not in techniques:
                assert ringviz("stat", scenario, "-t", technique).returncode == 2
    assert "trap-emulate" in ids["paging-tour"]
    assert ringviz("stat", "paging-tour", "-t", "trap-emulate").returncode == 0


def test_list_names_every_scenario_and_technique_within_eighty_columns() -> None:
    text = ringviz("list").stdout
    for name in ("popf-hole", "paging-tour", "native", "trap-emulate", "amd-v"):
        assert name in text
    assert max(len(line) for line in text.splitlines()) <= 80


def test_a_broken_folder_does_not_hide_the_others(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "scenario.toml").write_text("schema = 2\n")
    result = ringviz("list", "--json", RINGVIZ_SCENARIOS=str(tmp_path))
    assert result.returncode == 0
    assert "broken" in result.stderr
    assert result.stderr.count("\n") == 1
    assert "broken" not in [scenario["id"] for scenario in valid_json(result.stdout, "list")["scenarios"]]


def test_cpus_json_is_what_the_contract_promises() -> None:
    listed = valid_json(ringviz("cpus", "--json").stdout, "cpus")
    assert [cpu["id"] for cpu in listed["cpus"]] == list(CPU_PROFILES)
    for cpu in listed["cpus"]:
        profile = CPU_PROFILES[cpu["id"]]
        assert set(cpu["features"]) == profile.features
        assert {cost["cause"]: cost["cycles"] for cost in cpu["costs"]} == {
            cause: cost.cycles for cause, cost in profile.costs.items()
        }
        assert "remembered" not in {cost["source"]["status"] for cost in cpu["costs"]}


def test_cpus_json_of_one_cpu_is_that_one() -> None:
    listed = valid_json(ringviz("cpus", "nehalem", "--json").stdout, "cpus")
    assert [cpu["id"] for cpu in listed["cpus"]] == ["nehalem"]
    assert listed["cpus"][0]["cpuid"]["family"] == 6


def test_cpus_names_a_source_for_every_figure_of_every_cpu() -> None:
    text = " ".join(ringviz("cpus").stdout.split())
    for profile in CPU_PROFILES.values():
        assert profile.title in text
        for cost in profile.costs.values():
            assert cost.source.work in text
            assert cost.cause in text
    assert "modelled" in text


@pytest.mark.parametrize("cpu", CPU_PROFILES)
def test_one_cpu_is_shown_with_every_price_its_source_and_how_well_it_is_known(cpu: str) -> None:
    text = " ".join(ringviz("cpus", cpu).stdout.split())
    profile = CPU_PROFILES[cpu]
    for cost in profile.costs.values():
        price = "unknown" if cost.cycles is None else f"{cost.cycles:,}"
        assert f"{cost.cause} {price} {cost.source.work}" in text
        assert f"[{cost.source.status.value}" in text
    for feature in profile.features:
        assert feature in text
    others = {other.title for other in CPU_PROFILES.values()} - {profile.title}
    assert not any(f"{title} (" in text for title in others)


def test_what_a_cpu_borrows_is_named_with_its_lender_in_the_list_of_all() -> None:
    text = " ".join(ringviz("cpus").stdout.split())
    assert "No figure for this CPU; the Core 2's is shown: interpreted-instruction 64, vmm-work 520" in text
    features = text[text.index("What the features are") :].split()
    assert set(CPU_FEATURES) <= set(features)


@pytest.mark.parametrize("arguments", [("cpus",), ("cpus", "skylake"), ("cpus", "barcelona")])
def test_cpus_fit_eighty_columns(arguments: tuple[str, ...]) -> None:
    assert max(len(line) for line in ringviz(*arguments).stdout.splitlines()) <= 80


def test_an_unknown_cpu_is_refused_in_one_line_with_the_nearest_name() -> None:
    result = ringviz("cpus", "nehalm")
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert 'CPU "nehalm" unknown; choose one of p4-672, core2' in result.stderr
    assert 'did you mean "nehalem"?' in result.stderr


@pytest.mark.parametrize("command", ["list", "cpus"])
def test_no_escape_sequence_reaches_a_pipe(command: str) -> None:
    assert "\x1b" not in ringviz(command, TERM="xterm-256color", FORCE_COLOR="1").stdout
