"""Where in a run a lesson stands: written as a person would say it, and found by running the guest.

`start`, `end`, `step 120`, a symbol or an address (`marker_sti`, `0x100040`), `ring` for the next change of ring,
`trap 3` for just after the third event of that kind, and `before trap 3` for just before its instruction; `event 5`
counts events of all kinds, and `before #PF (hidden) 2` those whose cause begins so. `before divergence` is where the
guest is about to get something else than on bare metal.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ringviz.engine.conditions import AtAddress, OnRingChange
from ringviz.engine.places import resolve_address
from ringviz.engine.recording import Cancelled, never
from ringviz.engine.session import Session
from ringviz.errors import InputError
from ringviz.vmm.events import Event, Kind

_KINDS = tuple(kind.value for kind in Kind if kind is not Kind.GUEST)
_STEP = re.compile(r"step (\d[\d_]*)\Z")
_FIRST_STRIDE = 4096
_EVENT = re.compile(rf"(?:(before|after) )?(event|divergence|{'|'.join(_KINDS)})(?: (\d+))?\Z")
_CAUSE = re.compile(r"(before|after) (.+?)(?: (\d+))?\Z")


@dataclass(frozen=True, slots=True)
class NthEvent:
    """The nth event of a kind, counted from 1."""

    kind: Kind | None
    """None: of any kind."""
    nth: int
    is_before: bool
    """Stand before its instruction, and not after it."""
    is_divergence: bool = False
    """Only silent events count that told something else than bare metal."""
    cause: str = ""
    """Only events count whose cause begins so."""

    def counts(self, event: Event) -> bool:
        """Tell whether an event is one of those that are counted."""
        is_kind = event.is_divergence if self.is_divergence else self.kind in (None, event.kind)
        return is_kind and event.cause.startswith(self.cause)


def go(session: Session, place: str, cancelled: Cancelled = never) -> None:
    """Stand at a place, counted from the start of the run.

    Raises:
        InputError: it is no place, or this run never comes there.
    """
    word = place.strip()
    step = _STEP.match(word)
    event = _EVENT.match(word) or _CAUSE.match(word)
    if word == "start":
        session.seek(0)
    elif word == "end":
        session.run(cancelled)
    elif step is not None:
        _to_step(session, int(step[1].replace("_", "")), word, cancelled)
    elif event is not None:
        _to_event(session, _nth(event), word, cancelled)
    else:
        session.seek(0)
        if not session.run_to(OnRingChange() if word == "ring" else _address(session, word), cancelled):
            raise InputError(f'{session.scenario.id} under {session.technique.id} never comes to "{word}"')


def find_event(session: Session, wanted: NthEvent, cancelled: Cancelled = never) -> Event | None:
    """Give an event of the run, running it as far as that takes; None if there is no such event."""
    seen = looked = 0
    while True:
        raw = session.events.raw
        for event in raw[looked:]:
            seen += wanted.counts(event)
            if seen == wanted.nth:
                return event
        looked = len(raw)
        if session.end is not None or cancelled():
            return None
        explore(session, cancelled)


def explore(session: Session, cancelled: Cancelled = never) -> None:
    """Run on into what has not been seen of a run, twice as far as before; where it then stands is of no concern."""
    session.seek(max(_FIRST_STRIDE, 2 * session.explored), cancelled)


def _address(session: Session, word: str) -> AtAddress:
    return AtAddress(resolve_address(session, word))


def _nth(found: re.Match[str]) -> NthEvent:
    what = found[2]
    if found.re is _CAUSE:
        return NthEvent(None, int(found[3] or 1), found[1] == "before", cause=what)
    kind = Kind.SILENT if what == "divergence" else None if what == "event" else Kind(what)
    return NthEvent(kind, int(found[3] or 1), found[1] == "before", what == "divergence")


def _to_step(session: Session, step: int, word: str, cancelled: Cancelled) -> None:
    session.seek(step, cancelled)
    if session.position != step and not cancelled():
        where = f"{session.scenario.id} under {session.technique.id}"
        raise InputError(f'{where} never comes to "{word}": it ends at step {session.position}')


def _to_event(session: Session, wanted: NthEvent, word: str, cancelled: Cancelled) -> None:
    event = find_event(session, wanted, cancelled)
    if event is None:
        if cancelled():
            return
        raise InputError(f'{session.scenario.id} under {session.technique.id} never comes to "{word}"')
    session.seek(event.at if wanted.is_before else event.at + 1, cancelled)
