"""One virtual machine of a host: a guest under its technique, run for as many cycles as it is given.

What it costs is added up as it runs: its instructions, and every trap, exit, translation and emulation, at the prices
of the host's CPU. All of it comes out of its turns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

from ringviz.errors import UnsupportedError
from ringviz.facts.costs import cost_of
from ringviz.facts.instruction_weights import HUNDREDTHS
from ringviz.facts.scheduling import CYCLES_PER_TICK
from ringviz.guest.scenario import Scenario
from ringviz.machine.devices import ExitPort, Ide
from ringviz.machine.memory import lent_by
from ringviz.machine.stops import BudgetSpent, Paused, Stop
from ringviz.vmm.events import Event
from ringviz.vmm.host.allotment import Allotment
from ringviz.vmm.host.memory import HostMemory
from ringviz.vmm.outcome import Ended
from ringviz.vmm.registry import memory_bytes, power_on
from ringviz.vmm.setup import Setup
from ringviz.vmm.stall import NO_PROGRESS, Stall, is_overhead
from ringviz.vmm.technique import Technique

_OTHER_RUN = "the run does not come by the place where it stood: the guest, its disks or ringviz are not the same"
_FIRST_STRIDE = 64
_LONGEST_STRIDE = 500_000
"""Instructions between two looks at the bill."""


Make = Callable[[Scenario, str, Setup], Technique]
"""Gives a technique's machine with a guest on it."""


