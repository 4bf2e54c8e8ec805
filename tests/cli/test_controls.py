"""The playground on the command line: `--control`, and the list of what can be flipped."""

from __future__ import annotations

import json

from tests.cli.program import one_complaint, ringviz, valid_json


def test_the_list_names_what_is_on_and_why_some_cannot_change() -> None:
    text = ringviz("controls", "-t", "vt-x").stdout
    assert "Pentium 4 672" in text
    assert "hlt-exiting" in text
    assert "no allowed" in " ".join(text.split())


def test_the_list_is_there_for_scripts() -> None:
    told = json.loads(ringviz("controls", "-t", "amd-v", "--json").stdout)
    assert (told["schema"], told["technique"], told["mmu"], told["cpu"]) == (1, "amd-v", "nested", "barcelona")
    rows = {row["id"]: row for row in told["controls"]}
    assert rows["cpuid"]["on"]
    assert not rows["popf"]["on"]
    assert rows["vmrun"]["rule"]
    assert rows["popf"]["rule"] is None


def test_a_technique_without_controls_says_so() -> None:
    assert "no controls" in ringviz("controls", "-t", "classic").stdout
    assert json.loads(ringviz("controls", "-t", "native", "--json").stdout)["controls"] == []


def test_stat_takes_controls_with_either_sign() -> None:
    plain = valid_json(ringviz("stat", "hello-serial", "-t", "amd-v", "--json").stdout, "stat")
    freed = valid_json(ringviz("stat", "hello-serial", "-t", "amd-v", "--control", "-ioio", "--json").stdout, "stat")
    assert plain["safety"] == {"attempts": 0, "contained": 0}
    assert freed["safety"]["attempts"] > 0
    assert freed["safety"]["contained"] == 0
    assert freed["console"] == plain["console"]
    assert {event["cause"] for event in freed["events"]} == {"native-port-io"}


def test_an_escape_is_told_in_the_trace() -> None:
    text = ringviz("trace", "hello-serial", "-t", "vt-x", "--control", "-use-io-bitmaps").stdout
    assert "Escaped: no control of the VMCS asks for an exit: this is the machine's own port" in text


def test_compare_gives_each_technique_the_controls_that_it_has() -> None:
    arguments = ("compare", "popf-hole", "-t", "native", "-t", "vt-x", "-t", "amd-v", "--control", "+popf", "--json")
    runs = {run["technique"]: run for run in valid_json(ringviz(*arguments).stdout, "compare")["runs"]}
    count = {name: sum(e["count"] for e in run["events"] if e["cause"] == "exit") for name, run in runs.items()}
    assert count["amd-v"] > count["vt-x"] > count["native"] == 0
    assert all(run["fidelity"]["identical"] for run in runs.values())


def test_what_nobody_knows_is_one_line() -> None:
    assert "hlt-exiting" in one_complaint(ringviz("stat", "hello-serial", "-t", "vt-x", "--control", "+hlt-exitin"))
    assert "vmrun" in one_complaint(ringviz("compare", "hello-serial", "-t", "amd-v", "--control", "+vmrum"))


def test_what_the_hardware_forbids_is_one_line() -> None:
    complaint = one_complaint(ringviz("stat", "hello-serial", "-t", "vt-x", "--control", "-cr3-load-exiting"))
    assert "no allowed 0-setting on the Intel Pentium 4 672" in complaint
