"""Which line of a guest's source became which bytes, file by file: what an editor tells of a line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from ringviz.engine.session import Session
from ringviz.guest.source_text import Place, places_of
from ringviz.vmm.registry import variant_for


class LineBytes(NamedTuple):
    """Bytes that a line became."""

    address: int
    size_bytes: int


@dataclass(frozen=True, slots=True, eq=False)
class SourceLines:
    """The lines of one build."""

    texts: Mapping[str, tuple[str, ...]]
    """By file, as the source names it: the lines that were assembled."""
    code: Mapping[tuple[str, int], tuple[LineBytes, ...]]
    """By file and row, from 0; a line of a macro that is used often has many."""
    current: tuple[str, int] | None
    """File and row of the instruction that comes next."""
    is_edited: bool = False
    """Of the guest as it was edited, not of the original."""


def source_lines(session: Session, names: Mapping[str, str] | None = None) -> SourceLines:
    """Give the lines of the build that a session runs.

    Args:
        session: the guest.
        names: for an edited guest: what the original's source calls the files of the build.
    """
    known = names or {}
    places = [
        (Place(known.get(place.file, place.file), place.number), text)
        for place, text in places_of(session.scenario.files(variant_for(session.technique.id)).source)
    ]
    texts: dict[str, dict[int, str]] = {}
    for place, text in places:
        texts.setdefault(place.file, {})[place.number - 1] = text
    code: dict[tuple[str, int], tuple[LineBytes, ...]] = {}
    for row in session.source.lines:
        where = places[row.number - 1][0]
        at = (where.file, where.number - 1)
        code[at] = (*code.get(at, ()), LineBytes(row.address, row.size_bytes))
    here = session.source.line_at(session.cpu_state(is_real=False).eip)
    current = None if here is None else places[here.number - 1][0]
    return SourceLines(
        {file: tuple(rows.get(n, "") for n in range(max(rows) + 1)) for file, rows in texts.items()},
        code,
        None if current is None else (current.file, current.number - 1),
        names is not None,
    )
