"""`ringviz whatif`: other prices, another guest; who would win, and where it turns."""

import textwrap
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from ringviz.cli.chosen import chosen
from ringviz.cli.exits import Exit, one_line
from ringviz.cli.options import ConsoleInput, Cpu, Disk, Disk2, Json, Keys, Limit, Memory, Scenario
from ringviz.cli.output import print_json, print_lines, strong, width_cells
from ringviz.cli.progress import shown
from ringviz.cli.table import Column, table
from ringviz.engine.decimals import decimal, decimals
from ringviz.facts.instruction_weights import GUEST_WORK

if TYPE_CHECKING:
    from ringviz.engine.contest import Contest
    from ringviz.engine.knobs import Changes
    from ringviz.engine.what_if import Answer, KnobView, Standing

STANDINGS = (
    Column("Technique"),
    Column("Cycles", is_number=True),
    Column("With the changes", is_number=True),
    Column("Slowdown", is_number=True),
)
ASSUMPTIONS = (
    "Runs are counted once, and the events priced again: a change of price does not change what the VMM does.",
    "A rate multiplies what its events charge. It leaves out the guest's few instructions for them, and what comes of "
    "them later: hidden faults and TLB misses are rates of their own.",
    "The slowdown is against bare metal with the same changes.",
)

Contenders = Annotated[
    list[str] | None,
    typer.Option(
        "--technique",
        "-t",
        metavar="ID[/MMU]",
        help="Compare this technique, such as vt-x/shadow; may be given several times.",
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Another price in cycles (exit=500, exit=x0.5), or another rate (page-table-writes=x2); may be repeated.",
    ),
]
Walks = Annotated[bool, typer.Option("--walks", help="Count TLB misses too, and charge the page walks; takes longer.")]


def whatif(
    scenario: Scenario,
    technique: Contenders = None,
    cpu: Cpu = None,
    settings: Set = None,
    walks: Walks = False,
    disk: Disk = None,
    disk2: Disk2 = None,
    memory: Memory = None,
    limit: Limit = None,
    console_input: ConsoleInput = None,
    keys: Keys = None,
    json: Json = False,
) -> int:
    """Change prices and rates, and solve for where the verdict turns."""
    from ringviz.engine import contest as counting
    from ringviz.engine import what_if as engine
    from ringviz.engine.knobs import NEED_WALKS, changes_of
    from ringviz.vmm.registry import choose

    found = chosen(scenario, disk, disk2, memory, limit, console_input, keys)
    profile = choose("native", cpu=cpu or counting.DEFAULT_CPU).cpu
    changes = changes_of(settings or (), profile)
    has_walks = walks or bool(NEED_WALKS & {*changes.prices, *changes.rates})
    with shown() as progress:
        runs = counting.contest(found, technique or None, profile.id, progress, has_walks)
    result = engine.answer(runs, changes, _knobs(changes))
    if json:
        print_json(engine.answer_json(runs, changes, result))
    else:
        print_lines(report(runs, changes, result))
    return Exit.DONE


def _knobs(changes: "Changes") -> tuple[str, ...]:
    """Give the sliders, and whatever else the user has set."""
    from ringviz.engine.knobs import SLIDERS

    own = (id_ for id_ in (*changes.prices, *changes.rates) if id_ not in SLIDERS)
    return (*SLIDERS, *own)


def report(runs: "Contest", changes: "Changes", result: "Answer") -> Iterator[str]:
    """Give the answer as a text for people."""
    from ringviz.engine.what_if_words import verdict

    yield strong(f"{runs.scenario_id}: what if, on {runs.cpu.title} ({runs.cpu.year})")
    yield from _wrapped(_changed(runs, changes))
    yield ""
    bare = ("bare metal", decimal(result.native_before), decimal(result.native_cycles), "1.00×")
    yield from table(STANDINGS, [*(_row(standing) for standing in result.standings), bare], width_cells())
    yield ""
    yield from _wrapped([verdict(result)])
    for view in result.knobs:
        yield ""
        yield from _wrapped(_turns(runs, view))
    yield ""
    yield "What this rests on:"
    yield from _wrapped(
        f"- {line}" for line in (*ASSUMPTIONS, f"Cycles are modelled, at the prices of `ringviz cpus ID`. {GUEST_WORK}")
    )
    if not runs.has_walks:
        yield from _wrapped(["- TLB misses are not counted here; --walks counts them, and charges their page walks."])
    for who, why in runs.left_out:
        yield from _wrapped([f"- {who} is left out: {one_line(why)}."])


def _changed(runs: "Contest", changes: "Changes") -> Iterator[str]:
    from ringviz.engine.knobs import KNOBS, known_price
    from ringviz.engine.what_if_words import value_text

    if not changes.prices and not changes.rates:
        yield f"Nothing is changed: all prices are those of `ringviz cpus {runs.cpu.id}`, modelled."
    for id_, value in (*changes.prices.items(), *changes.rates.items()):
        knob = KNOBS[id_]
        known = None if knob.is_rate else known_price(runs.cpu, id_)
        was = "" if knob.is_rate else ", for which there is no figure" if known is None else f" instead of {known:,}"
        yield f"{id_}: {value_text(knob, value)}{was}"


def _row(standing: "Standing") -> tuple[str, ...]:
    slowdown = "-" if standing.slowdown is None else f"{decimals(standing.slowdown)}×"
    return standing.run.contender.name, decimal(standing.before), decimal(standing.cycles), slowdown


def _turns(runs: "Contest", view: "KnobView") -> Iterator[str]:
    """Say for one knob where it stands and where the verdict turns."""
    from ringviz.engine.what_if_words import pairing_text, turn_texts, value_text

    unknown = "" if view.knob.is_rate or view.known is not None else f", no figure for {runs.cpu.id}"
    yield f"{view.knob.id} ({view.knob.title}), now {value_text(view.knob, view.value)}{unknown}:"
    for text in turn_texts(view):
        yield f"  {text}"
    for pairing in view.pairings:
        yield f"  - {pairing_text(view, pairing)}"


def _wrapped(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        indent = " " * (len(line) - len(line.lstrip(" ")) + 2)
        yield from textwrap.wrap(line, width_cells(), subsequent_indent=indent, break_on_hyphens=False)
