"""Names and source lines for the addresses of a guest.

They come from a small text file beside the image (`guest.sym` for `guest.bin`), written by the same
build, so that running needs no assembler. One row each, addresses in hexadecimal:

    source sha256 DIGEST              of guest.asm, with line ends as in Unix and the files that it includes
    image sha256 DIGEST               of guest.bin
    section START END NAME            what the guest occupies in memory; END is the first byte behind it
    symbol ADDRESS NAME               every label; local ones in full: putc.wait
    line ADDRESS BYTES NUMBER         the bytes that one line of the source became, counted with what is included
"""

import hashlib
from bisect import bisect_right
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from ringviz.errors import ScenarioError
from ringviz.guest.scenario import Scenario, Variant, shown_path
from ringviz.guest.source_text import Place, places_of, whole_source


class Section(NamedTuple):
    """A part of the guest in memory."""

    start: int
    end: int
    name: str


class Symbol(NamedTuple):
    """A label of the source."""

    address: int
    name: str


class LineRange(NamedTuple):
    """The bytes that one line of the source became."""

    address: int
    size_bytes: int
    number: int


class SourceLine(NamedTuple):
    """One line of the guest's source."""

    number: int
    """From 1."""
    text: str


@dataclass(frozen=True, slots=True)
class SourceMap:
    """Addresses to names and source lines, and back."""

    sections: tuple[Section, ...] = ()
    symbols: tuple[Symbol, ...] = ()
    """By address; labels at one address in the order of the source."""
    lines: tuple[LineRange, ...] = ()
    """By address, without overlaps."""
    source: tuple[str, ...] = ()
    """The lines of the source."""
    places: tuple[Place, ...] = field(default=(), compare=False)
    """Where each of them stands; empty where nobody has said."""
    _addresses: dict[str, int] = field(init=False, repr=False, compare=False)
    _symbol_starts: tuple[int, ...] = field(init=False, repr=False, compare=False)
    _line_starts: tuple[int, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_addresses", {symbol.name: symbol.address for symbol in self.symbols})
        object.__setattr__(self, "_symbol_starts", tuple(symbol.address for symbol in self.symbols))
        object.__setattr__(self, "_line_starts", tuple(line.address for line in self.lines))

    def address_of(self, name: str) -> int | None:
        """Return the address of a label, or None if the source has no such label.

        A local label, `start.loop`, may be given without the label it belongs to, if no other has its name.
        """
        found = self._addresses.get(name)
        if found is not None or not name:
            return found
        local = [address for label, address in self._addresses.items() if label.endswith(f".{name.removeprefix('.')}")]
        return local[0] if len(local) == 1 else None

    def symbol_at(self, address: int) -> tuple[str, int] | None:
        """Return the label at or before an address and the distance from it in bytes.

        Where several labels share an address the last one is taken: `gdt_end: idt:` is the start of `idt`.
        A label never reaches beyond its section, so an address outside the guest has none.
        """
        index = bisect_right(self._symbol_starts, address) - 1
        if index < 0:
            return None
        symbol = self.symbols[index]
        if symbol.address == address:
            return symbol.name, 0
        is_inside = any(part.start <= symbol.address and address < part.end for part in self.sections)
        return (symbol.name, address - symbol.address) if is_inside else None

    def line_at(self, address: int) -> SourceLine | None:
        """Return the source line that the byte at an address comes from, or None."""
        index = bisect_right(self._line_starts, address) - 1
        if index < 0:
            return None
        line = self.lines[index]
        if address >= line.address + line.size_bytes:
            return None
        return SourceLine(line.number, self.source[line.number - 1])

    def place_of(self, line: SourceLine) -> Place:
        """Say in which file a line stands, and where there; without that knowledge, where in the whole text."""
        return self.places[line.number - 1] if self.places else Place("", line.number)


def load_source_map(scenario: Scenario, variant: Variant = Variant.ORIGINAL) -> SourceMap:
    """Read the symbols and source lines of one of the scenario's builds; empty if the folder has no such file.

    Raises:
        ScenarioError: the file is broken, or belongs to another source or image than the folder has.
    """
    files = scenario.files(variant)
    path = files.symbols
    if not path.is_file():
        return SourceMap()
    where = shown_path(path)
    try:
        text = path.read_text(encoding="utf-8")
        source = whole_source(files.source)
        image = files.image.read_bytes()
    except UnicodeDecodeError:
        raise ScenarioError(f"{where}: not UTF-8, expected a file written by `ringviz build`") from None
    except OSError as error:
        raise ScenarioError(f"{where}: cannot be read: {error.strerror}") from None
    digests, source_map = parse_symbols(text, source, where)
    for kind, path, content in (("source", files.source, source), ("image", files.image, image)):
        if digests.get(kind) != _sha256(content):
            raise ScenarioError(f"{shown_path(path)}: not the file that {where} was made with; run `ringviz build`")
    return replace(source_map, places=tuple(place for place, _ in places_of(files.source)))


def format_symbols(source_map: SourceMap, source: bytes, image: bytes) -> str:
    """Return the text of the symbol file; the same input gives the same bytes on every machine."""
    rows = [
        "# Symbols and source lines, written by `ringviz build`; `ringviz build --verify` compares.",
        f"source sha256 {_sha256(source)}",
        f"image sha256 {_sha256(image)}",
    ]
    rows += [f"section {part.start:08x} {part.end:08x} {part.name}" for part in source_map.sections]
    rows += [f"symbol {symbol.address:08x} {symbol.name}" for symbol in source_map.symbols]
    rows += [f"line {line.address:08x} {line.size_bytes} {line.number}" for line in source_map.lines]
    return "\n".join(rows) + "\n"


def parse_symbols(text: str, source: bytes, where: str) -> tuple[dict[str, str], SourceMap]:
    """Read the text of a symbol file: SHA-256 digests by kind ("source", "image"), and the map.

    Raises:
        ScenarioError: a row that is none of the five kinds, or a line number that the source does not have.
    """
    source_lines = tuple(source.decode("utf-8", "replace").split("\n"))
    digests: dict[str, str] = {}
    sections: list[Section] = []
    symbols: list[Symbol] = []
    lines: list[LineRange] = []
    for number, row in enumerate(text.splitlines(), start=1):
        if not row.strip() or row.startswith("#"):
            continue
        try:
            match row.split():
                case ["section", start, end, name]:
                    sections.append(Section(int(start, 16), int(end, 16), name))
                case ["symbol", address, name]:
                    symbols.append(Symbol(int(address, 16), name))
                case ["line", address, size, line_number] if 1 <= int(line_number) <= len(source_lines):
                    lines.append(LineRange(int(address, 16), int(size), int(line_number)))
                case ["source" | "image" as kind, "sha256", digest]:
                    digests[kind] = digest
                case _:
                    raise ValueError
        except ValueError:
            raise ScenarioError(f"{where}: line {number} cannot be used; run `ringviz build`") from None
    in_order = tuple(sorted(symbols, key=lambda symbol: symbol.address))
    return digests, SourceMap(tuple(sections), in_order, tuple(sorted(lines)), source_lines)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
