"""Fidelity of a recompiled kernel: both builds run to the n-th marker they pass, and are asked what they mean there.

A recompiled kernel has other instructions, so there is no comparing step by step. Its source has markers instead:
labels that stand in both builds (`ringviz.guest.markers`). At each one passed, these must mean the same on bare metal
and under the hypervisor: which marker it is, what the serial line printed so far, the general registers and the
arithmetic flags (but for registers the scenario declares leftovers there), whether interrupts are wanted (EFLAGS.IF,
or the shared page's mask), and the ring, where ring 1 stands for ring 0. At the end the outcomes and the exit codes
must be the same.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from ringviz.engine.divergence import Divergence, Fidelity
from ringviz.engine.recording import Cancelled, never
from ringviz.facts.registers import Eflags
from ringviz.guest.markers import markers_of
from ringviz.guest.scenario import Scenario
from ringviz.guest.schema import COMPARED
from ringviz.guest.symbols import load_source_map
from ringviz.machine.devices import Uart
from ringviz.machine.state import CpuState, fields_of
from ringviz.machine.stops import Breakpoint, BudgetSpent, Paused
from ringviz.vmm.outcome import Ended
from ringviz.vmm.registry import choose, power_on, technique_facts, variant_for
from ringviz.vmm.setup import Setup
from ringviz.vmm.stall import Stall
from ringviz.vmm.technique import Technique

NATIVE = "native"
_SLICE = 200_000
_ARITHMETIC = {"CF": Eflags.CF, "PF": Eflags.PF, "AF": Eflags.AF, "ZF": Eflags.ZF, "SF": Eflags.SF, "OF": Eflags.OF}
_REGISTERS = tuple(name for name in COMPARED if name != "flags")


@dataclass(frozen=True, slots=True)
class Passed:
    """One marker passed: its name and how many instructions had retired before the one it stands at."""

    name: str
    position: int


class MarkerRun:
    """One run, from marker to marker."""

    def __init__(self, scenario: Scenario, technique: str, setup: Setup) -> None:
        self.technique: Technique = power_on(scenario, technique, setup)
        self._names = markers_of(load_source_map(scenario, variant_for(technique)))
        self._limit = scenario.limits.instructions
        self.technique.machine.more_breakpoints = frozenset(self._names)
        self.passed: list[Passed] = []
        self.ended: Ended | None = None
        self._stall = Stall()

    @property
    def position(self) -> int:
        """Retired guest instructions."""
        return self.technique.machine.retired

    @property
    def is_over(self) -> bool:
        """It has ended, or reached the scenario's limit."""
        return self.ended is not None or self.position >= self._limit or self._stall.is_stuck

    @property
    def outcome(self) -> str:
        """How it ended, as `stat` says it."""
        return self.ended.how if self.ended is not None else "budget"

    def next_marker(self, cancelled: Cancelled = never) -> Passed | None:
        """Go to the next marker; None if the run ends, or is cancelled, before one."""
        machine = self.technique.machine
        while not self.is_over and not cancelled():
            before = self.position
            stop = machine.run(min(self._limit, before + _SLICE))
            if isinstance(stop, Breakpoint):
                self._stall.clear()
                self.passed.append(Passed(self._names[machine.state.linear_eip], self.position))
                return self.passed[-1]
            if not isinstance(stop, (BudgetSpent, Paused)):
                outcome = self.technique.handle(stop)
                self._stall.note(self.technique.events, has_completed=self.position > before)
                self.technique.events.clear()
                self.ended = outcome if isinstance(outcome, Ended) else None
        return None


def check_at_markers(
    scenario: Scenario,
    technique: str,
    setup: Setup | None = None,
    progress: Callable[[str, int, int | None], None] | None = None,
) -> Fidelity:
    """Run both builds of a scenario from marker to marker, and name the first at which they differ.

    Raises:
        RingvizError: the technique cannot run the scenario.
    """
    setup = setup or choose(technique, scenario=scenario)
    here = MarkerRun(scenario, technique, setup)
    native = MarkerRun(scenario, NATIVE, choose(NATIVE, cpu=setup.cpu.id))
    leftovers = dict(scenario.leftovers)
    while True:
        if progress is not None:
            progress(f"comparing {technique} with bare metal at markers", here.position, scenario.limits.instructions)
        ours, theirs = here.next_marker(), native.next_marker()
        found = _difference(here, native, ours, theirs, leftovers)
        if found is not None:
            return Fidelity(False, found, (found,), len(here.passed))
        if ours is None:
            return Fidelity(True, None, (), len(here.passed))


