"""Two traces side by side: the first event in which they are not alike."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, zip_longest

from ringviz.engine.events import Event
from ringviz.record.event_record import FIELDS, event_record


@dataclass(frozen=True, slots=True)
class Difference:
    """Where two traces part."""

    number: int
    """Of the event, from 1."""
    before: tuple[Event, ...]
    """The last events that they share, as the first one has them."""
    fields: tuple[tuple[str, object, object], ...]
    """Name, value in the first, value in the second; empty if one of them has no such event."""
    here: tuple[Event, ...]
    """The differing event of the first trace and some behind it; empty if it has none."""
    there: tuple[Event, ...]
    """The same of the second."""


def first_difference(
    here: Iterable[Event], there: Iterable[Event], context: int = 3, only: Sequence[str] = tuple(FIELDS)
) -> tuple[Difference | None, int]:
    """Compare two traces, event by event, in memory that does not grow with them.

    Args:
        here: the first.
        there: the second.
        context: how many events to give before and behind.
        only: the fields to compare.

    Returns:
        The first difference, or None; and how many events were alike.
    """
    before: deque[Event] = deque(maxlen=context) if context else deque(maxlen=0)
    one, other = iter(here), iter(there)
    count = 0
    for count, (ours, theirs) in enumerate(_pairs(one, other), 1):
        fields = () if ours is None or theirs is None else _differing(ours, theirs, only)
        if fields or ours is None or theirs is None:
            mine = () if ours is None else (ours, *islice(one, context))
            its = () if theirs is None else (theirs, *islice(other, context))
            return Difference(count, tuple(before), fields, mine, its), count - 1
        before.append(ours)
    return None, count


def _pairs(one: Iterator[Event], other: Iterator[Event]) -> Iterator[tuple[Event | None, Event | None]]:
    return zip_longest(one, other)


def _differing(ours: Event, theirs: Event, only: Sequence[str]) -> tuple[tuple[str, object, object], ...]:
    # Nearly all are alike, and comparing whole events costs a tenth of taking them apart.
    if ours == theirs:
        return ()
    mine, its = event_record(ours), event_record(theirs)
    return tuple((name, mine[name], its[name]) for name in only if mine[name] != its[name])
