"""Slowdown against year: events counted once, priced for each CPU."""

from __future__ import annotations

from fractions import Fraction

import pytest

from ringviz.engine.bill import NESTED_WALK, WALK_REFERENCE, Bill
from ringviz.engine.generations import (
    USUAL,
    WAYS,
    Generations,
    Point,
    generations_json,
    has_walks,
    over_generations,
    priced,
    ways_of,
)
from ringviz.engine.stat import stat
from ringviz.engine.walk_count import WalkCount
from ringviz.engine.work import Work, count_work
from ringviz.errors import InputError, ScenarioError, UnsupportedError
from ringviz.facts.costs import CPU_PROFILES, cost_of
from ringviz.facts.techniques import TECHNIQUES
from ringviz.guest.scenario import find_scenario
from ringviz.vmm.registry import choose
from tests.ui.fake_years import fake_years

GUEST = find_scenario("syscall-roundtrip")
P4, NEHALEM = CPU_PROFILES["p4-672"], CPU_PROFILES["nehalem"]
ENDING = ("exit", 1, "")
WEIGHT = 250
"""Hundredths of a cycle for each instruction."""


def work(direct: int, walks: WalkCount | None = None, **causes: int) -> Work:
    counts = {cause.replace("_", "-"): count for cause, count in causes.items()}
    return Work(0, direct, Bill(direct, 0, counts, {}, WEIGHT * direct), ENDING, asks_the_cpu=False, walks=walks)


def test_a_run_is_priced_cause_by_cause_with_the_prices_of_the_cpu() -> None:
    rows = {row.cause: row for row in priced(work(1_000, exit=3, native_gate=2), P4)}
    assert rows["guest-instruction"].cycles == 2_500
    assert rows["exit"].cycles == 3 * cost_of(P4, "exit").charged_cycles
    assert rows["native-gate"].count == 2
    assert not any(row.is_lent for row in rows.values())
    point = Point(USUAL[0], P4, 500, tuple(rows.values()), has_walks=False)
    assert point.cycles == sum(row.cycles or 0 for row in rows.values())
    assert point.slowdown == Fraction(point.cycles, 500)


def test_what_has_no_figure_is_counted_and_named_and_charged_nothing() -> None:
    (unknown, *_) = [cause for cause, cost in P4.costs.items() if cost.cycles is None]
    rows = priced(work(10, None, **{unknown.replace("-", "_"): 7}), P4)
    point = Point(USUAL[0], P4, 10, rows, has_walks=False)
    assert point.unknown == (unknown,)
    assert point.cycles == 25


def test_a_price_that_another_cpu_has_lent_is_said_to_be_lent() -> None:
    rows = priced(work(1_000, hidden_fault=2), NEHALEM)
    point = Point(USUAL[0], NEHALEM, 1_000, rows, has_walks=False)
    assert point.lent_percent == 100
    assert Point(USUAL[0], P4, 1_000, priced(work(1_000, hidden_fault=2), P4), has_walks=False).lent_percent == 0


def test_page_walks_are_priced_only_where_each_dimension_has_a_price() -> None:
    walks = WalkCount(
        instructions=10, accesses=10, code_misses=0, data_misses=1, failed_walks=1, flushes=0,
        references=17, one_dimension=2, two_dimensions=14, is_nested=True, unresolved=0,
    )  # fmt: skip
    nested = work(10, walks)
    for cpu in CPU_PROFILES.values():
        prices = [cost_of(cpu, cause).cycles for cause in (WALK_REFERENCE, NESTED_WALK)]
        assert has_walks(nested, cpu) == (None not in prices), cpu.id
        counted = {row.cause: row.count for row in priced(nested, cpu)}
        assert (counted[WALK_REFERENCE], counted[NESTED_WALK]) == (5, 12)  # a walk in vain read three
    assert not has_walks(work(10), P4)


def test_the_turn_is_the_first_cpu_of_a_maker_on_which_hardware_is_cheaper() -> None:
    result = fake_years(
        "made-up",
        {
            "p4-672": {"binary-translation": 300, "vt-x-shadow": 400},
            "core2": {"binary-translation": 300, "vt-x-shadow": 301},
            "k8-revf": {"binary-translation": 300, "amd-v-shadow": 200},
            "nehalem": {"binary-translation": 300, "vt-x-shadow": 310, "vt-x-nested": 120},
            "westmere": {"binary-translation": 300, "vt-x-nested": 110},
        },
    )
    intel, amd = result.turns()
    assert [software.cpu.id for software, _ in intel.before] == ["p4-672", "core2"]
    assert intel.at is not None
    assert (intel.at[1].cpu.id, intel.at[1].way.id) == ("nehalem", "vt-x-nested")
    assert amd.before == ()
    assert amd.at is not None
    assert amd.at[1].way.id == "amd-v-shadow"


def test_hardware_that_never_catches_up_has_no_turn() -> None:
    (turn,) = fake_years("made-up", {"p4-672": {"binary-translation": 300, "vt-x-shadow": 400}}).turns()
    assert turn.at is None
    assert len(turn.before) == 1


