"""Slowdown against year as an SVG picture: the same bytes on every machine, and no script or font in it.

Plotting libraries put random ids, dates or the fonts of the machine into what they write, or weigh more than all of
ringviz; a chart of one kind takes a page of code.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from xml.sax.saxutils import escape

from ringviz.engine.generations import Generations, Point, Way
from ringviz.export.chart_scale import BREAK_EVEN, Scale, curves, is_mostly_lent
from ringviz.export.chart_text import short_name
from ringviz.export.chart_words import TITLE, notes, times, verdicts

_WIDTH, _PLOT_HEIGHT = 960, 420
_LEFT, _RIGHT, _TOP, _BELOW = 64, 220, 64, 64
_LINE_HEIGHT = 17
_WORDS_PER_LINE = 128
"""Characters."""
_LABEL_GAP = 15
"""Names at the right edge stand at least so far apart."""
_COLOURS = {"B": "#8f4416", "S": "#8a6400", "N": "#1f7a3a", "P": "#a0246f", "s": "#1f5fa8", "n": "#0a7272"}
_OTHER = "#2a3040"
_INK, _DIM, _FRAME, _PAPER = "#1b2130", "#5d6678", "#d8d5cd", "#fbfaf7"
_FONT = "font-family='system-ui, sans-serif'"


def draw_svg(result: Generations, title: str) -> str:
    """Give the picture of a chart, the verdicts and notes beneath it included.

    Args:
        result: at least one point.
        title: of the scenario.
    """
    texts = [*verdicts(result), *notes(result)]
    if any(is_mostly_lent(point) for point in result.points):
        texts.append("A hollow mark: most of what the VMM costs there is at another CPU's prices.")
    words = [line for text in texts for line in _wrapped(text)]
    height = _TOP + _PLOT_HEIGHT + _BELOW + _LINE_HEIGHT * len(words) + 16
    picture = _Picture(result)
    lines = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {_WIDTH} {height}' width='{_WIDTH}' height='{height}'"
        f" role='img' {_FONT}>",
        f"<title>{escape(title)}</title>",
        f"<rect width='{_WIDTH}' height='{height}' fill='{_PAPER}'/>",
        _text(_LEFT, 28, title, 17, _INK, weight="bold"),
        _text(_LEFT, 48, TITLE[0].upper() + TITLE[1:], 13, _DIM),
        *picture.grid(),
        *picture.names(),
        *(piece for curve in curves(result) for piece in picture.curve(curve)),
        *picture.legend(),
    ]
    y = _TOP + _PLOT_HEIGHT + _BELOW
    lines += [_text(_LEFT, y + _LINE_HEIGHT * number, text, 12, _INK) for number, text in enumerate(words)]
    return "\n".join([*lines, "</svg>", ""])


class _Picture:
    """Places of one chart in the picture."""

    def __init__(self, result: Generations) -> None:
        self._result = result
        self._scale = Scale.of(result)

    def _x(self, year: int) -> int:
        return _LEFT + round(self._scale.across(year) * (_WIDTH - _LEFT - _RIGHT))

    def _y(self, slowdown: float) -> int:
        return _TOP + _PLOT_HEIGHT - round(self._scale.up(slowdown) * _PLOT_HEIGHT)

    def grid(self) -> Iterator[str]:
        """Slowdowns to the left; bare metal's line is the strong one."""
        right = _WIDTH - _RIGHT + 20
        for slowdown in self._scale.grid():
            y, is_even = self._y(slowdown), slowdown == BREAK_EVEN
            colour, stroke = (_INK, 1.5) if is_even else (_FRAME, 1)
            yield f"<line x1='{_LEFT}' y1='{y}' x2='{right}' y2='{y}' stroke='{colour}' stroke-width='{stroke}'/>"
            yield _text(_LEFT - 8, y + 4, f"{slowdown:g}x", 12, _DIM, anchor="end")
        yield _text(right + 4, self._y(BREAK_EVEN) + 4, "bare metal", 12, _INK)

    def names(self) -> Iterator[str]:
        """The years, and the CPUs of each below it."""
        bottom = _TOP + _PLOT_HEIGHT
        years: dict[int, list[str]] = {}
        for cpu in self._result.cpus:
            years.setdefault(cpu.year, []).append(short_name(cpu))
        for year, names in years.items():
            yield _text(self._x(year), bottom + 18, str(year), 12, _INK, anchor="middle")
            for number, name in enumerate(names):
                yield _text(self._x(year), bottom + 32 + 13 * number, name, 11, _DIM, anchor="middle")

    def curve(self, points: list[Point]) -> Iterator[str]:
        """A way on the CPUs of one maker. AMD's lines are broken."""
        way = points[0].way
        spots = [(self._x(point.cpu.year), self._y(float(point.slowdown))) for point in points]
        path = " ".join(f"{x},{y}" for x, y in spots)
        dashes = " stroke-dasharray='5 4'" if points[0].cpu.vendor == "amd" else ""
        yield f"<polyline points='{path}' fill='none' stroke='{_colour(way)}' stroke-width='1.5'{dashes}/>"
        for point, (x, y) in zip(points, spots, strict=True):
            fill = _PAPER if is_mostly_lent(point) else _colour(way)
            told = f"{way.title} on {point.cpu.title}: {times(float(point.slowdown))}"
            yield (
                f"<g fill='{fill}' stroke='{_colour(way)}' stroke-width='1.5'>{_shape(way, x, y)}"
                f"<title>{escape(told)}</title></g>"
            )

    def legend(self) -> Iterator[str]:
        """Each way's name at the right, at the height of its last point where there is room."""
        ends = []
        for way in self._result.ways:
            last = [point for point in self._result.points if point.way is way][-1]
            ends.append((self._y(float(last.slowdown)), way, last))
        ends.sort(key=lambda end: -end[0])
        below = _TOP + _PLOT_HEIGHT - _LABEL_GAP
        for y, way, last in ends:
            below = min(y, below)
            x = _WIDTH - _RIGHT + 24
            yield f"<g fill='{_colour(way)}'>{_shape(way, x + 6, below)}</g>"
            words = f"{way.title} {times(float(last.slowdown))}"
            yield _text(x + 16, below + 4, words, 11, _colour(way))
            below -= _LABEL_GAP


def _colour(way: Way) -> str:
    return _COLOURS.get(way.mark, _OTHER)


def _shape(way: Way, x: int, y: int) -> str:
    """Each way has a shape of its own, for those who see no colours: of hardware's, nested paging is the triangle."""
    match way.mark:
        case "S" | "s":
            return f"<rect x='{x - 4}' y='{y - 4}' width='8' height='8'/>"
        case "N" | "n":
            return f"<polygon points='{x},{y - 5} {x + 5},{y + 4} {x - 5},{y + 4}'/>"
        case "P":
            return f"<polygon points='{x},{y - 6} {x + 5},{y} {x},{y + 6} {x - 5},{y}'/>"
        case _:
            return f"<circle cx='{x}' cy='{y}' r='4.5'/>"


def _text(x: int, y: int, words: str, size: int, colour: str, *, anchor: str = "start", weight: str = "normal") -> str:
    return (
        f"<text x='{x}' y='{y}' font-size='{size}' fill='{colour}' text-anchor='{anchor}'"
        f" font-weight='{weight}'>{escape(words)}</text>"
    )


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _WORDS_PER_LINE, subsequent_indent="   ")
