"""`ringviz notes`: the speaker's notes of the lecture that is held on another terminal."""

import sys
import textwrap
import time
from collections.abc import Iterator
from typing import Annotated

import typer

from ringviz.cli.exits import Exit
from ringviz.cli.output import print_lines, strong, width_cells
from ringviz.errors import InputError
from ringviz.record.lecture_notes import LectureNotes, notes_path, read_notes

_LOOK_SECONDS = 0.25
"""How often the file is looked at."""
_CLEAR = "\x1b[2J\x1b[H"


def notes(
    once: Annotated[bool, typer.Option("--once", help="Print the notes as they stand, and end.")] = False,
) -> int:
    """Show the speaker's notes of a lecture, beat by beat; ctrl+c ends."""
    if once:
        found = read_notes()
        if found is None:
            raise InputError("no lecture has been held yet; ringviz lecture SCENARIO opens one")
        print_lines(note_lines(found, time.time()))
        return Exit.DONE
    return _follow()


def _follow() -> int:
    """Print the notes whenever they change; on a terminal in place of the old ones, with a clock."""
    is_terminal = sys.stdout.isatty()
    shown: tuple[LectureNotes | None, int] | None = None
    path = notes_path()
    while True:
        found = read_notes(path)
        tick = int(time.time() - found.began) if found is not None and is_terminal and not found.is_over else 0
        if (found, tick) != shown:
            shown = (found, tick)
            if is_terminal:
                sys.stdout.write(_CLEAR)
            waiting = ["Waiting for a lecture: ringviz lecture SCENARIO, on the other terminal."]
            print_lines(waiting if found is None else note_lines(found, time.time()))
            sys.stdout.flush()
        time.sleep(_LOOK_SECONDS)


def note_lines(found: LectureNotes, now: float) -> Iterator[str]:
    """Give the notes as lines: where one is, what to say, what to ask, what comes next."""
    width = width_cells()
    seconds = max(0, int(now - found.began))
    clock = "over" if found.is_over else f"{seconds // 60}:{seconds % 60:02}"
    yield from textwrap.wrap(f"{found.title} · beat {found.number} of {found.of} · {clock} · {found.status}", width)
    yield ""
    yield strong(found.beat)
    for paragraph in found.say.split("\n\n"):
        yield ""
        yield from textwrap.wrap(" ".join(paragraph.split()), width)
    if found.ask:
        yield ""
        yield from textwrap.wrap(f"ASK: {found.ask}", width, subsequent_indent="     ")
        for choice in found.choices:
            yield from textwrap.wrap(f"  - {choice}", width, subsequent_indent="    ")
        word = "ANSWER (shown)" if found.is_answered else "ANSWER (the next key shows it)"
        yield from textwrap.wrap(f"{word}: {found.answer}", width, subsequent_indent="     ")
        yield from textwrap.wrap(" ".join(found.explain.split()), width)
    for problem in found.problems:
        yield from textwrap.wrap(f"NOT AS EXPECTED: {problem}", width, subsequent_indent="     ")
    yield ""
    yield f"NEXT: {found.next_beat}" if found.next_beat else "NEXT: this is the last beat"
    if found.next_say:
        first = found.next_say.split(". ")[0].rstrip(".")
        yield from textwrap.wrap(f"      {' '.join(first.split())}.", width, subsequent_indent="      ")
