"""What a run does, without prices: instructions, causes of cost and page walks, between two places of the guest.

A guest that is a benchmark has markers `marker_begin` and `marker_end`: what comes before, such as booting, and behind,
such as saying goodbye, is not counted. A guest without them is counted as a whole.

Prices come later, from any CPU on which the same things would have happened, and which weighs instructions alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from ringviz.engine.bill import Bill
from ringviz.engine.walk_count import WalkCount, counts_at
from ringviz.engine.whole_run import Progress, ignore
from ringviz.errors import ScenarioError
from ringviz.guest.markers import markers_of
from ringviz.guest.scenario import Scenario
from ringviz.guest.symbols import load_source_map
from ringviz.machine.devices import Uart
from ringviz.machine.stops import Breakpoint, BudgetSpent, Paused
from ringviz.vmm.outcome import Ended
from ringviz.vmm.registry import power_on, variant_for
from ringviz.vmm.setup import Setup
from ringviz.vmm.stall import Stall
from ringviz.vmm.technique import Technique

BEGIN, END = "marker_begin", "marker_end"
_SLICE = 200_000
_ASKING = ("cpuid", "rdmsr")


@dataclass(frozen=True, slots=True)
class Work:
    """A stretch of a run, counted."""

    begin: int
    """Retired instructions before it."""
    end: int
    """Retired instructions at its end."""
    bill: Bill
    """What came to be paid in it; page walks are not in this."""
    ending: tuple[str, int | None, str]
    """How the whole run ended, its exit code, and what it said on the serial line: runs that differ there have not
    done the same work."""
    asks_the_cpu: bool
    """The guest executed CPUID or RDMSR as bare metal does it: on another CPU it may go on otherwise."""
    walks: WalkCount | None
    """None where no CPU translates the guest's addresses, or they were not counted."""


class _Tally:
    """One run, counted as it goes."""

    def __init__(self, technique: Technique, limit: int, progress: Callable[[int], None]) -> None:
        self.technique = technique
        self.ended: Ended | None = None
        self.asks_the_cpu = False
        self._limit = limit
        self._progress = progress
        self._vmm: Counter[str] = Counter()
        self._native: Counter[str] = Counter()
        self._stall = Stall()

    def go_on(self, address: int | None) -> bool:
        """Run to the instruction at an address; False if the run is over before."""
        machine = self.technique.machine
        self.technique.stop_before(frozenset() if address is None else frozenset({address}))
        while self.ended is None and machine.retired < self._limit and not self._stall.is_stuck:
            before = machine.retired
            stop = machine.run(min(self._limit, before + _SLICE))
            if isinstance(stop, Breakpoint):
                return True
            self._progress(machine.retired)
            if not isinstance(stop, (BudgetSpent, Paused)):
                instruction = getattr(stop, "instruction", None)
                self.asks_the_cpu |= instruction is not None and instruction.form in _ASKING
                outcome = self.technique.handle(stop)
                self.ended = outcome if isinstance(outcome, Ended) else None
            events = self.technique.events
            for event in events:
                self._vmm.update(event.charges)
                self._native.update(event.native_charges)
            self._stall.note(events, has_completed=machine.retired > before)
            events.clear()
        return False

    def bill(self) -> Bill:
        """What has come up to here."""
        retired, by_vmm = self.technique.machine.retired, self.technique.completed_by_vmm()
        vmm = self._vmm + Counter(self.technique.tallies())
        return Bill(retired, by_vmm, vmm, self._native.copy(), self.technique.guest_weight())


_NOTHING = Bill(0, 0, {}, {}, 0)


def count_work(
    scenario: Scenario,
    technique: str,
    setup: Setup,
    progress: Progress = ignore,
    *,
    is_whole: bool = False,
    has_walks: bool = True,
) -> Work:
    """Run a guest to its end, and once more for its page walks, and count what it does between its two markers.

    Args:
        scenario: the guest.
        technique: id.
        setup: as `choose` gives it.
        progress: told how far the runs are.
        is_whole: count from power-on to the end, markers or not.
        has_walks: run it once more for its page walks.

    Raises:
        RingvizError: the technique cannot run the guest.
        ScenarioError: it has one of the markers and not the other, or does not pass both in their order.
    """
    limit = scenario.limits.instructions
    made = power_on(scenario, technique, setup)
    tally = _Tally(made, limit, lambda done: progress(f"running {technique}", done, limit))
    addresses = {} if is_whole else _marked(scenario, technique)
    if (BEGIN in addresses) != (END in addresses):
        raise ScenarioError(f"{scenario.id}: expected {BEGIN} and {END} in its source, found one of them")
    begin = end = None
    if BEGIN in addresses:
        if not tally.go_on(addresses[BEGIN]):
            raise ScenarioError(f"{scenario.id}: its run under {technique} ends before it passes {BEGIN}")
        begin = tally.bill()
        if not tally.go_on(addresses[END]):
            raise ScenarioError(f"{scenario.id}: its run under {technique} ends before it passes {END}")
        end = tally.bill()
    tally.go_on(None)
    begin, end = begin or _NOTHING, end or tally.bill()
    bus = made.machine.bus

    def report(done: int) -> None:
        progress(f"counting page walks of {technique}", done, end.retired)

    places = (begin.retired, end.retired)
    counts = counts_at(scenario, technique, setup, places, report) if has_walks else None
    return Work(
        begin=begin.retired,
        end=end.retired,
        bill=end.since(begin),
        ending=("budget" if tally.ended is None else tally.ended.how, bus.exit_code, bus.printed(Uart.name)),
        asks_the_cpu=tally.asks_the_cpu,
        walks=None if counts is None else counts[1].since(counts[0]),
    )


def _marked(scenario: Scenario, technique: str) -> dict[str, int]:
    """Give the addresses of the guest's markers by name."""
    return {name: at for at, name in markers_of(load_source_map(scenario, variant_for(technique))).items()}