def _difference(
    here: MarkerRun,
    native: MarkerRun,
    ours: Passed | None,
    theirs: Passed | None,
    leftovers: dict[str, frozenset[str]],
) -> Divergence | None:
    """Compare two runs that have each gone to their next marker, or to their end."""
    state = here.technique.guest_state()
    if ours is None or theirs is None or ours.name != theirs.name:
        names = [passed.name if passed is not None else "the end" for passed in (theirs, ours)]
        if names[0] != names[1]:
            return Divergence(here.position, state.eip, f"({names[1]})", "marker", *names)
        where, compared = "the end", _of_the_end
    else:
        where = f"{ours.name}, marker {len(here.passed)}"
        dead = leftovers.get(ours.name, frozenset())

        def compared(run: MarkerRun) -> Iterator[tuple[str, int | str]]:
            return _of_a_marker(run.technique, dead)

    for (what, value), (_, other) in zip(compared(here), compared(native), strict=True):
        if value != other:
            return Divergence(here.position, state.eip, f"({where})", what, other, value)
    return None


def _of_a_marker(technique: Technique, dead: frozenset[str]) -> Iterator[tuple[str, int | str]]:
    """What a kernel means by its state at a marker."""
    state = technique.guest_state()
    yield "console", technique.machine.bus.printed(Uart.name)
    yield "ring", meant_ring(technique, state)
    yield "IF", int(bool(state.eflags & Eflags.IF))
    fields = fields_of(state)
    for name in _REGISTERS:
        if name not in dead:
            yield name, fields[name]
    if "flags" not in dead:
        for flag, bit in _ARITHMETIC.items():
            yield flag, int(bool(state.eflags & bit))


def _of_the_end(run: MarkerRun) -> Iterator[tuple[str, int | str]]:
    """What is left to compare when a run is over."""
    bus = run.technique.machine.bus
    yield "console", bus.printed(Uart.name)
    yield "outcome", run.outcome
    yield "exit code", "none" if bus.exit_code is None else bus.exit_code


def meant_ring(technique: Technique, state: CpuState) -> int:
    """The ring that a kernel's code was written for: one that knows it runs in ring 1 means ring 0 by it."""
    return 0 if state.cpl == technique.facts.guest_kernel_ring else state.cpl


class MarkerTrack:
    """Where one run passes its markers, played as far as somebody has asked."""

    def __init__(self, scenario: Scenario, technique: str, setup: Setup) -> None:
        self._run = MarkerRun(scenario, technique, setup)
        self._positions: list[int] = []

    def count_at(self, position: int, cancelled: Cancelled = never) -> int:
        """How many markers have been passed when so many instructions have retired, one that begins there included."""
        while (not self._positions or self._positions[-1] <= position) and self._advance(cancelled):
            pass
        return bisect_right(self._positions, position)

    def position_of(self, count: int, cancelled: Cancelled = never) -> int:
        """Where the count-th marker is passed; 0 for none, the run's last marker if it has fewer."""
        while len(self._positions) < count and self._advance(cancelled):
            pass
        return self._positions[min(count, len(self._positions)) - 1] if count and self._positions else 0

    def _advance(self, cancelled: Cancelled) -> bool:
        passed = self._run.next_marker(cancelled)
        if passed is None:
            return False
        self._positions.append(passed.position)
        return True


def marker_track(scenario: Scenario, technique: str, setup: Setup) -> MarkerTrack:
    """Give the track on which a technique's positions count, shared among all sessions.

    Techniques that run the original kernel share that of bare metal: the same code has the same places.
    """
    if technique_facts(technique).alignment == "instruction":
        return _track(scenario, NATIVE, None, setup.cpu.id, ())
    return _track(scenario, technique, setup.mmu, setup.cpu.id, setup.controls)


@lru_cache(maxsize=8)
def _track(scenario: Scenario, technique: str, mmu: str | None, cpu: str, controls: tuple[str, ...]) -> MarkerTrack:
    return MarkerTrack(scenario, technique, choose(technique, mmu, cpu, controls, scenario))
