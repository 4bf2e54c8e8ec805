"""How a host divides its CPU among virtual machines: the algorithms, and the numbers they go by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ringviz.facts.source import Source, by
from ringviz.facts.sources import STRIDE, XEN_CREDIT


@dataclass(frozen=True, slots=True)
class SchedulerFacts:
    """One algorithm."""

    id: str
    title: str
    text: str
    """How it decides, in a sentence."""
    has_weights: bool
    source: Source


SCHEDULERS: Mapping[str, SchedulerFacts] = by(
    "id",
    SchedulerFacts(
        "credit",
        "Credit scheduler, as Xen's",
        "Every accounting gives out credits by weight; running burns them; who has some left goes before who has none.",
        True,
        XEN_CREDIT.at("Algorithm"),
    ),
    SchedulerFacts(
        "stride",
        "Stride scheduling",
        "Each machine has a pass, which running moves on by time over weight; the one with the lowest pass is next.",
        True,
        STRIDE.at("Basic algorithm"),
    ),
    SchedulerFacts(
        "round-robin",
        "Round-robin",
        "Each machine in turn gets one time slice, whatever its weight.",
        False,
        Source.ringviz("for comparison: the simplest thing that shares a CPU"),
    ),
)


@dataclass(frozen=True, slots=True)
class SchedulingNumber:
    """One number that schedules go by."""

    id: str
    value: int
    unit: str
    title: str
    source: Source


_ONE_CLOCK = (
    "a cycle of the host is as long as a retired instruction on the device clock, one microsecond: whoever sleeps a "
    "millisecond sleeps a thousand cycles"
)

SCHEDULING_NUMBERS: Mapping[str, SchedulingNumber] = by(
    "id",
    SchedulingNumber(
        "default-weight", 256, "", "Weight of a machine that says nothing", XEN_CREDIT.at("Description: Weight")
    ),
    SchedulingNumber("least-weight", 1, "", "Smallest weight", XEN_CREDIT.at("Description: Weight")),
    SchedulingNumber("most-weight", 65_535, "", "Largest weight", XEN_CREDIT.at("Description: Weight")),
    SchedulingNumber(
        "time-slice", 30_000, "cycles", "How long a machine runs before the host's timer ends its turn",
        XEN_CREDIT.at("Credit Scheduler", note="30 ms, told in cycles of which a million make up a second"),
    ),
    SchedulingNumber(
        "tick", 10_000, "cycles", "The credit scheduler looks at the running machine's credits so often",
        XEN_CREDIT.at("Accurate accounting for credit scheduler", note="10 ms, at a million cycles a second"),
    ),
    SchedulingNumber(
        "accounting-period", 1_000_000, "cycles", "Over this long shares are reported, and caps hold",
        Source.ringviz("a second on the device clock, some thirty time slices: caps come out to about a hundredth"),
    ),
    SchedulingNumber("cycles-per-tick", 1, "cycles", "Cycles to a tick of device time", Source.ringviz(_ONE_CLOCK)),
)  # fmt: skip

DEFAULT_WEIGHT = SCHEDULING_NUMBERS["default-weight"].value
LEAST_WEIGHT = SCHEDULING_NUMBERS["least-weight"].value
MOST_WEIGHT = SCHEDULING_NUMBERS["most-weight"].value
TIME_SLICE_CYCLES = SCHEDULING_NUMBERS["time-slice"].value
TICK_CYCLES = SCHEDULING_NUMBERS["tick"].value
PERIOD_CYCLES = SCHEDULING_NUMBERS["accounting-period"].value
CYCLES_PER_TICK = SCHEDULING_NUMBERS["cycles-per-tick"].value
