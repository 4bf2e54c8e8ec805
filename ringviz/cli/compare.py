"""`ringviz compare`: techniques side by side, each compared with bare metal at every instruction."""

import textwrap
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from ringviz.cli import run_report
from ringviz.cli.chosen import chosen
from ringviz.cli.exits import Exit, one_line
from ringviz.cli.names import known
from ringviz.cli.options import (
    Brief,
    ConsoleInput,
    Controls,
    Cpu,
    Disk,
    Disk2,
    Json,
    Keys,
    Limit,
    Memory,
    Scenario,
    Techniques,
)
from ringviz.cli.output import opened, print_json, print_lines, strong, width_cells, write_text
from ringviz.cli.progress import shown
from ringviz.cli.table import Column, table
from ringviz.engine.divergence import INTERVAL
from ringviz.engine.scorecard import Score, Verdict, scorecard
from ringviz.errors import InputError
from ringviz.facts.costs import CPU_PROFILES
from ringviz.facts.properties import MAJORITY, PROPERTIES
from ringviz.facts.techniques import TECHNIQUES, TechniqueFacts

if TYPE_CHECKING:
    from ringviz.engine.compare import Comparison
    from ringviz.engine.stat import Stat

CARDS = (
    Column("Technique"),
    Column("Fidelity", wraps=True),
    Column("Performance, direct"),
    Column("Safety", wraps=True),
)
FIGURES = (
    Column("Technique"),
    Column("VMM/kernel"),
    Column("Retired", is_number=True),
    Column("Direct", is_number=True),
    Column("Per 1,000", is_number=True),
    Column("Slowdown", is_number=True),
    Column("Attempts", wraps=True),
)
BRIEF = (
    Column("Technique"),
    Column("Fidelity"),
    Column("Performance"),
    Column("Safety"),
    Column("Direct", is_number=True),
    Column("Slowdown", is_number=True),
)
NOTES = (
    "VMM/kernel: the rings in which the VMM and the guest's kernel really run; a dash: there is none, -1: VMX root or "
    "host mode.",
    "Direct: share of the guest's instructions that the CPU ran with no VMM in between.",
    "Per 1,000: calls of the VMM (traps, exits, callouts, hypercalls, translations) per 1,000 guest instructions.",
    "Slowdown: cycles against those of bare metal on the same CPU, where both runs end alike.",
    "Attempts: how often the guest reached for what is not its own.",
)


def compare(
    scenario: Scenario,
    technique: Techniques = None,
    cpu: Cpu = None,
    control: Controls = None,
    disk: Disk = None,
    disk2: Disk2 = None,
    brief: Brief = False,
    memory: Memory = None,
    limit: Limit = None,
    console_input: ConsoleInput = None,
    keys: Keys = None,
    json: Json = False,
    report_format: Annotated[
        str | None, typer.Option("--format", metavar="ID", help="A report to hand on: html or md (Markdown).")
    ] = None,
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FILE", help="Write the report to a file.")
    ] = None,
) -> int:
    """Compare techniques, each with bare metal."""
    from ringviz.engine import compare as engine
    from ringviz.export.comparison_report import REPORTS

    if report_format is not None:
        known("format", report_format, REPORTS)
    elif output is not None:
        raise InputError("--output: given without --format, expected --format html or --format md")

    found = chosen(scenario, disk, disk2, memory, limit, console_input, keys)
    with shown() as progress:
        comparison = engine.compare(found, technique or None, cpu, progress, control or ())
    if report_format is not None:
        with opened(output) as stream:
            write_text([REPORTS[report_format](comparison)], stream)
    elif json:
        print_json(engine.comparison_json(comparison))
    else:
        print_lines(brief_report(comparison) if brief else report(comparison))
    return Exit.FAILED if comparison.failed else Exit.DONE


def brief_report(comparison: "Comparison") -> Iterator[str]:
    """Give one line for each technique: the three verdicts, and what it costs."""
    yield from table(BRIEF, [_line(run) for run in comparison.runs], width_cells())
    yield from _notes((_priced(comparison),))
    for technique, reason in comparison.refused:
        yield from textwrap.wrap(f"{technique} was not run: {one_line(reason)}", width_cells(), subsequent_indent="  ")


