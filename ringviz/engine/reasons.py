"""Why the VMM was entered, and how often: the events of a run by what stopped the guest.

The bill adds up what things cost; an exit is an exit there. Here a page fault of the shadow tables and a port access
are told apart, as `perf kvm stat` tells exits apart.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from ringviz.engine.events import VMM_KINDS
from ringviz.vmm.describe import EXTERNAL
from ringviz.vmm.events import Event, Kind

_PLACE = re.compile(r" at [0-9A-F]{4,}")
_BY_INSTRUCTION = frozenset({Kind.TRAP, Kind.CALLOUT, Kind.REFLECT})
"""Kinds whose cause alone, an exception, does not say what the guest wanted."""


@dataclass(frozen=True, slots=True)
class Reason:
    """One way in which the guest was left for the VMM."""

    kind: Kind
    cause: str
    """In the manuals' words, without addresses: `VM exit 30, I/O instruction`, `#GP(0)`, `#PF (hidden)`."""
    form: str
    """Id of the instruction that trapped, of `ringviz.facts.instructions`; empty where the cause says all."""
    count: int


def reasons_of(events: Iterable[Event]) -> tuple[Reason, ...]:
    """Count the events in which the VMM was entered, the most frequent first."""
    counts = Counter(_key(event) for event in events if event.kind in VMM_KINDS)
    rows = [Reason(*key, count) for key, count in counts.items()]
    return tuple(sorted(rows, key=lambda row: (-row.count, row.kind.value, row.cause, row.form)))


def _key(event: Event) -> tuple[Kind, str, str]:
    says_all = event.kind not in _BY_INSTRUCTION or event.cause.startswith(("#PF", "interrupt", EXTERNAL))
    form = None if says_all else event.form
    return event.kind, _PLACE.sub("", event.cause), form or ""
