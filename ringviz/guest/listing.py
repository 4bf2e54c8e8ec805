"""From NASM's map file and listing to symbols and source lines.

The map says where sections and labels are; the listing says which line became which bytes, counted from
the start of a section. Neither is a format that NASM promises to keep. So nothing is taken on trust:
every byte that the listing shows is compared with the image at the address worked out for it, and every
line that it quotes with the source. If NASM ever writes them differently the build fails; it never lies.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ringviz.errors import ToolError
from ringviz.guest.symbols import LineRange, Section, SourceMap, Symbol

_SECTION_ROW = re.compile(r"\s*([0-9A-F]+)\s+([0-9A-F]+)\s+([0-9A-F]+)\s+([0-9A-F]+)\s+(progbits|nobits)\s+(\S+)")
_SYMBOL_ROW = re.compile(r"\s*([0-9A-F]+)\s+([0-9A-F]+)\s+(\S+)")
_SECTION_TITLE = re.compile(r"---- Section (\S+) -")

_LISTING_ROW = re.compile(
    r"\s*(?P<number>\d+)"  # line number in the file the line stands in
    r"(?: (?P<offset>[0-9A-F]{8,16}) (?P<bytes>[^\s-]\S*?(?: [0-9A-Fa-f]+h>)?)(?P<more>-)?(?=\s|$))?"
    r"(?P<rest>.*)"
)
_LEVEL = re.compile(r"\s<(\d+)>\s*$")
_DIRECTIVE = re.compile(r"\s*\[?\s*(?:section|segment)\s+([^\s\];]+)", re.IGNORECASE)
_PIECE = re.compile(
    r"(?P<known>[0-9A-F]+)"
    r"|[\[(](?P<unknown>[0-9A-F]+)[\])]"  # an address that is known only when all sections have their place
    r"|<rep (?P<times>[0-9A-Fa-f]+)h>"
    r"|<bin (?P<included>[0-9A-Fa-f]+)h>"
)
_WARNING_MARK = "******"
"""Stands in the byte column where NASM writes a warning into the listing."""
_TEXT_COLUMN = 40
"""Where the listing's copy of the source line begins."""


@dataclass(frozen=True, slots=True)
class _MapSection:
    run: int
    """The address it runs at."""
    load: int
    """The address it is loaded at; less the origin, its offset in the image."""
    section: Section
    is_in_image: bool


@dataclass(frozen=True, slots=True)
class _ListedBytes:
    """What one row of the listing shows."""

    section: str
    offset: int
    pattern: tuple[int | None, ...]
    """The bytes; None where the listing does not know the value."""
    number: int


def read_listing(listing: str, map_text: str, source: str, image: bytes) -> SourceMap:
    """Work out the source map of an image that NASM has just assembled.

    Args:
        listing: NASM's `-l` file.
        map_text: what `[map symbols segments]` wrote.
        source: the main source file, with Unix line ends.
        image: the assembled bytes.

    Raises:
        ToolError: listing, map, source and image do not tell the same story.
    """
    source_lines = tuple(source.split("\n"))
    origin, map_sections = _read_sections(map_text)
    lines: list[LineRange] = []
    for listed in _listed_bytes(listing, source_lines):
        home = map_sections.get(listed.section)
        if home is None:
            raise ToolError(f'NASM lists bytes in section "{listed.section}", which its map does not have')
        if not home.is_in_image:
            continue
        start = home.load - origin + listed.offset
        actual = image[start : start + len(listed.pattern)]
        is_same = len(actual) == len(listed.pattern) and all(
            shown is None or shown == byte for shown, byte in zip(listed.pattern, actual, strict=True)
        )
        if not is_same:
            raise ToolError(
                f"NASM's listing and image differ at line {listed.number}; is this an unknown NASM version?"
            )
        lines.append(LineRange(home.run + listed.offset, len(listed.pattern), listed.number))
    return SourceMap(
        sections=tuple(sorted(home.section for home in map_sections.values())),
        symbols=tuple(sorted(_read_symbols(map_text), key=lambda symbol: symbol.address)),
        lines=_joined(lines),
        source=source_lines,
    )


