"""`ringviz paper`: the measurements of a paper beside what the model makes of the same operations, run for real."""

import textwrap
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated

import typer

from ringviz.cli.exits import Exit
from ringviz.cli.names import known
from ringviz.cli.options import Cpu, Json
from ringviz.cli.output import print_json, print_lines, strong, width_cells
from ringviz.cli.progress import shown
from ringviz.cli.table import Column, table
from ringviz.facts import adams_agesen
from ringviz.facts.adams_agesen import OPERATIONS, Contender, Operation, why_off
from ringviz.facts.costs import PRICED, cost_of
from ringviz.facts.instruction_weights import CLASSES, in_cycles, weight_of, weight_source
from ringviz.facts.source import Source

if TYPE_CHECKING:
    from ringviz.engine.paper import Reproduction, Row

SCHEMA = 1
PAPERS = {"adams-agesen": adams_agesen.TITLE}

_CYCLES = (
    Column("Operation"),
    Column("Native", is_number=True),
    Column("model", is_number=True),
    Column("x", is_number=True),
    Column("Software", is_number=True),
    Column("model", is_number=True),
    Column("x", is_number=True),
    Column("Hardware", is_number=True),
    Column("model", is_number=True),
    Column("x", is_number=True),
)
_VERDICTS = (
    Column("Operation"),
    Column("Hw/sw: paper", is_number=True),
    Column("model", is_number=True),
    Column("Faster: paper"),
    Column("model"),
    Column("Agree"),
)
_PRICES = (Column("Price of"), Column("Cycles", is_number=True), Column("In"), Column("Source", wraps=True))
_LETTERS = {Contender.NATIVE: "n", Contender.SOFTWARE: "s", Contender.HARDWARE: "h"}

Which = Annotated[
    str | None,
    typer.Argument(metavar="[PAPER]", help="The paper; without it the papers are listed.", show_default=False),
]
Listed = Annotated[bool, typer.Option("--list", help="List the papers.")]


def paper(name: Which = None, cpu: Cpu = None, list_: Listed = False, json: Json = False) -> int:
    """Run the operations that a paper measured, and compare; fails unless the same technique wins each of them."""
    if name is None or list_:
        papers = [{"id": id_, "title": title} for id_, title in PAPERS.items()]
        if json:
            print_json({"schema": SCHEMA, "papers": papers})
        else:
            print_lines(table((Column("Paper"), Column("Title", wraps=True)), list(PAPERS.items()), width_cells()))
        return Exit.DONE
    from ringviz.engine.paper import reproduce

    known("paper", name, PAPERS)
    with shown() as progress:
        done = reproduce(cpu or adams_agesen.CPU, lambda what: progress(what, 0, None))
    if json:
        print_json(_object(name, done))
    else:
        print_lines(_text(done))
    return Exit.DONE if done.agreeing == len(done.rows) else Exit.FAILED


# ---- for people ------------------------------------------------------------------------------------------------------


def _text(done: "Reproduction") -> Iterator[str]:
    yield from _wrapped(adams_agesen.TITLE)
    yield from _wrapped(f"The paper's cycles: {adams_agesen.SOURCE}.")
    yield from _wrapped(
        f"The model's: 32-bit guests, run for real on {done.cpu.title}; software is binary-translation, hardware is "
        "vt-x with --mmu shadow. x is model over paper."
    )
    yield ""
    yield strong("Cycles for one operation")
    yield from table(_CYCLES, [_cells(operation, row) for operation, row in _rows(done)], width_cells())
    yield ""
    yield strong("Who is faster, bare metal aside")
    yield from table(_VERDICTS, [_verdict(operation, row) for operation, row in _rows(done)], width_cells())
    yield ""
    total = len(done.rows)
    yield f"The same one wins on {done.agreeing} of {total} operations."
    yield (
        f"Within a factor of two (first row of each): software {done.near(Contender.SOFTWARE)} of {total}, "
        f"hardware {done.near(Contender.HARDWARE)} of {total}."
    )
    yield ""
    yield from _notes(done)
    yield strong("Inputs and predictions")
    yield from _wrapped(
        "Inputs are the paper's native column and its Table 1 (VM entry, VM exit, VMREAD, VMWRITE), and what it "
        "tells of RDTSC by trap, by callout and in the translation cache. The software and hardware columns of the "
        "model are predictions: events counted in the runs, at these prices. None is taken from what it predicts."
    )
    yield ""
    yield "Charged in native (n), software (s), hardware (h):"
    yield from table(_PRICES, list(_price_cells(done)), width_cells())


def _rows(done: "Reproduction") -> Iterator[tuple[Operation, "Row"]]:
    for id_, rows in done.rows.items():
        for row in rows:
            yield OPERATIONS[id_], row


def _name(operation: Operation, row: "Row") -> str:
    """The operation in its first row, and which form of it in the others."""
    return operation.id if row.variant is operation.variants[0] else f"  {row.variant.id}"


