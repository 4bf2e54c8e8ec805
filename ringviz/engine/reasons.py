"""Why the VMM was entered, how often, and what it cost: the events of a run by what stopped the guest.

The ledger adds up what things cost; an exit is an exit there. Here a page fault of the shadow tables and a port access
are told apart, as `perf kvm stat` tells exits apart: count, cycles, and the cheapest and the dearest of each.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import repeat

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
    cycles: int
    """All of them together: what each charges, for the VMM's work and for what bare metal pays for the same thing."""
    least_cycles: int
    """The cheapest one."""
    most_cycles: int
    """The dearest one."""

    @property
    def average_cycles(self) -> int:
        """The mean, rounded."""
        return (2 * self.cycles + self.count) // (2 * self.count)


def reasons_of(events: Iterable[Event], prices: Iterable[int] | None = None) -> tuple[Reason, ...]:
    """Add up the events in which the VMM was entered, the most frequent first.

    Args:
        events: of a run, or of a stretch of it.
        prices: what each of them charges; None: they are only counted.
    """
    found: dict[tuple[Kind, str, str], list[int]] = {}
    for event, price in zip(events, repeat(0) if prices is None else prices, strict=False):
        if event.kind in VMM_KINDS:
            found.setdefault(_key(event), []).append(price)
    rows = [Reason(*key, len(each), sum(each), min(each), max(each)) for key, each in found.items()]
    return tuple(sorted(rows, key=lambda row: (-row.count, row.kind.value, row.cause, row.form)))


def _key(event: Event) -> tuple[Kind, str, str]:
    says_all = event.kind not in _BY_INSTRUCTION or event.cause.startswith(("#PF", "interrupt", EXTERNAL))
    form = None if says_all else event.form
    return event.kind, _PLACE.sub("", event.cause), form or ""
