"""A recompiled guest can be left and returned to, bit for bit, and its place found under another technique."""

from __future__ import annotations

import pytest

from ringviz.engine.recording import Recording
from ringviz.engine.session import Session
from ringviz.engine.state_hash import guest_state_sha256
from ringviz.guest.scenario import find_scenario
from ringviz.vmm.registry import choose
from tests.short_scenarios import SHORT
from tests.vmm.lockstep import Run, assert_lockstep
from tests.vmm.paravirt.guests import technique_of
from tests.vmm.paravirt.hypervisor_memory import assert_nothing_leads_inward, still

RECOMPILED = [scenario.id for scenario in SHORT if scenario.guest.paravirt]


def complete(recording: Recording) -> tuple[object, ...]:
    technique = recording.technique
    return guest_state_sha256(technique), technique.machine.state, technique.save_vmm(), technique.emulated


@pytest.mark.parametrize("scenario_id", RECOMPILED)
def test_every_place_of_a_run_is_the_same_when_returned_to(scenario_id: str) -> None:
    scenario = find_scenario(scenario_id)
    tape = Recording(scenario, "paravirt", choose("paravirt"))
    tape.play_to_the_end()
    assert tape.end is not None
    places = [tape.end.position * part // 9 for part in range(9)]
    for place in [*reversed(places), *places[::2]]:
        tape.seek(place)
        fresh = Recording(scenario, "paravirt", choose("paravirt"))
        fresh.seek(place)
        assert complete(tape) == complete(fresh), place


@pytest.mark.parametrize("scenario_id", [name for name in RECOMPILED if name != "syscall-roundtrip"])
def test_stepping_and_running_are_the_same_run(scenario_id: str) -> None:
    run = assert_lockstep(find_scenario(scenario_id), "paravirt", against="paravirt")
    straight = Run(find_scenario(scenario_id), "paravirt")
    straight.finish()
    assert straight.events == run.events


@pytest.mark.parametrize("scenario_id", RECOMPILED)
def test_the_hypervisor_is_whole_after_a_run(scenario_id: str) -> None:
    run = Run(find_scenario(scenario_id), "paravirt")
    made = still(technique_of(run))
    run.finish()
    assert still(technique_of(run)) == made
    assert_nothing_leads_inward(technique_of(run))


def test_the_guest_and_the_cpu_agree_on_the_ring_and_the_selectors_at_every_event() -> None:
    session = Session(find_scenario("rings-tour"), "paravirt")
    while session.next_event():
        snapshot = session.snapshot()
        assert snapshot.rings.believed == snapshot.rings.real
        rows = {row.name: row for row in snapshot.registers}
        assert not any(rows[name].differs for name in ("ring", "CS", "SS", "DS", "ESP", "EIP", "CR3"))
        assert [seat.resident for seat in snapshot.rings.seats] == ["VMM", "ported OS", "", "applications"]
