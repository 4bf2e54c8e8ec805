"""One guest under two to four techniques, side by side: all of them move together, and every difference is named.

Techniques that run the same code stand at the same retired instruction. A recompiled kernel has other instructions: it
stands at the last marker that the others have passed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ringviz.engine.fidelity import Fidelity, check_fidelity
from ringviz.engine.group_size import FEWEST, MOST
from ringviz.engine.markers import marker_track
from ringviz.engine.recording import Cancelled, never
from ringviz.engine.reference import NATIVE
from ringviz.engine.session import Session
from ringviz.engine.view import Card, CodeRow, LedgerView, RegisterRow, RingsView, Snapshot
from ringviz.errors import InputError

"""How many techniques can stand side by side."""
Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True, slots=True)
class GroupRegister:
    """One register in one column."""

    name: str
    value: str
    """What the guest believes it to be."""
    is_changed: bool
    """The last step has changed it."""
    differs: bool
    """It is not what the first column has."""


@dataclass(frozen=True, slots=True)
class GroupColumn:
    """One technique."""

    technique_id: str
    title: str
    cpu: str
    position: int
    """Its own count of retired instructions; a recompiled kernel's is another than that of the rest."""
    is_at_marker: bool
    """It runs recompiled code, and stands at a marker, not at an instruction."""
    outcome: str
    """How its run ended; empty while it goes on."""
    rings: RingsView
    code: CodeRow | None
    """The instruction about to run."""
    card: Card
    registers: tuple[GroupRegister, ...]
    """The same names in the same order in every column."""
    console: str
    console_differs: bool
    ring_differs: bool
    """The ring the guest believes to be in is not that of the first column."""
    code_differs: bool
    """It is about to execute something else than the first column."""
    events: int
    ledger: LedgerView

    @property
    def differences(self) -> int:
        """How many things the guest sees otherwise than in the first column."""
        registers = sum(register.differs for register in self.registers)
        return registers + self.console_differs + self.ring_differs + self.code_differs


@dataclass(frozen=True, slots=True, eq=False)
class GroupView:
    """Everything the screen shows at one moment."""

    scenario_id: str
    position: int
    end: int | None
    columns: tuple[GroupColumn, ...]
    """The first one is what the others are compared with."""
    divergence: str
    """What the guest has just got otherwise than on bare metal, in words; empty if nothing that is known."""
    is_edit: bool = False
    """Not one guest under several techniques, but the original beside an edited one."""


@dataclass(frozen=True, slots=True)
class _Lie:
    """One place where a technique told the guest something else than bare metal."""

    at: int
    """Where the group stands just after it."""
    words: str


