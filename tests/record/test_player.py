from dataclasses import replace
from pathlib import Path

import pytest

from ringviz.engine.session import Session
from ringviz.errors import ReplayError
from ringviz.guest.scenario import find_scenario
from ringviz.record.made_with import MadeWith
from ringviz.record.observation import LOOKS, Observed, observe
from ringviz.record.played import Place
from ringviz.record.player import ReplayPlayer
from ringviz.record.replay import Beat, Go, Machine, Replay, ToEnd, ToEvent, ToPlace, ToStart, ToStep, Wanted


def _replay(*beats: Beat, technique: str = "trap-emulate") -> Replay:
    return Replay(Path("a.replay.toml"), "a.replay.toml", "T", "hello-serial", Machine(technique), beats)


def _beat(go: Go | None = None, *expect: Wanted, machine: Machine = Machine()) -> Beat:  # noqa: B008 - frozen
    return Beat("B", machine, go, expect=expect)


FOUR = _replay(
    _beat(ToEvent("trap", 2)),
    _beat(ToStep(3, is_relative=True)),
    _beat(None, machine=Machine("vt-x")),
    _beat(ToEnd()),
)


def test_beats_are_played_one_after_the_other_and_the_session_stands_at_each() -> None:
    player = ReplayPlayer(FOUR)
    places = []
    while (played := player.next()) is not None:
        assert Place.of(player.session) == played.place
        places.append((played.place.technique, played.place.position, played.place.is_at_end))
    assert places == [
        ("trap-emulate", 8, False),
        ("trap-emulate", 11, False),
        ("vt-x", 11, False),
        ("vt-x", 3127, True),
    ]
    assert player.is_over


def test_going_back_and_forth_stands_at_the_same_places() -> None:
    player = ReplayPlayer(FOUR)
    last = player.go_to(4)
    first = player.go_to(1)
    assert first is not None
    assert Place.of(player.session) == first.place
    assert player.go_to(4) == last
    third = player.previous()
    assert third is not None
    assert (third.number, player.session.technique.id, player.session.position) == (3, "vt-x", 11)
    assert player.next() == last
    assert player.next() is None


def test_after_a_digression_it_goes_on_from_its_beat() -> None:
    player = ReplayPlayer(FOUR)
    player.next()
    player.session.run()
    assert player.is_astray
    second = player.next()
    assert second is not None
    assert second.place.position == 11
    player.session.seek(0)
    assert player.resume()
    assert not player.is_astray
    assert player.session.position == 11


def test_a_beat_that_is_cancelled_has_not_been_played() -> None:
    player = ReplayPlayer(FOUR)
    assert player.go_to(4, cancelled=lambda: True) is None
    assert player.number < 4
    played = player.go_to(4)
    assert played is not None
    assert played.place.position == 3127


@pytest.mark.parametrize(
    ("go", "problem"),
    [
        (ToEvent("silent"), "step 3,127: go: expected event silent, found the end of the run"),
        (ToEvent("trap", 900), "step 3,127: go: expected event trap, 900 times, found the end of the run"),
        (ToStep(9999), "step 3,127: go: expected step 9,999, found the end of the run"),
        (ToPlace("start", 2), "step 3,127: go: expected the guest to come to start, 2 times, found the end of the run"),
    ],
)
def test_a_moment_that_never_comes_is_named(go: Go, problem: str) -> None:
    played = ReplayPlayer(_replay(_beat(go))).next()
    assert played is not None
    assert played.failures == (problem,)
    assert not played.holds


def test_the_same_place_again_is_the_next_time_the_guest_comes_there() -> None:
    player = ReplayPlayer(_replay(_beat(ToPlace("putc")), _beat(ToPlace("putc")), _beat(ToStart())))
    first, second = player.next(), player.next()
    assert first is not None
    assert second is not None
    assert first.place.position < second.place.position
    assert player.session.source.symbol_at(player.session.cpu_state(is_real=False).eip) == ("putc", 0)
    player.next()
    assert player.session.position == 0


@pytest.mark.parametrize(
    ("wanted", "holds"),
    [
        (Wanted("ring", "==", 1), True),
        (Wanted("ring", "==", 0), False),
        (Wanted("ring", "!=", 0), True),
        (Wanted("position", "<", 9), True),
        (Wanted("position", ">=", 9), False),
        (Wanted("event.kind", "==", "trap"), True),
        (Wanted("event.rule", "has", "CPL 1"), False),
        (Wanted("event.escaped", "==", False), True),
        (Wanted("slowdown", ">", 1.0), True),
        (Wanted("guest.cpl", "==", 0), True),
        (Wanted("real.cpl", "==", 1), True),
        (Wanted("memory.start", "has", "BC 00 40 10 00"), True),
    ],
)
def test_an_expectation_compares_what_is_so_with_what_was_wanted(wanted: Wanted, holds: bool) -> None:
    played = ReplayPlayer(_replay(_beat(ToEvent("trap", 2), wanted))).next()
    assert played is not None
    assert played.holds is holds, played.findings


def test_a_failure_names_key_expected_and_found() -> None:
    played = ReplayPlayer(_replay(_beat(ToStep(5), Wanted("guest.cs", "==", 0x1B)))).next()
    assert played is not None
    assert played.failures == ("step 5: guest.cs: expected 1Bh, found 8",)


def test_everything_that_can_be_looked_at_can_be_looked_at() -> None:
    session = Session(find_scenario("hello-serial"), "vt-x")
    session.next_event()
    seen = Observed(session)
    for row in LOOKS.values():
        if row.name != "fidelity.":
            example = "start" if row.name in ("memory.", "walk.") else row.example
            assert isinstance(observe(seen, row.name + example), (row.kind, int)), row.name


def test_a_stale_replay_says_what_has_changed() -> None:
    player = ReplayPlayer(FOUR)
    assert player.changes == ()
    now = player.made_with
    for field, word in (("image", "the guest's image"), ("engine", "ringviz"), ("profile", "the CPU's profile")):
        old = MadeWith(**(now.values() | {field: "0"}))
        assert ReplayPlayer(replace(FOUR, made_with=old)).changes == (word,)
    assert ReplayPlayer(replace(FOUR, made_with=now)).changes == ()


def test_a_beat_that_does_not_exist_is_one_line() -> None:
    with pytest.raises(ReplayError, match="found beat 5, expected one from 1 to 4"):
        ReplayPlayer(FOUR).go_to(5)