class Why(Enum):
    """Why a turn is over."""

    SPENT = "spent"
    """The cycles are used up."""
    SLEEPS = "sleeps"
    """The guest waits in HLT, or has blocked."""
    ENDED = "ended"
    """The run is over."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What came of a turn."""

    used_cycles: int
    why: Why
    sleep_cycles: int = 0
    """How long the guest will sleep, from the end of the turn."""
    end: Ended | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a machine stands in its run, in few enough words to be written down: the run itself can be had again.

    Nothing in a machine depends on anything but the count of its instructions, so whoever runs the same guest to the
    same place has the same machine.
    """

    retired: int
    """Guest instructions completed."""
    answered: int
    """Stops that the VMM has answered: several can come at one instruction."""
    has_slept: bool
    """The guest sleeps, or has been woken and does not know yet."""
    spent_cycles: int
    asked_at: tuple[int, int] | None = None
    """Instructions and answers at which it was asked to shut down."""
    balloon_orders: tuple[tuple[int, int, int], ...] = ()
    """Instructions and answers at which its balloon driver was asked for something, and for how many pages."""


class VirtualMachine:
    """A guest that stands somewhere in its run."""

    def __init__(
        self,
        name: str,
        scenario: Scenario,
        technique: str,
        setup: Setup,
        memory: HostMemory,
        make: Make = power_on,
        allotment: Allotment | None = None,
    ) -> None:
        """Power on, with RAM within the host's.

        Args:
            name: of the machine.
            scenario: its guest.
            technique: id.
            setup: what `registry.choose` gave.
            memory: the host's.
            make: gives the technique with its guest on it; one that arrives from elsewhere is not powered on.
            allotment: what it may have of the host's memory.

        Raises:
            RingvizError: it does not fit, or cannot be run so; one line.
        """
        self.name = name
        vmm_bytes = memory_bytes(scenario, technique) - scenario.guest.memory_bytes
        with lent_by(lambda size_bytes: memory.lend(name, size_bytes, vmm_bytes, allotment)):
            self.technique = make(scenario, technique, setup)
        self.pages = memory.maps[name]
        """What stands behind the pages of its memory."""
        self._memory = memory
        self._paid_cycles = 0
        """Of what has been done with its pages, what it has paid in turns."""
        self._balloon_orders: list[tuple[int, int, int]] = []
        balloon = self.technique.balloon
        if balloon is not None:
            balloon.ask(balloon.asked or 0)
            self.pages.balloon.update(self.pages.first_guest_page + page for page in balloon.pages)
        self.end: Ended | None = None
        self.events: list[Event] = []
        """What has happened since somebody last took them out, in the order of the run."""
        self.counts: dict[str, int] = {}
        """How often each cause of cost has come as part of an event."""
        self._cpu = setup.cpu
        self._event_cycles = 0
        self._pending: Stop | None = None
        self._stall = Stall()
        self._answered = 0
        self._has_stops_of_its_own = memory.rules.overcommits or memory.rules.shares_pages
        self._is_between = False
        """The last stop was the VMM's own affair, and the instruction at which it came is still to run."""
        self._asked_at: tuple[int, int] | None = None
        self.write_trap_cycles: int | None = None
        """Price of the first write to a page while it is noted which are written to; None while it is not."""
        self.write_traps = 0
        """How many such writes there have been."""
        self._written_pages = 0
        """Of these, since the pages were last taken."""
        self._of_late = 0
        """What an instruction has cost between the last two looks at the bill."""
        self._looked_at = 0, 0
        """Instructions and cycles at the last look."""

    @property
    def spent_cycles(self) -> int:
        """All that it has cost since power-on."""
        technique = self.technique
        own = technique.guest_weight() // HUNDREDTHS + self._event_cycles + self._priced(technique.tallies())
        return own + self.pages.counts.cycles

    @property
    def guest_ticks(self) -> int:
        """Device time, the time that the guest sees: instructions, and what it has slept."""
        return self.technique.machine.now

    def run(self, cycles: int) -> Turn:
        """Run for so many cycles or a little longer: what has begun is finished.

        What the host has done with its pages since its last turn is paid first.
        """
        self._ask_for_pages()
        start = self.spent_cycles - (self.pages.counts.cycles - self._paid_cycles)
        try:
            return self._run(cycles, start)
        finally:
            self._paid_cycles = self.pages.counts.cycles
            self._look_for_driver()

    def _look_for_driver(self) -> None:
        balloon = self.technique.balloon
        self.pages.has_driver = balloon is not None and balloon.has_driver

    def _run(self, cycles: int, start: int) -> Turn:
        machine = self.technique.machine
        while self.end is None:
            spent = self.spent_cycles
            if spent - start >= cycles and self._pending is None and not self._is_between:
                return Turn(spent - start, Why.SPENT)
            before = machine.retired
            stop, self._pending = self._pending, None
            if stop is None:
                stop = machine.run(before + self._stride(cycles - (spent - start)))
            if isinstance(stop, BudgetSpent | Paused):
                self._stall.clear()
                self._is_between = self._is_between and machine.retired == before
                self._collect()
                continue
            outcome = self.technique.handle(stop)
            is_stuck = self._stall.note(self.technique.events, has_completed=machine.retired > before)
            self._count_answer(is_overhead=self._collect(), before=before)
            if isinstance(outcome, Ended):
                self.end = outcome
            elif machine.is_halted:
                slept = self._fall_asleep()
                if slept:
                    return Turn(self.spent_cycles - start, Why.SLEEPS, slept * CYCLES_PER_TICK)
            elif is_stuck:
                self.end = Ended("halted", NO_PROGRESS)
        return Turn(self.spent_cycles - start, Why.ENDED, end=self.end)

    def preempt(self) -> int:
        """Let the host's timer end a turn, and give what that costs."""
        before = self.spent_cycles
        self.technique.preempt()
        self._collect()
        return self.spent_cycles - before

    @property
    def place(self) -> Place:
        """Where it stands."""
        has_slept = self._pending is not None
        return Place(
            self.technique.machine.retired,
            self._answered,
            has_slept,
            self.spent_cycles,
            self._asked_at,
            tuple(self._balloon_orders),
        )

    def go_to(self, place: Place) -> None:
        """Run from power-on to a place where another machine with the same guest once stood.

        Raises:
            UnsupportedError: the run does not come by there, so it is not the same guest.
        """
        for retired, answered, pages in self._inputs(place):
            self._replay(retired, answered)
            if pages is None:
                self.ask_to_shut_down()
            else:
                self._ask_balloon(pages)
        self._replay(place.retired, place.answered)
        if place.has_slept:
            if not self.technique.machine.is_halted:
                raise UnsupportedError(_OTHER_RUN)
            self._fall_asleep()
        self._event_cycles += place.spent_cycles - self.spent_cycles  # the host's timer has had its price then
        self._paid_cycles = self.pages.counts.cycles
        self._look_for_driver()
        self.events.clear()

    @staticmethod
    def _inputs(place: Place) -> list[tuple[int, int, int | None]]:
        """Give what the host has told the guest on the way to a place, in order; None is to shut down."""
        told: list[tuple[int, int, int | None]] = [*place.balloon_orders]
        if place.asked_at is not None:
            told.append((*place.asked_at, None))
        return sorted(told, key=lambda order: order[:2])

    def _replay(self, retired: int, answered: int) -> None:
        machine = self.technique.machine
        while self.end is None and (machine.retired < retired or self._answered < answered):
            stop, self._pending = self._pending, None
            if machine.retired > retired:
                break
            if stop is None:
                stop = machine.run(retired if machine.retired < retired else retired + 1)
            if not isinstance(stop, BudgetSpent | Paused):
                before = machine.retired
                outcome = self.technique.handle(stop)
                self.end = outcome if isinstance(outcome, Ended) else None
                self._count_answer(is_overhead=self._collect(), before=before)
            self._collect()
            self.events.clear()
            if self.end is None and machine.is_halted and (machine.retired, self._answered) != (retired, answered):
                self._fall_asleep()
        if (machine.retired, self._answered) != (retired, answered):
            raise UnsupportedError(_OTHER_RUN)

    def _count_answer(self, *, is_overhead: bool, before: int) -> None:
        """Count a stop that was answered, unless it might as well not have come.

        Where a host withdraws pages, the VMM has to fill its tables when that suits the host: another run of the same
        guest has such stops elsewhere. So they are no part of a place, and no turn ends behind one: the guest's tables
        are already marked for an instruction that is still to come.
        """
        self._is_between = self._has_stops_of_its_own and is_overhead and self.technique.machine.retired == before
        if not (self._has_stops_of_its_own and is_overhead):
            self._answered += 1

    def ask_to_shut_down(self) -> None:
        """Let the guest know, through the exit port, that it is to end its run."""
        port = self.technique.machine.bus.device("exit")
        assert isinstance(port, ExitPort)
        port.ask_to_shut_down()
        if self._asked_at is None:
            self._asked_at = self.technique.machine.retired, self._answered

    def take_written_pages(self) -> set[int]:
        """Give the pages of its memory, the VMM's included, that were written to since the last call."""
        self._written_pages = 0
        return self.technique.machine.collect_dirty()

    def _ask_for_pages(self) -> None:
        """Let the guest's balloon driver know how many pages the host wants of it now."""
        balloon = self.technique.balloon
        if balloon is not None and self.end is None:
            wanted = self._memory.balloon_target(self.name)
            if wanted != balloon.asked:
                self._ask_balloon(wanted)

    def _ask_balloon(self, pages: int) -> None:
        balloon = self.technique.balloon
        assert balloon is not None
        balloon.ask(pages)
        self._balloon_orders.append((self.technique.machine.retired, self._answered, pages))

    def written_to_disk(self, number: int) -> dict[int, bytes]:
        """Give the sectors that the guest has changed since power-on on one of its two disks, by number."""
        ide = self.technique.machine.bus.device("ide")
        assert isinstance(ide, Ide)
        return ide.written(number)

    def _stride(self, cycles: int) -> int:
        """Say how many instructions are worth so many cycles, by what they have cost so far, and of late."""
        retired, spent = self.technique.machine.retired, self.spent_cycles
        if not retired:
            return min(_FIRST_STRIDE, max(1, cycles))
        if retired > self._looked_at[0]:
            self._of_late = (spent - self._looked_at[1]) // (retired - self._looked_at[0])
            self._looked_at = retired, spent
        average = max(1, self._of_late, spent // retired)
        return max(1, min(_LONGEST_STRIDE, cycles // average))

    def _fall_asleep(self) -> int:
        """Let device time pass until something wakes the guest, and give the ticks; that is answered in its next turn.

        The guest's state does not depend on when that turn is: its clock stands still while others run.
        """
        machine = self.technique.machine
        before = machine.idle
        self._pending = machine.run(machine.retired + 1)
        return machine.idle - before

    def _collect(self) -> bool:
        """Take the technique's new events onto the bill; tell whether all of them are the VMM's own affair."""
        if self.write_trap_cycles is not None:
            written = len(self.technique.machine.ram.dirty)
            self.write_traps += max(0, written - self._written_pages)
            self._event_cycles += max(0, written - self._written_pages) * self.write_trap_cycles
            self._written_pages = written
        news = self.technique.events.copy()
        self.technique.events.clear()
        for event in news:
            for cause in (*event.charges, *event.native_charges):
                self.counts[cause] = self.counts.get(cause, 0) + 1
                self._event_cycles += cost_of(self._cpu, cause).charged_cycles
        self.events += news
        return is_overhead(news)

    def _priced(self, tallies: Mapping[str, int]) -> int:
        return sum(times * cost_of(self._cpu, cause).charged_cycles for cause, times in tallies.items())
