"""`ringviz help`: guides to read on the terminal, and the help of a command."""

import re
from collections.abc import Iterable, Iterator
from importlib import resources
from itertools import groupby
from pathlib import Path
from typing import Annotated

import typer

from ringviz.cli.exits import Exit
from ringviz.cli.output import has_colour, print_lines, strong, width_cells
from ringviz.cli.prose import prose
from ringviz.cli.table import Column, table
from ringviz.errors import InputError
from ringviz.guest.schema import clipped, did_you_mean

GUIDES = {
    "authoring": "write scenarios, replays, lessons and CPU profiles of your own",
    "replays": "every key of a scripted replay",
    "lessons": "every key of a lesson and its quiz, every figure and place",
}
"""The guides, and what each helps with; a file of that name stands in `guides`."""
_BLOCKS = {"|": "table", "#": "heading"}
"""Lines that are no prose, by their first sign."""
_CODE = re.compile(r"`([^`]*)`")


def help_(
    context: typer.Context,
    topic: Annotated[
        str | None,
        typer.Argument(metavar="[TOPIC]", help="A guide, or a command.", autocompletion=lambda: list(GUIDES)),
    ] = None,
) -> int:
    """Read a guide: how to write for ringviz; or the help of a command."""
    if topic is None:
        print_lines(_overview())
        return Exit.DONE
    if topic in GUIDES:
        print_lines(_on_terminal(guide(topic)) if has_colour() else plain(guide(topic), width_cells()))
        return Exit.DONE
    parent = context.parent
    assert parent is not None
    commands = getattr(parent.command, "commands", {})
    if topic not in commands:
        known = [*GUIDES, *commands]
        raise InputError(
            f'"{clipped(topic)}" is no guide and no command; the guides are {", ".join(GUIDES)}'
            f"{did_you_mean(topic, known)}"
        )
    command = commands[topic]
    with command.make_context(topic, [], parent=parent, resilient_parsing=True) as inner:
        print_lines(command.get_help(inner).splitlines())
    return Exit.DONE


def guide(topic: str) -> str:
    """Give a guide as Markdown."""
    path = Path(str(resources.files("ringviz.cli"))) / "guides" / f"{topic}.md"
    text = path.read_text(encoding="utf-8")
    for mark, keys in _TABLES.items():
        if mark in text:
            text = text.replace(mark, "\n".join(keys()))
    return text


def plain(markdown: str, width: int) -> Iterator[str]:
    """Give a guide as text without signs: for a pipe, and for reading aloud."""
    for number, (kind, lines) in enumerate(groupby(markdown.splitlines(), lambda line: _BLOCKS.get(line[:1], ""))):
        text = list(lines)
        block = [strong(line.lstrip("# ")) for line in text] if kind == "heading" else []
        block += _table(text, width) if kind == "table" else prose("\n".join(text), width) if not kind else []
        yield from ["", *block] if number and block else block


def _overview() -> Iterator[str]:
    yield strong("Guides")
    yield from table((Column("Topic"), Column("Helps to", wraps=True)), list(GUIDES.items()), width_cells())
    yield ""
    yield "ringviz help TOPIC prints one; ringviz help COMMAND what a command takes; ringviz --help lists the commands."


def _on_terminal(markdown: str) -> Iterator[str]:
    """Give a guide with colour and frames."""
    from rich.console import Console
    from rich.markdown import Markdown

    console = Console(width=min(width_cells(), 100), force_terminal=True, markup=False, highlight=False)
    with console.capture() as captured:
        console.print(Markdown(markdown.replace("```app", "```sh")))
    yield from captured.get().splitlines()


def _looks() -> Iterator[str]:
    """Give the keys of a replay's `expect` as a table."""
    from ringviz.record.observation import LOOKS

    return _keys_table((f"{look.name}{look.example}", look.kind, look.title) for look in LOOKS.values())


def _host_looks() -> Iterator[str]:
    """Give those of a host's lecture."""
    from ringviz.record.machines.host_looks import HOST_LOOKS

    return _keys_table((f"{look.name}{look.member.upper()}", look.kind, look.title) for look in HOST_LOOKS.values())


def _keys_table(rows: Iterable[tuple[str, type, str]]) -> Iterator[str]:
    kinds = {int: "a number", float: "a number", str: "a text", bool: "true or false"}
    yield "| key | is |"
    yield "|---|---|"
    for key, kind, title in rows:
        yield f"| `{key}` | {kinds[kind]}: {title} |"


def _table(rows: list[str], width: int) -> Iterator[str]:
    rows = [row.strip().strip("|") for row in rows if set(row) - set("|- ")]
    cells = [[_CODE.sub(r"\1", cell.strip()) for cell in row.split("|")] for row in rows]
    columns = [Column(title, wraps=place > 0) for place, title in enumerate(cells[0])]
    yield from table(columns, cells[1:], width)


_TABLES = {"@LOOKS@": _looks, "@HOST_LOOKS@": _host_looks}
"""What stands in a guide where keys belong that the program knows itself."""
