"""Breakpoints: places at which a run stops, kept on disk for each scenario so that they are there the next time."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ringviz.record.kept_file import KeptFile
from ringviz.ui.kept_by_guest import guest_of, is_of


@dataclass(frozen=True, slots=True)
class Breakpoint:
    """A place at which a run stops."""

    text: str
    """As the user wrote it: `putc if eax == 5`."""
    is_on: bool = True
    build: str = ""
    """The build of the guest in which it was set; empty if nobody knows."""
    elsewhere: str = ""
    """How the place is called in other builds, `putc+3h`; empty if the text holds in all of them."""

    def text_in(self, build: str) -> str:
        """Give what to look for in a build."""
        return self.text if not self.elsewhere or is_of(self.build, build) else self.elsewhere


_Known = dict[str, tuple[Breakpoint, ...]]


class Breakpoints:
    """All breakpoints of all scenarios; every change is written at once.

    Args:
        path: the file; None keeps them in memory only.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._file = None if path is None else KeptFile(path, "breakpoints")
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

    def of(self, scenario: str) -> tuple[Breakpoint, ...]:
        """Give the breakpoints of a scenario, in the order in which they were set."""
        return self._known.get(guest_of(scenario), ())

    def put(self, scenario: str, breakpoints: Sequence[Breakpoint]) -> None:
        """Take these in place of what the scenario had."""
        if self.of(scenario) == tuple(breakpoints):
            return
        self._known[guest_of(scenario)] = tuple(breakpoints)
        if self._file is not None:
            rows = {name: [asdict(row) for row in found] for name, found in sorted(self._known.items()) if found}
            self._file.write({"breakpoints": rows})


def _understood(content: Mapping[str, Any]) -> _Known:
    known: _Known = {}
    for scenario, rows in content["breakpoints"].items():
        found = [Breakpoint(row["text"], row["is_on"], row.get("build", ""), row.get("elsewhere", "")) for row in rows]
        if not all(type(row.is_on) is bool and _are_texts(row.text, row.build, row.elsewhere) for row in found):
            raise ValueError("a value of another kind")
        there = known.get(guest_of(scenario), ())
        known[guest_of(scenario)] = (*there, *(row for row in found if row not in there))
    return known


def _are_texts(*values: object) -> bool:
    return all(type(value) is str for value in values)
