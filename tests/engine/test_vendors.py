"""Two sessions that move as one."""

import pytest

from ringviz.engine.session import Session
from ringviz.engine.vendors import SessionPair, VendorRow, pair_sessions
from ringviz.engine.view import SideMark
from ringviz.guest.scenario import find_scenario


@pytest.fixture
def pair() -> SessionPair:
    session = Session(find_scenario("rings-tour"), "trap-emulate")
    session.seek(900)
    return pair_sessions(session)


def meets(pair: SessionPair, position: int) -> bool:
    return pair.position == pair.intel.position == pair.amd.position == position


def test_both_stand_where_the_session_stands(pair: SessionPair) -> None:
    assert meets(pair, 900)
    assert (pair.intel.technique.id, pair.amd.technique.id) == ("vt-x", "amd-v")


def test_every_move_moves_both(pair: SessionPair) -> None:
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


def test_a_run_cut_short_leaves_both_at_the_same_place(pair: SessionPair) -> None:
    polls = iter([False] * 3 + [True] * 10_000)
    pair.run(lambda: next(polls))
    assert pair.intel.position == pair.amd.position


def test_the_view_has_both_exits_and_the_instruction_that_is_next(pair: SessionPair) -> None:
    pair.next_event()
    view = pair.view()
    assert view.position == pair.position
    assert view.instruction
    assert view.intel.last_exit_at == view.amd.last_exit_at == view.position - 1
    assert (view.intel.last_exit, view.amd.last_exit) == ("", ""), "the cards tell it"
    assert any("VM exit" in part.text for part in view.intel.card.parts)
    pair.step()
    later = pair.view()
    assert later.intel.last_exit_at == view.intel.last_exit_at
    assert "VM exit" in later.intel.last_exit
    assert "VMEXIT_" in later.amd.last_exit
    assert view.intel.exits == view.amd.exits > 0


def row(pair: SessionPair, what: str) -> VendorRow:
    return next(row for row in pair.view().rows if row.what == what)


def test_fields_stand_beside_their_like_with_what_the_last_exit_and_the_vmm_changed(pair: SessionPair) -> None:
    pair.next_event()
    reason = row(pair, "Why the guest exited")
    assert reason.intel is not None
    assert reason.amd is not None
    assert (reason.intel.name, int(reason.intel.value, 16)) == ("Exit reason", 30)
    assert (reason.amd.name, int(reason.amd.value, 16)) == ("EXITCODE", 0x7B)
    rip = row(pair, "Where the guest goes on")
    assert rip.intel is not None
    assert rip.amd is not None
    assert rip.intel.value[-8:] == rip.amd.value[-8:]
    assert {rip.intel.mark, rip.amd.mark} == {SideMark.BY_VMM}


def test_the_reason_of_the_last_exit_is_marked_on_both_sides(pair: SessionPair) -> None:
    pair.next_event()
    marked = [
        row for row in pair.view().rows for field in (row.intel, row.amd)
        if field is not None and field.mark is SideMark.CURRENT
    ]  # fmt: skip
    assert [row.what for row in marked] == ["Port I/O", "Port I/O"]


def test_controls_are_read_from_the_structures_themselves(pair: SessionPair) -> None:
    hlt, pushf = row(pair, "HLT"), row(pair, "PUSHF and POPF")
    assert hlt.intel is not None
    assert hlt.amd is not None
    assert (hlt.intel.value, hlt.amd.value) == ("on", "on")
    assert pushf.intel is None
    assert pushf.amd is not None
    assert pushf.amd.value == "off"
    assert pushf.note == "VT-x has no control for them"


def test_every_section_has_rows_and_stands_together(pair: SessionPair) -> None:
    sections = [row.section for row in pair.view().rows]
    assert len(set(sections)) == 4
    assert sections == sorted(sections, key=list(dict.fromkeys(sections)).index)
