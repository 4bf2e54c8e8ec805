from pathlib import Path

import pytest

from ringviz.engine.session import Session
from ringviz.errors import ReplayError
from ringviz.guest.scenario import find_scenario
from ringviz.record.player import ReplayPlayer
from ringviz.record.recorder import Recorder
from ringviz.record.replay_file import load_replay


def test_a_session_that_was_recorded_plays_as_it_was_shown(tmp_path: Path) -> None:
    path = tmp_path / "shown.replay.toml"
    recorder = Recorder(path, "hello-serial")
    session = Session(find_scenario("hello-serial"), "trap-emulate")
    recorder.note(session)
    for _ in range(3):
        session.step()
        recorder.note(session, is_step=True)
    session.next_event()
    recorder.note(session)
    recorder.note(session)
    session = session.swapped("vt-x")
    recorder.note(session)
    session.run()
    recorder.note(session)
    player = ReplayPlayer(load_replay(path))
    assert player.changes == ()
    places = []
    while (played := player.next()) is not None:
        assert played.holds, played.failures
        places.append((played.place.technique, played.place.position, played.place.is_at_end))
    assert places == [
        ("trap-emulate", 3, False),
        ("trap-emulate", 8, False),
        ("vt-x", 8, False),
        ("vt-x", 3127, True),
    ]


def test_the_file_is_whole_after_every_note(tmp_path: Path) -> None:
    path = tmp_path / "shown.replay.toml"
    recorder = Recorder(path, "hello-serial")
    session = Session(find_scenario("hello-serial"))
    for count in range(1, 4):
        session.next_event()
        recorder.note(session)
        assert len(load_replay(path).beats) == count
    assert [file.name for file in tmp_path.iterdir()] == ["shown.replay.toml"]


def test_another_guest_is_not_recorded(tmp_path: Path) -> None:
    path = tmp_path / "shown.replay.toml"
    recorder = Recorder(path, "hello-serial")
    recorder.note(Session(find_scenario("hello-serial")))
    recorder.note(Session(find_scenario("rings-tour"), "vt-x"))
    assert len(load_replay(path).beats) == 1


def test_what_is_there_already_is_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "a.replay.toml"
    path.write_text("mine")
    with pytest.raises(ReplayError, match="there is such a file already"):
        Recorder(path, "hello-serial")
    with pytest.raises(ReplayError, match="no such folder"):
        Recorder(tmp_path / "nowhere" / "a.replay.toml", "hello-serial")
