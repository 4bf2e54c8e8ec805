"""The guest while it moves: it runs on as the host's clock goes on, and every page that it writes to is noted.

Noting has its price. All pages are write-protected at the start of a round, whether in shadow tables or in nested
ones, and the first write to each traps to the VMM: at the price of any other way out of this guest and back.
"""

from __future__ import annotations

from typing import Protocol

from ringviz.errors import MigrationError
from ringviz.facts.costs import cost_of
from ringviz.machine.memory import PAGE_SHIFT
from ringviz.vmm.host.virtual_machine import VirtualMachine, Why
from ringviz.vmm.migration.machine_state import MOST_STEPS, is_movable
from ringviz.vmm.technique import Technique

_SLICE_CYCLES = 10_000
"""How often the price of noting is added up: a tick of the scheduler."""


class Guest(Protocol):
    """A machine on the source host, as a migration sees it."""

    machine: VirtualMachine

    @property
    def clock(self) -> int:
        """Cycles of the host."""

    @property
    def logged(self) -> int:
        """First writes to a page, over all rounds."""

    @property
    def throttle_percent(self) -> int:
        """CPU time that is kept from it."""

    @throttle_percent.setter
    def throttle_percent(self, percent: int) -> None: ...

    @property
    def has_ended(self) -> bool:
        """Its run is over."""

    @property
    def memory_pages(self) -> int:
        """How many pages its memory has."""

    def page(self, number: int) -> bytes:
        """Give a page of the guest's memory."""

    def begin_log(self) -> None:
        """Forget what was written, and note it from now on."""

    def end_log(self) -> None:
        """Let it write again without a price, and run again if it was at rest."""

    def take_dirty(self) -> list[int]:
        """Give the guest's pages written to since the last call, in order; they are write-protected again."""

    def is_dirty(self, page: int) -> bool:
        """Tell whether a page has been written to since `take_dirty`."""

    def pass_time(self, cycles: int) -> None:
        """Let the host's clock go on, and the guest with it if it is not at rest."""

    def come_to_rest(self) -> None:
        """Go on to where its state can be told, a few instructions at most, and run no more.

        Raises:
            MigrationError: it does not come by such a place.
        """


def price_of_a_trap(technique: Technique) -> int:
    """Give what the way out of a guest and back costs, found by going it once: no state changes."""
    before = len(technique.events)
    technique.preempt()
    gone = technique.events[before:]
    del technique.events[before:]
    return sum(cost_of(technique.setup.cpu, cause).charged_cycles for event in gone for cause in event.charges)


class RunningGuest:
    """A machine on a source host that it has for itself, and the host's clock."""

    def __init__(self, machine: VirtualMachine) -> None:
        self.machine = machine
        self.clock = 0
        """Cycles of the host."""
        self.throttle_percent = 0
        """CPU time that is kept from it."""
        self.logged = 0
        """First writes to a page, over all rounds."""
        self.sleep_cycles = 0
        """For how long it sleeps on."""
        technique = machine.technique
        self._base = technique.guest_base >> PAGE_SHIFT
        self._pages = technique.guest_bytes >> PAGE_SHIFT
        self._price = 0
        """Of the first write to a page."""
        self._is_logging = False
        self._is_at_rest = False
        self._owed = 0
        """What its last turn has taken beyond the time that has passed."""

    @property
    def has_ended(self) -> bool:
        """Its run is over."""
        return self.machine.end is not None

    def page(self, number: int) -> bytes:
        """Give a page of the guest's memory."""
        return self.machine.technique.machine.ram.page(self._base + number)

    @property
    def memory_pages(self) -> int:
        """How many there are."""
        return self._pages

    def begin_log(self) -> None:
        """Forget what was written, and note it from now on."""
        self._price = price_of_a_trap(self.machine.technique)
        self.take_dirty()
        self._is_logging = True

    def end_log(self) -> None:
        """Let it write again without a price, and run again if it was at rest."""
        self._is_logging = self._is_at_rest = False

    def take_dirty(self) -> list[int]:
        """Give the guest's pages written to since the last call, in order; they are write-protected again."""
        return sorted(
            page - self._base
            for page in self.machine.technique.machine.collect_dirty()
            if self._base <= page < self._base + self._pages
        )

    def is_dirty(self, page: int) -> bool:
        """Tell whether a page has been written to since `take_dirty`."""
        return page + self._base in self.machine.technique.machine.ram.dirty

    def pass_time(self, cycles: int) -> None:
        """Let the host's clock go on, and the guest with it if it is not at rest; not beyond the end of its run."""
        self.clock += cycles
        if self._is_at_rest:
            return
        left = cycles - self._owed
        self._owed = 0
        while left > 0 and not self.has_ended:
            if self.sleep_cycles:
                slept = min(left, self.sleep_cycles)
                self.sleep_cycles -= slept
                left -= slept
                continue
            left -= self._turn(left)
        self._owed = max(0, -left)

    def come_to_rest(self) -> None:
        """Go on to where its state can be told, a few instructions at most, and run no more.

        Raises:
            MigrationError: it does not come by such a place.
        """
        for _ in range(MOST_STEPS):
            if self.has_ended or is_movable(self.machine.technique):
                self._is_at_rest = True
                return
            before = self.machine.spent_cycles
            self.machine.run(1)
            self.clock += self.machine.spent_cycles - before
        raise MigrationError(f"the guest does not come to rest within {MOST_STEPS:,} instructions")

    def run_to_the_end(self, most_instructions: int) -> None:
        """Go on until the run is over, or has become too long; the host's time is nobody's affair any more."""
        while not self.has_ended and self.machine.technique.machine.retired < most_instructions:
            self.machine.run(_SLICE_CYCLES * 100)
            self.machine.events.clear()

    def _turn(self, left: int) -> int:
        """Let it have the CPU for a while, and give the time that passed."""
        share = 100 - self.throttle_percent
        dirty = self.machine.technique.machine.ram.dirty
        before = len(dirty)
        turn = self.machine.run(max(1, min(left, _SLICE_CYCLES) * share // 100))
        self.machine.events.clear()
        first_writes = len(dirty) - before if self._is_logging else 0
        self.logged += first_writes
        if turn.why is Why.SLEEPS:
            self.sleep_cycles = turn.sleep_cycles
        return max(1, (turn.used_cycles + first_writes * self._price) * 100 // share)