def _cells(operation: Operation, row: "Row") -> tuple[str, ...]:
    cells = [_name(operation, row)]
    for who in Contender:
        measure = row.measures[who]
        cells += [f"{measure.paper:,}", _number(measure.model), f"{float(measure.ratio):.2f}"]
    return tuple(cells)


def _verdict(operation: Operation, row: "Row") -> tuple[str, ...]:
    winners = (row.paper_winner, row.model_winner)
    return (
        _name(operation, row),
        f"{float(row.advantage(of_model=False)):,.2f}",
        f"{float(row.advantage(of_model=True)):,.2f}",
        *("neither" if winner is None else winner.value for winner in winners),
        "yes" if row.agrees else "NO",
    )


def _notes(done: "Reproduction") -> Iterator[str]:
    """Say what stands in for what, and why a row is off by more than a factor of two."""
    yield strong("Where it is not the same, or not near")
    for operation in OPERATIONS.values():
        if operation.stands_in:
            yield from _wrapped(f"- {operation.id}: {operation.stands_in}.")
    if done.cpu.id != adams_agesen.CPU:
        yield from _wrapped(f"- The paper measured a Pentium 4 672; the model's prices are those of {done.cpu.title}.")
    else:
        for operation, row in _rows(done):
            for who in Contender:
                measure = row.measures[who]
                if not measure.is_near:
                    why = why_off(row.variant, who)
                    of = f" {row.variant.id}" if len(operation.variants) > 1 else ""
                    yield from _wrapped(f"- {operation.id}{of}, {who.value} x {float(measure.ratio):.2f}: {why}.")
    yield ""


def _price_cells(done: "Reproduction") -> Iterator[tuple[str, ...]]:
    for what, cycles, users, source in _prices(done):
        letters = "".join(_LETTERS[who] for who in Contender if who in users)
        yield what, cycles, letters, f"{source} [{source.status.value}]"


def _prices(done: "Reproduction") -> Iterator[tuple[str, str, set[Contender], Source]]:
    """Give every price that was charged: causes of cost, then classes of instructions."""
    causes: dict[str, set[Contender]] = {}
    classes: dict[str, set[Contender]] = {}
    for who, bill in done.bills:
        for cause in bill.causes:
            causes.setdefault(cause, set()).add(who)
        for name in bill.classes:
            classes.setdefault(name, set()).add(who)
    for cause in PRICED:
        if cause in causes:
            cost = cost_of(done.cpu, cause)
            yield cause, "unknown" if cost.cycles is None else f"{cost.cycles:,}", causes[cause], cost.source
    for name in CLASSES:
        weight = weight_of(name, done.cpu.weights)
        if name in classes and weight:
            yield f"{name} (class)", in_cycles(weight), classes[name], weight_source(name, done.cpu)


def _number(cycles: Fraction) -> str:
    """Whole cycles as such, others with a tenth; small ones need it."""
    return f"{cycles.numerator:,}" if cycles.denominator == 1 else f"{float(cycles):,.1f}"


def _wrapped(text: str) -> Iterator[str]:
    yield from textwrap.wrap(text, width_cells(), subsequent_indent="  ", break_on_hyphens=False)


# ---- for scripts -----------------------------------------------------------------------------------------------------


def _object(name: str, done: "Reproduction") -> dict[str, object]:
    return {
        "schema": SCHEMA,
        "paper": name,
        "title": adams_agesen.TITLE,
        "source": str(adams_agesen.SOURCE),
        "cpu": done.cpu.id,
        "operations": [
            {
                "id": operation.id,
                "title": operation.title,
                "scenario": operation.scenario,
                "stands_in": operation.stands_in or None,
                "agree": done.agrees(operation.id),
                "rows": [_row_object(row) for row in done.rows[operation.id]],
            }
            for operation in OPERATIONS.values()
        ],
        "agree": done.agreeing,
        "near": {who.value: done.near(who) for who in (Contender.SOFTWARE, Contender.HARDWARE)},
        "prices": [
            {
                "price_of": what,
                "cycles": None if cycles == "unknown" else float(cycles.replace(",", "")),
                "in": [who.value for who in Contender if who in users],
                "source": str(source),
                "status": source.status.name.lower().replace("_", "-"),
            }
            for what, cycles, users, source in _prices(done)
        ],
    }


def _row_object(row: "Row") -> dict[str, object]:
    return {
        "id": row.variant.id,
        "title": row.variant.title,
        "cycles": {
            who.value: {
                "paper": measure.paper,
                "model": round(float(measure.model), 2),
                "ratio": round(float(measure.ratio), 4),
                "causes": dict(sorted(measure.bill.causes.items())),
                "instructions": dict(sorted(measure.bill.classes.items())),
                "rounds": measure.bill.rounds,
            }
            for who, measure in row.measures.items()
        },
        "hardware_over_software": {
            "paper": round(float(row.advantage(of_model=False)), 4),
            "model": round(float(row.advantage(of_model=True)), 4),
        },
        "faster": {
            "paper": None if row.paper_winner is None else row.paper_winner.value,
            "model": None if row.model_winner is None else row.model_winner.value,
        },
        "agree": row.agrees,
    }
