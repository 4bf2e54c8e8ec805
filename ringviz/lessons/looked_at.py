"""What the panel that a lesson points at says, as lines: for a lesson without pictures."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Mapping

from ringviz.engine.events import sentence
from ringviz.engine.looks import Looks, WalkLook
from ringviz.engine.memory_look import MemoryLook
from ringviz.engine.recording import Cancelled, never
from ringviz.engine.session import Session
from ringviz.engine.view import SideMark, Snapshot

_CONSOLE_LINES = 14
_EVENTS = 4
_LEDGER_ROWS = 5
_SIDE_ROWS = 8
_MEMORY_ROWS = 8

_COUNTERS = ("EIP", "RIP")
"""They change at every step."""

WITHOUT_CODE = frozenset({"rings", "console", "events", "overhead", "timeline"})
"""Panels beside which the guest's code is of no concern."""


def looked_at(session: Session, look: str | None, width: int, cancelled: Cancelled = never) -> tuple[str, ...]:
    """Give what a panel says, wrapped; nothing for those that the situation and the listing tell already.

    Args:
        session: the guest.
        look: the panel, as a lesson names it.
        width: cells of a line.
        cancelled: polled on the way.
    """
    if look is None or look not in _TOLD:
        return ()
    looks = Looks(MemoryLook() if look == "memory" else None, WalkLook() if look == "walk" else None)
    lines: list[str] = []
    for line in _TOLD[look](session, session.snapshot(cancelled, looks)):
        lead = len(line) - len(line.lstrip())
        lines += textwrap.wrap(line, width, subsequent_indent=" " * (lead + 2), break_on_hyphens=False) or [""]
    return tuple(lines)


def _console(_session: Session, shot: Snapshot) -> Iterator[str]:
    printed = shot.console.splitlines() or (list(shot.screen.written) if shot.screen is not None else [])
    yield "The guest has printed:" if printed else "The guest has printed nothing yet."
    if len(printed) > _CONSOLE_LINES:
        yield f"  (the last {_CONSOLE_LINES} lines of {len(printed):,})"
    for line in printed[-_CONSOLE_LINES:]:
        yield f"  {_printable(line)}"


def _differences(_session: Session, shot: Snapshot) -> Iterator[str]:
    """Tell where the guest's CPU and the real one are not the same, and what the last step changed."""
    rows = [row for row in shot.registers if row.differs]
    yield "What the guest thinks and what is so:" if rows else "The CPU is in every register as the guest thinks."
    for row in rows:
        note = f": {row.note}" if row.note else ""
        yield f"  {row.name}: the guest has {row.guest}, the CPU {row.real}{note}"
    for row in shot.registers:
        if row.name not in _COUNTERS and row.guest_old not in (None, row.guest):
            yield f"  The last step changed {row.name} from {row.guest_old} to {row.guest}."


def _events(session: Session, _shot: Snapshot) -> Iterator[str]:
    count = session.event_count()
    yield f"{count:,} events so far." + (" The last of them:" if count else "")
    for number in range(max(0, count - _EVENTS), count):
        yield f"  {number + 1}. {sentence(session.events[number])}"


def _overhead(_session: Session, shot: Snapshot) -> Iterator[str]:
    ledger = shot.ledger
    times = "" if ledger.slowdown is None else f"; {ledger.slowdown:.2f} times what bare metal pays"
    yield (
        f"So far, modelled for the {shot.cpu_title}: {ledger.guest_cycles:,} cycles of the guest's own work, "
        f"{ledger.overhead_cycles:,} on top{times}."
    )
    for row in ledger.rows[:_LEDGER_ROWS]:
        price = "no figure known" if row.is_unknown else f"{row.cycles:,} cycles"
        yield f"  {row.label}: {row.count:,} times, {price}"


def _side(_session: Session, shot: Snapshot) -> Iterator[str]:
    """Tell what the VMM keeps: what the last exit wrote, or what stands about the next instruction."""
    side = shot.side
    if side is None:
        yield "There is nothing of a VMM's beside the guest's code."
        return
    yield f"{side.title}. {side.caption}"
    marked = [row for row in side.rows if row.mark is not SideMark.NONE]
    for row in (marked or side.rows)[:_SIDE_ROWS]:
        value = f" = {row.value}" if row.value else ""
        old = f" (before: {row.old})" if row.old else ""
        note = f": {row.note}" if row.note else ""
        yield f"  {row.place} {row.name}{value}{old}{note}".replace("   ", "  ")


def _walk(_session: Session, shot: Snapshot) -> Iterator[str]:
    view = shot.walk
    if view is None:
        return
    name = f" ({view.label})" if view.label else ""
    yield f"How the address {view.linear:08X}h{name} is translated:"
    for walked in view.walks:
        yield f"  The {walked.walker} walks the {walked.tables} tables; entries read: {walked.arithmetic}."
        yield f"  It ends: {walked.end}"
    if view.agreement is not None:
        yield f"  The shadow: {view.agreement.verdict}; {view.agreement.text}"


def _memory(_session: Session, shot: Snapshot) -> Iterator[str]:
    view = shot.memory
    if view is None:
        return
    yield f"{view.title}. * marks what the last step touched. {view.note}".strip()
    rows = view.hex_rows
    here = next((i for i, row in enumerate(rows) if row.marks.strip()), 0)
    for row in rows[max(0, here - 1) : here - 1 + _MEMORY_ROWS if here else _MEMORY_ROWS]:
        text = " ".join("--" if byte is None else f"{byte:02X}" for byte in row.data)
        yield f"{'*' if row.marks.strip() else ' '} {row.address:08X}  {text}"


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "·" for character in text)


_TOLD: Mapping[str, Callable[[Session, Snapshot], Iterator[str]]] = {
    "console": _console,
    "cpu": _differences,
    "events": _events,
    "timeline": _events,
    "overhead": _overhead,
    "vmm": _side,
    "walk": _walk,
    "memory": _memory,
}
