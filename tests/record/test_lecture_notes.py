"""The speaker's notes on disk."""

from pathlib import Path

import pytest

from ringviz.errors import InputError
from ringviz.record.lecture_notes import LectureNotes, read_notes, write_notes
from ringviz.record.replay import Beat, Machine, Question, Replay

BEATS = (Beat("One", say="Say this.", ask=Question("Why?", ("a", "b"), "b")), Beat("Two", say="And that."))
REPLAY = Replay(Path("r"), "r", "Title", "popf-hole", Machine(), BEATS)


def notes(number: int) -> LectureNotes:
    return LectureNotes.of_beat(REPLAY, number, 100.0, "step 3", is_answered=False, problems=("step 3: no",))


@pytest.mark.parametrize("number", [0, 1, 2])
def test_what_is_written_is_read_again(number: int, tmp_path: Path) -> None:
    path = tmp_path / "new" / "lecture.json"
    write_notes(notes(number), path)
    assert read_notes(path) == notes(number)
    assert [file.name for file in path.parent.iterdir()] == ["lecture.json"]


def test_a_beat_is_told_with_its_question_and_what_comes_next() -> None:
    one, two = notes(1), notes(2)
    assert (one.beat, one.say, one.ask, one.answer, one.next_beat) == ("One", "Say this.", "Why?", "b", "Two")
    assert (two.next_beat, two.next_say, two.ask) == ("", "", "")


def test_without_a_lecture_there_are_none(tmp_path: Path) -> None:
    assert read_notes(tmp_path / "lecture.json") is None


@pytest.mark.parametrize("document", ["{", "[]", '{"schema": 9}', '{"schema": 1, "title": 3}'])
def test_a_file_that_makes_no_sense_is_refused_in_one_line(document: str, tmp_path: Path) -> None:
    path = tmp_path / "lecture.json"
    path.write_text(document, encoding="utf-8")
    with pytest.raises(InputError, match=r"lecture\.json: "):
        read_notes(path)
