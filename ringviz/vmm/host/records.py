"""What a host keeps of its past: events, turns on the CPU, and where each machine's time went."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum


class State(Enum):
    """What a machine on a host is at."""

    RUNNING = "running"
    """It has the CPU, or its VMM has it on its behalf."""
    READY = "ready"
    """It wants the CPU, and another has it."""
    SLEEPING = "sleeping"
    """Its guest waits in HLT, or has blocked."""
    PARKED = "parked"
    """It wants the CPU, and has had what its cap allows in this accounting period, or memory is almost gone."""
    PAUSED = "paused"
    """It is not to run."""
    ENDED = "ended"
    """Its guest's run is over."""


WANTS_CPU = frozenset({State.RUNNING, State.READY, State.PARKED})


@dataclass(frozen=True, slots=True)
class HostEvent:
    """One decision of a host, or something that happened to one of its machines."""

    at: int
    """Host cycles."""
    machine: str
    what: str
    """A word: start, turn, sleep, wake, park, release, share, pause, resume, off, end, remove, account; of memory:
    allot, memory (a state of the host), merge, swap, block."""
    text: str

    def line(self) -> str:
        """Give it as a line of a list."""
        return f"{self.at:>12,}  {self.machine:<12}  {self.what:<8}  {self.text}".rstrip()


@dataclass(frozen=True, slots=True)
class HostTurn:
    """One stretch of the CPU."""

    machine: str
    start: int
    end: int
    """Host cycles; the timer's interrupt at the end is within."""
    ended_by: str
    """`timer`, `sleep` or `end`."""


@dataclass(slots=True)
class Times:
    """Where a machine's time went, in host cycles, and what an ideal host would have given it."""

    spent: dict[State, int] = field(default_factory=lambda: dict.fromkeys(State, 0))
    ideal: float = 0.0

    @property
    def stolen(self) -> int:
        """Cycles in which it would have run, and others had the CPU or its cap forbade it."""
        return self.spent[State.READY] + self.spent[State.PARKED]


@dataclass(frozen=True, slots=True)
class Period:
    """One accounting period."""

    start: int
    cycles: int
    used: dict[str, int]
    """Cycles of the CPU by machine; what is left of the period the CPU idled."""
