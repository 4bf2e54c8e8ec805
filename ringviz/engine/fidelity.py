"""Fidelity: does the guest see what it sees on bare metal? Two runs side by side, compared where it can matter.

Both runs go forward together. They are compared before and after every instruction at which either of them stops: a
trap, an exit, an exception, a silent instruction, port I/O, and now and then in between. That is enough for every
instruction: what runs on the CPU without a stop is innocuous, and equal states stay equal under the same innocuous
code (the test suite compares after every single instruction, to hold this argument to account).

A guest that stops very often, an operating system, is compared so for its first stops, and from then on at every so
many instructions, and wherever a silent instruction has told something else than bare metal. If states differ there,
the stretch since the last agreement is gone through again, instruction by instruction.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from ringviz.engine.divergence import INTERVAL, Divergence, Fidelity
from ringviz.engine.markers import check_at_markers
from ringviz.engine.reference import NATIVE
from ringviz.facts.exceptions import Vector
from ringviz.guest.scenario import Scenario
from ringviz.machine.linear import NotCanonical, PageFault
from ringviz.machine.paging import Access
from ringviz.machine.state import fields_of
from ringviz.machine.stops import BudgetSpent, Fault, Paused, Stop
from ringviz.vmm.events import Event, Kind
from ringviz.vmm.outcome import Ended
from ringviz.vmm.registry import choose, power_on, technique_facts
from ringviz.vmm.setup import Setup
from ringviz.vmm.silent import compare_answers
from ringviz.vmm.stall import Stall
from ringviz.vmm.technique import Technique, text_of

__all__ = ["Divergence", "Fidelity", "check_fidelity"]

_AT_LEAST_EVERY = 200_000
_CLOSELY_COMPARED = 4_000
"""Stops after which the two runs are compared at intervals only."""


class _Runner:
    """One of the two runs."""

    def __init__(self, scenario: Scenario, technique: str, setup: Setup, limit: int) -> None:
        self.technique: Technique = power_on(scenario, technique, setup)
        self._limit = limit
        self.is_over = False
        self.events: list[Event] = []
        self._stop: Stop = BudgetSpent()
        self.is_pending = False
        """The stop has not been answered."""
        self._written: set[int] = set()
        self.is_stuck = False
        """The guest takes one exception after the other and completes no instruction."""

    @property
    def position(self) -> int:
        return self.technique.machine.retired

    def advance(self, limit: int) -> bool:
        """Go to the next stop or to `limit`; True if it stopped for something, which is not answered yet."""
        limit = min(limit, self._limit)
        if self.is_pending:
            return True
        while self.position < limit:
            self._stop = self.technique.machine.run(limit)
            if not isinstance(self._stop, (BudgetSpent, Paused)):
                self.is_pending = True
                return True
        return False

    def answer(self) -> None:
        """Answer the stop that `advance` left, if it has not been answered."""
        if not self.is_pending:
            return
        self.is_pending = False
        if isinstance(self.technique.handle(self._stop), Ended):
            self.is_over = True
        self.events += self.technique.events
        self.technique.events.clear()

    def reach(self, position: int) -> None:
        """Go to a position, answering what comes on the way. What comes there waits: a trap follows its instruction."""
        while self.position < position and not self.is_over:
            if self.is_pending or (self.advance(position) and self.position < position):
                self.answer()

    def reach_or_lie(self, position: int) -> None:
        """Go to a position, or only to where a silent instruction has told something else than bare metal."""
        stall = Stall()
        self.is_stuck = False
        while self.position < position and not self.is_spent:
            before, known = self.position, len(self.events)
            if self.advance(position):
                self.answer()
            if any(event.is_divergence for event in self.events[known:]):
                return
            self.is_stuck = stall.note(self.events[known:], has_completed=self.position > before)
            if self.is_stuck:
                return

    def written(self) -> set[int]:
        """Guest pages written since they were last forgotten."""
        base = self.technique.guest_base >> 12
        self._written |= {page - base for page in self.technique.machine.collect_dirty()}
        return self._written

    def forget_written(self) -> None:
        """What has been written was the same in both runs."""
        self._written.clear()

    @property
    def is_at_page_fault(self) -> bool:
        """Stopped by a page fault, which has not been answered."""
        return self.is_pending and isinstance(self._stop, Fault) and self._stop.vector == Vector.PF

    @property
    def is_in_string(self) -> bool:
        """Standing before a repeated string instruction, or within it."""
        instruction = self.technique.instruction_here()
        return instruction is not None and instruction.is_rep_string

    @property
    def is_spent(self) -> bool:
        return self.is_over or self.position >= self._limit


def _pair(scenario: Scenario, technique: str, setup: Setup, limit: int) -> tuple[_Runner, _Runner]:
    """Power on a technique, and bare metal with the same CPU."""
    native = choose(NATIVE, cpu=setup.cpu.id)
    return _Runner(scenario, technique, setup, limit), _Runner(scenario, NATIVE, native, limit)


def check_fidelity(
    scenario: Scenario,
    technique: str,
    setup: Setup | None = None,
    progress: Callable[[str, int, int | None], None] | None = None,
) -> Fidelity:
    """Run a scenario on bare metal and under a technique, on the same CPU, and name the first difference.

    A technique that runs a recompiled kernel is compared at markers (`ringviz.engine.markers`).

    Args:
        scenario: the guest.
        technique: id.
        setup: what `choose` gave; None is the technique's own choice in everything.
        progress: told how far the comparison is.

    Raises:
        RingvizError: the technique cannot run the scenario.
    """
    if technique_facts(technique).alignment == "marker":
        return check_at_markers(scenario, technique, setup, progress)
    limit = scenario.limits.instructions
    setup = setup or choose(technique, scenario=scenario)
    here, native = _pair(scenario, technique, setup, limit)
    first: Divergence | None = None
    stall, stops = Stall(), 0
    compared = -1
    closely_until: int | None = None
    while first is None and not here.is_spent:
        if progress is not None:
            progress(f"comparing {technique} with bare metal", here.position, limit)
        if stops > _CLOSELY_COMPARED and not here.is_pending:
            agreed = here.position
            here.reach_or_lie(agreed + INTERVAL)
            closely_until = agreed if closely_until is None else closely_until
            if here.is_stuck:
                break
            native.reach(here.position)
            if _difference(here, native, here.position - 1, 0) is not None:
                first = _search(here.technique, here.position, agreed)
            compared = here.position
            continue
        stopped = here.advance(here.position + _AT_LEAST_EVERY)
        position = here.position
        # Between a fault and the first instruction of its handler only one of the two has delivered it, and within a
        # repeated string instruction only one has done a part of it.
        if position > compared and not (stopped and here.is_in_string):
            native.reach(position)
            first = _difference(here, native, position - 1)
            compared = position
        if stopped and first is None:
            stops += 1
            where = here.technique.guest_state().eip
            instruction = here.technique.instruction_here()
            known = len(here.events)
            here.answer()
            stall.note(here.events[known:], has_completed=here.position > position)
            if here.position > position:
                native.reach(here.position)
                form = instruction.form if instruction is not None else None
                first = _difference(here, native, position, where, text_of(instruction), form)
        if stall.is_stuck:
            break
    if first is None:
        native.reach(here.position)
        first = _different_end(here, native)
    if first is None:
        return Fidelity(True, None, (), closely_until=closely_until)
    return Fidelity(False, first, (first, *_further_lies(here, native, limit)), closely_until=closely_until)


def _further_lies(here: _Runner, native: _Runner, limit: int) -> list[Divergence]:
    """Go on after the first divergence, and list every silent instruction whose answer is not bare metal's.

    From here on the states differ, so what is compared is the answer alone: the registers, flags and bytes that the
    instruction changed in either run. Where the runs no longer stand at the same instruction, nothing can be compared.
    """
    found: list[Divergence] = []
    stall = Stall()
    while not here.is_spent and not stall.is_stuck:
        position, known = here.position, len(here.events)
        if here.advance(limit):
            position = here.position
            native.reach(position)
            before, there = here.technique.guest_state(), native.technique.guest_state()
            instruction = here.technique.instruction_here()
            here.answer()
            told = here.events[-1] if here.events else None
            if told is None or told.at != position or told.kind is not Kind.SILENT or told.address != there.eip:
                stall.note(here.events[known:], has_completed=here.position > position)
                continue
            native.reach(here.position)
            answers = compare_answers(
                (before, here.technique.guest_state(), here.technique.guest_memory()),
                (there, native.technique.guest_state(), native.technique.guest_memory()),
                instruction,
            )
            if answers is not None:
                ours, theirs = answers
                found.append(Divergence(position, told.address, told.instruction, "answer", theirs, ours, told.form))
        stall.note(here.events[known:], has_completed=here.position > position)
    return found


def _different_end(here: _Runner, native: _Runner) -> Divergence | None:
    """Compare how the runs end; one of them may have its end still before it, in a fault that completes nothing."""
    if here.is_over != native.is_over:
        late = native if here.is_over else here
        if late.advance(late.position + 1):
            late.answer()
    if here.is_over == native.is_over:
        return None
    words = {True: "the run ends", False: "the run goes on"}
    where = here.technique.guest_state().eip
    return Divergence(here.position, where, "(end of the run)", "outcome", words[native.is_over], words[here.is_over])


def _difference(
    here: _Runner,
    native: _Runner,
    at: int,
    address: int | None = None,
    instruction: str = "",
    form: str | None = None,
) -> Divergence | None:
    """Compare the two runs at the same position."""
    for runner in (here, native):
        _fetch_next(runner.technique)
        runner.technique.machine.catch_up_with_devices()  # perhaps only one run has looked at them here
        if here.is_pending != native.is_pending and not runner.is_pending and runner.technique.machine.is_halted:
            runner.advance(runner.position + 1)  # both sleep in HLT, and the other one has been woken already
    found = _compare(here, native)
    if found is not None and here.is_at_page_fault and not native.is_pending:
        # The CPU has tried an instruction and marked page tables on the way to its fault: let bare metal try it, too.
        native.advance(native.position + 1)
        if not native.is_pending:
            here.reach(native.position)
        found = _compare(here, native)
    elif found is not None and here.is_pending != native.is_pending:
        # A trap follows its instruction: one of the runs has delivered it already.
        (here if here.is_pending else native).answer()
        found = _compare(here, native)
    if found is None:
        return None
    if address is None:
        return _search(here.technique, at) or Divergence(at, 0, "(unknown)", *found)
    return Divergence(at, address, instruction, *found, form)


def _fetch_next(technique: Technique) -> None:
    """Mark the page of the next instruction accessed, as the CPU does that fetches it: perhaps only one run has."""
    state = technique.guest_state()
    if state.is_paged:
        with suppress(PageFault, NotCanonical):
            technique.guest_memory().translate(state.linear_eip, Access(is_fetch=True, is_user=state.cpl == 3))


def _compare(one: _Runner, other: _Runner) -> tuple[str, int | str, int | str] | None:
    """Name the first thing that differs: registers, then memory, then devices; None if nothing does."""
    here, native = one.technique, other.technique
    our_state, their_state = here.guest_state(), native.guest_state()
    if our_state != their_state:
        ours = fields_of(our_state)
        for name, value in fields_of(their_state).items():
            # A VMM that keeps AMD-V to itself shows a CPU without its registers; a guest learns that of CPUID alone.
            if name in ours and ours[name] != value:
                return name, value, ours[name]
    for page in sorted(one.written() | other.written()):
        if not 0 <= page < here.guest_bytes >> 12:
            continue
        real = here.machine.ram.page(page + (here.guest_base >> 12))
        ideal = native.machine.ram.page(page + (native.guest_base >> 12))
        if real != ideal:
            word = next(i for i in range(4096) if real[i] != ideal[i]) & ~3
            return (
                f"memory at {(page << 12) + word:08X}",
                int.from_bytes(ideal[word : word + 4], "little"),
                int.from_bytes(real[word : word + 4], "little"),
            )
    one.forget_written()
    other.forget_written()
    if here.machine.bus.save() != native.machine.bus.save():
        return "devices", _quoted(native.machine.bus.console), _quoted(here.machine.bus.console)
    return None


def _quoted(console: str) -> str:
    return repr(console[-40:])


def _search(technique: Technique, upto: int, start: int = 0) -> Divergence | None:
    """Find the instruction by single steps from a place where both agree: for differences that came without a stop."""
    here, native = _pair(technique.scenario, technique.id, technique.setup, upto + 1)
    for runner in (here, native):
        runner.reach(start)
    while here.position <= upto and not here.is_over:
        at, where = here.position, here.technique.guest_state().eip
        instruction = here.technique.instruction_here()
        here.reach(at + 1)
        native.reach(at + 1)
        found = _compare(here, native)
        if found is not None:
            form = instruction.form if instruction is not None else None
            return Divergence(at, where, text_of(instruction), *found, form)
    return None
