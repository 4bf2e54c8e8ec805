"""What a host has done by itself, and what came of it, as text and as JSON."""

import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ringviz.cli.output import strong, width_cells
from ringviz.cli.table import Column, table

if TYPE_CHECKING:
    from ringviz.engine.automation.rules import Automation
    from ringviz.engine.automation.watching import Reading
    from ringviz.record.machines.audit import Audited
    from ringviz.record.machines.chapters import Chapter
    from ringviz.record.machines.host_run import HostRun

_READINGS = (
    Column("Machine"),
    Column("CPU", is_number=True),
    Column("Ready, stolen", is_number=True),
    Column("Exits per million cycles", is_number=True),
)


def chapter_lines(run: "HostRun") -> Iterator[str]:
    """Give each chapter of a run: numbers, who had the CPU when, and what was changed at its end."""
    from ringviz.engine.host_view import LEGEND, MODELLED, gantt_rows
    from ringviz.record.machines.chapters import chapters

    for chapter in chapters(run):
        longest = max((len(name) for name in chapter.readings), default=0)
        yield strong(f"From {chapter.start:,} to {chapter.end:,} cycles")
        yield from table(_READINGS, [_reading_row(name, reading) for name, reading in chapter.readings.items()],
                         width_cells())  # fmt: skip
        start, end = chapter.start - run.start, chapter.end - run.start
        for name, picture in gantt_rows(run.host, start, end, width_cells() - longest - 3, tuple(chapter.readings)):
            yield f"{name:<{longest}} |{picture}|"
        yield ""
        for entry in chapter.closed_by:
            yield from audit_lines([entry])
        if chapter.closed_by:
            yield ""
    yield from textwrap.wrap(LEGEND, width_cells())
    yield from textwrap.wrap(MODELLED, width_cells())


def audit_lines(audit: "Iterable[Audited]") -> Iterator[str]:
    """Give the list of what was done and why, as wrapped lines."""
    for entry in audit:
        yield from textwrap.wrap(entry.line().strip(), width_cells(), subsequent_indent="    ")


def chapter_json(chapter: "Chapter") -> dict[str, Any]:
    """Give a chapter as values."""
    return {
        "from": chapter.start,
        "to": chapter.end,
        "machines": {
            name: {"share": reading.share, "ready": reading.ready, "exits": reading.exits}
            for name, reading in chapter.readings.items()
        },
        "closed_by": [asdict(entry) for entry in chapter.closed_by],
    }


def automation_lines(automation: "Automation") -> Iterator[str]:
    """Give what rules and orders say, in words."""
    if automation.orders or automation.rules:
        yield "Cycles are those of the host, and modelled"
    for order in automation.orders:
        yield order.text
    for rule in automation.rules:
        yield from textwrap.wrap(rule.text, width_cells(), subsequent_indent="    ")


def automation_json(automation: "Automation") -> dict[str, Any]:
    """Give rules and orders as values."""
    tables = {
        "orders": [asdict(order) for order in automation.orders],
        "rules": [asdict(rule) for rule in automation.rules],
    }
    for table_of_all in tables.values():
        for each in table_of_all:
            del each["deed"]["named"]  # files have no word for it
    return tables


def _reading_row(name: str, reading: "Reading") -> tuple[str, ...]:
    exits = "-" if reading.exits is None else f"{reading.exits:,.0f}"
    return name, f"{reading.share:.1f} %", f"{reading.ready:.1f} %", exits
