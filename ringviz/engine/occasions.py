"""What a guest does that makes a VMM work, and what of a run's bill each such habit is to blame for.

A bill says what was paid for, an occasion why: a guest that writes to its page tables twice as often doubles the one
part of the bill that these writes have caused, whatever the technique calls it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from ringviz.engine.events import RawEvent
from ringviz.facts.source import by
from ringviz.machine.microcode.ports import PORT_FORMS
from ringviz.vmm.events import Kind
from ringviz.vmm.mmu.telling import HIDDEN_FAULT, TRACE_FAULT
from ringviz.vmm.translation.technique import SIMULATED


@dataclass(frozen=True, slots=True)
class Occasion:
    """One habit of a guest."""

    id: str
    title: str
    is_it: Callable[[RawEvent], bool]
    """Whether an event came because of it."""


def _is_table_write(event: RawEvent) -> bool:
    """A write that the VMM traces, at a trap, an exit or a callout; or a request of a recompiled kernel."""
    return event.cause == TRACE_FAULT or event.rule == SIMULATED or "mmu-request" in event.charges


def _is_hidden_fault(event: RawEvent) -> bool:
    return event.cause == HIDDEN_FAULT


def _is_interrupt(event: RawEvent) -> bool:
    return event.kind is Kind.INTERRUPT or "native-interrupt" in event.native_charges


def _is_port_access(event: RawEvent) -> bool:
    return "native-port-io" in event.native_charges or event.form in PORT_FORMS


def _no_event_tells(_event: RawEvent) -> bool:
    return False


TLB_MISSES = "tlb-misses"
OCCASIONS: Mapping[str, Occasion] = by(
    "id",
    Occasion("page-table-writes", "writes of the guest to its page tables", _is_table_write),
    Occasion("hidden-faults", "faults that fill shadow page tables", _is_hidden_fault),
    Occasion("port-accesses", "accesses to ports", _is_port_access),
    Occasion(TLB_MISSES, "page walks at TLB misses, where they are counted", _no_event_tells),
    Occasion("interrupts", "interrupts of devices", _is_interrupt),
)


@dataclass(frozen=True, slots=True)
class Share:
    """What one occasion has put on the bill of a run."""

    events: int
    vmm: Mapping[str, int]
    native: Mapping[str, int]


def shares_of(events: Iterable[RawEvent]) -> Mapping[str, Share]:
    """Count for each occasion what its events charge; an event may belong to several."""
    counts: dict[str, int] = dict.fromkeys(OCCASIONS, 0)
    vmm: dict[str, Counter[str]] = {id_: Counter() for id_ in OCCASIONS}
    native: dict[str, Counter[str]] = {id_: Counter() for id_ in OCCASIONS}
    for event in events:
        for id_, occasion in OCCASIONS.items():
            if occasion.is_it(event):
                counts[id_] += 1
                vmm[id_].update(event.charges)
                native[id_].update(event.native_charges)
    return {id_: Share(counts[id_], vmm[id_], native[id_]) for id_ in OCCASIONS}