class SessionGroup:
    """Sessions of one guest that move together. Not thread-safe: one thread owns it."""

    NO_DIVERGENCE = "From here to the end, none of these tells the guest anything else than bare metal would."
    """What to say where `next_divergence` finds none."""

    def __init__(
        self, sessions: Sequence[Session], cancelled: Cancelled = never, *, are_together: bool = False
    ) -> None:
        """Bring all of them to where the first one stands.

        Args:
            sessions: two to four, of the same guest; the first one is what the others are compared with.
            cancelled: polled on the way.
            are_together: all stand at the same count of retired instructions, recompiled kernels as well.

        Raises:
            InputError: these are too few or too many.
        """
        if not FEWEST <= len(sessions) <= MOST:
            raise InputError(f"found {len(sessions)} techniques, expected {FEWEST} to {MOST} to stand side by side")
        self.sessions = tuple(sessions)
        same_code = [session for session in sessions if session.technique.alignment == "instruction"]
        # With nothing but recompiled kernels, the first of them leads.
        self._together = tuple(sessions if are_together else same_code or sessions[:1])
        self._followers = tuple(session for session in sessions if session not in self._together)
        self._lies: list[_Lie] | None = None
        self.seek(self._together[0].position, cancelled)

    @property
    def position(self) -> int:
        """Retired guest instructions of those that run the same code."""
        return max(session.position for session in self._together)

    @property
    def is_over(self) -> bool:
        """All stand at their ends."""
        return all(session.is_over for session in self._together)

    def step(self) -> None:
        """One instruction forward."""
        for session in self._together:
            session.step()
        self._follow()

    def back(self) -> None:
        """One instruction back."""
        position = self.position
        for session in self._together:
            # One whose run ended before this place stays at its end.
            if session.position == position:
                session.back()
        # An end may be a place of its own: leaving it is no step, and those that have none wait.
        self.seek(self.position)

    def run(self, cancelled: Cancelled = never) -> None:
        """To the end."""
        leader, *others = self._together
        leader.run(cancelled)
        for session in others:
            # As far as the leader has come in its time, and not less: else none of them would ever get on.
            session.seek(leader.position)
            if leader.is_over:
                session.run(cancelled)
        self._follow(cancelled)

    def next_event(self, cancelled: Cancelled = never) -> bool:
        """To the next event of any that runs the same code; False if there is none."""
        bound: int | None = None
        found = False
        # The one with the most events first; the others need look no further than it has come, and no less far either.
        for session in sorted(self._together, key=lambda session: session.technique.id == NATIVE):
            found_here = session.next_event(cancelled if bound is None else _until(session, bound))
            if found_here and (bound is None or session.position <= bound):
                found = True
                bound = session.position
            elif bound is None and not session.is_over:
                bound = session.position
        self.seek(self.position if bound is None else bound, cancelled)
        return found

    def previous_event(self, cancelled: Cancelled = never) -> bool:
        """Back to the last event of any that runs the same code; False if there is none."""
        target = max(_event_before(session) for session in self._together)
        self.seek(target, cancelled)
        return target > 0

    def seek(self, position: int, cancelled: Cancelled = never) -> None:
        """Stand at a position, or at the end if that comes first."""
        for session in self._together:
            if session.position != position:
                session.seek(position, cancelled)
        self._follow(cancelled)

    def next_divergence(self, progress: Progress, cancelled: Cancelled = never) -> bool:
        """To just after the next instruction by which a guest gets something else than on bare metal.

        The first call compares every technique with bare metal, which may take a while.

        Returns:
            False if there is none from here on.
        """
        if self._lies is None:
            self._lies = sorted(
                (lie for session in self.sessions for lie in self._lies_of(session, progress)), key=lambda lie: lie.at
            )
        target = next((lie.at for lie in self._lies if lie.at > self.position), None)
        if target is None:
            return False
        self.seek(target, cancelled)
        return True

    def view(self, cancelled: Cancelled = never) -> GroupView:
        """All that the screen shows of this moment; cancelled, without what bare metal would have paid."""
        shots = [(session.snapshot(cancelled), session in self._followers) for session in self.sessions]
        ends = [session.end for session in self._together]
        known = [end for end in ends if end is not None]
        lies = [lie.words for lie in self._lies or () if lie.at == self.position]
        end = max(known) if len(known) == len(ends) else None
        return build_group(shots, self.position, end, "; ".join(lies))

    def _follow(self, cancelled: Cancelled = never) -> None:
        """Take recompiled kernels to the last marker that the leader has passed."""
        leader = self._together[0]
        for session in self._followers:
            if leader.is_over:
                if not session.is_over:
                    session.run(cancelled)
                continue
            passed = marker_track(leader.scenario, leader.technique.id, leader.setup).count_at(
                leader.position, cancelled
            )
            track = marker_track(session.scenario, session.technique.id, session.setup)
            target = track.position_of(passed, cancelled)
            if target != session.position or session.is_over:
                session.seek(target, cancelled)

    def _lies_of(self, session: Session, progress: Progress) -> list[_Lie]:
        technique = session.technique
        if technique.id == NATIVE:
            return []
        found: Fidelity = check_fidelity(session.scenario, technique.id, session.setup, progress)
        lies = []
        for lie in found.divergences:
            native, here = (v if isinstance(v, str) else f"{v:X}" for v in (lie.native, lie.here))
            words = f"{technique.title}: {lie.instruction} gave {lie.what} {here}, bare metal gives {native}"
            at = lie.retired + 1
            if session in self._followers:
                leader = self._together[0]
                passed = marker_track(session.scenario, technique.id, session.setup).count_at(lie.retired)
                at = marker_track(leader.scenario, leader.technique.id, leader.setup).position_of(passed)
            lies.append(_Lie(at, words))
        return lies


