"""Plays a replay on a session: to the next beat, back to the one before, and back into it after a digression.

No screen is known here. Whoever shows the replay asks for a beat, gets what came of it, and looks at `player.session`,
which stands at the beat's moment and may be moved about: `resume` puts it back. What a beat says, asks and points at
are for the screen to show; `expect` has been checked when the beat is handed over.
"""

from __future__ import annotations

from ringviz.engine.conditions import AtAddress, OnNth
from ringviz.engine.events import Kind
from ringviz.engine.places import resolve_address
from ringviz.engine.recording import Cancelled, never
from ringviz.engine.session import Session
from ringviz.errors import ReplayError, RingvizError
from ringviz.facts.costs import CPU_PROFILES
from ringviz.guest.scenario import Scenario, find_scenario
from ringviz.record.made_with import MadeWith, made_with
from ringviz.record.observation import Observed, observe
from ringviz.record.played import Finding, Place, Played
from ringviz.record.replay import (
    Go,
    Machine,
    Replay,
    ToEnd,
    ToEvent,
    ToPlace,
    ToStart,
    ToStep,
)
from ringviz.vmm.registry import variant_for


class ReplayPlayer:
    """A replay and the session that it is played on. Not thread-safe: the thread that owns the session calls it."""

    def __init__(self, replay: Replay, scenario: Scenario | None = None) -> None:
        """Power on, before the first beat.

        Args:
            replay: what to play.
            scenario: the guest, if its machine is another than its folder says.

        Raises:
            RingvizError: there is no such guest, or it does not go with the technique.
        """
        self.replay = replay
        self.scenario = scenario if scenario is not None else find_scenario(replay.scenario)
        self.session = self._powered_on(replay.machine)
        self.number = 0
        """The beat that was played last; 0 before the first."""
        self._start = Place.of(self.session)
        self._played: list[Played] = []

    @property
    def is_over(self) -> bool:
        """The last beat has been played."""
        return self.number >= len(self.replay.beats)

    @property
    def current(self) -> Played | None:
        """The beat that stands; None before the first."""
        return self._played[self.number - 1] if self.number else None

    @property
    def made_with(self) -> MadeWith:
        """What it is played with now."""
        return made_with(self.scenario, variant_for(self._start.technique), CPU_PROFILES[self._start.cpu])

    @property
    def changes(self) -> tuple[str, ...]:
        """What is not as it was when the replay was recorded, in words; nothing if it does not say."""
        return () if self.replay.made_with is None else self.replay.made_with.changed(self.made_with)

    @property
    def is_astray(self) -> bool:
        """Somebody has moved the session away from its beat."""
        return Place.of(self.session) != self._stand()

    def next(self, cancelled: Cancelled = never) -> Played | None:
        """Play the next beat; None if there is none, or if it was cancelled on the way."""
        return None if self.is_over else self.go_to(self.number + 1, cancelled)

    def previous(self, cancelled: Cancelled = never) -> Played | None:
        """Go back to the beat before; None if there is none, or if it was cancelled on the way."""
        return None if self.number < 2 else self.go_to(self.number - 1, cancelled)

    def go_to(self, number: int, cancelled: Cancelled = never) -> Played | None:
        """Stand at a beat; those on the way to it that have not been played yet are.

        Raises:
            ReplayError: there is no such beat, or its machine cannot be built.
        """
        if not 1 <= number <= len(self.replay.beats):
            raise ReplayError(
                f"{self.replay.where}: found beat {number:,}, expected one from 1 to {len(self.replay.beats):,}"
            )
        while len(self._played) < number:
            self.number = len(self._played)
            if not self.resume(cancelled):
                return None
            played = self._play(self.number + 1, cancelled)
            if cancelled():
                return None
            self._played.append(played)
            self.number += 1
        self.number = number
        return self._played[number - 1] if self.resume(cancelled) else None

    def resume(self, cancelled: Cancelled = never) -> bool:
        """Put the session back to where its beat left it; False if that was cancelled."""
        place = self._stand()
        if Place.of(self.session) == place:
            return True
        now = Place.of(self.session)
        machine = (place.technique, place.mmu, place.cpu, place.controls)
        if machine != (now.technique, now.mmu, now.cpu, now.controls):
            self.session = Session(self.scenario, place.technique, place.mmu, place.cpu, place.controls)
        if place.is_at_end:
            self.session.run(cancelled)
        else:
            self.session.seek(place.position, cancelled)
        return not cancelled()

    def _stand(self) -> Place:
        """Where the session belongs."""
        return self._played[self.number - 1].place if self.number else self._start

    def _powered_on(self, machine: Machine) -> Session:
        try:
            return Session(
                self.scenario, machine.technique or "native", machine.mmu, machine.cpu, machine.controls or ()
            )
        except RingvizError as error:
            raise ReplayError(f"{self.replay.where}: {error}") from None

    # ---- one beat ----------------------------------------------------------------------------------------------------

    def _play(self, number: int, cancelled: Cancelled) -> Played:
        beat = self.replay.beats[number - 1]
        try:
            if beat.machine.is_changed:
                self.session = self._rebuilt(beat.machine, cancelled)
            problem = "" if beat.go is None else go(self.session, beat.go, cancelled)
            seen = Observed(self.session)
            findings = () if cancelled() else tuple(Finding(w, observe(seen, w.key)) for w in beat.expect)
        except RingvizError as error:
            raise ReplayError(f"{self.replay.place_of(number)}: {error}") from None
        return Played(number, beat, Place.of(self.session), findings, problem)

    def _rebuilt(self, machine: Machine, cancelled: Cancelled) -> Session:
        """Put the guest on another machine, at the same place. What is not named stays, if the technique does."""
        session = self.session
        technique = machine.technique or session.technique.id
        stays = technique == session.technique.id
        mmu = machine.mmu or (session.mmu if stays else None)
        cpu = machine.cpu or (session.cpu.id if stays else None)
        controls = machine.controls if machine.controls is not None else (session.setup.controls if stays else ())
        return session.swapped(technique, mmu, cpu, controls, cancelled)


def go(session: Session, way: Go, cancelled: Cancelled = never) -> str:
    """Move a session to where a beat wants it; gives the reason if it does not come there.

    Raises:
        InputError: the guest has no such symbol.
    """
    match way:
        case ToStart():
            session.seek(0, cancelled)
        case ToEnd():
            session.run(cancelled)
        case ToStep(count, is_relative):
            target = max(0, session.position + count) if is_relative else count
            session.seek(target, cancelled)
            if session.position < target and not cancelled():
                return f"go: expected step {target:,}, found the end of the run"
        case ToEvent(kind, times, instruction):
            wanted = OnNth(_KINDS.get(kind), instruction, times, is_ring_change=kind == "ring")
            if not session.run_to(wanted, cancelled) and not cancelled():
                what = f"{kind} {instruction}".strip()
                return f"go: expected event {what}{_of(times)}, found the end of the run"
        case ToPlace(name, times):
            address = resolve_address(session, name)
            for number in range(1, times + 1):
                if number > 1 or _next_address(session) == address:
                    session.step()  # standing there already, the next time is meant
                if not session.run_to(AtAddress(address), cancelled) and not cancelled():
                    return f"go: expected the guest to come to {name}{_of(times)}, found the end of the run"
    return ""


def _next_address(session: Session) -> int:
    return session.cpu_state(is_real=False).eip


def _of(times: int) -> str:
    return "" if times == 1 else f", {times:,} times"


_KINDS = {kind.value: kind for kind in Kind}
