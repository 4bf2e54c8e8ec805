"""Grades answers: which are right, why, and whether that is enough."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ringviz.errors import InputError
from ringviz.guest.scenario import shown_path
from ringviz.guest.schema import clipped, did_you_mean
from ringviz.lessons.figures import Figures
from ringviz.lessons.lesson import Lesson, Quiz
from ringviz.lessons.make import Maker
from ringviz.lessons.question import Question

_MAX_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Graded:
    """One question and what was answered."""

    question: Question
    given: str | None
    """None: not answered."""

    @property
    def is_right(self) -> bool:
        """The answer is the right one."""
        return self.given is not None and self.question.is_right(self.given)


@dataclass(frozen=True, slots=True)
class Grade:
    """A whole quiz."""

    lesson: str
    seed: int
    pass_percent: int
    answers: tuple[Graded, ...]

    @property
    def right(self) -> int:
        """How many answers are right."""
        return sum(answer.is_right for answer in self.answers)

    @property
    def percent(self) -> int:
        """Share of right answers, rounded down."""
        return 100 * self.right // len(self.answers)

    @property
    def is_passed(self) -> bool:
        """It is enough."""
        return self.percent >= self.pass_percent


def make_quiz(lesson: Lesson, quiz: Quiz, seed: int, figures: Figures | None = None) -> tuple[Question, ...]:
    """Make a quiz's questions for a seed; `figures` may bring what has been computed already.

    Raises:
        LessonError: a question has no answer, or claims a wrong one.
    """
    maker = Maker(lesson.scenario, seed, figures or Figures(lesson.scenario), shown_path(quiz.path.resolve()))
    return tuple(maker.make(asked) for asked in quiz.questions)


def grade(lesson: Lesson, quiz: Quiz, questions: Sequence[Question], answers: Mapping[str, str], seed: int) -> Grade:
    """Compare answers with the questions; what is not answered is wrong.

    Raises:
        InputError: an answer belongs to no question, or is no possible answer to its question.
    """
    known = {question.id: question for question in questions}
    for id_, given in answers.items():
        if id_ not in known:
            raise InputError(f"{clipped(id_)}: no question of {lesson.id}{did_you_mean(id_, known)}")
        if known[id_].normalized(given) is None:
            raise InputError(f"{id_}: found {clipped(given)}, expected {known[id_].how}")
    graded = tuple(Graded(question, answers.get(question.id)) for question in questions)
    return Grade(lesson.id, seed, quiz.pass_percent, graded)


def read_answers(path: Path) -> dict[str, str]:
    """Read a file of answers, question id → answer, as JSON or TOML by its name.

    Raises:
        InputError: the file is missing or holds something else.
    """
    where = shown_path(path.resolve())
    try:
        data = path.read_bytes()[:_MAX_BYTES]
        document = json.loads(data) if path.suffix == ".json" else tomllib.loads(data.decode("utf-8"))
    except OSError as error:
        raise InputError(f"{where}: {error.strerror or 'cannot be read'}") from None
    except (ValueError, UnicodeDecodeError) as error:
        raise InputError(f"{where}: {clipped(str(error), 100)}") from None
    if not isinstance(document, dict):
        raise InputError(f"{where}: expected an answer for each id of a question")
    for key, value in document.items():
        if type(value) not in (str, int):
            raise InputError(f"{where}: {clipped(key)}: expected a text or a number")
    return {key: str(value) for key, value in document.items()}


def quiz_json(questions: Sequence[Question], lesson: Lesson, quiz: Quiz, seed: int) -> dict[str, object]:
    """Give the questions without their answers, for a course server."""
    return {
        "schema": 1,
        "lesson": lesson.id,
        "title": quiz.title,
        "seed": seed,
        "pass_percent": quiz.pass_percent,
        "questions": [_question_json(question) for question in questions],
    }


def grade_json(grade: Grade) -> dict[str, object]:
    """Give the result, with the right answers and why."""
    return {
        "schema": 1,
        "lesson": grade.lesson,
        "seed": grade.seed,
        "pass_percent": grade.pass_percent,
        "right": grade.right,
        "percent": grade.percent,
        "passed": grade.is_passed,
        "questions": [
            {
                **_question_json(answer.question),
                "given": answer.given,
                "right": answer.is_right,
                "answer": answer.question.answer,
                "explain": answer.question.explain,
            }
            for answer in grade.answers
        ],
    }


def _question_json(question: Question) -> dict[str, object]:
    return {
        "id": question.id,
        "kind": question.kind.value,
        "text": question.text,
        "items": list(question.items),
        "options": list(question.options),
        "expects": question.how,
    }
