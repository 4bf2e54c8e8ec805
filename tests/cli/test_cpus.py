"""`ringviz cpus`: tables on file, sources for every figure, and a profile file that reads back.

A changed golden is a decision: `RINGVIZ_ACCEPT_GOLDENS=1 pytest tests/cli/test_cpus.py` writes it anew; read the diff.
"""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from ringviz.cli.cpu_report import causes, one_cpu, overview
from ringviz.facts.causes import CAUSES
from ringviz.facts.costs import BUILT_IN_CPUS
from ringviz.facts.cpu_features import CPU_FEATURES, vendor_of
from ringviz.facts.instruction_weights import CLASSES
from ringviz.machine.profile_file import load_profile
from ringviz.machine.profile_text import profile_toml
from tests.cli.program import one_complaint, ringviz, valid_json

GOLDEN = Path(__file__).parent.parent / "golden" / "cpus"


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("overview", overview),
        ("p4-672", lambda: one_cpu(BUILT_IN_CPUS["p4-672"])),
        ("barcelona", lambda: one_cpu(BUILT_IN_CPUS["barcelona"])),
        ("causes", causes),
        ("p4-672.toml", lambda: profile_toml(BUILT_IN_CPUS["p4-672"])),
    ],
)
def test_what_cpus_prints_is_on_file(name: str, lines: Callable[[], Iterable[str]]) -> None:
    printed = "".join(f"{line}\n" for line in lines())
    golden = GOLDEN / f"{name}.txt"
    if os.environ.get("RINGVIZ_ACCEPT_GOLDENS"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(printed, encoding="utf-8")
    assert printed == golden.read_text(encoding="utf-8")
    if not name.endswith(".toml"):
        assert max(map(len, printed.splitlines())) <= 80


@pytest.mark.parametrize(("name", "arguments"), [("overview", ()), ("causes", ("--causes",))])
def test_the_command_prints_what_is_on_file(name: str, arguments: tuple[str, ...]) -> None:
    assert ringviz("cpus", *arguments).stdout == (GOLDEN / f"{name}.txt").read_text(encoding="utf-8")


def test_cpus_json_is_what_the_contract_promises() -> None:
    listed = valid_json(ringviz("cpus", "--json").stdout, "cpus")
    assert [cpu["id"] for cpu in listed["cpus"]] == list(BUILT_IN_CPUS)
    for cpu in listed["cpus"]:
        profile = BUILT_IN_CPUS[cpu["id"]]
        assert set(cpu["features"]) == profile.features
        assert set(cpu["features"]) | set(cpu["lacks"]) == {f for f in CPU_FEATURES if vendor_of(f) == profile.vendor}
        assert {cost["cause"]: cost["cycles"] for cost in cpu["costs"]} == {
            cause: cost.cycles for cause, cost in profile.costs.items()
        }
        assert {cost["source"]["status"] for cost in cpu["costs"]} <= {"seen", "computed", "borrowed", "chosen"}
        assert {row["class"]: row["hundredths_of_a_cycle"] for row in cpu["weights"]} == {
            row.id: row.weight for row in CLASSES.values()
        }
    nehalem = next(cpu for cpu in listed["cpus"] if cpu["id"] == "nehalem")
    assert nehalem["cpuid"]["family"] == 6
    lenders = {cost["cause"]: cost["borrowed_from"] for cost in nehalem["costs"]}
    assert (lenders["exit"], lenders["vmread"], lenders["trap-emulate"]) == (None, "Core 2", "P4 672")


@pytest.mark.parametrize("cpu", BUILT_IN_CPUS)
def test_one_cpu_is_shown_with_every_price_its_source_and_how_well_it_is_known(cpu: str) -> None:
    profile = BUILT_IN_CPUS[cpu]
    lines = list(one_cpu(profile))
    assert max(map(len, lines)) <= 80
    text = " ".join(" ".join(lines).split())
    for cost in profile.costs.values():
        is_open = cost.cycles is not None and cost.low != cost.high
        price = "unknown" if cost.cycles is None else f"{cost.cycles:,}"
        spread = f" {cost.low:,} to {cost.high:,}" if is_open else ""
        status = "unknown" if cost.cycles is None else cost.source.status.name.lower()
        assert f" {cost.cause} {price}{spread} {status} {CAUSES[cost.cause].title}: {cost.source.work}" in text
    for feature in CPU_FEATURES.values():
        if vendor_of(feature.id) == profile.vendor:
            assert f"{'+' if feature.id in profile.features else '-'} {feature.id} " in text
    others = {other.title for other in BUILT_IN_CPUS.values()} - {profile.title}
    assert not any(f"{title} (" in text for title in others)


def test_causes_are_there_for_programs_too() -> None:
    listed = valid_json(ringviz("cpus", "--causes", "--json").stdout, "causes")
    assert [cause["id"] for cause in listed["causes"]] == list(CAUSES)


def test_an_unknown_cpu_is_refused_in_one_line_with_the_nearest_name() -> None:
    complaint = one_complaint(ringviz("cpus", "nehalm"))
    assert 'CPU "nehalm" unknown; choose one of p4-672, core2' in complaint
    assert 'did you mean "nehalem"?' in complaint


@pytest.mark.parametrize("arguments", [("--toml",), ("p4-672", "--causes")])
def test_options_that_do_not_go_together_are_refused(arguments: tuple[str, ...]) -> None:
    one_complaint(ringviz("cpus", *arguments))


def test_a_profile_that_was_printed_is_read_again_and_shown_with_what_was_changed(tmp_path: Path) -> None:
    printed = ringviz("cpus", "p4-672", "--toml").stdout
    assert printed == (GOLDEN / "p4-672.toml.txt").read_text(encoding="utf-8")
    assert "vm-exit = 1931\n" in printed
    edited = tmp_path / "my.toml"
    edited.write_text(printed.replace("vm-exit = 1931", "vm-exit = 91"), encoding="utf-8")
    result = ringviz("cpus", str(edited), "--json")
    assert str(tmp_path) not in result.stdout
    (cpu,) = valid_json(result.stdout, "cpus")["cpus"]
    costs = {cost["cause"]: cost for cost in cpu["costs"]}
    yours = {cause for cause, cost in costs.items() if cost["source"]["status"] == "yours"}
    assert yours == {"vm-exit", "exit"}
    assert (costs["vm-exit"]["cycles"], costs["exit"]["cycles"]) == (91, 2409 + 91)
    assert {costs[cause]["source"]["work"] for cause in yours} == {"my.toml"}
    assert (cpu["id"], cpu["base"], cpu["title"]) == ("my.toml", "p4-672", "Intel Pentium 4 672, edited")
    lines = list(one_cpu(load_profile(str(edited))))
    assert "exit                       2,500                  yours" in lines
    assert max(map(len, lines)) <= 80


def test_an_edited_profile_is_charged_and_a_broken_one_is_refused_by_every_command(tmp_path: Path) -> None:
    good, bad = tmp_path / "cheap.toml", tmp_path / "typo.toml"
    good.write_text('schema = 1\nbase = "p4-672"\n[costs]\nexit = 100\n')
    bad.write_text('schema = 1\nbase = "p4-672"\n[costs]\nexti = 100\n')
    told = valid_json(ringviz("stat", "hello-serial", "-t", "vt-x", "--cpu", str(good), "--json").stdout, "stat")
    assert told["cpu"] == "cheap.toml"
    exits = next(event for event in told["events"] if event["cause"] == "exit")
    assert exits["cycles"] == 100 * exits["count"] > 0
    for command in (
        ("compare", "hello-serial", "--cpu"),
        ("cpus",),
        ("run", "hello-serial", "--cpu"),
    ):
        complaint = one_complaint(ringviz(*command, str(bad)))
        assert "typo.toml: costs.exti: unknown cause, expected one of " in complaint
        assert complaint.endswith('did you mean "exit"?\n')
