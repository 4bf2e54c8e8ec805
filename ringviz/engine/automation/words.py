"""The words that rules are made of: what can be measured of a machine, and what can be done with one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from ringviz.facts.host_memory import MOST_GUEST_MIB, RECLAIM_STATES
from ringviz.facts.scheduling import LEAST_WEIGHT, MOST_WEIGHT
from ringviz.facts.source import Source, by


class Shape(Enum):
    """What a metric's values are like, and so how a rule can ask for them."""

    PERCENT = "percent"
    NUMBER = "number"
    STATE = "state"
    TEXT = "text"

    @property
    def is_measured(self) -> bool:
        """It is over or under a threshold."""
        return self in (Shape.PERCENT, Shape.NUMBER)


@dataclass(frozen=True, slots=True)
class Metric:
    """One thing that is known of a machine at every look, which is when an accounting period is over."""

    id: str
    shape: Shape
    unit: str
    title: str
    source: Source
    is_hosts: bool = False
    """It is known of the host: a rule names no machine for it, only whom to do something with."""
    words: Mapping[str, str] | None = None
    """What a state can be, where it is no machine's."""


_OURS = Source.ringviz("what a host knows of its machines, over the time since it last looked at them")
_MEMORY = Source.ringviz("counted in frames and pages of 4 KiB at the moment of the look")

METRICS: Mapping[str, Metric] = by(
    "id",
    Metric("share", Shape.PERCENT, "%", "Part of the host's time in which it had the CPU", _OURS),
    Metric("ready", Shape.PERCENT, "%", "Part of it that was stolen: it wanted the CPU and did not have it", _OURS),
    Metric(
        "exits",
        Shape.NUMBER,
        "",
        "How often the guest was left for its VMM, for each million cycles that it had the CPU",
        _OURS,
    ),
    Metric("state", Shape.STATE, "", "What it is at", _OURS),
    Metric("console", Shape.TEXT, "", "What its guest has printed since the rule last fired", _OURS),
    Metric("ballooned", Shape.NUMBER, "MiB", "Its memory that its balloon has taken", _MEMORY),
    Metric("swapped", Shape.NUMBER, "MiB", "Its memory that is in the host's swap file", _MEMORY),
    Metric("shared", Shape.NUMBER, "MiB", "Its memory in frames that stand behind other pages too", _MEMORY),
    Metric("free-memory", Shape.PERCENT, "%", "Part of the host's memory that nobody uses", _MEMORY, is_hosts=True),
    Metric(
        "reclaim-state",
        Shape.STATE,
        "",
        "What the host does to have enough of its memory free",
        _MEMORY,
        is_hosts=True,
        words={row.id: row.text for row in RECLAIM_STATES.values()},
    ),
)

STATES: Mapping[str, str] = {
    "stopped": "switched off",
    "running": "switched on, and wants the CPU or sleeps",
    "paused": "standing still",
    "shutting-down": "asked to end its run",
    "ended": "its run is over, in whatever way",
    "crashed": "its run is over, and the guest has not ended it through its exit port",
}
"""Words for `state`, which hold of a machine; several can. Besides, `exit-N`: it has ended its run with exit code N."""
EXIT_CODE = "exit-"


@dataclass(frozen=True, slots=True)
class Value:
    """The number that an action needs."""

    least: int
    most: int
    title: str


_ACTION = Source.ringviz("what can be done with a machine while its host runs")


@dataclass(frozen=True, slots=True)
class Action:
    """One thing that can be done with a machine."""

    id: str
    title: str
    aspect: str
    """What it changes: two rules that would change the same of one machine in different ways contradict each other."""
    value: Value | None = None
    source: Source = _ACTION


ACTIONS: Mapping[str, Action] = by(
    "id",
    Action("weight", "Give it a weight", "weight", Value(LEAST_WEIGHT, MOST_WEIGHT, "a weight")),
    Action("cap", "Give it a cap; 0 is none", "cap", Value(0, 100, "a cap in percent, 0 for none")),
    Action("start", "Switch it on", "life"),
    Action("pause", "Let it stand still", "life"),
    Action("resume", "Let it go on", "life"),
    Action("restart", "Switch it off, if it is on, and on again", "life"),
    Action("stop", "Switch it off", "life"),
    Action("reset", "Switch it off and on again; its disks stay as they are", "life"),
    Action("shutdown", "Ask its guest to end its run; switch it off when its time is up", "life"),
    Action("migrate", "Move it to the other host while it runs", "life"),
    Action("auto-converge", "Slow it down while it moves, if it writes faster than the link carries", "migration"),
    Action("stay", "Call its migration off", "life"),
    Action("snapshot", "Keep what it is under a name: the rule's and a number", "snapshot"),
    Action(
        "balloon",
        "Leave it so much of its memory; 0 is all of it",
        "memory",
        Value(0, MOST_GUEST_MIB, "a size in MiB, 0 for all of its memory"),
    ),
)
