"""Where a guest stands, in sentences that can be read aloud: for a lesson without pictures."""

from __future__ import annotations

from collections.abc import Iterator

from ringviz.engine.recording import Cancelled, never
from ringviz.engine.session import Session
from ringviz.engine.view import Snapshot, Verdict

CONTEXT_ROWS = 3
"""Instructions shown before the next one."""
_AHEAD_ROWS = 5


def situation(session: Session, cancelled: Cancelled = never) -> tuple[str, ...]:
    """Tell which guest stands where, in which ring it believes itself and is, and what has just happened."""
    shot = session.snapshot(cancelled)
    lines = [
        f"The guest {shot.scenario_id} under {shot.technique_title}, after {shot.position:,} instructions"
        + (f"; the run is over: {shot.outcome}." if shot.outcome else ".")
    ]
    rings = shot.rings
    mode = f" ({rings.real_mode})" if rings.real_mode else ""
    lines.append(f"It believes that it is in ring {rings.believed}; really it is in ring {rings.real}{mode}.")
    if shot.position:
        chain = ", then ".join(part.text for part in shot.card.parts)
        lines.append(f"Just now: {chain}. {shot.card.why}".strip())
    return tuple(lines)


def listing(session: Session, cancelled: Cancelled = never, *, has_verdicts: bool = True) -> tuple[str, ...]:
    """Give the code around the guest, a line an instruction, the next one marked with an arrow.

    Args:
        session: the guest.
        cancelled: polled on the way.
        has_verdicts: say beside an instruction what will become of it; not to somebody who is to guess that.
    """
    return tuple(_rows(session.snapshot(cancelled), has_verdicts))


def _rows(shot: Snapshot, has_verdicts: bool) -> Iterator[str]:
    here = next((i for i, row in enumerate(shot.code) if row.is_current), None)
    if here is None:
        return
    for row in shot.code[max(0, here - CONTEXT_ROWS) : here + _AHEAD_ROWS]:
        sign = "→" if row.is_current else " "
        code = f"{row.mnemonic} {row.operands}".strip()
        said = f"  [{row.verdict.value}]" if has_verdicts and row.verdict is not Verdict.RUNS else ""
        if row.label:
            yield f"  {row.label}:"
        yield f"{sign} {row.address:08X}  {code}{said}"
