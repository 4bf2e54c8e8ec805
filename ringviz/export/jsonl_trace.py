"""A trace as JSON Lines: one object an event, numbers as integers, the same keys in every line."""

import json

from ringviz.engine.events import Event
from ringviz.export.trace_format import TraceEnd, TraceHead
from ringviz.record.event_record import event_record


class JsonlTrace:
    """The keys are `event_record.FIELDS`; `changes` and `detail` are lists of objects."""

    id = "jsonl"

    def head(self, head: TraceHead) -> str:
        """Give nothing: every line is an event."""
        return ""

    def event(self, event: Event) -> str:
        """Give one event as one line."""
        return json.dumps(event_record(event), ensure_ascii=True) + "\n"

    def end(self, end: TraceEnd) -> str:
        """Give nothing: every line is an event."""
        return ""
