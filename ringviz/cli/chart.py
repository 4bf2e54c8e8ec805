"""`ringviz chart`: slowdown against year, for guests under each technique and on each CPU."""

import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from ringviz.cli.chosen import chosen
from ringviz.cli.exits import Exit
from ringviz.cli.options import Json, Techniques, cpu_ids, scenario_ids
from ringviz.cli.output import opened, print_json, print_lines, strong, width_cells, write_text
from ringviz.cli.progress import shown
from ringviz.cli.table import Column, table
from ringviz.errors import InputError
from ringviz.facts.costs import CAUSES
from ringviz.facts.instruction_weights import GUEST_WORK

if TYPE_CHECKING:
    from ringviz.engine.generations import Generations, Point
    from ringviz.guest.scenario import Scenario

CHART_ROWS = 18
NARROWEST_CELLS = 60
"""A chart is drawn for a terminal at least so wide."""
POINTS = (
    Column("Year", is_number=True),
    Column("CPU"),
    Column("Technique"),
    Column("Cycles", is_number=True),
    Column("Bare metal", is_number=True),
    Column("Slowdown", is_number=True),
    Column("Lent", is_number=True),
)
CAUSES_OF_A_POINT = (
    Column("Count", is_number=True),
    Column("Cycles", is_number=True),
    Column("Cause"),
    Column("What it is", wraps=True),
)
_LENT = "Lent: share of the VMM's cycles at another CPU's prices, for want of figures."


def chart(
    scenarios: Annotated[
        list[str],
        typer.Argument(
            metavar="SCENARIO...",
            help="Scenarios; forkwait and compile-like are made for this.",
            autocompletion=scenario_ids,
        ),
    ],
    technique: Techniques = None,
    as_table: Annotated[bool, typer.Option("--table", help="Print every point's figures instead of drawing.")] = False,
    causes: Annotated[
        str | None,
        typer.Option("--causes", metavar="CPU", help="Print what each technique is charged for on this CPU."),
    ] = None,
    svg: Annotated[
        str | None, typer.Option("--svg", metavar="FILE", help="Write the chart of one scenario as an SVG picture.")
    ] = None,
    cpu: Annotated[
        list[str] | None,
        typer.Option(
            "--cpu",
            metavar="ID",
            help="Only this CPU: an id of `ringviz cpus`, or a profile file of your own; may be given several times.",
            autocompletion=cpu_ids,
        ),
    ] = None,
    json: Json = False,
) -> int:
    """Draw slowdown against the year of the CPU."""
    from ringviz.engine import generations as engine
    from ringviz.engine.reference import NATIVE
    from ringviz.facts.costs import CPU_PROFILES
    from ringviz.machine.profile_file import cpu_asked_for
    from ringviz.vmm.registry import choose_cpu

    asked = [cpu_asked_for(text) for text in cpu or ()]
    for name in asked:
        choose_cpu(NATIVE, None, name)
    profiles = [CPU_PROFILES[name] for name in asked] or None
    if causes is not None and causes not in CPU_PROFILES:
        raise InputError(f'CPU "{causes}" is unknown; choose one of {", ".join(CPU_PROFILES)}')
    if svg is not None and len(scenarios) != 1:
        raise InputError(f"--svg: found {len(scenarios)} scenarios, expected one")
    found = [chosen(name) for name in scenarios]
    with shown() as progress:
        results = [engine.over_generations(scenario, technique or None, progress, profiles) for scenario in found]
    if svg is not None:
        from ringviz.export.chart_svg import draw_svg

        with opened(svg) as stream:
            write_text([draw_svg(_drawable(results[0]), found[0].title)], stream)
    elif json:
        print_json({"schema": 1, "scenarios": [engine.generations_json(result) for result in results]})
    else:
        for number, (scenario, result) in enumerate(zip(found, results, strict=True)):
            print_lines([""] if number else [])
            if causes is not None:
                print_lines(causes_report(scenario, result, causes))
            else:
                print_lines((table_report if as_table else report)(scenario, result))
    return Exit.DONE


def _drawable(result: "Generations") -> "Generations":
    if not result.points:
        reasons = "; ".join(f"{way}: {why}" for way, why in result.left_out)
        raise InputError(f"{result.scenario}: nothing to draw: {reasons}")
    return result


def report(scenario: "Scenario", result: "Generations") -> Iterator[str]:
    """Give the drawing, and what it says in words."""
    from ringviz.export.chart_text import draw, plain
    from ringviz.export.chart_words import TITLE

    yield strong(scenario.title)
    yield TITLE
    yield ""
    for line in draw(_drawable(result), max(NARROWEST_CELLS, width_cells()), CHART_ROWS):
        yield plain(line)
    yield ""
    yield from _words(result)


def table_report(scenario: "Scenario", result: "Generations") -> Iterator[str]:
    """Give every point's figures."""
    yield strong(scenario.title)
    yield ""
    yield from table(POINTS, [_row(point) for point in result.points], width_cells())
    yield ""
    yield _LENT
    yield ""
    yield from _words(result)


def causes_report(scenario: "Scenario", result: "Generations", cpu: str) -> Iterator[str]:
    """Give what each way is charged for on one CPU."""
    yield strong(f"{scenario.title}, on {cpu}")
    for point in result.points:
        if point.cpu.id != cpu:
            continue
        yield ""
        yield strong(f"{point.way.title}: {point.cycles:,} cycles, {float(point.slowdown):.2f}x")
        rows = [
            (
                f"{row.count:,}",
                "unknown" if row.cycles is None else f"{row.cycles:,}",
                row.cause,
                CAUSES[row.cause].title + (" (another CPU's price)" if row.is_lent else ""),
            )
            for row in point.rows
        ]
        yield from table(CAUSES_OF_A_POINT, rows, width_cells())
    yield ""
    yield from textwrap.wrap(f"Cycles are modelled, at the prices of `ringviz cpus {cpu}`. {GUEST_WORK}", width_cells())


def _row(point: "Point") -> tuple[str, ...]:
    return (
        str(point.cpu.year),
        point.cpu.id,
        point.way.id,
        f"{point.cycles:,}",
        f"{point.native_cycles:,}",
        f"{float(point.slowdown):.2f}",
        f"{point.lent_percent} %",
    )


def _words(result: "Generations") -> Iterator[str]:
    from ringviz.export.chart_words import notes, verdicts

    for text in (*verdicts(result), "", *notes(result)):
        yield from textwrap.wrap(text, width_cells(), subsequent_indent="  ") or [""]
