"""What a command prints: the same bytes on every machine, and colour only for a terminal."""

import io
import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from ringviz.errors import InputError

PIPE_WIDTH_CELLS = 80
"""Line length when nobody tells us the terminal's: in a pipe or a file."""


class PipeClosedError(Exception):
    """The reader of our output has gone. Not an OSError: the command line library would end the process for that."""


def prepare() -> None:
    """Make stdout the same everywhere: UTF-8 and plain line feeds, and no error for what a terminal cannot show."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        if sys.stdout.isatty():
            sys.stdout.reconfigure(errors="replace")
        else:
            sys.stdout.reconfigure(encoding="utf-8", newline="\n")
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr.reconfigure(errors="backslashreplace")


def print_json(value: object) -> None:
    """Print one JSON document: ASCII, two-space indent, keys in the order given, a line feed at the end."""
    print_lines([json.dumps(value, indent=2, ensure_ascii=True)])


def print_lines(lines: Iterable[str]) -> None:
    """Print lines on stdout.

    Raises:
        PipeClosedError: nobody reads them any more.
    """
    write_text((f"{line}\n" for line in lines), sys.stdout)


def write_text(pieces: Iterable[str], stream: IO[str]) -> None:
    """Write pieces of text as they come.

    Raises:
        PipeClosedError: nobody reads them any more.
        InputError: they cannot be written, for example because the disk is full.
    """
    for piece in pieces:
        with _written_to(stream):
            stream.write(piece)
    with _written_to(stream):
        stream.flush()


@contextmanager
def opened(target: str | None) -> Iterator[IO[str]]:
    """Open the file named with `-o` for writing, or give stdout for none and for `-`.

    Raises:
        InputError: the file cannot be written.
    """
    if target is None or target == "-":
        yield sys.stdout
        return
    try:
        # Opened apart from `with stream` below: only opening it may be blamed on the file's name.
        stream = Path(target).open("w", encoding="utf-8", newline="")  # noqa: SIM115
    except OSError as error:
        raise InputError(f"{target}: cannot be written: {error.strerror}") from error
    with stream:
        yield stream


def discard_stdout() -> None:
    """Point stdout at nothing, or the interpreter would fail once more when it flushes at its own end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def width_cells() -> int:
    """Give the length of a line: the terminal's, or 80 where there is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else PIPE_WIDTH_CELLS


def strong(text: str) -> str:
    """Give a heading or a word that must not be missed: bold on a terminal, plain everywhere else."""
    return f"\x1b[1m{text}\x1b[0m" if has_colour() else text


@contextmanager
def _written_to(stream: IO[str]) -> Iterator[None]:
    """Turn what can go wrong with writing into our own errors."""
    try:
        yield
    except BrokenPipeError as error:
        raise PipeClosedError from error
    except OSError as error:
        if stream is sys.stdout:
            discard_stdout()
        raise InputError(f"output cannot be written: {error.strerror}") from error


def has_colour() -> bool:
    """Tell whether stdout is a terminal that shows colours, and is meant to."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
