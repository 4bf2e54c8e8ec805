"""What a learner has done: read, answered, passed. One small JSON file, written whole or not at all."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from ringviz.errors import InputError
from ringviz.record.state_folder import state_folder

_SCHEMA = 1


@dataclass(slots=True)
class LessonProgress:
    """One lesson."""

    page: int = 1
    """The page that was open last."""
    is_read: bool = False
    answers: dict[str, str] = field(default_factory=dict)
    """By id of the question, of the lesson and of its quiz."""
    best_percent: int | None = None
    """Of the quiz."""
    is_passed: bool = False


@dataclass(slots=True)
class Progress:
    """All lessons."""

    path: Path
    lessons: dict[str, LessonProgress] = field(default_factory=dict)
    complaint: str = ""
    """One line, if the file was unreadable and had to be set aside."""

    @classmethod
    def load(cls, path: Path | None = None) -> Progress:
        """Read what there is; a file that makes no sense is set aside, and `complaint` says so."""
        file = path or state_folder() / "progress.json"
        progress = cls(file)
        try:
            document = json.loads(file.read_bytes())
            progress.lessons = {str(id_): _lesson(row) for id_, row in _rows(document).items()}
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as error:
            aside = file.with_suffix(".unreadable.json")
            progress.lessons = {}
            try:
                file.replace(aside)
                progress.complaint = f"progress.json could not be read ({_short(error)}); it is kept as {aside.name}"
            except OSError:
                progress.complaint = f"progress.json cannot be read: {_short(error)}"
        return progress

    def of(self, lesson: str) -> LessonProgress:
        """Give a lesson's progress, to be changed in place."""
        return self.lessons.setdefault(lesson, LessonProgress())

    def save(self) -> None:
        """Write everything.

        Raises:
            InputError: it cannot be written.
        """
        part = self.path.with_suffix(".part")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with part.open("w", encoding="utf-8") as file:
                json.dump(self.as_json(), file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            part.replace(self.path)
        except OSError as error:
            raise InputError(f"progress cannot be kept in {self.path.name}: {error.strerror}") from None

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


def _rows(document: object) -> dict[str, object]:
    if not isinstance(document, dict) or document.get("schema") != _SCHEMA:
        raise ValueError(f"expected schema {_SCHEMA}")
    rows = document.get("lessons")
    if not isinstance(rows, dict):
        raise ValueError("expected a table of lessons")
    return rows


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


def _short(error: Exception) -> str:
    return (str(error).splitlines() or ["unreadable"])[0][:80]