def _read_sections(map_text: str) -> tuple[int, dict[str, _MapSection]]:
    origin_match = re.search(r"-- Program origin -+\s+([0-9A-F]+)\s", map_text)
    if origin_match is None:
        raise ToolError("NASM's map file names no program origin; is this an unknown NASM version?")
    sections = {}
    for match in map(_SECTION_ROW.fullmatch, map_text.splitlines()):
        if match is None:
            continue
        run, load, _, length = (int(value, 16) for value in match.groups()[:4])
        name = match[6]
        sections[name] = _MapSection(run, load, Section(run, run + length, name), match[5] == "progbits")
    return int(origin_match[1], 16), sections


def _read_symbols(map_text: str) -> Iterator[Symbol]:
    """Yield the labels, not the constants: those stand under "No Section"."""
    in_section = False
    _, _, symbols_part = map_text.partition("-- Symbols -")
    for row in symbols_part.splitlines():
        if row.startswith("----"):
            in_section = _SECTION_TITLE.match(row) is not None
        elif in_section and (match := _SYMBOL_ROW.fullmatch(row)) and not match[3].startswith("..@"):
            # Labels that begin with "..@" are made by macros; nobody wrote them.
            yield Symbol(int(match[2], 16), match[3])


def _listed_bytes(listing: str, source_lines: tuple[str, ...]) -> Iterator[_ListedBytes]:
    """Yield what the rows of the listing show.

    Rows of macros, repetitions and included files count for the line of the main file that brought them in.
    """
    section = ".text"
    number = 0
    is_continued = False
    for row in listing.splitlines():
        match = _LISTING_ROW.fullmatch(row)
        if match is None or _WARNING_MARK in row[:_TEXT_COLUMN]:
            continue
        text = row[_TEXT_COLUMN:] if len(row) > _TEXT_COLUMN else ""
        level = _LEVEL.search(row[:_TEXT_COLUMN])
        if level is None and not is_continued:
            number = int(match["number"])
            _check_quote(number, text, source_lines)
        if directive := _DIRECTIVE.match(text):
            section = directive[1]
        is_continued = match["more"] is not None
        pattern = _pattern(match["bytes"]) if match["bytes"] else ()
        if pattern:
            yield _ListedBytes(section, int(match["offset"], 16), pattern, number)


def _check_quote(number: int, quoted: str, source_lines: tuple[str, ...]) -> None:
    if not quoted.strip():
        return
    written = source_lines[number - 1] if 1 <= number <= len(source_lines) else ""
    # A line continued with a backslash is listed as one; a very long one is cut off.
    if not "".join(quoted.split()).startswith("".join(written.rstrip().rstrip("\\").split())[:100]):
        raise ToolError(f"NASM's listing quotes line {number} differently; is this an unknown NASM version?")


def _pattern(shown: str) -> tuple[int | None, ...]:
    """Turn a listing's byte column into byte values; empty for reserved memory, which has none."""
    pattern: list[int | None] = []
    position = 0
    while position < len(shown):
        match = _PIECE.match(shown, position)
        if match is None:
            return ()
        if match["known"]:
            pattern += bytes.fromhex(match["known"])
        elif match["unknown"]:
            pattern += [None] * (len(match["unknown"]) // 2)
        elif match["times"]:
            pattern *= int(match["times"], 16)
        else:
            pattern += [None] * int(match["included"], 16)
        position = match.end()
    return tuple(pattern)


def _joined(lines: list[LineRange]) -> tuple[LineRange, ...]:
    """Join the rows of one line that follow each other in memory."""
    joined: list[LineRange] = []
    for line in sorted(lines):
        if joined:
            last = joined[-1]
            if last.number == line.number and last.address + last.size_bytes == line.address:
                joined[-1] = LineRange(last.address, last.size_bytes + line.size_bytes, line.number)
                continue
        joined.append(line)
    return tuple(joined)
