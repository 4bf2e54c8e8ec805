"""One event as named values, and back: what the trace formats for programs write, under the same names."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from ringviz.engine.events import Change, Event, Kind

FIELDS: Mapping[str, str] = MappingProxyType(
    {
        "number": "1 for the first event of the run",
        "at": "guest instructions retired before it",
        "address": "address of the instruction",
        "instruction": "the instruction, disassembled",
        "kind": "trap, reflect, silent, exit, translate, callout, hypercall, gate, fault, interrupt, io, violation or "
        "end",
        "cause": "what stopped the CPU, in the manuals' words",
        "rule": "why it stopped, or did not",
        "handler": "who answered",
        "action": "what was done about it",
        "from_ring": "ring in which the CPU really was",
        "to_ring": "ring in which the CPU really was afterwards",
        "resume": "address at which the guest goes on",
        "cycles": "modelled price; null or empty if no source has one",
        "cost_cause": "causes of `ringviz cpus` that were charged, joined by +",
        "changes": "registers that it changed: name, owner (guest: the virtual CPU, real: the CPU itself), old, new",
        "detail": "fields of the hardware's report: name, value",
        "got": "silent instructions: what the guest got",
        "native_would": "silent instructions: what a CPU of the guest's own would have given",
        "escaped": "the guest got at the machine itself: true or false",
        "is_between": "an interrupt before the instruction, which has nothing to do with it: true or false",
    }
)
"""What each field says, in the order in which they are written; all numbers are decimal integers."""


def event_record(event: Event) -> dict[str, object]:
    """Give one event by field name, in the order of `FIELDS`: integers, texts, booleans, None, and lists of objects."""
    record: dict[str, object] = {name: getattr(event, name) for name in FIELDS}
    record["kind"] = event.kind.value
    record["changes"] = [
        {"name": change.name, "owner": change.owner, "old": change.old, "new": change.new} for change in event.changes
    ]
    record["detail"] = [{"name": name, "value": value} for name, value in event.detail]
    return record


def event_of(record: Mapping[str, Any]) -> Event:
    """Give the event back that `event_record` gave; names that are not of `FIELDS` are passed over.

    Raises:
        KeyError, TypeError, ValueError: it is no such record.
    """
    values: dict[str, Any] = {name: record[name] for name in FIELDS}
    for name in _NUMBERS:
        if type(values[name]) is not int:
            raise TypeError(name)
    values["kind"] = Kind(record["kind"])
    values["changes"] = tuple(Change(row["name"], row["owner"], row["old"], row["new"]) for row in record["changes"])
    values["detail"] = tuple((row["name"], row["value"]) for row in record["detail"])
    return Event(**values)


_NUMBERS = ("number", "at", "address", "from_ring", "to_ring", "resume")
