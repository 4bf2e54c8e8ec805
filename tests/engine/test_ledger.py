"""Bills and ledgers: counts that add up, priced exactly."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringviz.engine.bill import Bill, bill_of
from ringviz.engine.cause_looks import _LOOKS, look_of
from ringviz.engine.event_log import EventLog
from ringviz.engine.events import RawEvent
from ringviz.engine.ledger import ledger, priced
from ringviz.engine.session import Session
from ringviz.facts.costs import CAUSES, CPU_PROFILES
from ringviz.guest.scenario import find_scenario
from tests.engine.test_bill import events

CPUS = st.sampled_from(list(CPU_PROFILES.values()))
TALLIES = st.dictionaries(
    st.sampled_from(["translated-cli", "interpreted-instruction", "hypercall-entry"]), st.integers(0, 99)
)


def logged(run: list[RawEvent], cpu: str = "p4-672") -> EventLog:
    log = EventLog(CPU_PROFILES[cpu])
    for one in run:
        log.append(one)
    return log


@given(events(), CPUS, TALLIES, st.data())
def test_the_ledger_of_every_prefix_has_the_sums_of_the_log(run, cpu, tallies, data) -> None:  # type: ignore[no-untyped-def]
    log = logged(run, cpu.id)
    position = data.draw(st.integers(0, run[-1].at + 1 if run else 5))
    emulated = data.draw(st.integers(0, position))
    count = log.before(position)
    weight = data.draw(st.integers(0, 10_000))
    view = ledger(log, cpu, position, emulated, tallies, count, weight, None)
    assert view.overhead_cycles == log.event_cycles(count) + log.tally_cycles(tallies)
    assert view.guest_cycles == weight // 100 + log.native_cycles(count)
    assert sum(row.cycles for row in view.rows) == view.total_cycles
    charged = log.causes(count) + Counter(tallies)
    assert Counter({row.cause: row.count for row in view.rows if row.cause != "guest-instruction"}) == charged
    assert [row.cycles for row in view.rows] == sorted((row.cycles for row in view.rows), reverse=True)
    for row in view.rows:
        if row.is_weighed:
            assert (row.cause, row.count, row.cycles) == ("guest-instruction", position - emulated, weight // 100)
            assert not row.is_unknown
        else:
            assert row.cycles == row.count * (row.each or 0)
            assert row.is_unknown == (cpu.costs[row.cause].cycles is None)


@given(events(), CPUS, st.lists(st.integers(0, 200), min_size=3, max_size=3).map(sorted))
def test_bills_of_neighbouring_stretches_add_up(run, cpu, places) -> None:  # type: ignore[no-untyped-def]
    log = logged(run)
    a, b, c = (bill_of(log, log.before(p), p, p // 3, {"translated-cli": 2 * p}, 137 * p) for p in places)
    first, second, both = b.since(a), c.since(b), c.since(a)
    assert (first.retired + second.retired, first.by_vmm + second.by_vmm) == (both.retired, both.by_vmm)
    assert first.causes + second.causes == both.causes
    assert first.overhead_cycles(cpu) + second.overhead_cycles(cpu) == both.overhead_cycles(cpu)
    assert first.guest_weight + second.guest_weight == both.guest_weight
    # Hundredths are left off at the end, of each stretch by itself.
    assert both.total_cycles(cpu) - first.total_cycles(cpu) - second.total_cycles(cpu) in (0, 1)


def test_weighed_instructions_are_charged_by_weight_and_have_no_single_price() -> None:
    bill = Bill(retired=1000, by_vmm=10, vmm={}, native={}, guest_weight=123_456)
    view = priced(bill, CPU_PROFILES["p4-672"])
    assert (view.rows[0].cycles, view.rows[0].is_weighed) == (1234, True)
    assert view.guest_cycles == 1234
    assert view.per_thousand(1234) == 1234


@pytest.mark.parametrize("technique", ["native", "binary-translation", "vt-x"])
def test_a_stretch_of_a_real_run_costs_what_its_ends_differ_by(technique: str) -> None:
    session = Session(find_scenario("paging-tour"), technique)
    session.run()
    whole = session.bill()
    here = (session.position, session.is_over)
    middle = session.position // 2
    first, second = session.bill_between(0, middle), session.bill_between(middle, session.position)
    assert (session.position, session.is_over) == here
    assert first.retired == middle
    assert first.causes + second.causes == whole.causes
    assert first.guest_weight + second.guest_weight == whole.guest_weight
    assert session.ledger().total_cycles == whole.total_cycles(session.cpu)


@pytest.mark.parametrize("technique", ["native", "binary-translation", "vt-x", "emulation"])
def test_by_weight_a_run_costs_what_the_machine_has_summed_and_its_stretches_add_up(technique: str) -> None:
    session = Session(find_scenario("paging-tour"), technique)
    session.run()
    whole, end = session.bill(), session.position
    first, second = (session.bill_between(*ends) for ends in ((0, end // 2), (end // 2, end)))
    assert first.guest_weight + second.guest_weight == whole.guest_weight
    assert whole.instruction_cycles == whole.guest_weight // 100
    assert (whole.guest_weight == 0) == (technique == "emulation")


def test_every_cause_has_a_short_name_that_fits_a_panel() -> None:
    assert set(_LOOKS) >= set(CAUSES)
    assert all(len(look.label) <= 20 for look in _LOOKS.values())
    assert len({look.label for look in _LOOKS.values()}) == len(_LOOKS)
    assert look_of("exit").label == "exits and entries"
