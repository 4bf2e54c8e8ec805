"""`ringviz consolidate`: the table, its arithmetic, what it rests on."""

from pathlib import Path

from tests.cli.program import as_process, one_complaint, ringviz, valid_json

ARGUMENTS = ("consolidate", "rings-tour", "-t", "vt-x", "--cpu", "core2", "--load", "2.5", "--memory", "100")


def test_the_arithmetic_is_shown_line_by_line_and_comes_to_what_the_json_says() -> None:
    value = valid_json(ringviz(*ARGUMENTS, "--json").stdout, "consolidate")
    (row,) = value["rows"]
    result = ringviz(*ARGUMENTS)
    assert (result.returncode, result.stderr) == (0, "")
    text = result.stdout
    assert f"slowdown = {row['total_cycles']:,} / {row['native_cycles']:,} cycles of bare metal" in text
    assert "2,660,000,000 cycles a second × 2.5 % = 66,500,000 cycles a second" in text
    assert f"= {row['copies_by_cpu']}\n" in text
    assert f"the smaller of both: {row['copies']}" in text
    assert row["copies"] == min(row["copies_by_cpu"], row["copies_by_memory"])
    for line in value["assumptions"]:
        assert line.split()[0] in text
    assert "vt-x, nested on core2: the CPU has no nested paging" in text
    assert max(map(len, text.splitlines())) <= 80


def test_every_generation_is_there_and_those_without_the_technique_are_left_out_with_the_reason() -> None:
    value = valid_json(ringviz("consolidate", "hello-serial", "-t", "amd-v", "--json").stdout, "consolidate")
    assert [(row["cpu"], row["mmu"]) for row in value["rows"]] == [
        ("k8-revf", "shadow"), ("barcelona", "nested"), ("barcelona", "shadow"),
    ]  # fmt: skip
    assert {(row["cpu"], row["reason"]) for row in value["left_out"]} >= {
        ("p4-672", "the CPU has no amd-v"), ("k8-revf", "the CPU has no nested paging"),
    }  # fmt: skip


def test_page_walks_are_charged_where_they_are_asked_for_and_it_is_said_where_not() -> None:
    arguments = ("consolidate", "paging-tour", "-t", "vt-x", "-t", "emulation", "--cpu", "nehalem", "--json")
    without, counted = (valid_json(ringviz(*arguments, *more).stdout, "consolidate") for more in ((), ("--walks",)))
    assert [row["mmu"] for row in counted["rows"]] == ["nested", "shadow", "shadow"]
    for before, after in zip(without["rows"], counted["rows"], strict=True):
        assert after["native_cycles"] > before["native_cycles"]
        assert (after["total_cycles"] > before["total_cycles"]) == (before["technique"] == "vt-x")
    assert any("--walks counts them" in line for line in without["assumptions"])
    assert not any("--walks counts them" in line for line in counted["assumptions"])


def test_a_cpu_of_ones_own_has_its_own_prices(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('schema = 1\nbase = "core2"\n[costs]\nexit = 100\n', encoding="utf-8")
    arguments = ("consolidate", "hello-serial", "-t", "vt-x", "--json", "--cpu")
    mine = valid_json(ringviz(*arguments, "mine.toml", cwd=tmp_path).stdout, "consolidate")
    theirs = valid_json(ringviz(*arguments, "core2").stdout, "consolidate")
    assert mine["rows"][0]["cpu"] == "mine.toml"
    assert mine["rows"][0]["total_cycles"] == theirs["rows"][0]["total_cycles"] - 448 * (1579 - 100)
    stat = ringviz("stat", "hello-serial", "-t", "vt-x", "--cpu", "mine.toml", cwd=tmp_path).stdout
    assert "100^" in stat
    assert "^ from your own profile file." in stat


def test_the_same_command_gives_the_same_bytes() -> None:
    assert ringviz(*ARGUMENTS).stdout == as_process(*ARGUMENTS, PYTHONHASHSEED="1", COLUMNS="200").stdout


def test_what_is_no_load_is_refused_in_one_line() -> None:
    assert "expected per cent of one CPU" in one_complaint(ringviz("consolidate", "rings-tour", "--load", "much"))
    assert "expected per cent of one CPU" in one_complaint(ringviz("consolidate", "rings-tour", "--load", "1/0"))
