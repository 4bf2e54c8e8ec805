"""Plays a host's lecture: to the next beat, and back to one before by running the host anew, which gives the same host.

No screen is known here. Whoever shows it asks for a beat and gets what came of it; `player.run` stands there and may be
looked at. While the host runs on to a beat, `watch` is called again and again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

from ringviz.engine.recording import Cancelled, never
from ringviz.errors import ReplayError
from ringviz.record.machines.host_lecture import HostBeat, HostGo, HostLecture, ToClock, ToHostEnd, Until
from ringviz.record.machines.host_looks import SeenHost, see
from ringviz.record.machines.host_run import HostRun
from ringviz.record.machines.other_host import OtherHost, opened_host
from ringviz.record.machines.room import Room
from ringviz.record.played import Finding
from ringviz.record.replay import Wanted

Watch = Callable[[HostRun], None]
Opening = Callable[[], AbstractContextManager[tuple[Room, OtherHost | None]]]


@dataclass(frozen=True, slots=True)
class HostPlayed:
    """One beat that was played."""

    number: int
    """From 1."""
    beat: HostBeat
    clock: int
    """Where the host stands."""
    findings: tuple[Finding, ...]
    problems: tuple[str, ...] = ()
    """Why the host is not as the beat wants it: something it was told it would not do, or a moment that never came."""

    @property
    def holds(self) -> bool:
        """The beat is what its author expected."""
        return not self.problems and all(finding.holds for finding in self.findings)

    @property
    def failures(self) -> tuple[str, ...]:
        """What is not as it should be, a line each: where the host stands, expected, found."""
        lines = [*self.problems, *(finding.words for finding in self.findings if not finding.holds)]
        return tuple(f"cycle {self.clock:,}: {line}" for line in lines)


class HostPlayer:
    """A lecture and the host that it is about. Not thread-safe: one thread opens it, plays it and closes it."""

    def __init__(self, lecture: HostLecture, opening: Opening | None = None) -> None:
        """Switch the host on, before the first beat.

        Args:
            lecture: what to play.
            opening: gives the host, as often as it is asked; the one that the lecture names if not given.

        Raises:
            RingvizError: there can be no such host.
        """
        self.lecture = lecture
        self.number = 0
        """The beat that was played last; 0 before the first."""
        self._opening = opening or partial(opened_host, lecture.host)
        self._stack = ExitStack()
        self._other: OtherHost | None = None
        self.run = self._switched_on()
        """The host at work."""

    def close(self) -> None:
        """Be done with the host."""
        self._stack.close()

    @property
    def is_over(self) -> bool:
        """The last beat has been played."""
        return self.number >= len(self.lecture.beats)

    @property
    def there(self) -> Sequence[str]:
        """What the other host has said up to now."""
        return () if self._other is None else tuple(self._other.lines)

    def next(self, watch: Watch | None = None, cancelled: Cancelled = never) -> HostPlayed | None:
        """Play the next beat; None if there is none, or if it was cancelled on the way."""
        return None if self.is_over else self._play(watch, cancelled)

    def go_to(self, number: int, watch: Watch | None = None, cancelled: Cancelled = never) -> HostPlayed | None:
        """Stand at a beat; at one before, or at this one again, by running the host anew.

        Raises:
            ReplayError: there is no such beat.
        """
        if not 1 <= number <= len(self.lecture.beats):
            raise ReplayError(
                f"{self.lecture.where}: found beat {number:,}, expected one from 1 to {len(self.lecture.beats):,}"
            )
        if number <= self.number:
            self._stack.close()
            self.number = 0
            self.run = self._switched_on()
        played = None
        while self.number < number:
            played = self._play(watch, cancelled)
            if played is None:
                return None
        return played

    # ---- one beat ----------------------------------------------------------------------------------------------------

    def _play(self, watch: Watch | None, cancelled: Cancelled) -> HostPlayed | None:
        beat = self.lecture.beats[self.number]
        problems = []
        for deed in beat.deeds:
            entry = self.run.order(deed)
            if not entry.is_done:
                problems.append(f"tell: {entry.what}: {entry.result}")
        problem = "" if beat.go is None else self._go(beat.go, watch, cancelled)
        if cancelled():
            return None
        seen = self._seen()
        findings = tuple(Finding(wanted, see(seen, wanted.key)) for wanted in beat.expect)
        self.number += 1
        return HostPlayed(
            self.number, beat, self.run.clock, findings, (*problems, *((problem,) if problem else ()))
        )  # fmt: skip

    def _go(self, way: HostGo, watch: Watch | None, cancelled: Cancelled) -> str:
        """Run on; gives the reason if the host does not come there."""
        run, end = self.run, self.lecture.host.cycles
        match way:
            case ToClock(cycles, is_relative):
                target = run.clock + cycles if is_relative else cycles
                if target < run.clock:
                    return f"go: expected cycle {target:,}, but the host stands beyond it"
                for _ in self._steps(target, watch, cancelled):
                    pass
            case ToHostEnd():
                for _ in self._steps(end, watch, cancelled):
                    pass
            case Until(wanted):
                if self._is_so(wanted):
                    return ""
                for _ in self._steps(end, watch, cancelled):
                    if self._is_so(wanted):
                        return ""
                if not cancelled():
                    words = ", ".join(f"{each.key} {each.words}" for each in wanted)
                    return f"go: expected {words}, found the end of the demonstration"
        return ""

    def _steps(self, target: int, watch: Watch | None, cancelled: Cancelled) -> Iterator[None]:
        while self.run.clock < target and not cancelled():
            self.run.advance(target - self.run.start)
            if watch is not None:
                watch(self.run)
            yield

    def _is_so(self, wanted: tuple[Wanted, ...]) -> bool:
        seen = self._seen()
        return all(Finding(each, see(seen, each.key)).holds for each in wanted)

    def _seen(self) -> SeenHost:
        other = self._other
        return SeenHost(self.run) if other is None else SeenHost(self.run, other.over)

    def _switched_on(self) -> HostRun:
        room, self._other = self._stack.enter_context(self._opening())
        run = room.prepare(self.lecture.host.automation, peer=None if self._other is None else self._other.peer)
        self._stack.callback(run.finish)  # before the room is closed: a machine that moves stays
        run.begin()
        return run


@contextmanager
def playing(lecture: HostLecture, opening: Opening | None = None) -> Iterator[HostPlayer]:
    """Give a player that is closed afterwards."""
    player = HostPlayer(lecture, opening)
    try:
        yield player
    finally:
        player.close()
