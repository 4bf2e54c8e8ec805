"""What is measured of a host's machines: totals at some moments, and what lies between two of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ringviz.engine.automation.watching import Reading

MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Totals:
    """What has come together for one machine since its host runs, however often it was switched on again."""

    running: int = 0
    """Cycles in which it had the CPU."""
    stolen: int = 0
    """Cycles in which it wanted it and did not have it."""
    exits: int = 0
    """How often the guest was left for its VMM."""

    def plus(self, other: Totals) -> Totals:
        """Add another account of the same machine."""
        return Totals(self.running + other.running, self.stolen + other.stolen, self.exits + other.exits)


NOTHING = Totals()


@dataclass(frozen=True, slots=True)
class Sample:
    """All totals at one moment."""

    at: int
    """Cycles since the host began to run."""
    totals: Mapping[str, Totals]


def between(first: Sample, second: Sample, machine: str) -> Reading:
    """Give what was measured of a machine from one moment to a later one; its state and its console are not in it."""
    start, end = first.totals.get(machine, NOTHING), second.totals.get(machine, NOTHING)
    cycles = max(1, second.at - first.at)
    running = end.running - start.running
    return Reading(
        100 * running / cycles,
        100 * (end.stolen - start.stolen) / cycles,
        (end.exits - start.exits) * MILLION / running if running else None,
    )
