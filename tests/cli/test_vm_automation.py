"""Rules, orders and whole hosts at the command line: `ringviz vm run --policy`, `vm policy`, `vm demo`, `run HOST`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ringviz.cli.main import main
from ringviz.record.machines.room import Room
from tests.cli.guests import needs_nasm
from tests.record.machines.guests import writer

RULES = """
schema = 1
[[orders]]
at = 1_000_000
machine = "web"
do = "cap"
value = 40
[[rules]]
name = "calm"
machine = "web"
when = "share"
over = 90
do = "snapshot"
"""


class Program:
    """Commands within this process."""

    def __init__(self, output: pytest.CaptureFixture[str]) -> None:
        self._output = output

    def __call__(self, *arguments: str) -> str:
        code = main(arguments)
        printed, complained = self._output.readouterr()
        assert (code, complained) == (0, "")
        return printed

    def json(self, *arguments: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self(*arguments, "--json"))
        return found

    def complaint(self, *arguments: str) -> str:
        code = main(arguments)
        printed, complained = self._output.readouterr()
        assert (code, printed) == (2, "")
        assert complained[:-1].isprintable()
        return complained.removeprefix("ringviz: ").rstrip("\n")


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Program:
    monkeypatch.setenv("RINGVIZ_MACHINES", str(tmp_path / "room"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rules.toml").write_text(RULES)
    return Program(capsys)


@pytest.fixture
def web(program: Program, tmp_path: Path) -> Program:
    """With a machine that is on."""
    writer(tmp_path / "writer")
    (tmp_path / "web.toml").write_text('schema = 1\nscenario = "./writer"\ntechnique = "vt-x"\n')
    program("vm", "define", "web", "web.toml")
    program("vm", "start", "web")
    return program


@needs_nasm
def test_a_policy_is_followed_and_what_it_did_is_kept(web: Program) -> None:
    dry = web.json("vm", "run", "--for", "100", "--policy", "rules.toml", "--dry-run")
    assert dry["audit"] == []
    text = web("vm", "run", "--for", "1500000", "--policy", "rules.toml")
    assert "What the host has done by itself" in text
    assert "calm: snapshot web: done  (web: share over 90 %: 1" in text
    listed = web.json("vm", "audit")["audit"]
    assert [(entry["who"], entry["what"]) for entry in listed] == [
        ("(order)", "cap web 40 %"),
        ("calm", "snapshot web"),
    ]
    assert web.json("vm", "show", "web")["snapshots"] == {"calm-1": "running"}
    assert "(order): cap web 40 %: done" in web("vm", "audit")


@needs_nasm
def test_whatever_tells_cycles_or_times_of_a_host_says_that_they_are_modelled(web: Program) -> None:
    web("vm", "run", "--for", "1100000", "--policy", "rules.toml")
    for command in (
        ("vm", "run", "--for", "1000"),
        ("vm", "list"),
        ("vm", "show", "web"),
        ("vm", "audit"),
        ("vm", "pages"),
        ("vm", "policy", "check", "rules.toml"),
        ("vm", "demo", "migration-quiet"),
        ("migrate", "migration-quiet"),
        ("consolidate", "hello-serial", "-t", "vt-x", "--load", "50"),
    ):
        assert "modelled" in web(*command), command


@needs_nasm
def test_a_share_reaches_a_host_that_is_at_work(web: Program, tmp_path: Path) -> None:
    at_work = Room(tmp_path / "room", lambda: 0)
    ordered = web("vm", "share", "web", "--cap", "25", "--wait", "0")
    assert "it takes the order when its accounting period is over" in ordered
    late = web.complaint("vm", "pause", "web", "--wait", "0.1")
    assert "has not come to the end of an accounting period within 0.1 s; the order is withdrawn" in late
    assert web.complaint("vm", "share", "wob", "--cap", "25").startswith('no machine "wob"; there are web')
    assert web.complaint("vm", "share", "web", "--cap", "250").startswith("web: cap_percent: found 250")
    at_work.run(2_000_000)
    at_work.close()
    assert web.json("vm", "show", "web")["cap_percent"] == 25
    assert [entry["at"] // 100_000 for entry in web.json("vm", "audit")["audit"]] == [10]


def test_a_policy_is_checked_and_told_in_words(program: Program, tmp_path: Path) -> None:
    assert program("vm", "policy", "check", "rules.toml") == (
        "Cycles are those of the host, and modelled\n"
        "At 1,000,000 cycles: cap web 40 %\ncalm: when web's share over 90 %: snapshot web; released at 90\n"
    )
    assert program.json("vm", "policy", "check", "rules.toml")["rules"][0]["name"] == "calm"
    (tmp_path / "wrong.toml").write_text(RULES.replace('"snapshot"', '"teleport"'))
    assert program.complaint("vm", "policy", "check", "wrong.toml").startswith(
        'wrong.toml: rules[1] calm: do: found "teleport"'
    )
    assert "rules.tom: cannot be read" in program.complaint("vm", "policy", "check", "rules.tom")
    assert program.complaint("vm", "run", "--policy", "rules.toml").startswith(
        'rules.toml: machine "web": is not there; there are none'
    )
    assert program.complaint("vm", "run", "--dry-run").startswith("--dry-run: is for the rules of a policy")
    assert "stolen" in program("vm", "policy", "words")
    assert "has done nothing by itself yet" in program("vm", "audit")


def test_run_noisy_neighbour_shows_a_cap_changed_live_and_the_neighbour_recovering(program: Program) -> None:
    text = program("run", "noisy-neighbour")
    before, after = text.split("(order): cap noisy 20 %: done")
    assert "neighbour  25.1 %         74.9 %" in before
    assert "neighbour  79.9 %         20.1 %" in after
    assert "x" in after.split("noisy     |")[1].split("|")[0]
    assert "expected no options" in program.complaint("run", "noisy-neighbour", "--technique", "vt-x")
    assert "the app needs a terminal" in program.complaint("run", "migration-writer", "--technique", "vt-x")


def test_policy_failover_switches_another_machine_on_and_makes_room_for_it(program: Program) -> None:
    ran = program.json("vm", "demo", "policy-failover")
    assert [(entry["who"], entry["what"], entry["result"]) for entry in ran["audit"]] == [
        ("(order)", "stop primary", "done"),
        ("failover", "start standby", "done"),
        ("make-room", "cap batch 10 %", "done"),
        ("work-done", "cap batch none", "done"),
    ]
    assert [round(chapter["machines"]["standby"]["share"] / 10) for chapter in ran["chapters"]] == [0, 0, 2, 9, 0]
    assert ran["machines"]["standby"]["state"] == "stopped"
    assert ran["machines"]["standby"]["ended"].endswith("exit code 1")


def test_overcommit_policy_makes_room_and_gives_it_back_without_following_its_own_effect(program: Program) -> None:
    story = program.json("vm", "demo", "overcommit-policy")
    told = [entry for entry in story["audit"] if entry["who"] == "make-room"]
    assert [(entry["what"], entry["result"]) for entry in told] == [
        ("balloon batch to 3 MiB", "done"),
        ("balloon batch empty", "done"),
        ("balloon batch to 3 MiB", "done"),
    ]
    assert "the host: free-memory under 20 %: 1" in told[0]["why"]
    assert told[1]["why"].startswith("released: 5")
    assert told[1]["at"] - told[0]["at"] > 5_000_000  # though it was above 20 % again long before
    assert story["machines"]["web"]["state"] == "running"


def test_the_hosts_are_listed(program: Program) -> None:
    hosts = {host["id"] for host in program.json("vm", "demo")["hosts"]}
    assert hosts >= {"migration-quiet", "migration-writer", "noisy-neighbour", "policy-failover"}
    assert "noisy-neighbour" in program("vm", "demo")
    assert program.complaint("vm", "demo", "noisy").startswith('host "noisy" unknown; choose one of ')
