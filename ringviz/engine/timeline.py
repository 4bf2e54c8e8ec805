"""The timeline's marks: thousands of events thinned to what a line of characters can show, kept up as the run grows."""

from __future__ import annotations

from ringviz.engine.view import Mark
from ringviz.vmm.events import Event as RawEvent
from ringviz.vmm.events import Kind

_BUCKETS = 400


class Marks:
    """At most one mark per kind and 1/400 of the explored run."""

    def __init__(self) -> None:
        self._width = 1
        self._buckets: dict[tuple[int, Kind], tuple[int, int]] = {}
        """Where the first is, and how many there are."""
        self._sorted: tuple[Mark, ...] | None = None

    def note(self, event: RawEvent) -> None:
        """Take in one more event, that is not before any known one."""
        if event.at > self._width * 2 * _BUCKETS:
            self.widen(event.at)
        key = (event.at // self._width, event.kind)
        at, count = self._buckets.get(key, (event.at, 0))
        self._buckets[key] = at, count + 1
        self._sorted = None

    def widen(self, span: int) -> None:
        """Make room for a line of so many instructions."""
        while span > self._width * 2 * _BUCKETS:
            self._width *= 2
            merged: dict[tuple[int, Kind], tuple[int, int]] = {}
            for (_, kind), (at, count) in self._buckets.items():
                key = (at // self._width, kind)
                first, others = merged.get(key, (at, 0))
                merged[key] = min(at, first), others + count
            self._buckets, self._sorted = merged, None

    def all(self) -> tuple[Mark, ...]:
        """The marks in order."""
        if self._sorted is None:
            marks = (Mark(at, kind, count) for (_, kind), (at, count) in self._buckets.items())
            self._sorted = tuple(sorted(marks, key=lambda mark: (mark.at, mark.kind.value)))
        return self._sorted
