"""Ports that a guest used and nobody has: told once each, with the instruction that looked.

Such a port reads as ones. A guest in search of hardware goes on from that, and whoever wonders why it does so finds it
here. Memory that is not there is told as an attempt on what is not the guest's own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ringviz.vmm.describe import unclaimed_port
from ringviz.vmm.events import Event


@dataclass(frozen=True, slots=True)
class Stranger:
    """One port that no device claims."""

    port: int
    address: int
    """Of the first instruction that used it."""
    instruction: str
    count: int


def strangers(events: Iterable[Event]) -> tuple[Stranger, ...]:
    """Give every port that the guest used and nobody has, in the order of the first use."""
    first: dict[int, Event] = {}
    counts: dict[int, int] = {}
    for event in events:
        port = unclaimed_port(event.action)
        if port is not None:
            first.setdefault(port, event)
            counts[port] = counts.get(port, 0) + 1
    return tuple(Stranger(port, event.address, event.instruction, counts[port]) for port, event in first.items())
