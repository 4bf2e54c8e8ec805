"""What is kept of a machine: its definition, its disks, where it stands if it is on, and its snapshots."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ringviz.errors import InputError
from ringviz.guest.schema import clipped, did_you_mean
from ringviz.record.machines.definition import Definition, check_name
from ringviz.record.machines.life_cycle import Life
from ringviz.vmm.host.virtual_machine import Place

Disks = tuple[str | None, str | None]
"""File names in the folder."""


@dataclass(frozen=True, slots=True)
class Run:
    """Where a machine stands that is switched on."""

    place: Place
    sleep_cycles: int
    """For how long it will sleep on."""
    guest_state_sha256: str
    """Empty at power-on, where there is nothing to compare."""
    disks: Disks
    """As they were when it was switched on."""
    deadline: int | None = None
    """Host clock at which it is switched off, if it has been asked to shut down."""
    arrived: str | None = None
    """File of what it was when it came from another host; its place is counted from there, and not from power-on."""

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the files that it needs besides its disks."""
        return () if self.arrived is None else (self.arrived,)


@dataclass(frozen=True, slots=True)
class Move:
    """A machine between two hosts: whether it is this one's stands in a record that both can read."""

    is_leaving: bool
    """From here to the other one; else it comes from there."""
    shared: str
    """Folder that both hosts see."""
    record: str
    """Name of the record in it."""
    state: Life
    """In which it is again if it stays, or goes on when it has come."""


POWER_ON = Place(0, 0, False, 0)


def power_on(disks: Disks) -> Run:
    """Give where a machine stands that has just been switched on."""
    return Run(POWER_ON, 0, "", disks)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a machine was at some moment."""

    state: Life
    disks: Disks
    run: Run | None
    clock: int
    """Of the host, when it was taken."""
    is_from_elsewhere: bool = False
    """It was taken at another host, and that is whose clock it is."""


@dataclass(frozen=True, slots=True)
class Kept:
    """One machine as it is kept."""

    definition: Definition
    state: Life
    disks: Disks
    """What it will be switched on with."""
    run: Run | None = None
    snapshots: dict[str, Snapshot] = field(default_factory=dict)
    ended: str = ""
    """How its last run ended, in words."""
    spent: dict[str, int] = field(default_factory=dict)
    """Host cycles by state, over all runs."""
    console: str = ""
    """What its guest has printed in its last run, up to where it stands."""
    move: Move | None = None
    """Where it is on its way, if it is."""


def snapshot_named(name: str, kept: Kept, snapshot: str) -> Snapshot:
    """Give a snapshot of a machine.

    Raises:
        InputError: it has none of that name.
    """
    if snapshot not in kept.snapshots:
        known = ", ".join(kept.snapshots) or "none"
        near = did_you_mean(snapshot, kept.snapshots)
        raise InputError(f'{name}: no snapshot "{clipped(snapshot)}"; there are {known}{near}')
    return kept.snapshots[snapshot]


def check_new_snapshot(name: str, kept: Kept, snapshot: str) -> None:
    """Refuse a name that no new snapshot of a machine can have.

    Raises:
        InputError: it is taken, or no name.
    """
    check_name(snapshot)
    if snapshot in kept.snapshots:
        raise InputError(f'{name}: there is a snapshot "{snapshot}" already')


def written(kept: Kept) -> dict[str, Any]:
    """Give a machine as values for JSON."""
    return asdict(kept) | {
        "state": kept.state.value,
        "snapshots": written_snapshots(kept.snapshots),
        "move": None if kept.move is None else asdict(kept.move) | {"state": kept.move.state.value},
    }


def written_snapshots(snapshots: Mapping[str, Snapshot]) -> dict[str, Any]:
    """Give snapshots as values for JSON."""
    return {name: asdict(taken) | {"state": taken.state.value} for name, taken in snapshots.items()}


def understood_snapshots(
    value: dict[str, Any], file_named: Callable[[str], str] = lambda name: name
) -> dict[str, Snapshot]:
    """Understand what `written_snapshots` gave.

    Args:
        value: of all.
        file_named: gives the name of a file in this folder by the one that is written there.
    """
    return {
        name: Snapshot(
            Life(taken["state"]),
            _disks(taken["disks"], file_named),
            _run(taken["run"], file_named),
            int(taken["clock"]),
            bool(taken.get("is_from_elsewhere", False)),
        )
        for name, taken in value.items()
    }


def understood(value: dict[str, Any]) -> Kept:
    """Understand what `written` gave."""
    return Kept(
        definition_of(value),
        Life(value["state"]),
        _disks(value["disks"]),
        _run(value["run"]),
        understood_snapshots(value["snapshots"]),
        str(value["ended"]),
        dict(value["spent"]),
        str(value["console"]),
        _move(value.get("move")),
    )


def _move(value: dict[str, Any] | None) -> Move | None:
    return None if value is None else Move(**{**value, "state": Life(value["state"])})


def definition_of(value: dict[str, Any]) -> Definition:
    """Understand the definition in what `written` gave."""
    definition = dict(value["definition"])
    definition["controls"] = tuple(definition["controls"])
    return Definition(**definition)


def _run(value: dict[str, Any] | None, file_named: Callable[[str], str] = lambda name: name) -> Run | None:
    if value is None:
        return None
    place = dict(value["place"])
    place["asked_at"] = None if place["asked_at"] is None else tuple(place["asked_at"])
    arrived = value.get("arrived")
    if arrived is not None:
        arrived = file_named(arrived)
        _check_inside(arrived)
    place["balloon_orders"] = tuple(tuple(order) for order in place.get("balloon_orders", ()))
    disks = _disks(value["disks"], file_named)
    return Run(**{**value, "place": Place(**place), "disks": disks, "arrived": arrived})


def _disks(value: list[str | None], file_named: Callable[[str], str] = lambda name: name) -> Disks:
    first, second = (None if name is None else file_named(name) for name in value)
    for name in (first, second):
        if name is not None:
            _check_inside(name)
    return first, second


def _check_inside(name: str) -> None:
    if os.path.basename(name) != name:
        raise ValueError("a file outside the folder")
