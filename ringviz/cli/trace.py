"""`ringviz trace`: every event of a run, as sentences or as data, written while the guest runs."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from ringviz.cli.chosen import chosen
from ringviz.cli.exits import Exit
from ringviz.cli.names import known
from ringviz.cli.options import ConsoleInput, Controls, Cpu, Disk, Disk2, Keys, Limit, Memory, Mmu, Scenario, Technique
from ringviz.cli.output import opened, write_text

if TYPE_CHECKING:
    from ringviz.engine.events import Event
    from ringviz.engine.session import Session
    from ringviz.export import TraceEnd, TraceHead

_ASKED_BEFORE_WRITING = 500
"""Stopping a run to write costs as much as some hundred events. A run asks whether to stop after each event, and
every few milliseconds where there are none: an event waits for 499 others, or a second or two."""


def trace(
    scenario: Scenario,
    technique: Technique = "native",
    mmu: Mmu = None,
    cpu: Cpu = None,
    control: Controls = None,
    disk: Disk = None,
    disk2: Disk2 = None,
    memory: Memory = None,
    limit: Limit = None,
    console_input: ConsoleInput = None,
    keys: Keys = None,
    trace_format: Annotated[
        str, typer.Option("--format", metavar="ID", help="plain (sentences), jsonl or csv.")
    ] = "plain",
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FILE", help="Write to a file instead of stdout.")
    ] = None,
) -> int:
    """Write every event of a run as a line."""
    from ringviz.engine.session import Session
    from ringviz.export import TRACE_FORMATS

    writer = TRACE_FORMATS[known("format", trace_format, TRACE_FORMATS)]
    found = chosen(scenario, disk, disk2, memory, limit, console_input, keys)
    session = Session(found, technique, mmu, cpu, control or ())
    with opened(output) as stream:
        write_text([writer.head(head_of(session))], stream)
        for news in events_of(session):
            write_text((writer.event(event) for event in news), stream)  # and flush: the guest may go on for long
        write_text([writer.end(end_of(session))], stream)
    return Exit.DONE


def head_of(session: "Session") -> "TraceHead":
    """Say what a session runs."""
    from ringviz.export import TraceHead

    return TraceHead(
        scenario_id=session.scenario.id,
        scenario_title=session.scenario.title,
        technique_id=session.technique.id,
        technique_title=session.technique.title,
        vmm_seat=session.technique.vmm_seat,
        mmu=session.mmu,
        cpu_title=session.cpu.title,
    )


def end_of(session: "Session") -> "TraceEnd":
    """Say how a session ended that has run to its end."""
    from ringviz.export import TraceEnd

    return TraceEnd(session.position, len(session.events), session.snapshot().outcome)


def events_of(session: "Session") -> Iterator[list["Event"]]:
    """Run a session to its end, and give its events as they come, some at a time."""
    given = asked = 0

    def is_time_to_write() -> bool:
        nonlocal asked
        asked += 1
        return len(session.events) > given and asked >= _ASKED_BEFORE_WRITING

    while not session.is_over:
        session.run(cancelled=is_time_to_write)
        asked = 0
        news = list(session.events[given:])
        given += len(news)
        yield news
