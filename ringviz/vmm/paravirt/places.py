"""The places of a kernel's source that were recompiled: what stood there, what stands there now, how often it ran."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from ringviz.facts.hypercalls import HYPERCALLS, VECTOR
from ringviz.guest.decode import decode
from ringviz.guest.image import Image, load_image
from ringviz.guest.instruction import Instruction
from ringviz.guest.recompiled import Change, Recompiled, recompiled
from ringviz.guest.scenario import Scenario, Variant
from ringviz.guest.symbols import LineRange, SourceLine, load_source_map
from ringviz.vmm.side import Mark, Side, SideRow

_DATA = frozenset({"db", "dw", "dd", "dq", "times", "resb", "resd", "align", "alignb", "section", "org"})
_MOST_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Place:
    """One recompiled place."""

    address: int
    """The INT 82h, or the first instruction where there is none."""
    ranges: tuple[tuple[int, int], ...]
    """Addresses of the whole change: first, and first behind."""
    was: str
    now: str
    """Name of the hypercall, or the instructions that need none."""
    title: str
    is_call: bool


def build_side(scenario: Scenario, calls: Mapping[int, int], eip: int) -> Side:
    """Make the panel's rows.

    Args:
        scenario: the guest.
        calls: how often a hypercall was made at an address.
        eip: where the CPU is.
    """
    change = _port(scenario)
    rows = []
    for place in places(scenario):
        times = calls.get(place.address, 0)
        rows.append(
            SideRow(
                place=f"{place.address:08X}",
                name=place.now,
                value=f"{times:,}×" if place.is_call else "",
                old=place.was,
                mark=Mark.CURRENT if _is_here(place, eip) else Mark.NONE,
                note=place.title,
                origin=place.address,
            )
        )
    known = {place.address for place in places(scenario)}
    for address in sorted(calls.keys() - known):
        rows.append(SideRow(f"{address:08X}", "INT 82h", f"{calls[address]:,}×", origin=address))
    total = sum(calls.values())
    caption = f"{total:,} so far"
    if change is not None:
        caption = f"{change.written} of {change.lines} source lines were written for the hypervisor; {caption}"
    return Side("Hypercalls", caption, tuple(rows))


def _is_here(place: Place, eip: int) -> bool:
    """A change with several calls marks the one that comes next."""
    return any(start <= eip < end for start, end in place.ranges)


@lru_cache(maxsize=16)
def _port(scenario: Scenario) -> Recompiled | None:
    return recompiled(scenario)


@lru_cache(maxsize=16)
def places(scenario: Scenario) -> tuple[Place, ...]:
    """The recompiled places of a scenario, by address."""
    port = _port(scenario)
    if port is None:
        return ()
    lines: dict[int, list[LineRange]] = {}
    for line in load_source_map(scenario, Variant.PARAVIRT).lines:
        lines.setdefault(line.number, []).append(line)
    image = load_image(scenario, Variant.PARAVIRT)
    data = _DATA | _data_macros(line for change in port.changes for line in change.recompiled)
    found = [place for change in port.changes for place in _places_of(change, lines, image, data)]
    return tuple(sorted(found, key=lambda place: place.address))


def _data_macros(lines: Iterable[SourceLine]) -> frozenset[str]:
    """Names of macros that make data: those whose first line does."""
    found: set[str] = set()
    name = ""
    for line in lines:
        words = _words(line).lower().split()
        if name and words and words[0] in _DATA:
            found.add(name)
        name = words[1] if words[:1] == ["%macro"] else ""
    return frozenset(found)


def _places_of(
    change: Change, lines: Mapping[int, list[LineRange]], image: Image, data: frozenset[str]
) -> Iterator[Place]:
    code = [line for line in change.recompiled if _is_code(line, data)]
    ranges = sorted(piece for line in code for piece in lines.get(line.number, ()))
    if not ranges:
        return
    was = _clipped("; ".join(_words(line) for line in change.original if _is_code(line, data)))
    pieces = tuple((piece.address, piece.address + piece.size_bytes) for piece in ranges)
    start = ranges[0].address
    number: int | None = None
    calls = 0
    for address, end in pieces:
        for instruction in _decoded(image, address, end):
            ops = instruction.ops
            if instruction.mnemonic == "mov" and ops[0].register == "eax":
                number = ops[1].value if ops[1].kind == "imm" else None
            elif instruction.form == "int" and ops[0].value == VECTOR:
                row = HYPERCALLS.get(number) if number is not None else None
                covered = tuple((max(a, start), min(b, instruction.next_address)) for a, b in pieces)
                yield Place(
                    instruction.address,
                    tuple((a, b) for a, b in covered if a < b),
                    was,
                    row.name if row is not None else "hypercall",
                    row.title if row is not None else "",
                    True,
                )
                start, number, calls = instruction.next_address, None, calls + 1
    if not calls:
        now = _clipped("; ".join(_words(line) for line in code))
        yield Place(start, pieces, was, now, "", False)


def _decoded(image: Image, address: int, end: int) -> Iterator[Instruction]:
    """Decode the instructions of one range of the image."""
    for segment in image.segments:
        if segment.address <= address and end <= segment.address + len(segment.data):
            while address < end:
                instruction = decode(segment.data[address - segment.address : end - segment.address], address, 32)
                if instruction is None:
                    return
                yield instruction
                address = instruction.next_address


def _is_code(line: SourceLine, data: frozenset[str]) -> bool:
    """Tell whether a line is an instruction: no data, no constant, no label alone, no directive."""
    words = _words(line).split()
    return bool(words) and words[0].lower() not in data and words[0][0] != "%" and "equ" not in words[:2]


def _words(line: SourceLine) -> str:
    """An instruction without label and comment, with single spaces."""
    text = " ".join(line.text.split(";")[0].split())
    head, colon, tail = text.partition(":")
    return tail.strip() if colon and " " not in head else text


def _clipped(text: str) -> str:
    return text if len(text) <= _MOST_SHOWN else text[: _MOST_SHOWN - 1] + "…"
