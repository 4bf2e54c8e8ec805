"""What a lesson's author gets wrong is told in one line that names file, place and expectation."""

from __future__ import annotations

from pathlib import Path

import pytest

from ringviz.errors import LessonError
from ringviz.lessons.course import course_folder
from ringviz.lessons.question import QuestionKind
from ringviz.lessons.read import read_lesson, read_quiz

GOOD = (course_folder() / "where-am-i" / "lesson.md").read_text(encoding="utf-8")
QUIZ = (course_folder() / "where-am-i" / "quiz.toml").read_text(encoding="utf-8")


def written(folder: Path, text: str) -> Path:
    path = folder / "lesson.md"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_lesson_has_sections_moves_questions_and_what_is_read_after_the_answer() -> None:
    lesson = read_lesson(course_folder() / "where-am-i")
    first = lesson.sections[0]
    assert (lesson.id, lesson.order, lesson.scenario.id, lesson.technique) == ("where-am-i", 1, "rings-tour", "native")
    assert first.move is not None
    assert (first.move.to, first.move.look) == ("start", "rings")
    assert first.question is not None
    assert first.question.kind is QuestionKind.CHOICE
    assert first.text.startswith("An x86 processor")
    assert first.reveal.startswith("The number that says so")
    assert lesson.misconception.title == "the operating system checks what programs do"


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('title = "Where', 'titel = "Where', "lesson.md: titel: unknown key, expected schema, title"),
        ("minutes = 12", 'minutes = "12"', "lesson.md: minutes: expected a whole number"),
        ('scenario = "rings-tour"', 'scenario = "rings-tor"', 'did you mean "rings-tour"?'),
        ('technique = "native"\n+++', 'technique = "nativ"\n+++', "lesson.md: technique: expected one of native"),
        ('look = "rings"', 'look = "ring"', "go: look: expected one of rings"),
        (
            'to = "start"\nlook = "rings"',
            'too = "start"',
            "go: too: unknown key, expected technique, mmu, cpu, controls, to, look",
        ),
        ('kind = "choice"', 'kind = "chioce"', 'did you mean "choice"?'),
        ('right = "the processor', 'rigth = "the processor', "rigth: unknown key, expected text, right"),
        ("## Misconception", "## Misconeption", "expected a section ## Misconception"),
        ("## Read next", "## Home again\n\n## Home again\n\n## Your turn", "two sections are called Your turn"),
        ("+++\nschema = 1", "schema = 1", "expected a table of TOML between two lines of +++"),
        ("schema = 1", "schema = 2", "lesson.md: schema: expected 1"),
        ('figure = "native times fault"', "figure = 5", "figure: expected one text"),
        ('event = "fault"', 'event = "faults"', "event: expected one of trap"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    assert old in GOOD
    with pytest.raises(LessonError) as error:
        read_lesson(written(tmp_path, GOOD.replace(old, new, 1)))
    assert complaint in str(error.value)
    assert "\n" not in str(error.value)
    assert "lesson.md" in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("pass_percent = 70", "pass_percent = 0", "quiz.toml: pass_percent: expected a number from 1 to 100"),
        ('id = "classes"', 'id = "cpl-place"', "question cpl-place: expected an id of its own"),
        ('id = "classes"', "id = 7", "question 2: id: expected a name"),
        (
            'kind = "classify"\ncount = 5',
            'kind = "classify"\ncount = 50',
            "classes: count: expected a number from 1 to 9",
        ),
        ('technique = "native"\nevent', "event", "question which: technique: missing, expected the id of a technique"),
        ("schema = 1", "schema = ", "quiz.toml: "),
    ],
)
def test_so_is_one_in_a_quiz(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    assert old in QUIZ
    path = tmp_path / "quiz.toml"
    path.write_text(QUIZ.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(LessonError) as error:
        read_quiz(path)
    assert complaint in str(error.value)


def test_a_file_that_is_no_text_or_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(LessonError, match=r"lesson\.md: No such file"):
        read_lesson(tmp_path / "lesson.md")
    (tmp_path / "lesson.md").write_bytes(b"\xff\xfe")
    with pytest.raises(LessonError, match="expected a text in UTF-8"):
        read_lesson(tmp_path)
