"""VT-x without EPT: the guest's paging on shadow page tables, and each fault of them an exit."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from ringviz.engine.session import Session
from ringviz.guest.scenario import find_scenario
from ringviz.vmm.events import Event, Kind
from ringviz.vmm.mmu.telling import HIDDEN_FAULT, TRACE_FAULT
from tests.vmm.lockstep import Run, assert_lockstep
from tests.vmm.paged_guests import Body
from tests.vmm.test_shadow_random import build, guests


@settings(
    max_examples=50,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(guest=guests())
def test_random_tables_and_accesses_are_bare_metal_at_every_instruction(
    tmp_path: Path, guest: tuple[Body, dict[str, object]]
) -> None:
    assert_lockstep(build(tmp_path / "guest", *guest), "vt-x")


@pytest.mark.parametrize(("technique", "cpu"), [("vt-x", "nehalem"), ("amd-v", "barcelona")])
@settings(
    max_examples=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(guest=guests())
def test_the_same_under_nested_paging(
    tmp_path: Path, technique: str, cpu: str, guest: tuple[Body, dict[str, object]]
) -> None:
    assert_lockstep(build(tmp_path / "guest", *guest), technique, cpu=cpu, mmu="nested")


@pytest.fixture(scope="module")
def tour() -> Run:
    run = Run(find_scenario("paging-tour"), "vt-x")
    run.finish()
    return run


def page_faults(run: Run) -> list[Event]:
    return [event for event in run.events if dict(event.detail).get("VM_EXIT_INTR_INFO") == "80000B0Eh"]


def test_hidden_true_and_trace_faults_are_exits_told_apart(tour: Run) -> None:
    told = {event.cause for event in page_faults(tour)}
    assert told == {HIDDEN_FAULT, TRACE_FAULT, "VM exit 0, Exception or NMI"}
    assert {event.kind for event in page_faults(tour)} == {Kind.EXIT}


def test_a_true_fault_goes_to_the_guest_with_its_own_error_code(tour: Run) -> None:
    native = Run(find_scenario("paging-tour"), "native")
    native.finish()
    theirs = [event.address for event in native.events if event.cause.startswith("#PF")]
    ours = [event.address for event in page_faults(tour) if "injected" in event.action]
    assert ours == theirs


def test_under_ept_the_vmm_hears_of_none_of_them() -> None:
    run = Run(find_scenario("paging-tour"), "vt-x", "nehalem")
    run.finish()
    assert page_faults(run) == []


def test_the_real_cr3_is_the_vmms_and_wp_is_kept_on(tour: Run) -> None:
    guest, real = tour.technique.guest_state(), tour.technique.real_state()
    assert guest.is_paged
    assert real.cr3 != guest.cr3
    assert real.cr3 >= 0x50_0000
    assert real.cr0 >> 16 & 1


def test_going_back_through_shadow_faults_tells_the_same_story() -> None:
    session = Session(find_scenario("paging-tour"), "vt-x")
    session.run()
    count, end = len(session.events), session.position
    for position in (end // 3, 2 * end // 3, 100):
        session.seek(position)
        fresh = Session(find_scenario("paging-tour"), "vt-x")
        fresh.seek(position)
        assert fresh.event_count() == session.event_count()
        assert fresh.snapshot().side == session.snapshot().side
    session.run()
    assert len(session.events) == count
