"""What is kept of a machine: its definition, its disks, where it stands if it is on, and its snapshots."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from typing import Any

from ringviz.record.machines.definition import Definition
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


def written(kept: Kept) -> dict[str, Any]:
    """Give a machine as values for JSON."""
    return asdict(kept) | {
        "state": kept.state.value,
        "snapshots": {name: asdict(taken) | {"state": taken.state.value} for name, taken in kept.snapshots.items()},
    }


def understood(value: dict[str, Any]) -> Kept:
    """Understand what `written` gave."""
    definition = dict(value["definition"])
    definition["controls"] = tuple(definition["controls"])
    return Kept(
        Definition(**definition),
        Life(value["state"]),
        _disks(value["disks"]),
        _run(value["run"]),
        {
            name: Snapshot(Life(taken["state"]), _disks(taken["disks"]), _run(taken["run"]), int(taken["clock"]))
            for name, taken in value["snapshots"].items()
        },
        str(value["ended"]),
        dict(value["spent"]),
        str(value["console"]),
    )


def _run(value: dict[str, Any] | None) -> Run | None:
    if value is None:
        return None
    place = dict(value["place"])
    place["asked_at"] = None if place["asked_at"] is None else tuple(place["asked_at"])
    return Run(**{**value, "place": Place(**place), "disks": _disks(value["disks"])})


def _disks(value: list[str | None]) -> Disks:
    first, second = value
    for name in (first, second):
        if name is not None and os.path.basename(name) != name:
            raise ValueError("a disk outside the folder")
    return first, second
