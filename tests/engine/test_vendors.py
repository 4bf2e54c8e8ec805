"""Two sessions that move as one."""

import pytest

from ringviz.engine.session import Session
from ringviz.engine.vendors import FieldPair, VendorPair, build_vendors, pair_sessions
from ringviz.engine.view import Side, SideMark, SideRow
from ringviz.guest.scenario import find_scenario


@pytest.fixture
def pair() -> VendorPair:
    session = Session(find_scenario("rings-tour"), "trap-emulate")
    session.seek(900)
    return pair_sessions(session, ())


def meets(pair: VendorPair, position: int) -> bool:
    return pair.position == pair.intel.position == pair.amd.position == position


def test_both_stand_where_the_session_stands(pair: VendorPair) -> None:
    assert meets(pair, 900)
    assert (pair.intel.technique.id, pair.amd.technique.id) == ("vt-x", "amd-v")


def test_every_move_moves_both(pair: VendorPair) -> None:
    pair.step()
    assert meets(pair, 901)
    pair.back()
    assert meets(pair, 900)
    assert pair.next_event()
    reached = pair.position
    assert reached > 900
    assert meets(pair, reached)
    assert pair.previous_event()
    assert pair.position < reached
    assert meets(pair, pair.position)
    pair.seek(5)
    assert meets(pair, 5)
    pair.run()
    assert pair.is_over
    assert meets(pair, pair.intel.end or 0)
    assert not pair.next_event()


def test_a_run_cut_short_leaves_both_at_the_same_place(pair: VendorPair) -> None:
    polls = iter([False] * 3 + [True] * 10_000)
    pair.run(lambda: next(polls))
    assert pair.intel.position == pair.amd.position


def test_the_view_has_both_exits_and_the_instruction_that_is_next(pair: VendorPair) -> None:
    pair.next_event()
    view = pair.view()
    assert view.position == pair.position
    assert view.instruction
    assert view.intel.last_exit_at == view.amd.last_exit_at == view.position - 1
    assert "VM exit" in view.intel.last_exit
    assert "VMEXIT_" in view.amd.last_exit
    assert view.intel.exits == view.amd.exits > 0


def test_fields_are_found_by_place_or_by_name_and_a_missing_one_is_none(pair: VendorPair) -> None:
    from dataclasses import replace

    intel, amd = pair.intel.snapshot(), pair.amd.snapshot()
    intel = replace(intel, side=Side("VMCS", "", (SideRow("681Eh", "Guest RIP", "1", "2", SideMark.BY_VMM),)))
    amd = replace(amd, side=Side("VMCB", "", (SideRow("578h", "RIP", "1"),)))
    pairs = (FieldPair("next", "681Eh", "RIP", "same"), FieldPair("length", "Guest RIP", ""))
    first, second = build_vendors(intel, amd, pairs).rows
    assert first.intel is not None
    assert (first.intel.name, first.intel.value, first.intel.old, first.intel.mark) == (
        "Guest RIP", "1", "2", SideMark.BY_VMM
    )  # fmt: skip
    assert first.amd is not None
    assert first.amd.name == "RIP"
    assert second.intel is not None
    assert second.amd is None
