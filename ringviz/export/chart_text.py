"""Slowdown against year as text: letters on a grid of cells, which colour may help and need not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from ringviz.engine.generations import Generations, Point
from ringviz.export.chart_scale import BREAK_EVEN, Scale, curves
from ringviz.facts.cpu_profile import CpuProfile

AXIS_CELLS = 7
"""Room for the slowdowns to the left."""
_RIGHT_CELLS = 12
"""Room to the right for the last CPU's name."""
_NAME_ROWS = 3
_BREAK_EVEN_WORDS = " bare metal "
_SAME_YEAR_CELLS = 3
"""CPUs of one year stand so far apart."""

SHORT_NAMES = {
    "p4-672": "P4 672",
    "core2": "Core 2",
    "k8-revf": "K8 rev F",
    "barcelona": "Barcelona",
    "nehalem": "Nehalem",
    "westmere": "Westmere",
    "sandy-bridge": "Sandy Bridge",
    "haswell": "Haswell",
    "skylake": "Skylake",
}
"""For axes; a CPU of the user's own is called by its id."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Text of one kind within a line."""

    text: str
    look: str = ""
    """Id of the way that it belongs to, `axis`, or nothing."""


Line = tuple[Piece, ...]


def short_name(cpu: CpuProfile) -> str:
    """Name a CPU in a few letters."""
    return SHORT_NAMES.get(cpu.id, cpu.id)


def plain(line: Line) -> str:
    """Give a line without its looks."""
    return "".join(piece.text for piece in line).rstrip()


def draw(result: Generations, width_cells: int, height_cells: int) -> list[Line]:
    """Draw the chart, its axes and the legend.

    Args:
        result: at least one point.
        width_cells: of all of it.
        height_cells: of the part above the years.
    """
    scale = Scale.of(result)
    grid = _Grid(width_cells - AXIS_CELLS, height_cells)
    places = _places(result, scale, grid.width - _RIGHT_CELLS)
    top = height_cells - 1
    labels: dict[int, str] = {}
    for slowdown in scale.grid():
        row = top - round(scale.up(slowdown) * top)
        if row not in labels or slowdown == BREAK_EVEN:
            labels[row] = f"{slowdown:g}x"
    grid.rule(top - round(scale.up(BREAK_EVEN) * top), _BREAK_EVEN_WORDS)

    def spot(point: Point) -> tuple[int, int]:
        return places[point.cpu.id], top - round(scale.up(float(point.slowdown)) * top)

    for curve in curves(result):
        for one, other in pairwise(curve):
            grid.join(spot(one), spot(other), one.way.id)
    for point in result.points:
        grid.mark(*spot(point), point.way.mark, point.way.id)
    lines = [
        (Piece(f"{labels.get(row, ''):>{AXIS_CELLS - 2}} {'┤' if row in labels else '│'}", "axis"), *pieces)
        for row, pieces in enumerate(grid.lines())
    ]
    lines += _years(result, scale, places, grid.width)
    lines.append(())
    lines += _legend(result, width_cells)
    return lines


class _Grid:
    """Cells of the drawing, each with a look."""

    def __init__(self, width: int, height: int) -> None:
        self.width = width
        self._text = [[" "] * width for _ in range(height)]
        self._look = [[""] * width for _ in range(height)]
        self._is_marked = [[False] * width for _ in range(height)]

    def rule(self, row: int, words: str) -> None:
        """Draw a line across, with words at its end."""
        for column, character in enumerate("─" * (self.width - len(words)) + words):
            self._text[row][column], self._look[row][column] = character, "axis"

    def join(self, start: tuple[int, int], end: tuple[int, int], look: str) -> None:
        """Put dots between two spots, where nothing is yet."""
        (x, y), (to_x, to_y) = start, end
        steps = max(abs(to_x - x), abs(to_y - y))
        for step in range(1, steps):
            # Whole numbers, rounded half up: the same on every machine.
            column = x + (2 * (to_x - x) * step + steps) // (2 * steps)
            row = y + (2 * (to_y - y) * step + steps) // (2 * steps)
            if self._text[row][column] == " ":
                self._text[row][column], self._look[row][column] = "·", look

    def mark(self, column: int, row: int, letter: str, look: str) -> None:
        """Put a letter at a spot, or beside what stands there already."""
        while column < self.width - 1 and self._is_marked[row][column]:
            column += 1
        self._text[row][column], self._look[row][column] = letter, look
        self._is_marked[row][column] = True

    def lines(self) -> Iterator[Line]:
        """Give the rows, cells of one look together."""
        for texts, looks in zip(self._text, self._look, strict=True):
            pieces: list[Piece] = []
            for text, look in zip(texts, looks, strict=True):
                if pieces and pieces[-1].look == look:
                    pieces[-1] = Piece(pieces[-1].text + text, look)
                else:
                    pieces.append(Piece(text, look))
            yield tuple(pieces)


def _places(result: Generations, scale: Scale, width: int) -> dict[str, int]:
    """Give each CPU its column; two of one year stand beside one another."""
    places: dict[str, int] = {}
    for cpu in result.cpus:
        column = round(scale.across(cpu.year) * (width - 1))
        while column in places.values():
            column += _SAME_YEAR_CELLS
        places[cpu.id] = column
    return places


def _years(result: Generations, scale: Scale, places: dict[str, int], width: int) -> list[Line]:
    """Give the line of years, and the names of the CPUs below it wherever they fit."""
    years = [" "] * width
    for year in dict.fromkeys(cpu.year for cpu in result.cpus):
        at = min(places[cpu.id] for cpu in result.cpus if cpu.year == year)
        years[at : at + 4] = str(year)
    rows = [[" "] * width for _ in range(_NAME_ROWS)]
    for cpu in result.cpus:
        name, at = short_name(cpu), places[cpu.id]
        for row in rows:
            before = row[max(0, at - 1) : at + len(name) + 1]
            if at + len(name) <= width and not "".join(before).strip():
                row[at : at + len(name)] = name
                break
    texts = ["".join(row) for row in (years, *rows)]
    return [(Piece(" " * AXIS_CELLS + text, "axis"),) for text in texts if text.strip()]


def _legend(result: Generations, width: int) -> Iterator[Line]:
    """Say which letter is which way, as many to a line as fit."""
    line: list[Piece] = []
    used = 0
    for way in result.ways:
        words = f" {way.title}   "
        if line and used + len(words) + 1 - 3 > width:
            yield tuple(line)
            line, used = [], 0
        line += [Piece(way.mark, way.id), Piece(words)]
        used += len(words) + 1
    yield tuple(line)
