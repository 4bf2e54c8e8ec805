"""One event as named values: what the trace formats for programs write, under the same names."""

from ringviz.engine.events import Event

FIELDS = (
    "number",
    "at",
    "address",
    "instruction",
    "kind",
    "cause",
    "action",
    "cycles",
    "cost_cause",
    "changes",
    "native_would",
    "got",
)
"""`at` counts the guest instructions retired before the event; `native_would` and `got` are for silent instructions."""


def event_record(event: Event) -> dict[str, object]:
    """Give one event by field name, in the order of `FIELDS`: integers, texts, None, and a list of changes."""
    record: dict[str, object] = {name: getattr(event, name) for name in FIELDS}
    record["kind"] = event.kind.value
    record["changes"] = [
        {"name": change.name, "owner": change.owner, "old": change.old, "new": change.new} for change in event.changes
    ]
    return record
