from pathlib import Path

import pytest

from ringviz.facts.costs import CPU_PROFILES
from tests.cli.program import ringviz, valid_json


def test_list_json_is_what_the_contract_promises() -> None:
    listed = valid_json(ringviz("list", "--json").stdout, "list")
    ids = {scenario["id"]: scenario["techniques"] for scenario in listed["scenarios"]}
    assert {"hello-serial", "paging-tour", "popf-hole", "rings-tour", "syscall-roundtrip"} <= set(ids)
    assert listed["techniques"][0]["id"] == "native"
    assert "native" in ids["popf-hole"]


def test_a_scenario_lists_only_techniques_that_can_run_it() -> None:
    listed = valid_json(ringviz("list", "--json").stdout, "list")
    ids = {scenario["id"]: scenario["techniques"] for scenario in listed["scenarios"]}
    assert "trap-emulate" in ids["rings-tour"]
    assert "trap-emulate" not in ids["paging-tour"]
    for scenario, techniques in ids.items():
        refused = [technique for technique in ("native", "trap-emulate", "amd-v") if technique not in techniques]
        for technique in refused:
            assert ringviz("stat", scenario, "-t", technique).returncode == 2


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


def test_cpus_names_a_source_for_every_figure_of_every_cpu() -> None:
    text = " ".join(ringviz("cpus").stdout.split())
    for profile in CPU_PROFILES.values():
        assert profile.title in text
        for cost in profile.costs.values():
            assert cost.source.work in text
    assert "modelled" in text


@pytest.mark.parametrize("command", ["list", "cpus"])
def test_no_escape_sequence_reaches_a_pipe(command: str) -> None:
    assert "\x1b" not in ringviz(command, TERM="xterm-256color", FORCE_COLOR="1").stdout