def group_sessions(session: Session, techniques: Sequence[str], cancelled: Cancelled = never) -> SessionGroup:
    """Open the guest of a session under several techniques, each on the CPU it chooses, at the same place.

    Raises:
        RingvizError: one of them cannot run this guest, or there are too few or too many; one line says why.
    """
    if not FEWEST <= len(techniques) <= MOST:
        raise InputError(f"found {len(techniques)} techniques, expected {FEWEST} to {MOST} to stand side by side")
    own = session.setup
    sessions = [
        session.swapped(technique, own.mmu, own.cpu.id, own.controls, cancelled)
        if technique == session.technique.id
        else session.swapped(technique, cancelled=cancelled)
        for technique in techniques
    ]
    return SessionGroup(sessions, cancelled)


def build_group(
    shots: Sequence[tuple[Snapshot, bool]], position: int, end: int | None, divergence: str = ""
) -> GroupView:
    """Put snapshots of one moment side by side.

    Args:
        shots: of each technique, and whether it runs recompiled code and stands at a marker.
        position: retired instructions of those that run the same code.
        end: where the last of them ends, once known.
        divergence: what has just gone wrong, in words.
    """
    first = shots[0][0]
    names = tuple(dict.fromkeys(row.name for shot, _ in shots for row in shot.registers))
    columns = tuple(_column(shot, first, names, is_at_marker=is_at_marker) for shot, is_at_marker in shots)
    return GroupView(first.scenario_id, position, end, columns, divergence)


def _until(session: Session, position: int) -> Cancelled:
    """Give what stops a session once it has come to a position."""
    return lambda: session.position >= position


def _event_before(session: Session) -> int:
    """Where the event before the one that stands just behind a session had happened; 0 if there is none."""
    count = session.events.before(session.position - 1) if session.position else 0
    return session.events.raw[count - 1].at + 1 if count else 0


def _column(shot: Snapshot, first: Snapshot, names: Sequence[str], *, is_at_marker: bool) -> GroupColumn:
    current, other = _current(shot), _current(first)
    return GroupColumn(
        technique_id=shot.technique_id,
        title=shot.technique_title,
        cpu=f"{shot.cpu_title} ({shot.cpu_year})",
        position=shot.position,
        is_at_marker=is_at_marker,
        outcome=shot.outcome,
        rings=shot.rings,
        code=current,
        card=shot.card,
        registers=tuple(_registers(shot, first, names, is_comparable=not is_at_marker)),
        console=shot.console,
        # A recompiled kernel has other code at other addresses, and knows its ring; and it stands a little behind.
        console_differs=not is_at_marker and shot.console != first.console,
        ring_differs=not is_at_marker and shot.rings.believed != first.rings.believed,
        code_differs=not is_at_marker and _text(current) != _text(other),
        events=len(shot.events),
        ledger=shot.ledger,
    )


def _registers(shot: Snapshot, first: Snapshot, names: Sequence[str], *, is_comparable: bool) -> list[GroupRegister]:
    ours, theirs = ({row.name: row for row in s.registers} for s in (shot, first))

    def register(name: str) -> GroupRegister:
        row: RegisterRow | None = ours.get(name)
        other = theirs.get(name)
        value = "" if row is None else row.guest
        differs = is_comparable and row is not None and other is not None and row.guest != other.guest
        return GroupRegister(name, value, row is not None and row.guest_old is not None, differs)

    return [register(name) for name in names]


def _current(shot: Snapshot) -> CodeRow | None:
    return next((row for row in shot.code if row.is_current), None)


def _text(row: CodeRow | None) -> str:
    return "" if row is None else f"{row.address:x} {row.mnemonic} {row.operands}"
