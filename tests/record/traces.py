"""Trace files for tests, made of events that no run is needed for."""

from pathlib import Path

from ringviz.engine.events import Change, Event, Kind
from ringviz.record.made_with import MadeWith
from ringviz.record.trace_file import TraceEnding, TraceHeading, ending_line, event_line, heading_line

HEADING = TraceHeading("popf-hole", "POPF", "vt-x", "shadow", "p4-672", ("+cpuid",), MadeWith("a1", "b2", "c3"))


def event(number: int, cause: str = "VM exit 30", action: str = "virtual UART ← 57h") -> Event:
    """Give an event like those of a run."""
    return Event(
        number=number,
        at=10 * number,
        address=0x100000 + number,
        instruction="out dx, al",
        kind=Kind.EXIT,
        cause=cause,
        rule="the I/O bitmap's bit",
        handler="VMM in VMX root (“ring −1”)",
        action=action,
        cycles=9329,
        cost_cause="exit",
        changes=(Change("eax", "guest", "0", "1"),),
        got="",
        native_would="",
        from_ring=0,
        to_ring=0,
        resume=0x100001 + number,
        detail=(("EXIT_REASON", "30"),),
    )


def lines(count: int, heading: TraceHeading | None = HEADING) -> list[str]:
    """Give the lines of a whole trace."""
    head = [] if heading is None else [heading_line(heading)]
    events = [event_line(event(number)) for number in range(1, count + 1)]
    return [*head, *events, ending_line(TraceEnding(10 * count + 5, count, "the guest halted"))]


def written(path: Path, text: str) -> Path:
    """Write a file as it is."""
    path.write_text(text, encoding="utf-8", newline="")
    return path
