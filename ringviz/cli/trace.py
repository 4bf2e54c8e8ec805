"""`ringviz trace`: every event of a run, as sentences or as data, written while the guest runs."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer

from ringviz.cli.chosen import chosen
from ringviz.cli.exits import Exit
from ringviz.cli.names import known
from ringviz.cli.options import ConsoleInput, Controls, Cpu, Disk, Disk2, Keys, Limit, Memory, Mmu, Scenario, Technique
from ringviz.cli.output import opened, write_text
from ringviz.errors import TraceError

if TYPE_CHECKING:
    from ringviz.engine.events import Event
    from ringviz.engine.stream import Stream
    from ringviz.export import TraceEnd, TraceFormat, TraceHead
    from ringviz.record.trace_reader import TraceReader

_EVENTS_AT_ONCE = 500
"""Written together. Writing costs as much as some dozen events; where the guest has none for some milliseconds, all
that there are are written at once."""
_LOOK_AGAIN_SECONDS = 0.2


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
        str,
        typer.Option(
            "--format", metavar="ID", help="plain (sentences), jsonl, csv, or trace (a file to read and diff later)."
        ),
    ] = "plain",
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FILE", help="Write to a file instead of stdout.")
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="With a trace file: wait for more, as long as it is being written.")
    ] = False,
) -> int:
    """Write every event of a run as a line.

    SCENARIO may also be a file that `--format trace` has written: it is told again, without running anything.
    """
    from ringviz.export import TRACE_FORMATS
    from ringviz.record.trace_file import is_trace_file

    writer = TRACE_FORMATS[known("format", trace_format, TRACE_FORMATS)]
    if is_trace_file(Path(scenario)):
        with opened(output) as stream:
            return _tell_again(Path(scenario), writer, stream, follow)
    from ringviz.engine.stream import Stream
    from ringviz.vmm.registry import choose

    found = chosen(scenario, disk, disk2, memory, limit, console_input, keys)
    run = Stream(found, technique, choose(technique, mmu, cpu, control or (), found))
    with opened(output) as stream:
        write_text([writer.head(head_of(run))], stream)
        for news in events_of(run):
            write_text((writer.event(event) for event in news), stream)  # and flush: the guest may go on for long
        write_text([writer.end(end_of(run))], stream)
    return Exit.DONE


def head_of(run: "Stream") -> "TraceHead":
    """Say what runs."""
    from ringviz.export import TraceHead
    from ringviz.record.made_with import made_with
    from ringviz.vmm.registry import variant_for

    return TraceHead(
        scenario_id=run.scenario.id,
        scenario_title=run.scenario.title,
        technique_id=run.technique.id,
        technique_title=run.technique.title,
        vmm_seat=run.technique.vmm_seat,
        mmu=run.setup.mmu,
        cpu_title=run.cpu.title,
        cpu_id=run.cpu.id,
        controls=run.setup.controls,
        made_with=made_with(run.scenario, variant_for(run.technique.id), run.cpu),
    )


def end_of(run: "Stream") -> "TraceEnd":
    """Say how a run ended that has come to its end."""
    from ringviz.export import TraceEnd

    assert run.end is not None
    return TraceEnd(run.position, run.count, run.end.text)


def events_of(run: "Stream") -> Iterator[list["Event"]]:
    """Run to the end, and give the events as they come, some at a time."""
    waiting: list[Event] = []
    for news in run.news():
        waiting += news
        if waiting and (not news or len(waiting) >= _EVENTS_AT_ONCE):
            yield waiting
            waiting = []
    yield waiting


def _tell_again(path: Path, writer: "TraceFormat", stream: IO[str], follow: bool) -> int:
    """Write a trace file's events in another format, or in the same.

    Raises:
        TraceError: it is not whole; what can be read has been written.
    """
    from ringviz.export import TraceEnd
    from ringviz.record.trace_reader import TraceReader

    with TraceReader(path) as reader:
        has_head = False
        while True:
            for event in reader.events():
                if not has_head:
                    write_text([_head_again(reader, writer)], stream)
                    has_head = True
                write_text([writer.event(event)], stream)
            if reader.is_done or not follow:
                break
            time.sleep(_LOOK_AGAIN_SECONDS)
        if not has_head:
            write_text([_head_again(reader, writer)], stream)
        if reader.ending is not None:
            ending = reader.ending
            write_text([writer.end(TraceEnd(ending.retired, ending.events, ending.outcome))], stream)
        if reader.problem:
            raise TraceError(reader.problem)
    return Exit.DONE


def _head_again(reader: "TraceReader", writer: "TraceFormat") -> str:
    """Give the head that the run itself would have been given; nothing where the file does not say what it is of."""
    from ringviz.export import TraceHead
    from ringviz.facts.costs import CPU_PROFILES
    from ringviz.facts.techniques import TECHNIQUES

    heading = reader.heading
    if heading is None:
        return ""
    technique, cpu = TECHNIQUES.get(heading.technique), CPU_PROFILES.get(heading.cpu)
    return writer.head(
        TraceHead(
            scenario_id=heading.scenario,
            scenario_title=heading.title,
            technique_id=heading.technique,
            technique_title=heading.technique if technique is None else technique.title,
            vmm_seat="unknown" if technique is None else technique.vmm_seat,
            mmu=heading.mmu,
            cpu_title=heading.cpu if cpu is None else cpu.title,
            cpu_id=heading.cpu,
            controls=heading.controls,
            made_with=heading.made_with,
        )
    )
