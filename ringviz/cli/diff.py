"""`ringviz diff`: the first event in which two traces are not alike, and what stands around it."""

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ringviz.cli.exits import Exit, complain
from ringviz.cli.names import known
from ringviz.cli.options import Json
from ringviz.cli.output import print_json, print_lines, strong, width_cells
from ringviz.cli.table import Column, table

if TYPE_CHECKING:
    from ringviz.engine.events import Event
    from ringviz.record.trace_diff import Difference
    from ringviz.record.trace_reader import TraceReader

_FIELDS = (Column("Field"), Column("A", wraps=True), Column("B", wraps=True))


def diff(
    first: Annotated[Path, typer.Argument(metavar="A", help="A trace, written by `ringviz trace --format trace -o`.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another one.")],
    context: Annotated[int, typer.Option("--context", metavar="N", min=0, max=100, help="Events around it.")] = 3,
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="FIELD", help="Compare this field only; may be repeated.")
    ] = None,
    json: Json = False,
) -> int:
    """Name the first event in which two traces differ.

    Exit code 0: alike; 1: they differ; 2: alike as far as they can be read, but one of them is not whole.
    """
    from ringviz.record.event_record import FIELDS
    from ringviz.record.trace_diff import first_difference
    from ringviz.record.trace_reader import TraceReader

    compared = [known("field", name, FIELDS) for name in only] if only else list(FIELDS)
    with TraceReader(first) as here, TraceReader(second) as there:
        found, alike = first_difference(here.events(), there.events(), context, compared)
        differs, problems = _verdict(found, here, there)
        if json:
            print_json(_json(found if differs else None, alike, here, there, is_identical=not differs and not problems))
        else:
            print_lines(_report(found if differs else None, alike, here, there, differs=differs))
    for problem in problems:
        complain(problem)
    return Exit.FAILED if differs else Exit.BAD_INPUT if problems else Exit.DONE


def _verdict(found: "Difference | None", here: "TraceReader", there: "TraceReader") -> tuple[bool, list[str]]:
    """Say whether two traces differ, and what is wrong with those that ended before they did."""
    if found is not None and found.fields:
        return True, []
    pairs = ((here, None if found is None else found.here), (there, None if found is None else found.there))
    problems = [reader.problem for reader, more in pairs if not more and reader.problem]
    if problems:
        return False, problems
    ends = [reader.ending for reader in (here, there) if reader.ending is not None]  # plain JSON lines have none
    return found is not None or len(set(ends)) > 1, []


def _report(
    found: "Difference | None", alike: int, here: "TraceReader", there: "TraceReader", *, differs: bool
) -> Iterator[str]:
    """Give the result as a text for people."""
    for name, reader in (("A", here), ("B", there)):
        words = "a trace that does not say of what" if reader.heading is None else reader.heading.words
        yield f"{name}: {reader.where}: {words}"
    if here.heading is not None and there.heading is not None:
        changed = here.heading.made_with.changed(there.heading.made_with)
        if changed:
            yield f"Not the same in both: {', '.join(changed)}"
    yield ""
    if found is None:
        yield f"Alike: {'1 event' if alike == 1 else f'{alike:,} events'}"
        if differs:
            for name, reader in (("A", here), ("B", there)):
                yield f"{name} ends: {'-' if reader.ending is None else reader.ending.outcome}"
        return
    yield strong(f"They part at event {found.number:,}")
    yield from _events("A and B:", found.before)
    if found.fields:
        yield ""
        yield from table(_FIELDS, [(name, _shown(a), _shown(b)) for name, a, b in found.fields], width_cells())
    for name, events in (("A", found.here), ("B", found.there)):
        yield from _events(f"{name}:", events) if events else ("", f"{name}: no more events")


def _events(title: str, events: "tuple[Event, ...]") -> Iterator[str]:
    from ringviz.engine.events import sentence

    if events:
        yield ""
        yield title
    for event in events:
        text = f"{event.number}. After {event.at:,} instructions: {sentence(event)}"
        yield from textwrap.wrap(text, width_cells(), initial_indent="  ", subsequent_indent="    ")


def _shown(value: object) -> str:
    if isinstance(value, list):
        return "; ".join(" ".join(str(part) for part in row.values()) for row in value) or "-"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return "-" if value is None else str(value)


def _json(
    found: "Difference | None", alike: int, here: "TraceReader", there: "TraceReader", *, is_identical: bool
) -> dict[str, object]:
    """Give the result as an object for scripts."""
    part = None
    if found is not None:
        fields = [{"name": name, "a": a, "b": b} for name, a, b in found.fields]
        part = {"number": found.number, "fields": fields, "a_ends": not found.here, "b_ends": not found.there}
    whole = {name: not reader.problem for name, reader in (("a", here), ("b", there))}
    return {"schema": 1, "identical": is_identical, "alike": alike, "first_divergence": part, "whole": whole}
