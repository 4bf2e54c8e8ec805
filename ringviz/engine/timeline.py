"""The timeline's marks: thousands of events thinned to what a line of characters can show, kept up as the run grows."""

from __future__ import annotations

from ringviz.engine.event_log import EventLog
from ringviz.engine.view import Mark
from ringviz.vmm.events import Kind

_BUCKETS = 400


class Marks:
    """At most one mark per kind and 1/400 of the explored run."""

    def __init__(self) -> None:
        self._width = 1
        self._seen = 0
        self._buckets: dict[tuple[int, Kind], tuple[int, int]] = {}
        """Where the first is, and how many there are."""
        self._sorted: tuple[Mark, ...] | None = None

    def follow(self, log: EventLog, span: int) -> None:
        """Take in what the log has gained; `span` is the length of the line in instructions."""
        while span > self._width * 2 * _BUCKETS:
            self._width *= 2
            merged: dict[tuple[int, Kind], tuple[int, int]] = {}
            for (_, kind), (at, count) in self._buckets.items():
                key = (at // self._width, kind)
                first, others = merged.get(key, (at, 0))
                merged[key] = min(at, first), others + count
            self._buckets, self._sorted = merged, None
        for event in log.raw[self._seen :]:
            key = (event.at // self._width, event.kind)
            at, count = self._buckets.get(key, (event.at, 0))
            self._buckets[key] = at, count + 1
        if self._seen != len(log):
            self._sorted = None
        self._seen = len(log)

    def all(self) -> tuple[Mark, ...]:
        """The marks in order."""
        if self._sorted is None:
            marks = (Mark(at, kind, count) for (_, kind), (at, count) in self._buckets.items())
            self._sorted = tuple(sorted(marks, key=lambda mark: (mark.at, mark.kind.value)))
        return self._sorted
