"""`ringviz paper`: the whole table as people see it, and its verdict as an exit code."""

import json
from pathlib import Path

from tests.cli.program import as_process, one_complaint, ringviz, valid_json

GOLDEN = Path(__file__).parent.parent / "golden" / "paper" / "adams-agesen.txt"


def test_the_paper_of_2006_is_reproduced_as_on_file_wherever_it_runs(tmp_path: Path) -> None:
    result = as_process("paper", "adams-agesen", cwd=tmp_path, PYTHONHASHSEED="7", COLUMNS="200", TZ="Asia/Tokyo")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines() == GOLDEN.read_text(encoding="utf-8").splitlines()
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_scripts_get_paper_and_model_side_by_side() -> None:
    value = valid_json(ringviz("paper", "adams-agesen", "--json").stdout, "paper")
    assert (value["agree"], value["cpu"]) == (7, "p4-672")
    assert [operation["id"] for operation in value["operations"]] == [
        "syscall", "in", "cr8wr", "call/ret", "pgfault", "divzero", "ptemod",
    ]  # fmt: skip
    (row,) = value["operations"][1]["rows"]
    assert row["cycles"]["hardware"]["paper"] == 15826
    assert row["faster"] == {"paper": "software", "model": "software"}
    assert {price["price_of"] for price in value["prices"]} >= {"exit", "vmread", "vmm-work", "call (class)"}


def test_without_a_name_the_papers_are_listed() -> None:
    for arguments in (("paper",), ("paper", "--list")):
        assert "adams-agesen  Adams & Agesen 2006: " in ringviz(*arguments).stdout
    assert valid_json(ringviz("paper", "--json").stdout, "papers")["papers"][0]["id"] == "adams-agesen"


def test_an_unknown_paper_is_refused_in_one_line() -> None:
    assert 'paper "adams" unknown; choose one of adams-agesen' in one_complaint(ringviz("paper", "adams"))


CHEAP_EXITS = """
schema = 1
base = "p4-672"
title = "Pentium 4 with cheap exits"
[costs]
exit = 100
vmm-work = 50
vmread = 5
vmwrite = 5
"""


def test_a_profile_of_ones_own_changes_who_wins_at_writes_of_page_tables(tmp_path: Path) -> None:
    (tmp_path / "cheap.toml").write_text(CHEAP_EXITS, encoding="utf-8")
    result = ringviz("paper", "adams-agesen", "--json", "--cpu", "cheap.toml", cwd=tmp_path)
    assert result.returncode == 1
    value = valid_json(result.stdout, "paper")
    verdicts = {operation["id"]: operation for operation in value["operations"]}
    assert not verdicts["ptemod"]["agree"]
    assert verdicts["ptemod"]["rows"][0]["faster"] == {"paper": "software", "model": "hardware"}
    assert verdicts["divzero"]["agree"]
    prices = {price["price_of"]: price for price in value["prices"]}
    assert (prices["exit"]["cycles"], prices["exit"]["status"]) == (100, "yours")
    assert prices["native-exception"]["status"] == "seen"


def test_the_same_profile_turns_the_whole_run_too(tmp_path: Path) -> None:
    (tmp_path / "cheap.toml").write_text(CHEAP_EXITS, encoding="utf-8")
    arguments = ("compare", "nano-ptemod", "-t", "binary-translation", "-t", "vt-x", "--json")
    dear, cheap = (
        {
            run["technique"]: run["slowdown"]
            for run in json.loads(ringviz(*arguments, "--cpu", cpu, cwd=tmp_path).stdout)["runs"]
        }
        for cpu in ("p4-672", "cheap.toml")
    )
    assert dear["binary-translation"] < dear["vt-x"]
    assert cheap["binary-translation"] > cheap["vt-x"]


def test_a_profile_with_a_typo_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "cheap.toml").write_text(CHEAP_EXITS.replace("vmread", "vmraed"), encoding="utf-8")
    complaint = one_complaint(ringviz("paper", "adams-agesen", "--cpu", "cheap.toml", cwd=tmp_path))
    assert "cheap.toml: costs.vmraed" in complaint
    assert "vmread" in complaint
