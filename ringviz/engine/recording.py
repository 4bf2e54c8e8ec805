"""One run of one guest under one technique, as a tape: play on, go back, and it is the same run.

Keyframes hold the whole state at some points; between them the run is played again, which gives the same bits because
nothing in the machine depends on anything but the count of retired instructions. Around the place where somebody
stands, a few frames more lie closer together for a while: steps back from there have little to play again.

Positions are counts of retired instructions. The state at position n is the one right after the n-th instruction
completed: what happens without an instruction completing (an exception's delivery) belongs to the way to n + 1.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ringviz.engine.event_log import EventLog
from ringviz.engine.timeline import Marks
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
_EVENTS_PER_KEYFRAME = 80
_INSTRUCTIONS_PER_KEYFRAME = 500_000
_STOPS_PER_NEAR_FRAME = 12
"""Stops are what takes time in playing a stretch again: each is answered by the VMM."""
_MOST_NEAR_FRAMES = 48
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
class _NearFrame:
    """A state close to where somebody stands, kept beside the tape's own keyframes for a while."""

    position: int
    events: int
    state: Any
    keyframe: int
    """Number of the tape's own keyframe before it."""
    pages: Mapping[int, bytes]
    """Pages written since that one."""


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
        self.marks = Marks()
        """Of all events of the explored part."""
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
        self._near: list[_NearFrame] = []
        """In order of the run."""
        self._base = 0
        """Number of the keyframe from which the state here was played."""
        self._written: dict[int, bytes] = {}
        """Pages written since then, as they stood when last collected."""
        self._stops = 0
        """Answered since the last frame of either kind that was passed."""
        self._passed = 0
        """Where that was."""
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
                if self.is_at_end:
                    break  # what follows an end is not the guest's: no state to go on from
                if self.position >= self._keyframe_due():
                    self._take_keyframe()
                elif wanted is None and target - self.position < _INSTRUCTIONS_PER_KEYFRAME:
                    self._take_near_frame_if_due()
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
        self._stops += 1
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
                self.marks.note(event)
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
        is_behind = position < self.position or (self.is_at_end and position == self.position)
        number = bisect_right(self._keyframes, position, key=lambda frame: frame.position) - 1
        near = bisect_right(self._near, position, key=lambda frame: frame.position) - 1
        start = self._keyframes[number].position
        if near >= 0 and self._near[near].position > start:
            start = self._near[near].position
        else:
            near = -1
        if is_behind or start > self.position:
            if near >= 0:
                self._restore(self._near[near].keyframe, self._near[near])
            else:
                self._restore(number)
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
        for page in self.technique.machine.collect_dirty() | self._written.keys():
            numbers, contents = self._versions.setdefault(page, ([], []))
            content = ram.page(page)
            if not contents or contents[-1] != content:
                numbers.append(number)
                contents.append(content)
        self._keyframes.append(_Keyframe(self.position, self._replayed, self.technique.save()))
        self._begin_from(number, {})

    def _take_near_frame_if_due(self) -> None:
        """Keep the state here for a while, if enough has been played since the last that was kept."""
        place = bisect_right(self._near, self.position, key=lambda frame: frame.position)
        if place and self._near[place - 1].position > self._passed:
            self._stops, self._passed = 0, self._near[place - 1].position
        if self._stops < _STOPS_PER_NEAR_FRAME:
            return
        ram = self.technique.machine.ram
        self._written |= {page: ram.page(page) for page in self.technique.machine.collect_dirty()}
        frame = _NearFrame(self.position, self._replayed, self.technique.save(), self._base, self._written.copy())
        self._near.insert(place, frame)
        if len(self._near) > _MOST_NEAR_FRAMES:
            first, last = self._near[0], self._near[-1]
            is_first_farther = self.position - first.position > last.position - self.position
            self._near.pop(0 if is_first_farther else -1)
        self._stops, self._passed = 0, self.position

    def _restore(self, number: int, near: _NearFrame | None = None) -> None:
        """Return to a keyframe, or to a frame of those near by that was played from it."""
        frame = near or self._keyframes[number]
        pages: Mapping[int, bytes] = {} if near is None else near.pages
        machine = self.technique.machine
        for page in self._versions.keys() | machine.collect_dirty() | self._written.keys() | pages.keys():
            content = pages[page] if page in pages else self._page_at(page, number)
            if machine.ram.page(page) != content:
                machine.ram.write(page << 12, content)
        self.technique.restore(frame.state)
        self._replayed = frame.events
        self._stall.clear()
        self.is_at_end = False
        machine.collect_dirty()
        self._begin_from(number, dict(pages))

    def _begin_from(self, number: int, written: dict[int, bytes]) -> None:
        """Note that the state here is that of a keyframe, but for some pages."""
        self._base, self._written = number, written
        self._stops, self._passed = 0, self.position

    def _page_at(self, page: int, number: int) -> bytes:
        """Content of a page at a keyframe."""
        if page not in self._versions:
            return _ZERO_PAGE
        numbers, contents = self._versions[page]
        index = bisect_right(numbers, number) - 1
        return contents[index] if index >= 0 else _ZERO_PAGE
