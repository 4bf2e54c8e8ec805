"""How many copies of a guest a host really carries: one is filled with copies until one of them is late.

The service that is promised: a copy that is switched on at the beginning of a period is done with its work by the end.
The period is as long as the load says: a copy that would take a fifth of the CPU on bare metal has five times as long
as bare metal needs for its work. Every copy is a machine of its own on the engine's host, and works for real.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor

from ringviz.engine.consolidation import WHOLE, Consolidation, Copies
from ringviz.engine.reference import NATIVE
from ringviz.engine.whole_run import Progress, ignore
from ringviz.errors import InputError
from ringviz.facts.scheduling import TIME_SLICE_CYCLES
from ringviz.guest.scenario import Scenario
from ringviz.vmm.host.host import Host, MachineSpec, MiB
from ringviz.vmm.host.records import State
from ringviz.vmm.registry import memory_bytes

MOST_COPIES = 16
"""Ours: more of them take minutes."""


@dataclass(frozen=True, slots=True)
class Filled:
    """A host that was filled."""

    copies: int
    """So many were done in time."""
    is_broken: bool
    """With one more, one was late; else nobody tried."""
    done_at: int
    """When the last of them was done, in cycles since the beginning of the period."""
    switching_cycles: int
    """What their work came to beyond what it costs a copy that has the host for itself."""


@dataclass(frozen=True, slots=True)
class MeasuredCopies:
    """One technique on one CPU, counted on a host."""

    row: Copies
    """The arithmetic."""
    period_cycles: int
    undisturbed: Filled
    """Each copy has the CPU until its work is done: what the arithmetic speaks of."""
    sliced: Filled
    """The scheduler takes the CPU away when a time slice is over, which costs."""


def measure(
    scenario: Scenario, result: Consolidation, most: int, progress: Progress = ignore
) -> tuple[MeasuredCopies, ...]:
    """Fill a host for each row of an arithmetic; bare metal is left out, as it has no VMM to share it.

    Args:
        scenario: the guest.
        result: the arithmetic.
        most: copies on one host.
        progress: told how far it is.

    Raises:
        InputError: `most` is out of range.
        RingvizError: such a guest cannot share a host; one line.
    """
    if not 1 <= most <= MOST_COPIES:
        raise InputError(f"--measure: found {most}, expected 1 to {MOST_COPIES} copies")
    return tuple(_measured(scenario, row, most, progress) for row in result.rows if row.technique != NATIVE)


def _measured(scenario: Scenario, row: Copies, most: int, progress: Progress) -> MeasuredCopies:
    period = floor(row.native_cycles * WHOLE / row.load_percent)
    alone = _run(scenario, row, 1, period, period).spent[0]
    fillings = []
    for time_slice in (period, TIME_SLICE_CYCLES):
        done: _Run | None = None
        copies, is_broken = 0, False
        while copies < most:
            progress(f"filling a host, {row.technique}", copies, most)
            tried = _run(scenario, row, copies + 1, period, time_slice)
            if tried.late:
                is_broken = True
                break
            copies, done = copies + 1, tried
        switching = 0 if done is None else sum(done.spent) - copies * alone
        fillings.append(Filled(copies, is_broken, 0 if done is None else done.done_at, switching))
    return MeasuredCopies(row, period, fillings[0], fillings[1])


@dataclass(frozen=True, slots=True)
class _Run:
    late: int
    """Copies that were not done."""
    done_at: int
    spent: Sequence[int]
    """Cycles of each copy."""


def _run(scenario: Scenario, row: Copies, copies: int, period: int, time_slice: int) -> _Run:
    memory = copies * memory_bytes(scenario, row.technique)
    host = Host(row.cpu.id, -(-memory // MiB), time_slice=time_slice)
    names = [f"copy-{number}" for number in range(1, copies + 1)]
    for name in names:
        host.add(MachineSpec(name, scenario, row.technique, row.mmu))
    host.run_until(period)
    late = sum(host.state_of(name) is not State.ENDED for name in names)
    ends = [event.at for event in host.events if event.what == "end"]
    # A turn that has begun is finished: one that ends after the period is late all the same.
    late += sum(at > period for at in ends)
    spent = [host.machine(name).spent_cycles for name in names]
    return _Run(late, max(ends, default=0), spent)
