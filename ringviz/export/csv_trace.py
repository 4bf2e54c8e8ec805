"""A trace as comma-separated values (RFC 4180): one line of titles, then one record an event."""

import csv
import io
from collections.abc import Iterable

from ringviz.engine.events import Event
from ringviz.export.trace_format import TraceEnd, TraceHead
from ringviz.record.event_record import FIELDS, event_record


class CsvTrace:
    """The columns are `event_record.FIELDS`; `changes` and `detail` are one text each, parted by semicolons."""

    id = "csv"

    def head(self, head: TraceHead) -> str:
        """Give the line of titles."""
        return _line(FIELDS)

    def event(self, event: Event) -> str:
        """Give one event as one record; None becomes an empty field."""
        changes = "; ".join(f"{change.owner} {change.name} {change.old} -> {change.new}" for change in event.changes)
        detail = "; ".join(f"{name} {value}" for name, value in event.detail)
        escaped = str(event.escaped).lower()
        return _line((event_record(event) | {"changes": changes, "detail": detail, "escaped": escaped}).values())

    def end(self, end: TraceEnd) -> str:
        """Give nothing: every record is an event."""
        return ""


def _line(fields: Iterable[object]) -> str:
    """Quote and join the fields of one record; RFC 4180 ends it with CR LF."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(fields)
    return text.getvalue()
