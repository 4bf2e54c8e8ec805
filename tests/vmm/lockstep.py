"""Two techniques on one guest, compared after every retired instruction: the strictest question one can ask of them."""

from __future__ import annotations

import ctypes
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

from ringviz.guest import Scenario
from ringviz.machine.memory import PAGE, PAGE_SHIFT
from ringviz.machine.state import CpuState, fields_of
from ringviz.machine.stops import BudgetSpent, Paused
from ringviz.vmm.events import Event, Kind
from ringviz.vmm.mmu.telling import HIDDEN_FAULT
from ringviz.vmm.outcome import Ended
from ringviz.vmm.registry import choose, power_on
from ringviz.vmm.technique import Technique
from ringviz.vmm.trap_emulate import TrapEmulate

_MOST_STOPS = 1_000
memcmp = ctypes.CDLL("msvcrt" if sys.platform == "win32" else None).memcmp
memcmp.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
"""Addresses or bytes, and a length: 0 if they are alike."""
_STRIDE = 7
"""Has no factor in common with the usual lengths of loops, so that every instruction of one is met in time."""


class Run:
    """One run, driven without the engine."""

    def __init__(
        self,
        scenario: Scenario,
        technique: str,
        cpu: str | None = None,
        controls: Sequence[str] = (),
        mmu: str | None = None,
    ) -> None:
        self.technique: Technique = power_on(scenario, technique, choose(technique, mmu, cpu, controls, scenario))
        self.limit = scenario.limits.instructions
        self.events: list[Event] = []
        self.ended: Ended | None = None
        self.most_stops = _MOST_STOPS
        """So many stops at one instruction, and `reach` gives up."""
        self._dirty: set[int] = set()
        self._written: frozenset[int] = frozenset()

    @property
    def position(self) -> int:
        return self.technique.machine.retired

    def reach(self, position: int) -> None:
        """Go to a position, answering all stops on the way."""
        machine = self.technique.machine
        stops = 0
        while self.ended is None and self.position < position:
            before = self.position
            stop = machine.run(position)
            if isinstance(stop, BudgetSpent):
                self._take_events()
                continue
            if isinstance(stop, Paused):
                self._take_events()
                stops += 1
                if stops > self.most_stops:
                    return
                continue
            outcome = self.technique.handle(stop)
            self._take_events()
            if isinstance(outcome, Ended):
                self.ended = outcome
            is_overhead = bool(self.events) and self.events[-1].cause == HIDDEN_FAULT
            stops = 0 if self.position > before or is_overhead else stops + 1
            if stops > self.most_stops:
                return

    def _take_events(self) -> None:
        self.events += self.technique.events
        self.technique.events.clear()

    def finish(self) -> None:
        """Go to the end."""
        self.reach(self.limit)

    def page(self, number: int) -> bytes:
        return self.technique.machine.ram.page(number + (self.technique.guest_base >> PAGE_SHIFT))

    def written(self) -> frozenset[int]:
        """Guest pages ever written, without asking for new ones to be noticed: that would change what runs."""
        dirty = self.technique.machine.ram.dirty
        if len(dirty) != len(self._dirty) or dirty != self._dirty:
            self._dirty = dirty.copy()
            base = self.technique.guest_base >> PAGE_SHIFT
            most = self.technique.guest_bytes >> PAGE_SHIFT
            self._written = frozenset(page - base for page in dirty if 0 <= page - base < most)
        return self._written


def default_cpu(technique: str, scenario: Scenario | None = None) -> str:
    """The CPU that a technique runs on unless told otherwise: whatever it is compared with runs on the same one."""
    return choose(technique, scenario=scenario).cpu.id


def difference(one: Run, other: Run) -> str | None:
    """Say what a guest could tell apart: registers, memory, devices; None if nothing."""
    if one.position != other.position:
        return f"retired: {one.position} and {other.position}"
    ours, theirs = one.technique.guest_state(), other.technique.guest_state()
    if ours != theirs:
        a, b = fields_of(ours), fields_of(theirs)
        return ", ".join(f"{name}: {a[name]:X} and {b[name]:X}" for name in a if a[name] != b[name])
    found = _memory_difference(one, other)
    if found is not None:
        return found
    if one.technique.machine.bus.save() != other.technique.machine.bus.save():
        return "devices"
    return None


def _memory_difference(one: Run, other: Run) -> str | None:
    """Say where guest memory differs first."""
    ours, theirs = (run.technique.machine.ram.address + run.technique.guest_base for run in (one, other))
    for start, size in _stretches(one.written(), other.written()):
        if memcmp(ours + start, theirs + start, size):
            return _first_difference(one, other, range(start >> PAGE_SHIFT, (start + size) >> PAGE_SHIFT))
    return None


@lru_cache(maxsize=1024)
def _stretches(one: frozenset[int], other: frozenset[int]) -> tuple[tuple[int, int], ...]:
    """Give start and size of what the pages of two sets cover, in bytes."""
    pages = one | other
    starts = sorted(page for page in pages if page - 1 not in pages)
    ends = sorted(page + 1 for page in pages if page + 1 not in pages)
    return tuple((start << PAGE_SHIFT, (end - start) << PAGE_SHIFT) for start, end in zip(starts, ends, strict=True))


