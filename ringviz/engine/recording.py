"""One run of one guest under one technique, as a tape: play on, go back, and it is the same run.

Keyframes hold the whole state at some points; between them the run is played again, which gives the same bits because
nothing in the machine depends on anything but the count of retired instructions. Positions are those counts. The state
at position n is the one right after the n-th instruction completed: what happens without an instruction completing (an
exception's delivery) belongs to the way to n + 1.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ringviz.engine.event_log import EventLog
from ringviz.guest.scenario import Scenario
from ringviz.machine.stops import Breakpoint, BudgetSpent, Paused
from ringviz.vmm.events import Event as RawEvent
from ringviz.vmm.outcome import Ended
from ringviz.vmm.registry import power_on
from ringviz.vmm.setup import Setup
from ringviz.vmm.stall import NO_PROGRESS, Stall

Cancelled = Callable[[], bool]
"""Polled every few milliseconds; True makes a long call return, standing wherever it has got to."""

_SLICE = 500_000
"""Instructions between two looks at the cancel flag: a few milliseconds."""
_EVENTS_PER_KEYFRAME = 200
_INSTRUCTIONS_PER_KEYFRAME = 500_000
_ZERO_PAGE = bytes(4096)

LIMIT_REACHED = "the scenario's limit of instructions is reached"


def never() -> bool:
    """A cancel flag that is never set."""
    return False


@dataclass(frozen=True, slots=True)
class _Keyframe:
    position: int
    events: int
    state: Any


@dataclass(frozen=True, slots=True)
class End:
    """How a run ended."""

    position: int
    outcome: str
    """`halted`, `exit`, `triple-fault`, `reset` or `budget`."""
    text: str


class Recording:
    """The tape. Owns the technique and its machine."""

    def __init__(self, scenario: Scenario, technique: str, setup: Setup) -> None:
        """Power on, at position 0.

        Raises:
            RingvizError: the guest cannot be loaded, or the technique cannot run it.
        """
        self.scenario = scenario
        self.technique = power_on(scenario, technique, setup)
        self.log = EventLog(setup.cpu)
        self.end: End | None = None
        """Known once the run has been played to its end."""
        self.explored = 0
        self.is_at_end = False
        self._limit = scenario.limits.instructions
        self._replayed = 0
        """Events met since power-on on the way to the current position."""
        self._stall = Stall()
        self._versions: dict[int, tuple[list[int], list[bytes]]] = {}
        """Page -> (keyframe numbers, contents from each on)."""
        self._keyframes: list[_Keyframe] = []
        self._take_keyframe()

    @property
    def position(self) -> int:
        """Retired guest instructions now."""
        return self.technique.machine.retired

    # ---- going on ----------------------------------------------------------------------------------------------------

    def play(
        self,
        target: int,
        cancelled: Cancelled = never,
        wanted: Callable[[RawEvent, int], bool] | None = None,
        breakpoints: frozenset[int] = frozenset(),
    ) -> bool:
        """Go on until `target`, the end, a wanted event or one of the addresses.

        Returns:
            True if a wanted event or an address stopped it. After an event the position is the one at which its
            instruction, or the next one, has completed.
        """
        machine = self.technique.machine
        self.technique.stop_before(breakpoints)
        target = min(target, self._limit)
        found = False
        found_at = 0
        while not self.is_at_end and (self.position < target or found):
            before = self.position
            self._news = []
            goal = before + 1 if found else max(before + 1, min(target, before + _SLICE, self._keyframe_due()))
            stop = machine.run(goal)
            match stop:
                case Breakpoint():
                    return True
                case BudgetSpent() | Paused():
                    self._stall.clear()
                    self._collect()  # the next instruction is fetched already: that is on the way to the next position
                case _:
                    self._handle(stop, before)
            if wanted is not None and not found:
                event = self._first_wanted(wanted)
                found, found_at = event is not None, 0 if event is None else event.at
            if self.position > before:
                self.explored = max(self.explored, self.position)
                if self.position >= self._keyframe_due():
                    self._take_keyframe()
                # An exception comes before an instruction completes, and belongs to the way to the next position.
                if found and self.position > found_at:
                    break
            if cancelled():
                break
        if self.position >= self._limit and not self.is_at_end:
            self._finish("budget", LIMIT_REACHED)
        return found

    def play_to_the_end(self, cancelled: Cancelled = never) -> None:
        """Go on until the run ends."""
        self.play(self._limit + 1, cancelled)

    def settle_end(self) -> None:
        """Standing where a known end is, go through it: the end itself may not complete an instruction."""
        if self.end is not None and self.end.position == self.position and not self.is_at_end:
            self.play(self.position + 1)

    def _handle(self, stop: Any, before: int) -> None:
        outcome = self.technique.handle(stop)
        self._collect()
        if isinstance(outcome, Ended):
            self._finish(outcome.how, outcome.text)
        elif self._stall.note(self._news, has_completed=self.position > before):
            self._finish("budget", NO_PROGRESS)

    def _collect(self) -> None:
        """Take the technique's new events; those of a stretch that is played again are known."""
        self._news = self.technique.events.copy()
        self.technique.events.clear()
        for event in self._news:
            if self._replayed == len(self.log):
                self.log.append(event, self.technique.tallies())
            self._replayed += 1

    def _first_wanted(self, wanted: Callable[[RawEvent, int], bool]) -> RawEvent | None:
        """Give the first of the new events that is wanted; each comes with its number, from 1."""
        first = self._replayed - len(self._news) + 1
        return next((event for number, event in enumerate(self._news, first) if wanted(event, number)), None)

    _news: list[RawEvent]

    def _finish(self, outcome: str, text: str) -> None:
        self.is_at_end = True
        self.explored = max(self.explored, self.position)
        self.end = End(self.position, outcome, text)

    # ---- going back --------------------------------------------------------------------------------------------------

    def seek(self, position: int, cancelled: Cancelled = never) -> None:
        """Stand at a position, or at the end if that comes first."""
        position = max(0, position)
        if self.end is not None:
            position = min(position, self.end.position)
        if position < self.position or (self.is_at_end and position == self.position):
            self._restore(bisect_right([frame.position for frame in self._keyframes], position) - 1)
        else:
            ahead = bisect_right([frame.position for frame in self._keyframes], position) - 1
            if self._keyframes[ahead].position > self.position:
                self._restore(ahead)
        self.play(position, cancelled)
        self.settle_end()

    def keyframe_before(self, position: int) -> int:
        """Give the last position before another that can be stood at without playing anything; 0 if there is none."""
        return max((frame.position for frame in self._keyframes if frame.position < position), default=0)

    def _keyframe_due(self) -> int:
        """Position at which the next keyframe is to be taken, if the tape is new there."""
        last = self._keyframes[-1]
        if self.position < last.position:
            return self.position + _SLICE
        if self._replayed - last.events >= _EVENTS_PER_KEYFRAME:
            return max(self.position, last.position + 1)
        return last.position + _INSTRUCTIONS_PER_KEYFRAME

    def _take_keyframe(self) -> None:
        number = len(self._keyframes)
        ram = self.technique.machine.ram
        for page in self.technique.machine.collect_dirty():
            numbers, contents = self._versions.setdefault(page, ([], []))
            if not numbers or numbers[-1] < number:
                numbers.append(number)
                contents.append(ram.page(page))
        self._keyframes.append(_Keyframe(self.position, self._replayed, self.technique.save()))

    def _restore(self, number: int) -> None:
        frame = self._keyframes[number]
        machine = self.technique.machine
        for page in self._versions.keys() | machine.collect_dirty():
            content = self._page_at(page, number)
            if machine.ram.page(page) != content:
                machine.ram.write(page << 12, content)
        self.technique.restore(frame.state)
        self._replayed = frame.events
        self._stall.clear()
        self.is_at_end = False
        machine.collect_dirty()

    def _page_at(self, page: int, number: int) -> bytes:
        """Content of a page at a keyframe."""
        if page not in self._versions:
            return _ZERO_PAGE
        numbers, contents = self._versions[page]
        index = bisect_right(numbers, number) - 1
        return contents[index] if index >= 0 else _ZERO_PAGE
