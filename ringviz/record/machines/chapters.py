"""A run of a host in chapters: one ends where a share was changed, or a machine's life was."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

from ringviz.engine.automation.measuring import Sample, between
from ringviz.engine.automation.watching import Reading
from ringviz.record.machines.audit import Audited
from ringviz.record.machines.host_run import HostRun


@dataclass(frozen=True, slots=True)
class Chapter:
    """A stretch of a run in which nothing was changed from outside the machines."""

    start: int
    end: int
    """On the host's clock, over all its runs."""
    readings: Mapping[str, Reading]
    """Of every machine, over the whole stretch."""
    closed_by: tuple[Audited, ...]
    """What was changed at its end; nothing at the end of the run."""


def chapters(run: HostRun) -> Iterator[Chapter]:
    """Give the chapters of a run that is over, in order."""
    changes = [entry for entry in run.audit if entry.is_done]
    samples = {sample.at: sample for sample in run.samples}
    moments = sorted({entry.at - run.start for entry in changes} | {0, run.host.clock})
    for start, end in pairwise(moments):
        closed_by = tuple(entry for entry in changes if entry.at - run.start == end)
        yield Chapter(run.start + start, run.start + end, _readings(run, samples[start], samples[end]), closed_by)


def _readings(run: HostRun, start: Sample, end: Sample) -> dict[str, Reading]:
    names = dict.fromkeys([*run.machines, *start.totals])  # also one that has moved away by the end of the run
    return {name: between(start, end, name) for name in names}
