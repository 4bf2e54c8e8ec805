"""A guest that goes round in circles: its handler faults at once, and no instruction of its own ever completes."""

from __future__ import annotations

from collections.abc import Sequence

from ringviz.vmm.events import Event
from ringviz.vmm.mmu.telling import HIDDEN_FAULT, WITHDRAWN_RULE

MOST_EVENTS_WITHOUT_PROGRESS = 1_000
"""So many are answered; then the run is stopped as if its budget were spent."""
NO_PROGRESS = "the guest takes one exception after the other and completes no instruction"


class Stall:
    """Counts what has been answered since an instruction completed.

    Faults that are the VMM's own affair do not count: one long string instruction may need very many of them.
    """

    def __init__(self) -> None:
        self._count = 0

    @property
    def is_stuck(self) -> bool:
        """The guest will get no further."""
        return self._count > MOST_EVENTS_WITHOUT_PROGRESS

    def note(self, events: Sequence[Event], *, has_completed: bool) -> bool:
        """Take note of one stop that was answered; True if the guest is stuck.

        Args:
            events: what the answer has told.
            has_completed: an instruction of the guest's has completed meanwhile.
        """
        if has_completed:
            self._count = 0
        elif not is_overhead(events):
            self._count += 1
        return self.is_stuck

    def clear(self) -> None:
        """Begin anew: the run has gone on, or stands elsewhere."""
        self._count = 0


def is_overhead(events: Sequence[Event]) -> bool:
    """Tell whether what has come is the VMM's own affair, or the host's, and nothing that the guest has done."""
    return bool(events) and all(event.cause == HIDDEN_FAULT or event.rule == WITHDRAWN_RULE for event in events)
