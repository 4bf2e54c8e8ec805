"""Bookmarks: places of a run with a note, kept on disk so that they are there the next time."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

_SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Bookmark:
    """One place."""

    position: int
    """Retired guest instructions."""
    note: str
    alignment: str = "instruction"
    """Which techniques share this place: those whose runs are aligned in the same way."""


class Bookmarks:
    """All bookmarks of all scenarios; every change is written at once.

    Args:
        path: the file; None keeps them in memory only.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._known: dict[str, dict[tuple[str, int], Bookmark]] = {}
        self.trouble = ""
        """One line for the user if the file could not be used, or written."""
        if path is not None and path.exists():
            self._load(path)

    def of(self, scenario: str, alignment: str) -> tuple[Bookmark, ...]:
        """Give the bookmarks of a scenario that mean something under a technique, in order of the run."""
        found = self._known.get(scenario, {}).values()
        return tuple(sorted((b for b in found if b.alignment == alignment), key=lambda b: b.position))

    def put(self, scenario: str, bookmark: Bookmark) -> None:
        """Add one, or replace the one that is there already."""
        self._known.setdefault(scenario, {})[bookmark.alignment, bookmark.position] = bookmark
        self._save()

    def remove(self, scenario: str, bookmark: Bookmark) -> None:
        """Take one away."""
        self._known.get(scenario, {}).pop((bookmark.alignment, bookmark.position), None)
        self._save()

    def _load(self, path: Path) -> None:
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["schema"] != _SCHEMA:
                raise ValueError("unknown schema")
            for scenario, rows in content["bookmarks"].items():
                marks = [Bookmark(int(row["position"]), str(row["note"]), str(row["alignment"])) for row in rows]
                self._known[scenario] = {(mark.alignment, mark.position): mark for mark in marks}
        except OSError as error:
            self.trouble = f"bookmarks cannot be read: {error.strerror}"
        except (ValueError, KeyError, TypeError, AttributeError):
            self._known.clear()
            aside = path.with_suffix(".damaged.json")
            self.trouble = f"the file of bookmarks was damaged; it now lies beside the new one as {aside.name}"
            try:
                os.replace(path, aside)
            except OSError as error:
                self.trouble = f"the file of bookmarks is damaged, and cannot be set aside: {error.strerror}"

    def _save(self) -> None:
        if self._path is None:
            return
        rows = {
            scenario: [asdict(mark) for _, mark in sorted(marks.items())]
            for scenario, marks in sorted(self._known.items())
            if marks
        }
        text = json.dumps({"schema": _SCHEMA, "bookmarks": rows}, indent=1, ensure_ascii=False)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            beside = self._path.with_suffix(".new")
            beside.write_text(text, encoding="utf-8")
            os.replace(beside, self._path)  # whole or not at all
        except OSError as error:
            self.trouble = f"bookmarks cannot be written: {error.strerror}"
