"""A guest as it was and as somebody has changed it, side by side under one technique: moved together, and compared.

Both stand at the same count of retired instructions. From the place on at which they part, the same count is no longer
the same place of the program; what differs is then told as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

from ringviz.engine.divergence import INTERVAL
from ringviz.engine.group import GroupView, Progress, SessionGroup
from ringviz.engine.recording import Cancelled, Recording, never
from ringviz.engine.session import Session
from ringviz.guest.scenario import Scenario
from ringviz.guest.symbols import SourceMap
from ringviz.machine.state import fields_of
from ringviz.vmm.technique import text_of

OLD, NEW = "The original", "Your edit"
_CLOSELY_COMPARED = 5_000
"""Instructions from the start that are compared one by one; from then on at intervals, and where code is other."""
_TOLD_FIRST = ("eip", "rip")
"""Where the guests are is told by the instructions that come next."""


@dataclass(frozen=True, slots=True)
class _Place:
    """One place at which the two differ for the first time, in one way."""

    at: int
    words: str


class EditedGroup(SessionGroup):
    """The original at the left, the edited guest at the right."""

    NO_DIVERGENCE = "From the first instruction to the end, both do the same: what you changed is not executed or read."

    def __init__(self, old: Session, new: Session, cancelled: Cancelled = never) -> None:
        """Bring the new one to where the old one stands."""
        self._search: _Search | None = None
        self._is_told = False
        """The place where they part has been shown."""
        super().__init__((old, new), cancelled, are_together=True)

    def next_divergence(self, progress: Progress, cancelled: Cancelled = never) -> bool:
        """To the next place at which the two part in another way; behind the last one, to the first again.

        Returns:
            False if they never part.
        """
        if self._search is None:
            self._search = _Search(*self.sessions)
        places = self._search.first(progress)
        if not places:
            return False
        if self._is_told and self.position >= places[-1].at:
            places = self._search.all(progress)
        self._is_told = True
        ahead = [place.at for place in places if place.at > self.position]
        self.seek(ahead[0] if ahead else places[0].at, cancelled)
        return True

    @property
    def _known(self) -> tuple[_Place, ...]:
        return () if self._search is None or not self._is_told else self._search.found

    def view(self, cancelled: Cancelled = never) -> GroupView:
        """All that the screen shows of this moment."""
        shown = super().view(cancelled)
        words = "; ".join(place.words for place in self._known if place.at == self.position)
        columns = tuple(
            replace(column, title=f"{title} · {column.title}")
            for title, column in zip((OLD, NEW), shown.columns, strict=True)
        )
        return replace(shown, columns=columns, divergence=words, is_edit=True)


def on_the_same_machine(session: Session, scenario: Scenario, technique: str | None = None) -> Session:
    """Power on another guest on a machine built like that of a session, or as another technique would have it.

    Raises:
        RingvizError: the technique cannot run the guest.
    """
    if technique is not None and technique != session.technique.id:
        return Session(scenario, technique)
    return Session(scenario, session.technique.id, session.setup.mmu, session.setup.cpu.id, session.setup.controls)


class _State(NamedTuple):
    """What is compared of one guest."""

    registers: dict[str, int]
    instruction: str
    raw: bytes
    console: str
    is_over: bool


class _Search:
    """Where two guests part: in registers or instructions, in what is printed, in how they end."""

    def __init__(self, old: Session, new: Session) -> None:
        self._ours, self._theirs = (
            Recording(session.scenario, session.technique.id, session.setup) for session in (old, new)
        )
        self._other = _other_lines(old.source, new.source)
        self._limit = old.scenario.limits.instructions
        self.found: tuple[_Place, ...] = ()
        """What has been found, in order of the run."""
        self._has_first = self._has_all = False

    def first(self, progress: Progress) -> tuple[_Place, ...]:
        """Give what is known, and at least the place where they part; nothing if they never do."""
        if not self._has_first:
            found = _parting(self._ours, self._theirs, self._other, self._telling(progress))
            self.found = () if found is None else (found,)
            self._has_first = True
        return self.found

    def all(self, progress: Progress) -> tuple[_Place, ...]:
        """Give all; both guests are run to their ends for it."""
        if not self._has_all:
            for recording in (self._ours, self._theirs):
                recording.play_to_the_end(self._telling(progress)("running both to the end", recording))
            more = filter(None, (_other_words(self._ours, self._theirs), _other_end(self._ours, self._theirs)))
            self.found = tuple(sorted((*self.found, *more), key=lambda place: place.at))
            self._has_all = True
        return self.found

    def _telling(self, progress: Progress) -> _Telling:
        def told(what: str, recording: Recording) -> Cancelled:
            def cancelled() -> bool:
                progress(what, recording.position, self._limit)  # raises where the user wants to leave it
                return False

            return cancelled

        return told


_Telling = Callable[[str, Recording], Cancelled]
"""Gives a cancel flag for a recording that tells how far it is."""


def _other_lines(old: SourceMap, new: SourceMap) -> tuple[frozenset[int], frozenset[int]]:
    """Give the addresses, in each guest, of code that the other one does not have there; comments do not matter."""
    ours, theirs = (
        {
            (row.address, row.size_bytes, " ".join(source.source[row.number - 1].partition(";")[0].split()))
            for row in source.lines
        }
        for source in (old, new)
    )
    return frozenset(row[0] for row in ours - theirs), frozenset(row[0] for row in theirs - ours)


def _parting(
    ours: Recording,
    theirs: Recording,
    other: tuple[frozenset[int], frozenset[int]],
    told: _Telling,
) -> _Place | None:
    """Find the first place at which a register, the next instruction or the printed text is not the same."""
    agreed = 0
    what = "comparing the original with your edit"
    words = _difference(_state(ours), _state(theirs))
    while words is None:
        if ours.is_at_end and theirs.is_at_end:
            return None
        told(what, ours)()
        goal = agreed + (1 if agreed < _CLOSELY_COMPARED else INTERVAL)
        is_stride = goal > agreed + 1
        for recording, addresses in zip((ours, theirs), other, strict=True):
            recording.play(goal, told(what, recording), breakpoints=addresses if is_stride else frozenset())
        if is_stride:
            nearest = min(ours.position, theirs.position)
            for recording in (ours, theirs):
                if recording.position > nearest:
                    recording.seek(nearest)
        words = _difference(_state(ours), _state(theirs))
        if words is not None and is_stride and ours.position > agreed + 1:
            return _parting_between(ours, theirs, agreed, ours.position)
        if ours.position == theirs.position == agreed and not (ours.is_at_end or theirs.is_at_end):
            # Both wait at code that is not the same text, and yet the same: go over it.
            for recording in (ours, theirs):
                recording.play(agreed + 1)
            words = _difference(_state(ours), _state(theirs))
        agreed = ours.position
    return _Place(max(ours.position, theirs.position), words)


def _parting_between(ours: Recording, theirs: Recording, agreed: int, upto: int) -> _Place:
    """Go through a stretch again, instruction by instruction; at its end the two are known to differ."""
    for recording in (ours, theirs):
        recording.seek(agreed)
    words = None
    while words is None and ours.position < upto:
        goal = ours.position + 1
        for recording in (ours, theirs):
            recording.play(goal)
        words = _difference(_state(ours), _state(theirs))
    return _Place(ours.position, words or "")


def _state(recording: Recording) -> _State:
    technique = recording.technique
    instruction = None if recording.is_at_end else technique.instruction_here()
    return _State(
        registers=fields_of(technique.guest_state()),
        instruction=text_of(instruction),
        raw=b"" if instruction is None else instruction.raw,
        console=technique.machine.bus.console,
        is_over=recording.is_at_end,
    )


def _difference(old: _State, new: _State) -> str | None:
    """Say what is not the same; None if nothing is."""
    if old.is_over != new.is_over:
        gone, other = ("the original", "your edit") if old.is_over else ("your edit", "the original")
        return f"{gone} ends here, {other} goes on"
    names = [name for name, value in old.registers.items() if new.registers.get(name) != value]
    names.sort(key=lambda name: name in _TOLD_FIRST)
    if names and names[0] not in _TOLD_FIRST:
        name = names[0]
        return f"{name.upper()} is {new.registers.get(name, 0):X} in your edit, {old.registers[name]:X} in the original"
    if old.raw != new.raw or names:
        there = f"{new.instruction} at {_where(new)}"
        return f"next comes {there} in your edit, {old.instruction} at {_where(old)} in the original"
    if old.console != new.console:
        return "they have not printed the same"
    return None


def _where(state: _State) -> str:
    return f"{next((state.registers[name] for name in _TOLD_FIRST if name in state.registers), 0):08X}"


def _other_words(ours: Recording, theirs: Recording) -> _Place | None:
    """Find where it is first printed what the other one does not print there."""
    old, new = (recording.technique.machine.bus.console for recording in (ours, theirs))
    if old == new:
        return None
    # Once they have printed something else, they always have: so it can be searched for by halves.
    common = next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    places = [_printed(recording, common) for recording, text in ((ours, old), (theirs, new)) if len(text) > common]
    at = max(places)
    shown = [repr(text[common : common + 12]) if len(text) > common else "nothing more" for text in (new, old)]
    return _Place(at, f"your edit prints {shown[0]}, where the original prints {shown[1]}")


def _printed(recording: Recording, count: int) -> int:
    """Give the first position at which more than so many characters are printed."""
    low, high = 0, recording.explored
    while low < high:
        middle = (low + high) // 2
        recording.seek(middle)
        if len(recording.technique.machine.bus.console) > count:
            high = middle
        else:
            low = middle + 1
    return low


def _other_end(ours: Recording, theirs: Recording) -> _Place | None:
    """Say how they end, if one ends earlier, or in another way."""
    if ours.end is None or theirs.end is None:
        return None
    if (ours.end.position, ours.end.outcome) == (theirs.end.position, theirs.end.outcome):
        return None
    at = min(ours.end.position, theirs.end.position)
    return _Place(
        at,
        f"the original ends at step {ours.end.position:,} ({ours.end.outcome}), "
        f"your edit at step {theirs.end.position:,} ({theirs.end.outcome})",
    )
