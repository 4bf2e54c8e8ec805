"""`ringviz consolidate`: how many copies of a guest one CPU carries, with the arithmetic."""

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated

import typer

from ringviz.cli.chosen import chosen
from ringviz.cli.exits import Exit, one_line
from ringviz.cli.options import (
    ConsoleInput,
    Disk,
    Disk2,
    Json,
    Keys,
    Limit,
    Scenario,
    Techniques,
    cpu_ids,
    known_cpu,
)
from ringviz.cli.output import print_json, print_lines, strong, width_cells
from ringviz.cli.progress import shown
from ringviz.cli.table import Column, table
from ringviz.engine.decimals import decimal, decimals
from ringviz.errors import InputError

if TYPE_CHECKING:
    from ringviz.engine.consolidation import Consolidation, Copies, LeftOut
    from ringviz.engine.consolidation_measured import Filled, MeasuredCopies

ALL = "all"
DEFAULT_LOAD = "5"
"""Per cent: ringviz's choice, a server that is idle most of the time."""
TABLE = (
    Column("CPU"),
    Column("Technique", wraps=True),
    Column("Cycles", is_number=True),
    Column("Slowdown", is_number=True),
    Column("A copy takes", is_number=True),
    Column("Copies", is_number=True),
)
MOST_SHOWN_IN_FULL = 8
"""Lines of the table up to which the arithmetic of each is written out; of more, that of the first and the last."""


def _which(context: typer.Context, value: str) -> str:
    """Take `all` and an id as they are, and a path for a profile file."""
    return value if value == ALL else known_cpu(context, value) or value


WhichCpu = Annotated[
    str,
    typer.Option(
        "--cpu",
        metavar="ID|all",
        help="On this CPU, by its id or a profile file of your own; all: on every one.",
        autocompletion=cpu_ids,
        callback=_which,
    ),
]
Walks = Annotated[
    bool, typer.Option("--walks", help="Count TLB misses too, and charge their page walks; takes longer.")
]
Measure = Annotated[
    int | None,
    typer.Option(
        "--measure",
        metavar="N",
        help="Also fill a host with real copies, up to N of them, until one is late, and compare.",
    ),
]
Load = Annotated[
    str,
    typer.Option("--load", metavar="PERCENT", help="What one copy would take of one CPU on bare metal."),
]
HostMemory = Annotated[
    int | None,
    typer.Option("--memory", metavar="MIB", help="The host's memory: copies must fit it as well."),
]


def consolidate(
    scenario: Scenario,
    technique: Techniques = None,
    cpu: WhichCpu = ALL,
    load: Load = DEFAULT_LOAD,
    memory: HostMemory = None,
    walks: Walks = False,
    measure: Measure = None,
    disk: Disk = None,
    disk2: Disk2 = None,
    limit: Limit = None,
    console_input: ConsoleInput = None,
    keys: Keys = None,
    json: Json = False,
) -> int:
    """Count the copies of a guest that one CPU carries."""
    from ringviz.engine import consolidation as engine

    found = chosen(scenario, disk, disk2, None, limit, console_input, keys)
    cpus = None if cpu == ALL else [cpu]
    if measure is not None and walks:
        raise InputError("--measure: a host charges no page walks, expected it without --walks")
    measured: tuple[MeasuredCopies, ...] = ()
    with shown() as progress:
        result = engine.consolidate(found, _percent(load), technique or None, cpus, memory, progress, walks)
        if measure is not None:
            from ringviz.engine import consolidation_measured

            measured = consolidation_measured.measure(found, result, measure, progress)
    if json:
        print_json(engine.consolidation_json(result) | {"measured": [_measured_json(each) for each in measured]})
    else:
        print_lines(report(result))
        print_lines(_measured_lines(measured))
    return Exit.DONE


def _percent(text: str) -> Fraction:
    """Read per cent exactly, with or without the sign.

    Raises:
        InputError: it is no number.
    """
    try:
        return Fraction(text.removesuffix("%").strip())
    except (ValueError, ZeroDivisionError):
        raise InputError(f'--load "{text}": expected per cent of one CPU, such as 5 or 12.5') from None


def report(result: "Consolidation") -> Iterator[str]:
    """Give the result as a text for people."""
    load = decimal(result.load_percent)
    yield strong(f"{result.scenario_id}: copies on one CPU, each a load of {load} % on bare metal")
    yield ""
    if result.rows:
        yield from table(TABLE, [_row(row) for row in result.rows], width_cells())
        yield ""
        in_full = result.rows
        if len(in_full) > MOST_SHOWN_IN_FULL:
            in_full = (in_full[0], in_full[-1])
            yield "The arithmetic is the same for every line; here for the first and the last:"
        for row in in_full:
            yield from _wrapped(_arithmetic(result, row))
        yield ""
    unknown = sorted({cause for row in result.rows for cause in row.unknown})
    yield "What this rests on:"
    yield from _wrapped(f"- {line}" for line in result.assumptions)
    if unknown:
        yield from _wrapped([f"- Without a figure here, and so charged nothing: {', '.join(unknown)}."])
    if result.left_out:
        yield ""
        yield "Left out:"
        yield from _wrapped(f"- {line}" for line in _left_out(result.left_out))


