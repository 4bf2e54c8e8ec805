"""What is pointed at in the picture of the rings, as one paragraph: a ring and who lives there, or a line."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from ringviz.facts.explanations import EXPLANATIONS
from ringviz.facts.residents import RESIDENTS
from ringviz.facts.techniques import TECHNIQUES
from ringviz.ui.glyphs import ring_name
from ringviz.ui.subject import Subject, known
from ringviz.ui.widgets.rings import BELIEF, CROSSING, LESSON, PLACE, crossing_path

if TYPE_CHECKING:
    from ringviz.engine.view import RingsView, Seat, Snapshot


def ring_subject(snapshot: Snapshot, pointed: Hashable | None) -> Subject | None:
    """Give the ring or the line that is pointed at; None if it is none of these."""
    rings = snapshot.rings
    match pointed:
        case int():
            return next((_ring(rings, seat) for seat in rings.seats if seat.ring == pointed), None)
        case str() if pointed in (PLACE, BELIEF):
            return known("register ring", _where(rings))
        case str() if pointed == CROSSING and rings.crossing is not None:
            crossing = rings.crossing
            through = "" if crossing.via is None else ", through the VMM"
            return known("crossing", f"{crossing_path(crossing)}{through}. Why: {crossing.label}.")
        case str() if pointed == LESSON:
            return _lesson(snapshot)
        case _:
            return None


def ring_subjects(rings: RingsView) -> Iterator[Subject]:
    """Give every ring, and who lives there."""
    yield from (_ring(rings, seat) for seat in rings.seats)


def _ring(rings: RingsView, seat: Seat) -> Subject:
    parts = [f"Here: {seat.resident}." if seat.resident else "Nobody is here."]
    if seat.ring == rings.real:
        parts.append("The CPU is here now.")
    if seat.ring == rings.believed and rings.believed != rings.real:
        parts.append("The guest believes to be here.")
    now = " ".join(parts)
    about = EXPLANATIONS.get(f"ring {seat.ring}")
    ring = Subject(f"Ring {ring_name(seat.ring)}", now, "") if about is None else known(about.id, now)
    who = EXPLANATIONS.get(f"resident {seat.resident}")
    if who is None:
        return ring
    resident = known(who.id)
    return replace(
        ring,
        text=f"{ring.text}\n\nWho lives here: {resident.title}. {resident.text}",
        source="; ".join(dict.fromkeys((ring.source, resident.source))),
        see=tuple(dict.fromkeys((*ring.see, *resident.see))),
    )


def _where(rings: RingsView) -> str:
    mode = f" of {rings.real_mode}" if rings.real_mode else ""
    if rings.is_data:
        return (
            f"The CPU runs a program in ring {ring_name(rings.real)}; the ring {ring_name(rings.believed)} in which "
            "the guest believes to be is a number in that program's memory."
        )
    if rings.real == rings.believed:
        return f"The CPU is in ring {ring_name(rings.real)}{mode}, and that is what the guest believes, too."
    return (
        f"The CPU is really in ring {ring_name(rings.real)}{mode}; the guest believes to be in ring "
        f"{ring_name(rings.believed)}."
    )


def _lesson(snapshot: Snapshot) -> Subject:
    """Say what the picture of this technique is there to teach, and of what the technique is made."""
    technique, picture = TECHNIQUES[snapshot.technique_id], RESIDENTS[snapshot.technique_id]
    now = f"{technique.title}: the VMM sits here: {technique.vmm_seat}." if technique.vmm_ring is not None else ""
    text = f"It stands for: {technique.stands_for}. {snapshot.rings.lesson}"
    return Subject(snapshot.rings.lesson, now, text, str(picture.source))