def _line(run: "Stat") -> tuple[str, ...]:
    verdicts = (score.verdict.value for score in scorecard(run).scores)
    return run.technique, *verdicts, run_report.direct(run), run_report.slowdown(run)


def report(comparison: "Comparison") -> Iterator[str]:
    """Give the comparison as a text for people."""
    yield strong(f"{comparison.scenario_id}: do the techniques keep what makes a virtual machine monitor?")
    yield ""
    yield from table(CARDS, [_card(run) for run in comparison.runs], width_cells())
    yield ""
    yield from _notes(_demands())
    yield ""
    yield strong("The figures behind it")
    yield ""
    yield from table(FIGURES, [_row(run) for run in comparison.runs], width_cells())
    yield ""
    yield from _notes((*NOTES, _priced(comparison), *_intervals(comparison)))
    for run in comparison.runs:
        yield from _differences(run)
    if comparison.refused:
        yield ""
        for technique, reason in comparison.refused:
            yield from textwrap.wrap(
                f"{technique} was not run: {one_line(reason)}", width_cells(), subsequent_indent="  "
            )


def _notes(notes: Iterable[str]) -> Iterator[str]:
    for note in notes:
        yield from textwrap.wrap(note, width_cells(), subsequent_indent="  ")


def _demands() -> Iterator[str]:
    """Say what each property asks for, in whose words, and where ringviz drew a line of its own."""
    for row in PROPERTIES.values():
        yield f"{row.title} ({row.classical}): {row.demand} [{row.source}]"
    yield f"Performance holds from {100 * MAJORITY.value:.0f} % on: {MAJORITY.source.note}."


def _card(run: "Stat") -> tuple[str, ...]:
    """Give a technique's verdicts, each with what it rests on."""
    fidelity, performance, safety = scorecard(run).scores
    return (
        run.technique,
        _verdict(fidelity, fidelity.figure),
        _verdict(performance, run_report.direct(run)),
        _verdict(safety, safety.figure),
    )


def _verdict(score: Score, figure: str) -> str:
    return score.verdict.value if score.verdict is Verdict.UNTRIED else f"{score.verdict.value}: {figure}"


def _row(run: "Stat") -> tuple[str, ...]:
    calls = scorecard(run).calls_per_thousand
    return (
        run.technique,
        seats(TECHNIQUES[run.technique]),
        f"{run.retired:,}",
        run_report.direct(run),
        "-" if calls is None else f"{calls:,.1f}",
        run_report.slowdown(run),
        run_report.attempts(run),
    )


def _priced(comparison: "Comparison") -> str:
    """Say for which CPU the cycles of each run are modelled."""
    users: dict[str, list[str]] = {}
    for run in comparison.runs:
        users.setdefault(run.cpu, []).append(run.technique)
    cpus = [f"{CPU_PROFILES[cpu].title} ({', '.join(techniques)})" for cpu, techniques in users.items()]
    return f"Cycles are modelled for {' and '.join(cpus)}. `ringviz cpus ID` has prices and weights with their sources."


def _intervals(comparison: "Comparison") -> Iterator[str]:
    """Say which runs were too long to be compared at every stop, and from where on."""
    began = [
        f"{run.technique} from step {run.fidelity.closely_until:,}"
        for run in comparison.runs
        if run.fidelity is not None and run.fidelity.closely_until is not None
    ]
    if began:
        yield (
            f"At intervals: compared at every stop at first, then after every {INTERVAL:,} instructions, and a "
            f"difference found there is searched for by single steps ({', '.join(began)})."
        )


def seats(technique: TechniqueFacts) -> str:
    """Give the rings of the VMM and of the guest's kernel as short as a table needs it."""
    rings = (technique.vmm_ring, technique.guest_kernel_ring)
    return " / ".join("-" if ring is None else str(ring) for ring in rings)


def _differences(run: "Stat") -> Iterator[str]:
    """Name every instruction at which a run differs from bare metal."""
    lines = list(run_report.divergences(run))
    if lines:
        yield ""
        yield strong(f"{run.technique}: where the guest sees something else than on bare metal")
        yield from lines
