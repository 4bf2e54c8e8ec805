"""Runs of one guest that stand for several CPUs: each is made once, and priced as often as somebody asks.

What happens does not depend on prices. It may depend on what a CPU has: without the choice not to exit on MOV to CR3,
or without nested paging, other things happen. So CPUs for which a technique sets all its controls alike, which weigh
instructions alike, and whose modelled TLBs are alike where page walks are counted, share a run; a guest that asks
CPUID or an MSR who it runs on has a run on each.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ringviz.engine.whole_run import Progress
from ringviz.engine.work import Work, count_work
from ringviz.facts.costs import CpuProfile
from ringviz.guest.scenario import Scenario
from ringviz.vmm.registry import choose, controls_of


@dataclass(frozen=True, slots=True)
class SharedRun:
    """One run, and the CPUs for which it stands."""

    technique: str
    mmu: str
    work: Work
    cpus: tuple[str, ...]


class SharedRuns:
    """The runs that have been made, by what they depend on. Bare metal's is to be the first.

    Args:
        scenario: the guest.
        progress: told how far the runs are.
        is_whole: count from power-on to the end, even where the guest has markers.
        has_walks: run each once more to count its page walks.
    """

    def __init__(
        self, scenario: Scenario, progress: Progress, *, is_whole: bool = False, has_walks: bool = True
    ) -> None:
        self._scenario = scenario
        self._progress = progress
        self._is_whole = is_whole
        self._has_walks = has_walks
        self._known: dict[tuple[object, ...], tuple[str, str, Work, list[str]]] = {}
        self._asks_the_cpu: bool | None = None

    def on(self, technique: str, mmu: str, cpu: CpuProfile) -> Work:
        """Give the run of a technique on a CPU, or one that is the same.

        Raises:
            UnsupportedError: the CPU does not have what it takes.
        """
        setup = choose(technique, mmu, cpu.id)
        settings = tuple((control.id, control.is_on) for control in controls_of(technique, mmu, cpu.id).values())
        shape = (cpu.tlb.entries, cpu.tlb.ways) if self._has_walks else ()
        weights = tuple(sorted(cpu.weights.items()))
        key = (technique, mmu, settings, shape, weights, cpu.id if self._asks_the_cpu else "")
        if key not in self._known:
            work = count_work(
                self._scenario, technique, setup, self._progress, is_whole=self._is_whole, has_walks=self._has_walks
            )
            self._known[key] = (technique, mmu, work, [])
            if self._asks_the_cpu is None:  # the first run is bare metal's
                self._asks_the_cpu = work.asks_the_cpu
        *_, work, cpus = self._known[key]
        cpus.append(cpu.id)
        return work

    def all(self) -> Iterator[SharedRun]:
        """Give them in the order in which they were made."""
        for technique, mmu, work, cpus in self._known.values():
            yield SharedRun(technique, mmu, work, tuple(cpus))
