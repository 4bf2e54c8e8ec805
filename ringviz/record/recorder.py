"""Records a live session as a replay: where somebody stood and on which machine, beat after beat."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from ringviz.engine.session import Session
from ringviz.errors import ReplayError
from ringviz.guest.scenario import shown_path
from ringviz.record.made_with import made_with
from ringviz.record.observation import Observed, observe
from ringviz.record.played import Place
from ringviz.record.replay import Beat, Go, Machine, Replay, ToEnd, ToStep, Wanted
from ringviz.record.replay_file import format_replay
from ringviz.vmm.registry import variant_for

_EXPECTED = ("ring", "believed", "events.total")
_EXPECTED_OF_EVENTS = ("event.kind", "event.instruction")
_MOST_TITLE_CHARS = 70


@dataclass(frozen=True, slots=True)
class _Noted:
    place: Place
    beat: Beat


class Recorder:
    """Keeps what was shown. The file is whole after every note, so a session that is killed leaves one to play."""

    def __init__(self, path: Path, scenario: str) -> None:
        """Begin a file.

        Args:
            path: where; there must be nothing yet.
            scenario: id or path of the guest, as the user named it.

        Raises:
            ReplayError: it cannot be written, or there is such a file already.
        """
        if path.exists():
            raise ReplayError(f"{path}: there is such a file already, expected a new name")
        if not path.parent.is_dir():
            raise ReplayError(f"{path}: cannot be written: there is no such folder")
        self._path = path
        self._scenario = scenario
        self._noted: list[_Noted] = []
        self._first: Session | None = None

    def note(self, session: Session, *, is_step: bool = False) -> None:
        """Note where a session stands now, if that is somewhere else than at the last note.

        Args:
            session: what is shown. One of another guest is passed over.
            is_step: somebody goes step by step; of a row of steps only the last place is kept.

        Raises:
            ReplayError: the file cannot be written.
        """
        if self._first is None:
            self._first = session
        place = Place.of(session)
        if session.scenario.id != self._first.scenario.id or (self._noted and self._noted[-1].place == place):
            return
        if self._noted and is_step and self._is_one_step_from(place):
            self._noted.pop()
        before = self._noted[-1].place if self._noted else None
        self._noted.append(_Noted(place, _beat(session, place, before)))
        self._write()

    def replay(self) -> Replay:
        """Give what was recorded so far."""
        assert self._first is not None
        start = self._noted[0].place
        first = replace(self._noted[0].beat, machine=Machine())
        return Replay(
            path=self._path.resolve(),
            where=shown_path(self._path),
            title=f"{self._first.scenario.title}, as it was shown",
            scenario=self._scenario,
            machine=Machine(start.technique, start.mmu, start.cpu, start.controls or None),
            beats=(first, *(noted.beat for noted in self._noted[1:])),
            made_with=made_with(self._first.scenario, variant_for(start.technique), self._first.cpu),
        )

    def _is_one_step_from(self, place: Place) -> bool:
        last = self._noted[-1].place
        same = replace(last, position=place.position, is_at_end=place.is_at_end) == place
        return same and abs(last.position - place.position) <= 1

    def _write(self) -> None:
        unfinished = self._path.with_name(self._path.name + ".new")
        try:
            unfinished.write_text(format_replay(self.replay()), encoding="utf-8", newline="\n")
            os.replace(unfinished, self._path)
        except OSError as error:
            raise ReplayError(f"{self._path}: cannot be written: {error.strerror}") from None


def _beat(session: Session, place: Place, before: Place | None) -> Beat:
    """Make a beat of a place: how to come there, what the card said, and what must be so."""
    seen = Observed(session)
    keys = (*_EXPECTED, *(_EXPECTED_OF_EVENTS if session.event_count() else ()))
    card = seen.snapshot.card
    chain = " → ".join(part.text for part in card.parts)
    way: Go = ToEnd() if place.is_at_end else ToStep(place.position)
    return Beat(
        title=chain if len(chain) <= _MOST_TITLE_CHARS else f"{chain[: _MOST_TITLE_CHARS - 1]}…",
        machine=_change(place, before),
        go=way,
        say=card.why,
        expect=tuple(Wanted(key, "==", observe(seen, key)) for key in keys),
    )


def _change(place: Place, before: Place | None) -> Machine:
    """Say what has been changed about the machine; a technique is named with all that goes with it."""
    if before is not None and replace(before, position=place.position, is_at_end=place.is_at_end) == place:
        return Machine()
    return Machine(place.technique, place.mmu, place.cpu, place.controls)
