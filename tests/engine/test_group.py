"""Techniques side by side, on real guests."""

import pytest

from ringviz.engine.group import SessionGroup, group_sessions
from ringviz.engine.session import Session
from ringviz.errors import InputError
from ringviz.guest.scenario import find_scenario


def group(*techniques: str, position: int = 0) -> SessionGroup:
    session = Session(find_scenario("popf-hole"), techniques[0])
    session.seek(position)
    return group_sessions(session, techniques)


def test_all_stand_where_the_session_stood_and_the_recompiled_kernel_at_the_marker_before() -> None:
    moved = group("native", "trap-emulate", "paravirt", position=2400)
    view = moved.view()
    assert [column.position for column in view.columns][:2] == [2400, 2400]
    assert view.columns[2].is_at_marker
    assert 0 < view.columns[2].position < 2400
    assert view.columns[2].differences == 0


def test_popf_is_where_the_first_column_and_trap_and_emulate_part() -> None:
    moved = group("native", "trap-emulate", "vt-x", position=2315)
    before = moved.view()
    assert {r.name for r in before.columns[1].registers if r.differs} == set()
    moved.step()
    after = moved.view()
    assert {r.name for r in after.columns[1].registers if r.differs} == {"IF", "EFLAGS"}
    assert after.columns[2].differences == 0
    moved.back()
    assert moved.position == 2315


def test_the_next_event_is_the_nearest_of_all_and_the_one_before_too() -> None:
    moved = group("native", "trap-emulate")
    alone = Session(find_scenario("popf-hole"), "trap-emulate")
    alone.next_event()
    moved.next_event()
    first = moved.position
    assert first == alone.position
    moved.next_event()
    assert moved.position > first
    moved.previous_event()
    assert moved.position == first


def test_the_next_divergence_is_found_by_comparison_with_bare_metal() -> None:
    moved = group("native", "trap-emulate")
    assert moved.next_divergence(lambda what, done, limit: None)
    assert moved.position == 1764
    assert "pushfd" in moved.view().divergence
    moved.run()
    assert not moved.next_divergence(lambda what, done, limit: None)


def test_where_one_ends_all_end_and_one_step_back_is_one_instruction() -> None:
    moved = group("native", "vt-x", "paravirt")
    moved.run()
    view = moved.view()
    assert all(column.outcome for column in view.columns)
    assert moved.is_over
    end = moved.position
    moved.back()
    moved.back()
    assert moved.position in (end - 1, end - 2)
    assert not moved.is_over


@pytest.mark.parametrize("techniques", [("native",), ("native", "vt-x", "amd-v", "classic", "emulation")])
def test_too_few_and_too_many_are_refused(techniques: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match="expected 2 to 4"):
        group(*techniques)
