"""The life of a virtual machine as a state machine: which operation leads from which states to which."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from ringviz.errors import InputError


class Life(Enum):
    """The states."""

    STOPPED = "stopped"
    """Switched off: there are its definition and its disks."""
    RUNNING = "running"
    """It wants the host's CPU whenever the host runs."""
    PAUSED = "paused"
    """Switched on, and standing still."""
    SHUTTING_DOWN = "shutting-down"
    """Running, and asked to end its run; switched off when its time is up."""
    MIGRATING = "migrating"
    """On its way to another host, or from one: until a record that both can read says where it is."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that can be done with a machine."""

    id: str
    title: str
    sources: frozenset[Life]
    """States in which it can be done."""
    target: Life | None
    """State afterwards; None where it stays, or is another machine's, as the title says."""


_ON = frozenset({Life.RUNNING, Life.PAUSED, Life.SHUTTING_DOWN})

OPERATIONS: Mapping[str, Operation] = MappingProxyType(
    {
        row.id: row
        for row in (
            Operation("start", "Switch on", frozenset({Life.STOPPED}), Life.RUNNING),
            Operation("pause", "Let it stand still", frozenset({Life.RUNNING}), Life.PAUSED),
            Operation("resume", "Let it go on", frozenset({Life.PAUSED}), Life.RUNNING),
            Operation("reset", "Switch off and on again; its disks stay as they are", _ON, Life.RUNNING),
            Operation(
                "shutdown", "Ask the guest, through port F4h; switch off when the time is up",
                frozenset({Life.RUNNING}), Life.SHUTTING_DOWN,
            ),
            Operation("stop", "Switch off", _ON, Life.STOPPED),
            Operation(
                "migrate", "Move it to another host while it runs; it is gone from here when it is there",
                frozenset({Life.RUNNING}), Life.MIGRATING,
            ),
            Operation("stay", "Call its migration off", frozenset({Life.MIGRATING}), Life.RUNNING),
            Operation(
                "snapshot", "Keep what it is now under a name",
                frozenset({Life.STOPPED, Life.RUNNING, Life.PAUSED}), None,
            ),
            Operation("revert", "Go back to a snapshot, and its state then", _ON | {Life.STOPPED}, None),
            Operation(
                "clone", "Make another machine that stands where this one does",
                frozenset({Life.STOPPED, Life.PAUSED}), None,
            ),
            Operation("destroy", "Forget it, its disks and its snapshots", frozenset({Life.STOPPED}), None),
        )
    }
)  # fmt: skip


def check_allowed(operation: str, name: str, state: Life) -> Operation:
    """Give an operation that can be done with a machine in its state.

    Raises:
        InputError: it cannot; one line with what can.
    """
    row = OPERATIONS[operation]
    if state not in row.sources:
        possible = ", ".join(each.id for each in OPERATIONS.values() if state in each.sources)
        raise InputError(f"{name} is {state.value}: {operation} is not possible; possible are {possible}")
    return row


def state_rows(now: Life | None = None) -> Iterator[tuple[str, str, str]]:
    """Give the state machine as rows: state, operation, next state; the state given is marked."""
    for state in Life:
        for row in OPERATIONS.values():
            if state in row.sources:
                target = row.target.value if row.target is not None else "-"
                mark = "> " if state is now else "  "
                yield f"{mark}{state.value}", row.id, target
