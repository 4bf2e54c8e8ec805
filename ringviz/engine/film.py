"""A run step by step, with all that a picture book of it needs: rings, registers that changed, the card, the bill."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ringviz.engine.session import Session
from ringviz.engine.view import Card, RegisterRow


@dataclass(frozen=True, slots=True)
class Frame:
    """One moment: after so many retired instructions."""

    position: int
    real_ring: int
    believed_ring: int
    next_address: int
    next_instruction: str
    verdict: str
    """What will become of it: a word, or empty."""
    label: str
    """Where it is in the guest's source: symbol and distance; empty if nobody knows."""
    source: str
    """The line of the source, without blanks around it."""
    registers: tuple[RegisterRow, ...]
    card: Card
    events: int
    """How many have happened up to here."""
    console: int
    """How many characters the guest has printed up to here."""
    guest_cycles: int
    overhead_cycles: int
    is_end: bool


def film(session: Session, most: int) -> Iterator[Frame]:
    """Play a session from power-on, frame by frame.

    Args:
        session: moved to its start, and left at the last frame.
        most: frames to give at most; the run may go on behind them.
    """
    session.seek(0)
    yield _frame(session)
    for _ in range(most - 1):
        if session.is_over:
            return
        session.step()
        yield _frame(session)


def _frame(session: Session) -> Frame:
    view = session.glance()
    named = session.source.symbol_at(view.address)
    line = session.source.line_at(view.address)
    label = "" if named is None else named[0] if not named[1] else f"{named[0]} + {named[1]:X}h"
    return Frame(
        position=session.position,
        real_ring=view.rings.real,
        believed_ring=view.rings.believed,
        next_address=view.address,
        next_instruction=view.instruction,
        verdict=view.verdict,
        label=label,
        source="" if line is None else line.text.strip(),
        registers=view.registers,
        card=view.card,
        events=session.event_count(),
        console=view.printed,
        guest_cycles=view.guest_cycles,
        overhead_cycles=view.overhead_cycles,
        is_end=session.is_over,
    )
