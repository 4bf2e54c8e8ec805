from pathlib import Path

import pytest

from tests.cli.program import as_process, ringviz, valid_json


def test_list_json_is_what_the_contract_promises() -> None:
    listed = valid_json(ringviz("list", "--json").stdout, "list")
    ids = {scenario["id"]: scenario["techniques"] for scenario in listed["scenarios"]}
    assert {"hello-serial", "paging-tour", "popf-hole", "rings-tour", "syscall-roundtrip"} <= set(ids)
    assert listed["techniques"][0]["id"] == "native"
    assert "native" in ids["popf-hole"]
    hosts = [host["id"] for host in listed["hosts"]]
    assert hosts == sorted(hosts)
    assert {"noisy-neighbour", "overcommit", "policy-failover"} <= set(hosts)


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
    for name in ("popf-hole", "paging-tour", "native", "trap-emulate", "amd-v", "noisy-neighbour"):
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


@pytest.mark.parametrize("command", ["list", "cpus"])
def test_no_escape_sequence_reaches_a_pipe(command: str) -> None:
    assert "\x1b" not in as_process(command, TERM="xterm-256color", FORCE_COLOR="1").stdout
