"""Bookmarks: places of a run with a note, kept on disk so that they are there the next time."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ringviz.record.kept_file import KeptFile
from ringviz.ui.kept_by_guest import guest_of


@dataclass(frozen=True, slots=True)
class Bookmark:
    """One place."""

    position: int
    """Retired guest instructions."""
    note: str
    alignment: str = "instruction"
    """Which techniques share this place: those whose runs are aligned in the same way."""
    build: str = ""
    """The build of the guest in which it was set; empty if nobody knows. In another one, the step is another place."""


_Known = dict[str, dict[tuple[str, int, str], Bookmark]]
"""Guest -> by alignment, position and build."""


class Bookmarks:
    """All bookmarks of all scenarios; every change is written at once.

    Args:
        path: the file; None keeps them in memory only.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._file = None if path is None else KeptFile(path, "bookmarks")
        found = None if self._file is None else self._file.read(_understood)
        self._known = found or {}

    @property
    def trouble(self) -> str:
        """One line for the user if the file could not be used, or written."""
        return "" if self._file is None else self._file.trouble

    def was_told(self) -> None:
        """Say no more of the trouble: the user knows."""
        if self._file is not None:
            self._file.trouble = ""

    def of(self, scenario: str, alignment: str) -> tuple[Bookmark, ...]:
        """Give the bookmarks of a scenario that mean something under a technique, in order of the run."""
        found = self._known.get(guest_of(scenario), {}).values()
        return tuple(sorted((b for b in found if b.alignment == alignment), key=lambda b: b.position))

    def put(self, scenario: str, bookmark: Bookmark) -> None:
        """Add one, or replace the one that is there already."""
        self._known.setdefault(guest_of(scenario), {})[_key(bookmark)] = bookmark
        self._save()

    def remove(self, scenario: str, bookmark: Bookmark) -> None:
        """Take one away."""
        self._known.get(guest_of(scenario), {}).pop(_key(bookmark), None)
        self._save()

    def _save(self) -> None:
        if self._file is None:
            return
        rows = {
            scenario: [asdict(mark) for _, mark in sorted(marks.items())]
            for scenario, marks in sorted(self._known.items())
            if marks
        }
        self._file.write({"bookmarks": rows})


def _understood(content: Mapping[str, Any]) -> _Known:
    known: _Known = {}
    for scenario, rows in content["bookmarks"].items():
        marks = [
            Bookmark(int(row["position"]), str(row["note"]), str(row["alignment"]), str(row.get("build", "")))
            for row in rows
        ]
        known.setdefault(guest_of(scenario), {}).update({_key(mark): mark for mark in marks})
    return known


def _key(bookmark: Bookmark) -> tuple[str, int, str]:
    return bookmark.alignment, bookmark.position, bookmark.build