def _first_difference(one: Run, other: Run, pages: Iterable[int]) -> str | None:
    """Say where guest memory differs first, of these pages."""
    for page in pages:
        a_bytes, b_bytes = one.page(page), other.page(page)
        if a_bytes != b_bytes:
            offset = next(i for i in range(PAGE) if a_bytes[i] != b_bytes[i])
            return f"memory at {(page << PAGE_SHIFT) + offset:08X}: {a_bytes[offset]:02X} and {b_bytes[offset]:02X}"
    return None


def unnoticed_difference(one: Run, other: Run) -> str | None:
    """Say where guest memory differs first, looking at all of it: also where no write was noticed."""
    both = min(one.technique.guest_bytes, other.technique.guest_bytes)
    ours, theirs = (run.technique.machine.ram.address + run.technique.guest_base for run in (one, other))
    if memcmp(ours, theirs, both) == 0:
        return None
    return _first_difference(one, other, range(both >> PAGE_SHIFT))


def fpu_difference(one: Run, other: Run) -> str | None:
    """The same for FPU and SSE registers, which are slow to read."""
    ours, theirs = one.technique.machine.cpu.fpu_image(), other.technique.machine.cpu.fpu_image()
    return None if ours == theirs else f"FPU: {ours} and {theirs}"


def assert_lockstep(
    scenario: Scenario,
    technique: str,
    against: str = "native",
    *,
    cpu: str | None = None,
    controls: Sequence[str] = (),
    mmu: str | None = None,
    each: Callable[[Run], None] | None = None,
    times: int | None = None,
) -> Run:
    """Run two techniques instruction by instruction; fail at the first difference.

    Args:
        scenario: the guest.
        technique: the one in question.
        against: the reference.
        cpu: the CPU below both; None is the default of the one in question.
        controls: settings of the one in question.
        mmu: its way of memory virtualization; None is its default.
        each: looks at the run in question after every instruction.
        times: how often an instruction at one address is looked at by itself; after that, where the guest repeats
            itself, a few go by between two looks. None looks after every one.

    Returns:
        The run in question, at its end.
    """
    cpu = cpu or default_cpu(technique, scenario)
    run = Run(scenario, technique, cpu, controls, mmu)
    _follow(Run(scenario, against, cpu), [run], each, times)
    return run


def assert_all_in_lockstep(
    scenario: Scenario, techniques: Sequence[str], cpu: str, *, times: int | None = None
) -> list[Run]:
    """Do the same with several techniques beside one run on bare metal, all on one CPU.

    Returns:
        The runs in question, at their ends.
    """
    runs = [Run(scenario, technique, cpu) for technique in techniques]
    _follow(Run(scenario, "native", cpu), runs, None, times)
    return runs


def _follow(one: Run, others: Sequence[Run], each: Callable[[Run], None] | None, times: int | None) -> None:
    """Run a reference and others instruction by instruction; fail at the first difference of one from it."""
    seen: Counter[int] = Counter()
    first = others[0]
    is_over = False
    while not is_over and one.ended is None and first.ended is None and first.position < first.limit:
        eip = first.technique.guest_state().eip
        seen[eip] += 1
        position = first.position + (1 if times is None or seen[eip] <= times else _STRIDE)
        one.reach(position)
        for other in others:
            other.reach(position)
            found = difference(one, other)
            assert found is None, f"after instruction {position - 1} at {eip:08X}, {_names(one, other)}: {found}"
            if each is not None:
                each(other)
            is_over |= other.position < position
    for other in others:
        assert (one.ended and one.ended.how) == (other.ended and other.ended.how), _names(one, other)
        assert fpu_difference(one, other) is None, _names(one, other)
        assert unnoticed_difference(one, other) is None, _names(one, other)


def _names(one: Run, other: Run) -> str:
    return f"{one.technique.id} and {other.technique.id}"


def assert_same_at_every_event(scenario: Scenario, technique: str, against: str = "native") -> Run:
    """Run both freely, compare wherever the one in question has an event, and at the end."""
    cpu = default_cpu(technique, scenario)
    other = Run(scenario, technique, cpu)
    other.finish()
    places = sorted({event.at for event in other.events} | {event.at + 1 for event in other.events})
    one, again = Run(scenario, against, cpu), Run(scenario, technique, cpu)
    for place in places:
        one.reach(place)
        again.reach(place)
        found = difference(one, again)
        assert found is None, f"at {place}, {against} and {technique}: {found}"
    one.finish()
    again.finish()
    assert difference(one, again) is None
    assert (one.ended and one.ended.how) == (again.ended and again.ended.how) == (other.ended and other.ended.how)
    return other


def heal(native: Run, other: Run) -> None:
    """Give a trap-and-emulate guest what bare metal has: registers, flags and memory, but not the place it is at."""
    technique = other.technique
    assert isinstance(technique, TrapEmulate)
    base = technique.guest_base
    for page in native.written() | other.written():
        content = native.page(page)
        if content != other.page(page):
            technique.machine.ram.write((page << PAGE_SHIFT) + base, content)
    put_guest_state(technique, native.technique.guest_state())  # last: what the VMM derives, it derives from memory


def put_guest_state(technique: TrapEmulate, state: CpuState) -> None:
    """Make the guest believe in a state, as the VMM itself would: a test's licence to undo a lie."""
    technique._virtual = state.copy()
    technique._let_go()


def silent_events(run: Run) -> list[Event]:
    """The silent events of a run."""
    return [event for event in run.events if event.kind is Kind.SILENT]
