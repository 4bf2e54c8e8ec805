"""`ringviz paper`: the whole table as people see it, and its verdict as an exit code."""

from pathlib import Path

from tests.cli.program import one_complaint, ringviz, valid_json

GOLDEN = Path(__file__).parent.parent / "golden" / "paper" / "adams-agesen.txt"


def test_the_paper_of_2006_is_reproduced_as_on_file_wherever_it_runs(tmp_path: Path) -> None:
    result = ringviz("paper", "adams-agesen", cwd=tmp_path, PYTHONHASHSEED="7", COLUMNS="200", TZ="Asia/Tokyo")
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
