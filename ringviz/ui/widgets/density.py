"""Marks over a line too short for them: rare kinds as signs, common ones as bars that tell how many there are."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ringviz.engine.view import Kind, Mark
from ringviz.ui.glyphs import KIND_LOOKS

RANK = [
    Kind.VIOLATION,
    Kind.SILENT,
    Kind.END,
    Kind.EXIT,
    Kind.TRAP,
    Kind.HYPERCALL,
    Kind.CALLOUT,
    Kind.TRANSLATE,
    Kind.REFLECT,
    Kind.INTERRUPT,
    Kind.FAULT,
    Kind.GATE,
    Kind.IO,
    Kind.GUEST,
]
"""Which kind is shown where several fall into one cell: the rarer and graver first."""
_BARS = "▁▂▃▄▅▆▇█"
_COMMON_SHARE = 3
"""A kind is common if it comes in more than one of so many cells."""
_FEWEST = 12
"""Cells; fewer can be told apart."""
_NEVER_COMMON = frozenset({Kind.VIOLATION, Kind.END})


@dataclass(frozen=True, slots=True)
class Density:
    """What each cell of the line has above it."""

    cells: Mapping[int, tuple[str, str]]
    """By cell: a sign and its colour."""
    common: tuple[Kind, ...]
    """Kinds drawn as bars, the most frequent first."""
    most: int
    """Events that the highest bar stands for."""


def density(marks: Sequence[Mark], cell_of: Mapping[int, int], columns: int) -> Density:
    """Draw marks.

    Args:
        marks: the events, thinned.
        cell_of: the cell of each mark, by its index.
        columns: cells of the line.
    """
    cells: dict[int, Counter[Kind]] = {}
    for index, mark in enumerate(marks):
        cells.setdefault(cell_of[index], Counter())[mark.kind] += mark.count
    presence = Counter(kind for counts in cells.values() for kind in counts)
    threshold = max(_FEWEST, columns // _COMMON_SHARE)
    crowded = [kind for kind, count in presence.most_common() if count > threshold and kind not in _NEVER_COMMON]
    # Where no cell has more than one event, every sign can stand for itself.
    common = tuple(crowded) if any(sum(counts.values()) > 1 for counts in cells.values()) else ()
    most = max((sum(counts[kind] for kind in common) for counts in cells.values()), default=0)
    drawn = {x: _cell(counts, common, most) for x, counts in cells.items()}
    return Density(drawn, common, most)


def _cell(counts: Counter[Kind], common: tuple[Kind, ...], most: int) -> tuple[str, str]:
    rare = min((kind for kind in counts if kind not in common), key=RANK.index, default=None)
    if rare is not None:
        return KIND_LOOKS[rare].glyph, f"bold {KIND_LOOKS[rare].colour}"
    here = sum(counts[kind] for kind in common)
    chief = max(common, key=lambda kind: counts[kind])
    return _BARS[(len(_BARS) - 1) * here // max(1, most)], KIND_LOOKS[chief].colour
