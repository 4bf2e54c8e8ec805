"""The bill: every figure follows from the events and the table of prices."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringviz.engine.bill import bill_at
from ringviz.engine.event_log import EventLog
from ringviz.engine.events import RawEvent
from ringviz.engine.recording import Recording
from ringviz.engine.reference import NativeReference
from ringviz.engine.session import Session
from ringviz.engine.stat import stat
from ringviz.engine.timeline import Marks
from ringviz.facts.costs import CPU_PROFILES
from ringviz.facts.instruction_weights import CLASSES, HUNDREDTHS
from ringviz.guest.scenario import find_scenario
from ringviz.vmm.events import Kind
from ringviz.vmm.registry import available, choose

CAUSES = ("trap-emulate", "trap-reflect", "exit", "vmm-work", "silent")
NATIVE_CAUSES = ("native-gate", "native-exception", "native-port-io", "native-cpuid")


def event(at: int, charges: tuple[str, ...] = (), native: tuple[str, ...] = (), kind: Kind = Kind.TRAP) -> RawEvent:
    return RawEvent(at, 0x1000, "cli", "cli", kind, "#GP(0)", "", "VMM", "", charges, native)


@st.composite
def events(draw: st.DrawFn) -> list[RawEvent]:
    steps = draw(st.lists(st.integers(0, 9), max_size=60))
    found, at = [], 0
    for step in steps:
        at += step
        charges = tuple(draw(st.lists(st.sampled_from(CAUSES), max_size=2)))
        native = tuple(draw(st.lists(st.sampled_from(NATIVE_CAUSES), max_size=1)))
        found.append(event(at, charges, native, draw(st.sampled_from(list(Kind)))))
    return found


@given(events(), st.sampled_from(list(CPU_PROFILES)), st.integers(0, 600))
def test_running_totals_are_the_sums_of_the_prices(run: list[RawEvent], cpu: str, position: int) -> None:
    profile = CPU_PROFILES[cpu]
    log = EventLog(profile)
    for one in run:
        log.append(one)
    past = [one for one in run if one.at < position]
    count = log.before(position)
    assert count == len(past)
    price = {cause: profile.costs[cause].cycles or 0 for cause in (*CAUSES, *NATIVE_CAUSES)}
    assert log.overhead_cycles(count) == sum(price[cause] for one in past for cause in one.charges)
    assert log.native_cycles(count) == sum(price[cause] for one in past for cause in one.native_charges)
    assert log.causes(count) == Counter(c for one in past for c in (*one.charges, *one.native_charges))
    assert [one.number for one in log] == list(range(1, len(run) + 1))


def test_totals_of_long_runs_do_not_depend_on_where_they_are_asked() -> None:
    log = EventLog(CPU_PROFILES["p4-672"])
    for at in range(5000):
        log.append(event(at, ("trap-emulate",)))
    for count in (0, 1, 1023, 1024, 1025, 4096, 5000):
        assert log.causes(count)["trap-emulate"] == count
        assert log.overhead_cycles(count) == 2030 * count


@given(events(), st.integers(1, 100_000))
def test_the_timeline_keeps_the_first_event_of_each_kind_in_every_stretch(run: list[RawEvent], span: int) -> None:
    marks = Marks()
    for one in run:
        marks.note(one)
    marks.widen(span)
    kept = {(mark.at, mark.kind) for mark in marks.all()}
    assert kept <= {(one.at, one.kind) for one in run}
    assert {one.kind for one in run} == {kind for _, kind in kept}
    assert len(kept) <= 801 * len(Kind)
    first = {kind: min(one.at for one in run if one.kind is kind) for kind in {one.kind for one in run}}
    assert all((at, kind) in kept for kind, at in first.items())


@pytest.mark.parametrize("technique", available())
def test_the_ledger_of_a_run_is_what_stat_says_and_what_the_events_add_up_to(technique: str) -> None:
    scenario = find_scenario("rings-tour")
    session = Session(scenario, technique)
    session.run()
    view = session.ledger()
    result = stat(scenario, technique)
    assert (view.guest_cycles, view.overhead_cycles) == (result.cycles.guest, result.cycles.overhead)
    assert view.total_cycles == result.cycles.total == sum(row.cycles for row in view.rows)
    price = session.cpu.costs
    charged = Counter(c for one in session.events.raw for c in (*one.charges, *one.native_charges))
    charged += Counter(session.tallies())  # what comes without an event
    assert {row.cause: row.count for row in view.rows if row.cause != "guest-instruction"} == charged
    work = session.bill().guest_weight // HUNDREDTHS
    assert result.cycles.total == work + sum((price[c].cycles or 0) * n for c, n in charged.items())
    assert view.curve[-1] == view.overhead_cycles
    assert list(view.curve) == sorted(view.curve)


def test_bare_metal_costs_what_bare_metal_costs() -> None:
    session = Session(find_scenario("rings-tour"), "native")
    for position in (0, 100, 3000, 10**9):
        session.seek(position)
        view = session.ledger()
        assert view.overhead_cycles == 0
        assert view.native_cycles == view.total_cycles


def test_direct_instructions_and_emulated_ones_are_all_there_are() -> None:
    recording = Recording(find_scenario("hello-serial"), "trap-emulate", choose("trap-emulate"))
    recording.play_to_the_end()
    emulated = sum(1 for one in recording.log.raw if one.kind is Kind.TRAP)
    assert recording.technique.emulated == emulated == 450
    assert recording.position == 3127


@pytest.mark.parametrize("technique", ["native", "trap-emulate", "binary-translation", "vt-x"])
def test_the_weight_of_a_prefix_is_the_same_however_its_end_is_reached(technique: str) -> None:
    tape, other = (Recording(find_scenario("rings-tour"), technique, choose(technique)) for _ in range(2))
    tape.play_to_the_end()
    places = [tape.position * part // 7 for part in range(8)]

    def weight_at(recording: Recording, place: int) -> int:
        recording.seek(place)
        return bill_at(recording).guest_weight

    backwards = [weight_at(tape, place) for place in reversed(places)]
    forwards = [weight_at(other, place) for place in places]
    assert forwards == backwards[::-1] == sorted(forwards)
    assert forwards[0] == 0 < forwards[1]


@pytest.mark.parametrize("technique", available())
def test_where_all_instructions_weigh_alike_the_weight_is_their_number(technique: str) -> None:
    setup = choose(technique)
    own = replace(setup, cpu=replace(setup.cpu, weights=dict.fromkeys(CLASSES, 700)))
    tape = Recording(find_scenario("rings-tour"), technique, own)
    tape.play_to_the_end()
    bill = bill_at(tape)
    replaced = sum(bill.vmm.get(cause, 0) for cause in ("translated-cli", "translated-indirect"))
    assert (replaced > 0) == (technique == "binary-translation")
    assert bill.guest_weight == 700 * (bill.direct - replaced)


def test_what_bare_metal_pays_up_to_a_place_does_not_depend_on_which_place_was_asked_for_before() -> None:
    scenario, cpu = find_scenario("rings-tour"), CPU_PROFILES["p4-672"]
    asked = NativeReference(scenario, cpu.id)
    tape = Recording(scenario, "native", choose("native", cpu=cpu.id))
    for place in (3000, 0, 1, 2999, 500, 501, 500, 3000):
        tape.seek(place)
        assert asked.cycles_at(place) == bill_at(tape).total_cycles(cpu), place
    assert asked.cycles_of_all() == stat(scenario, "native", cpu=cpu.id).cycles.total
    assert asked.cycles_at(10**9) is None
