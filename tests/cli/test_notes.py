"""`ringviz notes` and `ringviz lecture` without a terminal."""

from pathlib import Path

import pytest

from ringviz.cli.main import main
from ringviz.cli.notes import note_lines
from ringviz.record.lecture_notes import LectureNotes, write_notes
from ringviz.record.replay import Beat, Machine, Question, Replay

BEATS = (Beat("One", say="Say [this].", ask=Question("Why?", ("a", "b"), "b")), Beat("Two", say="And that. Then more."))
REPLAY = Replay(Path("r"), "r", "Title", "popf-hole", Machine(), BEATS)


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RINGVIZ_STATE", str(tmp_path))


def test_once_prints_what_stands(capsys: pytest.CaptureFixture[str]) -> None:
    write_notes(LectureNotes.of_beat(REPLAY, 1, 0.0, "step 3", is_answered=False))
    assert main(["notes", "--once"]) == 0
    text = capsys.readouterr().out
    for part in ("Title · beat 1 of 2", "Say [this].", "ASK: Why?", "- b", "the next key shows it", "NEXT: Two"):
        assert part in text, part


def test_before_any_lecture_once_says_how_to_hold_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["notes", "--once"]) == 2
    assert "ringviz lecture SCENARIO" in capsys.readouterr().err


def test_the_clock_and_the_end_are_told() -> None:
    running = LectureNotes.of_beat(REPLAY, 2, 100.0, "step 3", is_answered=True, problems=("step 3: no",))
    lines = list(note_lines(running, 225.0))
    assert "2:05" in lines[0]
    assert "NOT AS EXPECTED: step 3: no" in lines
    assert "NEXT: this is the last beat" in lines
    over = LectureNotes.of_beat(REPLAY, 2, 100.0, "over", is_answered=True, is_over=True)
    assert "over" in next(iter(note_lines(over, 225.0)))


def test_a_lecture_needs_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lecture", "popf-hole"]) == 2
    assert "needs a terminal" in capsys.readouterr().err