def name(row: "Copies") -> str:
    """Name a technique, and its way of memory where it has a choice."""
    return row.technique if row.mmu in ("none", "direct") else f"{row.technique}, {row.mmu}"


def _row(row: "Copies") -> tuple[str, ...]:
    return (
        f"{row.cpu.id}",
        name(row),
        f"{row.total_cycles:,}",
        f"{decimals(row.slowdown)}×",
        f"{decimals(row.share_percent)} %",
        f"{row.copies:,}",
    )


def _arithmetic(result: "Consolidation", row: "Copies") -> Iterator[str]:
    """Give one line's arithmetic, step by step."""
    cpu, load = row.cpu, decimal(row.load_percent)
    yield f"{name(row)} on {cpu.title} ({cpu.year})"
    yield f"  slowdown = {row.total_cycles:,} / {row.native_cycles:,} cycles of bare metal = {decimal(row.slowdown, 4)}"
    native, here = row.native_cycles_a_second, row.cycles_a_second
    if native is None or here is None:
        yield f"  no source names a clock of this CPU; a copy takes {load} % × {decimal(row.slowdown, 4)} of it"
    else:
        yield f"  bare metal: {cpu.clock_hz:,} cycles a second × {load} % = {decimal(native)} cycles a second"
        yield f"  a copy here: {decimal(native)} × {decimal(row.slowdown, 4)} = {decimal(here)} cycles a second"
    share = decimal(row.share_percent, 4)
    fits = decimal(100 / row.share_percent, 4)
    yield f"  copies = floor(100 % / {share} %) = floor({fits}) = {row.by_cpu:,}"
    if row.by_memory is not None:
        yield (
            f"  by memory: floor({result.host_mib:,} MiB / {result.guest_mib:,} MiB) = {row.by_memory:,}; "
            f"the smaller of both: {row.copies:,}"
        )


MEASURED = (
    Column("CPU"),
    Column("Technique", wraps=True),
    Column("Arithmetic", is_number=True),
    Column("Measured", is_number=True),
    Column("Done after", is_number=True),
    Column("In slices", is_number=True),
    Column("Switching", is_number=True),
)


def _measured_lines(measured: "Sequence[MeasuredCopies]") -> Iterator[str]:
    """Tell what was counted on a host beside what was reckoned."""
    if not measured:
        return
    yield ""
    yield strong("Measured: a host filled with real copies until one was not done within its period")
    yield from table(MEASURED, [_measured_row(each) for each in measured], width_cells())
    yield from _wrapped([
        "Measured: each copy has the CPU until its work is done, as in the arithmetic; done after: when the last copy "
        "was, of its period. In slices: the scheduler takes turns, and switching is what that costs of the period. "
        "≥: nobody tried more.",
    ])  # fmt: skip


def _measured_row(each: "MeasuredCopies") -> tuple[str, ...]:
    row = each.row
    return (
        row.cpu.id, name(row), f"{row.by_cpu:,}", _filled(each.undisturbed),
        f"{each.undisturbed.done_at / each.period_cycles:.1%}", _filled(each.sliced),
        f"{each.sliced.switching_cycles / each.period_cycles:.1%}",
    )  # fmt: skip


def _filled(filled: "Filled") -> str:
    return f"{filled.copies}" if filled.is_broken else f"≥ {filled.copies}"


def _measured_json(each: "MeasuredCopies") -> dict[str, object]:
    row = each.row
    return {
        "cpu": row.cpu.id, "technique": row.technique, "mmu": row.mmu, "copies_by_cpu": row.by_cpu,
        "period_cycles": each.period_cycles, "undisturbed": asdict(each.undisturbed), "sliced": asdict(each.sliced),
    }  # fmt: skip


def _left_out(rows: "Iterable[LeftOut]") -> Iterator[str]:
    """Name what is left out, CPUs with the same reason together."""
    cpus: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        what = row.technique if not row.mmu or row.mmu in ("none", "direct") else f"{row.technique}, {row.mmu}"
        cpus.setdefault((what, one_line(row.reason)), []).append(row.cpu_id)
    for (what, reason), places in cpus.items():
        where = f" on {', '.join(places)}" if places != [""] else ""
        yield f"{what}{where}: {reason}"


def _wrapped(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        indent = " " * (len(line) - len(line.lstrip(" ")) + 2)
        yield from textwrap.wrap(line, width_cells(), subsequent_indent=indent, break_on_hyphens=False)
