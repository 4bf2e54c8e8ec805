"""A run that is only told, never gone back to: its events as they come, in memory that does not grow with them."""

from __future__ import annotations

from collections.abc import Iterator

from ringviz.engine.event_log import price_of
from ringviz.engine.events import Event, record
from ringviz.engine.recording import LIMIT_REACHED, End
from ringviz.facts.costs import CpuProfile, cost_of
from ringviz.facts.instruction_weights import HUNDREDTHS
from ringviz.facts.residents import RESIDENTS
from ringviz.facts.techniques import TechniqueFacts
from ringviz.guest.scenario import Scenario
from ringviz.machine.stops import BudgetSpent, Paused
from ringviz.vmm.outcome import Ended
from ringviz.vmm.registry import power_on, technique_facts
from ringviz.vmm.setup import Setup
from ringviz.vmm.stall import NO_PROGRESS, Stall

_SLICE = 500_000
"""Instructions after which a guest without events lets its reader look up."""


class Stream:
    """One run from power-on to its end, forward only. The events are those that a `Session` has."""

    def __init__(self, scenario: Scenario, technique: str, setup: Setup) -> None:
        """Power on.

        Raises:
            RingvizError: the guest cannot be loaded, or the technique cannot run it.
        """
        self.scenario = scenario
        self.setup = setup
        self.technique: TechniqueFacts = technique_facts(technique)
        self.end: End | None = None
        """How the run ended, once it has."""
        self.count = 0
        """Events so far."""
        self._running = power_on(scenario, technique, setup)
        self._event_cycles = 0
        self._stall = Stall()

    @property
    def cpu(self) -> CpuProfile:
        """The CPU whose costs are charged."""
        return self.setup.cpu

    @property
    def position(self) -> int:
        """Retired guest instructions."""
        return self._running.machine.retired

    @property
    def cycles(self) -> int:
        """Modelled cycles so far, the guest's and the VMM's together."""
        tallies = self._running.tallies()
        apart = sum(times * cost_of(self.cpu, cause).charged_cycles for cause, times in tallies.items())
        return self._running.guest_weight() // HUNDREDTHS + self._event_cycles + apart

    @property
    def ring(self) -> int:
        """Ring in which the CPU really is."""
        always_in = RESIDENTS[self.technique.id].always_in
        return self._running.real_state().cpl if always_in is None else always_in

    def news(self) -> Iterator[list[Event]]:
        """Play to the end, and give what has happened at each stop of the machine; nothing at all, now and then."""
        machine, limit = self._running.machine, self.scenario.limits.instructions
        while self.end is None:
            before = self.position
            if before >= limit:
                self.end = End(before, "budget", LIMIT_REACHED)
                break
            stop = machine.run(min(limit, before + _SLICE))
            outcome = None if isinstance(stop, (BudgetSpent, Paused)) else self._running.handle(stop)
            has_completed = outcome is None or self.position > before
            is_stuck = self._stall.note(self._running.events, has_completed=has_completed)
            fresh = self._take()
            if isinstance(outcome, Ended):
                self.end = End(self.position, outcome.how, outcome.text)
            elif is_stuck:
                self.end = End(self.position, "budget", NO_PROGRESS)
            yield fresh

    def _take(self) -> list[Event]:
        """Number and price the technique's new events, and let it forget them."""
        fresh = []
        for raw in self._running.events:
            self.count += 1
            price = price_of(self.cpu, raw)
            self._event_cycles += price or 0
            fresh.append(record(self.count, raw, price))
        self._running.events.clear()
        return fresh
