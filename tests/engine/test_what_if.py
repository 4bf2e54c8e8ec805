"""What if: runs priced anew, and break-evens that hold when they are put to the test."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringviz.engine.bill import Bill
from ringviz.engine.contest import Contender, Contest, Counted, contest
from ringviz.engine.knobs import KNOBS, SLIDERS, Changes, changes_of
from ringviz.engine.occasions import OCCASIONS, Share, shares_of
from ringviz.engine.repricing import Line, break_even, cycles_of, line_of
from ringviz.engine.stat import stat
from ringviz.engine.what_if import answer
from ringviz.engine.what_if_words import pairing_text, turn_texts, verdict
from ringviz.errors import InputError, UnsupportedError
from ringviz.facts.costs import CPU_PROFILES
from ringviz.guest.scenario import find_scenario
from tests.engine.test_bill import event

NEHALEM = CPU_PROFILES["nehalem"]
CAUSES = ("exit", "vmm-work", "trace", "hidden-fault", "translated-callout", "nested-walk")
COUNTS = st.dictionaries(st.sampled_from(CAUSES), st.integers(0, 10_000))
VALUES = st.fractions(0, 10_000, max_denominator=100)
KNOB_IDS = st.sampled_from([*SLIDERS, "hidden-faults"])


@st.composite
def counted_runs(draw: st.DrawFn) -> Contest:
    mmus = draw(st.lists(st.sampled_from(["nested", "shadow"]), max_size=2, unique=True))
    runs = [_run(draw, Contender("binary-translation", "shadow"))]
    runs += [_run(draw, Contender("vt-x", mmu)) for mmu in mmus]
    return Contest("made up", NEHALEM, _run(draw, Contender("native", "none")), tuple(runs), ())


def _run(draw: st.DrawFn, contender: Contender) -> Counted:
    causes = draw(COUNTS)
    writes = {cause: draw(st.integers(0, count)) for cause, count in causes.items()}
    share = {id_: Share(0, writes if id_ == "page-table-writes" else {}, {}) for id_ in OCCASIONS}
    retired, weight = draw(st.integers(0, 100_000)), draw(st.integers(0, 10_000_000))
    return Counted(contender, ("halted", None), Bill(retired, 0, causes, {}, weight), share, has_walks=True)


CHANGES = st.builds(
    Changes,
    st.dictionaries(st.sampled_from(CAUSES), VALUES),
    st.dictionaries(st.sampled_from(["page-table-writes", "hidden-faults"]), VALUES),
)


@given(counted_runs(), CHANGES, KNOB_IDS, VALUES)
def test_the_line_of_a_knob_gives_what_pricing_the_run_anew_gives(
    found: Contest, changes: Changes, knob: str, value: Fraction
) -> None:
    for run in found.runs:
        line = line_of(run, NEHALEM, changes, KNOBS[knob])
        assert line.at(value) == cycles_of(run, NEHALEM, changes.with_value(KNOBS[knob], value))


@given(counted_runs(), CHANGES, KNOB_IDS)
def test_at_a_break_even_both_cost_exactly_the_same_and_beside_it_who_is_said_to_costs_less(
    found: Contest, changes: Changes, knob: str
) -> None:
    by_contender = {run.contender: run for run in found.runs}

    def priced(contender: Contender, value: Fraction) -> Fraction:
        return cycles_of(by_contender[contender], NEHALEM, changes.with_value(KNOBS[knob], value))

    (view,) = answer(found, changes, [knob]).knobs
    for pairing in view.pairings:
        ends = [Fraction(0), Fraction(10**9)]
        if pairing.value is None:
            for value in (Fraction(1, 10**9), *ends[1:]):
                costs = {c: priced(c, value) for c in (pairing.one, pairing.other)}
                assert pairing.above is None or costs[pairing.above] == min(costs.values())
                assert (pairing.above is None) == (len(set(costs.values())) == 1)
        else:
            assert priced(pairing.one, pairing.value) == priced(pairing.other, pairing.value)
            for winner, value in ((pairing.below, pairing.value * Fraction(9, 10)), (pairing.above, pairing.value + 1)):
                if winner is not None:
                    loser = pairing.other if winner == pairing.one else pairing.one
                    assert priced(winner, value) < priced(loser, value)


@given(counted_runs(), CHANGES, KNOB_IDS, st.fractions(0, 1))
def test_the_verdict_holds_up_to_where_it_is_said_to_turn_and_is_another_just_beyond(
    found: Contest, changes: Changes, knob: str, part: Fraction
) -> None:
    (view,) = answer(found, changes, [knob]).knobs

    def best(value: Fraction) -> Fraction:
        moved = changes.with_value(KNOBS[knob], value)
        return min(cycles_of(run, NEHALEM, moved) for run in found.runs)

    def of_winner(value: Fraction) -> Fraction:
        moved = changes.with_value(KNOBS[knob], value)
        at_first = answer(found, changes, [knob]).winner
        return next(cycles_of(run, NEHALEM, moved) for run in found.runs if run.contender == at_first)

    low = view.earlier.value if view.earlier else Fraction(0)
    high = view.later.value if view.later else view.value + 10**6
    inside = low + (high - low) * part
    assert of_winner(inside) == best(inside)
    if view.later is not None:
        beyond = view.later.value + Fraction(1, 10**15)
        assert best(beyond) < of_winner(beyond)
    if view.earlier is not None:
        beyond = view.earlier.value * (1 - Fraction(1, 10**15))
        assert best(beyond) < of_winner(beyond)


def test_lines_that_meet_below_nothing_or_never_have_no_break_even() -> None:
    assert break_even(Line(Fraction(5), Fraction(1)), Line(Fraction(9), Fraction(1))) is None
    assert break_even(Line(Fraction(5), Fraction(1)), Line(Fraction(6), Fraction(2))) is None
    assert break_even(Line(Fraction(6), Fraction(1)), Line(Fraction(5), Fraction(2))) == 1


@pytest.fixture(scope="module")
def tour() -> Contest:
    return contest(find_scenario("paging-tour"))


def test_without_changes_runs_cost_what_stat_says(tour: Contest) -> None:
    result = answer(tour, Changes())
    assert [run.contender.name for run in tour.runs] == ["binary-translation", "vt-x, nested", "vt-x, shadow"]
    for standing in result.standings:
        contender = standing.run.contender
        run = stat(find_scenario("paging-tour"), contender.technique, contender.mmu, "nehalem")
        assert standing.cycles == standing.before == run.cycles.total
    assert [view.knob.id for view in result.knobs] == ["exit", "page-table-writes"]


def test_a_real_verdict_turns_where_the_words_say(tour: Contest) -> None:
    # With a VMM that does its work for nothing, the exits alone decide.
    free = Changes({cause: Fraction(0) for cause in ("vmm-work", "vmread", "vmwrite")})
    result = answer(tour, free)
    exits = result.knobs[0]
    assert exits.later is not None
    assert verdict(result).startswith("vt-x, nested costs least; vt-x, shadow takes 1.0")
    words = list(turn_texts(exits))
    assert words[-1].startswith("above ")
    assert words[-1].endswith(" cycles, binary-translation wins")
    dearer = answer(tour, free.with_value(KNOBS["exit"], exits.later.value + 1))
    assert dearer.winner.name == "binary-translation"
    assert "cost the same at" in pairing_text(exits, exits.pairings[0])


def test_page_table_writes_are_known_under_every_technique_that_hears_of_them() -> None:
    found = contest(find_scenario("paging-tour"), ["binary-translation", "vt-x/shadow", "vt-x/nested", "paravirt"])
    writes = {run.contender.name: run.shares["page-table-writes"].events for run in found.runs}
    assert writes["vt-x, nested"] == 0
    assert writes["vt-x, shadow"] > 0
    assert writes["binary-translation"] > 0


def test_an_event_is_counted_under_each_of_its_occasions() -> None:
    traced = event(3, ("exit", "vmm-work"))
    shares = shares_of([traced, event(4, ("mmu-request",), ("native-port-io",))])
    assert shares["page-table-writes"].vmm == {"mmu-request": 1}
    assert shares["port-accesses"].native == {"native-port-io": 1}
    assert shares["hidden-faults"].events == 0


@pytest.mark.parametrize(
    ("words", "prices", "rates"),
    [
        (["exit=500"], {"exit": 500}, {}),
        (["exit=x0.5"], {"exit": Fraction(1009, 2)}, {}),
        (
            ["page-table-writes=x2.5", "nested-walk=30"],
            {"nested-walk": 30},
            {"page-table-writes": Fraction(5, 2)},
        ),
    ],
)
def test_changes_are_read_exactly(words: list[str], prices: Mapping[str, int], rates: Mapping[str, Fraction]) -> None:
    assert changes_of(words, NEHALEM) == Changes(prices, rates)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "word", ["exit", "exit=", "exit=-1", "exit=fast", "interrupts=2", "exti=2", "hypercall-entry=x2"]
)
def test_what_is_no_change_is_refused(word: str) -> None:
    with pytest.raises(InputError):
        changes_of([word], NEHALEM)


def test_contenders_that_were_named_must_go_with_the_cpu() -> None:
    scenario = find_scenario("paging-tour")
    with pytest.raises(UnsupportedError):
        contest(scenario, ["vt-x/nested"], "core2")
    with pytest.raises(UnsupportedError):
        contest(scenario, ["amd-v"], "core2")
    with pytest.raises(InputError):
        contest(scenario, ["vt-y"])


def test_half_of_an_exit_is_no_knob_as_only_the_whole_is_charged() -> None:
    assert "exit" in KNOBS
    assert not {"vm-entry", "vm-exit"} & set(KNOBS)
