"""One guest under one technique, standing at one instruction: what the app and scripts steer.

Every way of moving ends at a position, and standing there the session knows the moment before it as well, so that a
view can show what the last instruction changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

from ringviz.engine.bill import Bill, between, bill_at
from ringviz.engine.conditions import AtAddress, AtStep, OnEvent, OnNth, Stop, StopCondition, is_met_by
from ringviz.engine.derivation import Derivation, derive
from ringviz.engine.event_log import EventLog
from ringviz.engine.hit_count import TECHNIQUE as HITS_TECHNIQUE
from ringviz.engine.hit_count import Hits, count_hits
from ringviz.engine.ledger import ledger
from ringviz.engine.looks import NOTHING, Looks
from ringviz.engine.markers import marker_track
from ringviz.engine.memory_look import ACCESS
from ringviz.engine.memory_touches import Places, find_touches
from ringviz.engine.memory_view import MemoryView, build_memory, chief, resolve
from ringviz.engine.recording import Cancelled, Recording, never
from ringviz.engine.reference import NATIVE, native_reference
from ringviz.engine.snapshots import Glance, Moment, build_glance, build_snapshot
from ringviz.engine.view import LedgerView, Snapshot
from ringviz.engine.walks import WalkView, build_walk
from ringviz.facts.costs import CpuProfile
from ringviz.facts.instruction_weights import HUNDREDTHS
from ringviz.facts.techniques import TechniqueFacts
from ringviz.guest.instruction import Instruction
from ringviz.guest.scenario import Scenario
from ringviz.guest.symbols import SourceMap, load_source_map
from ringviz.machine.paging import Access
from ringviz.machine.state import CpuState
from ringviz.machine.step_trace import StepTrace, tracing
from ringviz.vmm.events import Event as RawEvent
from ringviz.vmm.registry import choose, technique_facts, variant_for

_BUILD_DIGITS = 12


@dataclass(frozen=True, slots=True)
class _Place:
    """A position and whether the end of the run has been gone through there."""

    position: int
    is_at_end: bool


class Session:
    """A run that can be stepped, run, left and returned to. Not thread-safe: one thread owns it."""

    def __init__(
        self,
        scenario: Scenario,
        technique: str = NATIVE,
        mmu: str | None = None,
        cpu: str | None = None,
        controls: Sequence[str] = (),
    ) -> None:
        """Power on and stand before the first instruction.

        Raises:
            RingvizError: the choices do not go together, or the guest cannot be loaded; one line says why.
        """
        self.scenario = scenario
        self.technique: TechniqueFacts = technique_facts(technique)
        self.setup = choose(technique, mmu, cpu, controls, scenario)
        self._recording = Recording(scenario, technique, self.setup)
        self._source: SourceMap = load_source_map(scenario, variant_for(technique))
        self.build = sha256(scenario.files(variant_for(technique)).image.read_bytes()).hexdigest()[:_BUILD_DIGITS]
        """Tells one build of the guest from another: in each, addresses and steps mean something else."""
        self._is_tracing = False
        """The last step is taken with an eye on what it reads and writes."""
        self._trace: StepTrace | None = None
        self._before: Moment | None = None

    # ---- where we are ------------------------------------------------------------------------------------------------

    @property
    def mmu(self) -> str:
        """Way of memory virtualization."""
        return self.setup.mmu

    @property
    def cpu(self) -> CpuProfile:
        """The CPU below, whose costs are charged."""
        return self.setup.cpu

    @property
    def position(self) -> int:
        """Retired guest instructions."""
        return self._recording.position

    @property
    def explored(self) -> int:
        """The furthest position ever executed."""
        return self._recording.explored

    @property
    def end(self) -> int | None:
        """Where the run ends, once known."""
        return None if self._recording.end is None else self._recording.end.position

    @property
    def outcome(self) -> str:
        """Id of the outcome, once the run has been played to its end; else empty."""
        return "" if self._recording.end is None else self._recording.end.outcome

    @property
    def is_over(self) -> bool:
        """Standing at the end."""
        return self._recording.is_at_end

    @property
    def events(self) -> EventLog:
        """All events of the explored part."""
        return self._recording.log

    @property
    def source(self) -> SourceMap:
        """Symbols and source lines of the guest."""
        return self._source

    @property
    def next_instruction(self) -> Instruction | None:
        """The guest instruction that comes next; None at the end, or where nothing can be fetched or decoded."""
        return None if self.is_over else self._recording.technique.instruction_here()

    # ---- moving ------------------------------------------------------------------------------------------------------

    def step(self) -> None:
        """Go on by one retired instruction, events on the way included."""
        self._play_last_step(self.position + 1)

    def back(self) -> None:
        """Go back by exactly one retired instruction."""
        if self.is_over and self._recording.end is not None and not self._end_retires():
            # The end is a place of its own after the last instruction: leave it first.
            self._stand(_Place(self.position, False))
            return
        self.seek(self.position - 1)

    def run(self, cancelled: Cancelled = never) -> None:
        """Go on to the end of the run, or to the scenario's limit of instructions."""
        self._recording.play_to_the_end(cancelled)
        self._look_back()

    def run_to(self, stop: StopCondition, cancelled: Cancelled = never) -> bool:
        """Go on to the next place where a condition holds; False if the run ended or was cancelled first."""
        return self.run_until((Stop(stop),), cancelled) is not None

    def run_until(self, stops: Sequence[Stop], cancelled: Cancelled = never) -> Stop | None:
        """Go on to the next place at which one of several stops holds.

        Args:
            stops: what to wait for.
            cancelled: polled on the way.

        Returns:
            The stop that holds; None if the run ended or was cancelled before.
        """
        start = self.position
        questions = [_question(stop.condition) for stop in stops]
        found: Stop | None = None
        is_cancelled = False

        def look() -> bool:
            nonlocal is_cancelled
            is_cancelled = cancelled()
            return is_cancelled

        while found is None and not self.is_over and not is_cancelled:
            found = self._next_stop(stops, questions, look)
            if found is not None and self.position == start:
                found = None  # it stands there already
        self._recording.technique.stop_before(frozenset())
        self._look_back()
        return found

    def _next_stop(self, stops: Sequence[Stop], questions: Sequence[_Question], cancelled: Cancelled) -> Stop | None:
        """Play to the next place where something waited for happens; None if the registers are otherwise."""
        recording = self._recording
        limit = self.scenario.limits.instructions + 1
        met: list[Stop] = []

        def wanted(event: RawEvent, number: int) -> bool:
            now = [stop for stop, is_it in zip(stops, questions, strict=True) if is_it(event, number)]
            met.extend(now)
            return bool(now)

        steps = [s for s in stops if isinstance(s.condition, AtStep) and s.condition.position > self.position]
        target = min((s.condition.position for s in steps if isinstance(s.condition, AtStep)), default=limit)
        addresses = frozenset(s.condition.address for s in stops if isinstance(s.condition, AtAddress))
        recording.play(target, cancelled, wanted, addresses)
        guest = self.cpu_state(is_real=False)
        met += [s for s in stops if s.condition in (AtStep(self.position), AtAddress(guest.eip))]
        return next((stop for stop in met if stop.allows(guest)), None)

    def run_back_until(self, stops: Sequence[Stop], cancelled: Cancelled = never) -> Stop | None:
        """Go back to the last place before this one at which one of several stops holds.

        The same place is met as on the way forward: what was before is played again, stretch by stretch, each from
        where the recording can begin without playing anything first.

        Returns:
            The stop that holds; None if none does, or it was cancelled, and the session stands where it stood.
        """
        here = _Place(self.position, self.is_over)
        upto = here.position
        while upto > 0 and stops and not cancelled():
            start = self._recording.keyframe_before(upto - 1)
            found = self._last_stop_between(stops, start, upto, cancelled)
            if found is not None and not cancelled():
                stop, position = found
                self.seek(position)
                return stop
            # What holds where a stretch begins is not met in it, but at the end of the one before.
            upto = start + 1 if start else 0
        self._stand(here)
        return None

    def _last_stop_between(
        self, stops: Sequence[Stop], start: int, upto: int, cancelled: Cancelled
    ) -> tuple[Stop, int] | None:
        """Find the last stop that is met after `start`, or at the very beginning, and before `upto`; and its place."""
        bound = Stop(AtStep(upto))
        questions = [_question(stop.condition) for stop in (*stops, bound)]
        self._recording.seek(start, cancelled)
        last: tuple[Stop, int] | None = None
        if start == 0:
            guest = self.cpu_state(is_real=False)
            places = (AtStep(0), AtAddress(guest.eip))
            first = next((stop for stop in stops if stop.condition in places and stop.allows(guest)), None)
            last = None if first is None else (first, 0)
        while self.position < upto and not self.is_over and not cancelled():
            before = self.position
            met = self._next_stop((*stops, bound), questions, cancelled)
            if met is not None and met is not bound and before < self.position < upto:
                last = (met, self.position)
        self._recording.technique.stop_before(frozenset())
        return last

    def next_event(self, cancelled: Cancelled = never) -> bool:
        """Go on to the next event; False if there was none."""
        return self.run_to(OnEvent(), cancelled)

    def previous_event(self, cancelled: Cancelled = never) -> bool:
        """Go back to where the event before the last shown one had happened; False if there is none."""
        log = self._recording.log
        count = log.before(self.position - 1) if self.position else 0
        if not count:
            self.seek(0, cancelled)
            return False
        self.seek(log.raw[count - 1].at + 1, cancelled)
        return True

    def seek(self, position: int, cancelled: Cancelled = never) -> None:
        """Stand at a position; before 0 is 0, and beyond the end is the end."""
        if position <= 0:
            self._recording.seek(0, cancelled)
            self._before = self._trace = None
            return
        if self.end is not None and position > self.end:
            position = self.end
        self._recording.seek(position - 1, cancelled)
        if self.position == position - 1 and not self.is_over:
            self._play_last_step(position)
        else:
            self._look_back()

    def swapped(
        self,
        technique: str,
        mmu: str | None = None,
        cpu: str | None = None,
        controls: Sequence[str] = (),
        cancelled: Cancelled = never,
    ) -> Session:
        """Open the same guest at the same place under another technique, or the same built otherwise.

        The same place is the same retired instruction. Between the original kernel and a recompiled one, whose
        instructions are others, it is the last marker passed; before the first marker the start, and at the end the
        end.

        Raises:
            RingvizError: the technique cannot run this guest, or the CPU does not have it.
        """
        other = Session(self.scenario, technique, mmu, cpu, controls)
        if other.technique.alignment == self.technique.alignment:
            other.seek(self.position, cancelled)
        elif self.is_over:
            other.run(cancelled)
        else:
            passed = marker_track(self.scenario, self.technique.id, self.setup).count_at(self.position, cancelled)
            track = marker_track(other.scenario, other.technique.id, other.setup)
            other.seek(track.position_of(passed, cancelled), cancelled)
        return other

    def _play_last_step(self, position: int) -> None:
        """Take the step that the view will show."""
        recording = self._recording
        if recording.is_at_end:
            return
        self._before = Moment.of(recording.technique)
        self._play_told(position)
        if recording.end is not None:
            recording.settle_end()

    def _play_told(self, position: int) -> None:
        """Play one step, and if somebody looks at memory, note what it reads and writes."""
        if not self._is_tracing:
            self._recording.play(position)
            return
        with tracing(self._recording.technique.machine) as self._trace:
            self._recording.play(position)

    def _look_back(self) -> None:
        """Having arrived in great strides, take the last step again to know what it changed."""
        place = _Place(self.position, self.is_over)
        self._stand(place)

    def _stand(self, place: _Place) -> None:
        """Stand at a place, with the moment before it known."""
        recording = self._recording
        self._trace = None
        if place.position == 0:
            recording.seek(0)
            self._before = None
        else:
            recording.seek(place.position - 1)
            if not recording.is_at_end:
                self._before = Moment.of(recording.technique)
                self._play_told(place.position)
        if place.is_at_end:
            recording.settle_end()

    def _end_retires(self) -> bool:
        """Tell whether the end of the run came with the completion of an instruction."""
        log = self._recording.log
        return not log.raw or log.raw[-1].at < self.position

    # ---- looking -----------------------------------------------------------------------------------------------------

    def event_count(self) -> int:
        """How many events have happened up to here."""
        log = self._recording.log
        return len(log) if self.is_over else log.before(self.position)

    def tallies(self) -> Mapping[str, int]:
        """What has come without an event up to here, by cause."""
        return self._recording.technique.tallies()

    def bill(self) -> Bill:
        """Give the counts up to here, which can be priced for any CPU that weighs instructions alike."""
        return bill_at(self._recording)

    def bill_between(self, first: int, last: int) -> Bill:
        """Give the counts of the stretch between two positions; the session stands where it stood before."""
        place = _Place(self.position, self.is_over)
        bill = between(self._recording, first, last)
        self._stand(place)
        return bill

    def ledger(self, cancelled: Cancelled = never) -> LedgerView:
        """The bill up to here; what bare metal would have paid has to be found out, which can be cancelled."""
        native = self._native_cycles(cancelled)
        technique = self._recording.technique
        return ledger(
            self._recording.log,
            self.cpu,
            self.position,
            technique.completed_by_vmm(),
            self.tallies(),
            self.event_count(),
            technique.guest_weight(),
            native,
        )

    def _native_cycles(self, cancelled: Cancelled) -> int | None:
        """What bare metal pays up to here; a recompiled kernel shares no place with it but the end."""
        if self.technique.id == NATIVE:
            weight = self._recording.technique.guest_weight()
            return weight // HUNDREDTHS + self._recording.log.native_cycles(self.event_count())
        reference = native_reference(self.scenario, self.cpu.id)
        if self.technique.alignment == "marker":
            return reference.cycles_of_all(cancelled) if self.is_over else None
        return reference.cycles_at(self.position, at_end=self.is_over, cancelled=cancelled)

    def cpu_state(self, *, is_real: bool) -> CpuState:
        """The CPU now: as the guest believes it to be, or as it really is. A copy."""
        technique = self._recording.technique
        return technique.real_state() if is_real else technique.guest_state()

    def bytes_at(self, linear: int, count: int) -> bytes:
        """What stands at a linear address of the guest; nothing where no page is."""
        return self._recording.technique.guest_memory().peek(linear, count) or b""

    @property
    def exit_code(self) -> int:
        """What the guest has given to the exit port; -1 before it did."""
        code = self._recording.technique.machine.bus.exit_code
        return -1 if code is None else code

    def _look_at_memory(self, looks: Looks) -> MemoryView | None:
        """Show memory; the first time, the last step is taken again with an eye on what it reads and writes."""
        is_wanted = looks.memory is not None or looks.walk is not None
        if is_wanted != self._is_tracing:
            self._is_tracing = is_wanted
            self._look_back()
        if looks.memory is None:
            return None
        before = None if self._before is None else self._before.guest
        return build_memory(self._recording.technique, self._source, looks.memory, self._trace, before)

    def _look_at_walk(self, looks: Looks) -> WalkView | None:
        """Show how the address that somebody looks at is translated, for the access that the last step made there."""
        look = looks.walk
        if look is None:
            return None
        technique = self._recording.technique
        guest = technique.guest_state()
        before = None if self._before is None else self._before.guest
        touches = find_touches(Places(technique, guest), self._trace, guest, before)
        linear = resolve(look.follow, look.base, guest, touches)
        touch = chief(touches) if look.follow == ACCESS else None
        is_fetch = touch is None and linear == guest.linear_eip
        is_write = touch is not None and touch.is_write
        return self.walk(linear, Access(is_write=is_write, is_user=guest.cpl == 3, is_fetch=is_fetch))

    def hits(self, cancelled: Cancelled = never) -> Hits | None:
        """Count how often each fragment of the code cache has been entered up to here; None where there is no cache."""
        if self.technique.id != HITS_TECHNIQUE:
            return None
        return count_hits(self.scenario, self.setup, self.position, cancelled)

    def walk(self, linear: int, access: Access = Access()) -> WalkView:  # noqa: B008 - frozen
        """Show how a linear address is translated at this moment, and by whom."""
        found = self._source.symbol_at(linear)
        label = "" if found is None else found[0] if not found[1] else f"{found[0]} + {found[1]:X}h"
        return build_walk(self._recording.technique, self.position, linear, access, label)

    def glance(self) -> Glance:
        """The part of a snapshot that every step has, made in a fraction of the time."""
        return build_glance(self, self._recording, self._before)

    def why(self) -> Derivation | None:
        """Derive what becomes of the next instruction, and why; None where there is none."""
        return None if self.is_over else derive(self._recording.technique)

    def snapshot(self, cancelled: Cancelled = never, looks: Looks = NOTHING) -> Snapshot:
        """All that one screen shows of this moment.

        Args:
            cancelled: polled while bare metal is run up to here for comparison; without that the snapshot has no
                `native_cycles`, and is otherwise whole.
            looks: what else it is to have.
        """
        memory = self._look_at_memory(looks)
        walked = self._look_at_walk(looks)
        shown = build_snapshot(self, self._recording, self._before, cancelled)
        return replace(shown, memory=memory, walk=walked)


_Question = Callable[[RawEvent, int], bool]
"""Whether an event, with its number, is what is waited for."""


def _question(condition: StopCondition) -> _Question:
    """Give the question that a condition asks of every event; one that counts has a count of its own."""
    if not isinstance(condition, OnNth):
        return lambda event, number: is_met_by(condition, event, number)
    left = condition.count

    def is_it(event: RawEvent, number: int) -> bool:
        nonlocal left
        left -= is_met_by(condition, event, number)
        return left <= 0

    return is_it
