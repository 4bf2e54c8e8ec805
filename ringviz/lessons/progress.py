"""What a learner has done: read, answered, passed. One small JSON file, written whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ringviz.errors import InputError
from ringviz.record.kept_file import KeptFile
from ringviz.record.state_folder import state_folder

_SCHEMA = 1
_WHAT = "the progress of lessons"


def answer_key(question: str, seed: int) -> str:
    """Give the name under which an answer is kept: in another variant the same letter is another answer."""
    return question if seed == 0 else f"{question}#{seed}"


@dataclass(slots=True)
class LessonProgress:
    """One lesson."""

    page: int = 1
    """The page that was open last."""
    is_read: bool = False
    answers: dict[str, str] = field(default_factory=dict)
    """By id of the question, of the lesson and of its quiz; of other variants by id and seed: see `answer_key`."""
    best_percent: int | None = None
    """Of the quiz."""
    is_passed: bool = False


@dataclass(slots=True)
class Progress:
    """All lessons."""

    path: Path
    lessons: dict[str, LessonProgress] = field(default_factory=dict)
    complaint: str = ""
    """One line, if the file was damaged and had to be set aside."""

    @classmethod
    def load(cls, path: Path | None = None) -> Progress:
        """Read what there is; a file that makes no sense is set aside, and `complaint` says so."""
        file = KeptFile(path or state_folder() / "progress.json", _WHAT)
        lessons = file.read(_understood)
        return cls(file.path, lessons or {}, file.trouble)

    def of(self, lesson: str) -> LessonProgress:
        """Give a lesson's progress, to be changed in place."""
        return self.lessons.setdefault(lesson, LessonProgress())

    def save(self) -> None:
        """Write everything.

        Raises:
            InputError: it cannot be written.
        """
        file = KeptFile(self.path, _WHAT)
        if not file.write(self.as_json()):
            raise InputError(file.trouble)

    def as_json(self) -> dict[str, object]:
        """Give everything for a file or for a course server."""
        return {
            "schema": _SCHEMA,
            "lessons": {
                id_: {
                    "page": row.page,
                    "read": row.is_read,
                    "answers": row.answers,
                    "best_percent": row.best_percent,
                    "passed": row.is_passed,
                }
                for id_, row in sorted(self.lessons.items())
            },
        }


def _understood(content: Mapping[str, Any]) -> dict[str, LessonProgress]:
    return {str(id_): _lesson(row) for id_, row in content["lessons"].items()}


def _lesson(row: object) -> LessonProgress:
    if not isinstance(row, dict):
        raise ValueError("expected a table for each lesson")
    page, best, answers = row.get("page", 1), row.get("best_percent"), row.get("answers", {})
    if type(page) is not int or page < 1 or not isinstance(answers, dict) or not (best is None or type(best) is int):
        raise ValueError("a lesson's page, answers or best_percent is not what it must be")
    return LessonProgress(
        page,
        row.get("read") is True,
        {str(key): str(value) for key, value in answers.items()},
        best,
        row.get("passed") is True,
    )
