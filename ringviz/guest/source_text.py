"""The text of a guest's source, with the files that it includes put in where it includes them.

A line `%include "../teachos/guest.asm"` is replaced by the lines of that file, seen from the folder of the guest. So
line numbers of a build, as in its symbol file, count in the whole text; `place_of` finds the file and line again.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

_INCLUDE = re.compile(rb'\s*%include\s+"([^"/\\][^"]*)"\s*(?:;.*)?')
_DEEPEST = 8
"""Files that include one another are left to the assembler, which complains."""


class Place(NamedTuple):
    """Where a line of the whole text stands."""

    file: str
    """As the source names it: its own name, or what stands in `%include`."""
    number: int
    """From 1."""


def whole_source(path: Path) -> bytes:
    """Give the text, with Unix line ends.

    Raises:
        OSError: the source cannot be read. A file that it includes and that cannot be read stays an `%include`.
    """
    return b"\n".join(line for _, line in _lines(path))


def included_in(text: bytes) -> tuple[str, ...]:
    """Give the files that a text includes, as it names them, in its order."""
    found = (_INCLUDE.fullmatch(line) for line in normalized(text).split(b"\n"))
    return tuple(dict.fromkeys(match[1].decode("utf-8", "replace") for match in found if match is not None))


def with_includes_renamed(text: bytes, names: Mapping[str, str]) -> bytes:
    """Give a text that includes the same files under other names; what is not among the names stays as it is."""

    def line_of(line: bytes) -> bytes:
        match = _INCLUDE.fullmatch(line)
        new = None if match is None else names.get(match[1].decode("utf-8", "replace"))
        return line if match is None or new is None else line[: match.start(1)] + new.encode() + line[match.end(1) :]

    return b"\n".join(map(line_of, normalized(text).split(b"\n")))


def place_of(path: Path, number: int) -> Place:
    """Say where a line of the whole text stands; a number that it does not have is left alone."""
    for count, (place, _) in enumerate(_lines(path), start=1):
        if count == number:
            return place
    return Place(path.name, number)


def places_of(path: Path) -> list[tuple[Place, str]]:
    """Give every line of the whole text, with where it stands.

    Raises:
        OSError: the source cannot be read.
    """
    return [(place, line.decode("utf-8", "replace")) for place, line in _lines(path)]


def _lines(path: Path) -> Iterator[tuple[Place, bytes]]:
    return _of_file(path, path.parent, path.name, 0)


def _of_file(path: Path, folder: Path, name: str, depth: int) -> Iterator[tuple[Place, bytes]]:
    lines = normalized(path.read_bytes()).split(b"\n")
    if depth and not lines[-1]:
        lines.pop()  # behind the last line feed
    for number, line in enumerate(lines, start=1):
        match = _INCLUDE.fullmatch(line) if b"%include" in line else None
        inner = None if match is None else match[1].decode("utf-8", "replace")
        if inner is not None and depth < _DEEPEST and (folder / inner).is_file():
            yield from _of_file(folder / inner, folder, inner, depth + 1)
        else:
            yield Place(name, number), line


def normalized(source: bytes) -> bytes:
    """Return the source with Unix line ends: a checkout on Windows has others, and means the same."""
    return source.replace(b"\r\n", b"\n")