def test_the_paper_stands_beside_the_scenario_that_is_made_like_its_workload() -> None:
    points = fake_years("made-up", {"p4-672": {"binary-translation": 300, "vt-x-shadow": 200}}).points
    (beside,) = Generations("forkwait", True, {}, (), points, ()).beside_the_paper()
    assert not beside.same_winner  # the paper's: 6.1 against 17.7
    assert list(Generations("other", True, {}, (), points, ()).beside_the_paper()) == []


@pytest.fixture(scope="module")
def result() -> Generations:
    return over_generations(GUEST)


def test_each_technique_has_a_point_on_each_cpu_that_has_it_and_nowhere_else(result: Generations) -> None:
    for way in USUAL:
        needs = TECHNIQUES[way.technique].needs_feature
        for cpu in CPU_PROFILES.values():
            is_to_be_had = (needs is None or needs in cpu.features) and (
                way.mmu != "nested" or cpu.features & {"ept", "npt"}
            )
            is_recompiled = way.technique != "paravirt" or GUEST.guest.paravirt
            assert (result.at(way.id, cpu.id) is not None) == bool(is_to_be_had and is_recompiled), (way.id, cpu.id)


def test_points_stand_by_year(result: Generations) -> None:
    years = [point.cpu.year for point in result.points]
    assert years == sorted(years)


def test_cpus_that_share_a_run_would_have_had_the_same_one(result: Generations) -> None:
    ways = {way.id: way for way in WAYS}
    for counted in result.counted:
        last = counted.cpus[-1]
        if counted.way not in ways or len(counted.cpus) == 1:
            continue
        technique, mmu = ways[counted.way].technique, ways[counted.way].mmu
        again = count_work(GUEST, technique, choose(technique, mmu, last))
        assert (again.begin, again.end) == (counted.work.begin, counted.work.end)
        assert again.bill == counted.work.bill, (counted.way, last)
        assert again.walks == counted.work.walks, (counted.way, last)


def test_a_whole_run_costs_what_stat_says_but_for_its_page_walks(result: Generations) -> None:
    for way_id, technique, mmu, cpu in (
        ("binary-translation", "binary-translation", None, "p4-672"),
        ("vt-x-shadow", "vt-x", "shadow", "core2"),
        ("amd-v-nested", "amd-v", "nested", "barcelona"),
    ):
        point = result.at(way_id, cpu)
        assert point is not None
        walks = sum(row.cycles or 0 for row in point.rows if row.cause in ("walk-reference", "nested-walk"))
        assert point.cycles - walks == stat(GUEST, technique, mmu, cpu).cycles.total, way_id


def test_a_guest_that_asks_the_cpu_who_it_is_runs_on_each() -> None:
    cpus = [P4, CPU_PROFILES["core2"]]
    asks = over_generations(find_scenario("cpuid-loop"), ["binary-translation"], cpus=cpus)
    # The first run says that it asks; from then on each CPU has its own.
    assert [counted.cpus for counted in asks.counted if counted.way != "native"] == [("p4-672",), ("core2",)]
    assert all(len(counted.cpus) == 1 for counted in asks.counted)
    does_not = over_generations(GUEST, ["binary-translation"], cpus=cpus)
    assert [counted.cpus for counted in does_not.counted] == [("p4-672", "core2")] * 2


def test_a_guest_without_markers_is_counted_whole(result: Generations) -> None:
    assert not result.has_markers
    assert {counted.work.begin for counted in result.counted} == {0}


def test_a_guest_with_one_marker_only_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ringviz.engine.work.markers_of", lambda _map: {0x100000: "marker_begin"})
    with pytest.raises(ScenarioError, match="expected marker_begin and marker_end"):
        count_work(GUEST, "native", choose("native"))


def test_a_technique_that_diverges_has_no_points_and_the_reason_is_given() -> None:
    result = over_generations(find_scenario("popf-hole"), ["trap-emulate"], cpus=[P4])
    assert result.points == ()
    assert result.left_out == (
        ("trap-emulate", "its run ends otherwise than that of bare metal: it has not done the same work"),
    )


def test_a_technique_that_cannot_run_the_guest_is_left_out_unless_it_was_named() -> None:
    only_64 = find_scenario("teachos64")
    with pytest.raises(UnsupportedError):
        over_generations(only_64, ["binary-translation"], cpus=[P4])
    with pytest.raises(InputError, match="unknown"):
        ways_of(["nonsense"])


def test_json_has_every_point_with_rows_that_add_up(result: Generations) -> None:
    told = generations_json(result)
    points = told["points"]
    assert isinstance(points, list)
    assert len(points) == len(result.points)
    for point in points:
        assert sum(row["cycles"] or 0 for row in point["rows"]) == point["cycles"]
        assert point["slowdown"] == round(point["cycles"] / point["native_cycles"], 6)
