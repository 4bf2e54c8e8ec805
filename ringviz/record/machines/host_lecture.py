"""A scripted session of a host: beats keyed to the host's clock, to its rules and migrations, and orders given live.

A host is deterministic in its own time, so a beat is found again by running the host anew: that is how one goes back.
`host_lecture_file.py` reads the file, `host_player.py` plays it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ringviz.engine.automation.rules import Deed
from ringviz.record.machines.host_file import HostDefinition
from ringviz.record.made_with import MadeWith
from ringviz.record.replay import Question, Wanted

HOST_PANELS: Mapping[str, str] = {
    "machines": "the machines as rows: state, ring, share of the CPU, stolen time, exits",
    "gantt": "who had the CPU in the last periods",
    "migration": "a machine that moves: rounds, pages, downtime",
    "memory": "who has which frame of the host's memory",
    "audit": "what the host was told, or has done by itself",
    "life": "where in its life the machine is that is pointed at",
}
"""What a beat may put into the light, by name."""


@dataclass(frozen=True, slots=True)
class ToClock:
    """To so many cycles of the host; `is_relative`: so many from here."""

    cycles: int
    is_relative: bool = False


@dataclass(frozen=True, slots=True)
class Until:
    """On until all of this is so: it is looked at whenever the host has had something to do."""

    wanted: tuple[Wanted, ...]


@dataclass(frozen=True, slots=True)
class ToHostEnd:
    """To where the demonstration ends."""


HostGo = ToClock | Until | ToHostEnd


@dataclass(frozen=True, slots=True)
class HostBeat:
    """One moment of a host's lecture. Its parts happen in the order in which they stand here."""

    title: str
    deeds: tuple[Deed, ...] = ()
    """What the host is told, as if by hand."""
    go: HostGo | None = None
    focus: str = ""
    """Panel to point at, one of `HOST_PANELS`; empty: none."""
    is_zoomed: bool = False
    machine: str = ""
    """Row to point at; empty: the same as before."""
    say: str = ""
    ask: Question | None = None
    expect: tuple[Wanted, ...] = ()
    wait_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class HostLecture:
    """One file, checked."""

    path: Path
    where: str
    """The file as messages name it."""
    title: str
    host: HostDefinition
    beats: tuple[HostBeat, ...]
    summary: str = ""
    made_with: MadeWith | None = None

    def place_of(self, number: int) -> str:
        """Name a beat in a message."""
        return f'{self.where}: beat {number} "{self.beats[number - 1].title}"'
