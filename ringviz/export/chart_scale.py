"""The scales that both drawings of slowdown against year share: years to the right, slowdown upwards in octaves."""

from __future__ import annotations

from dataclasses import dataclass
from math import log2

from ringviz.engine.generations import Generations, Point

BREAK_EVEN = 1.0
"""Bare metal on the same CPU."""
MOSTLY_LENT_PERCENT = 50
"""From this share on a point is drawn as one that rests on another CPU's prices."""
_STEPS = (1.0, 1.5)
"""Lines of the grid within an octave."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Where things go, as fractions of the drawing's width and height."""

    first_year: int
    last_year: int
    top: float
    """Slowdown at the upper edge; the lower edge is bare metal."""

    @classmethod
    def of(cls, result: Generations) -> Scale:
        """Make room for everything."""
        years = [cpu.year for cpu in result.cpus]
        most = max(float(point.slowdown) for point in result.points)
        top = 2.0
        while top < most:
            top *= 1.5 if log2(top).is_integer() else 4 / 3
        return cls(min(years), max(years), top)

    def across(self, year: int) -> float:
        """Give the place of a year, 0 to 1."""
        return (year - self.first_year) / max(1, self.last_year - self.first_year)

    def up(self, slowdown: float) -> float:
        """Give the place of a slowdown, 0 to 1; one below bare metal's is drawn on its line."""
        return max(0.0, log2(slowdown) / log2(self.top))

    def grid(self) -> tuple[float, ...]:
        """Give the slowdowns that have a line of the grid, bare metal's first."""
        found = []
        octave = 1.0
        while octave <= self.top:
            found += [octave * step for step in _STEPS if octave * step <= self.top]
            octave *= 2
        return tuple(found)


def is_mostly_lent(point: Point) -> bool:
    """Most of its VMM's cycles are counted at prices of another CPU, for want of figures."""
    return point.lent_percent >= MOSTLY_LENT_PERCENT


def curves(result: Generations) -> list[list[Point]]:
    """Give the points that a line joins: one way on the CPUs of one maker, by year."""
    found: dict[tuple[str, str], list[Point]] = {}
    for way in result.ways:
        for point in result.points:
            if point.way is way:
                found.setdefault((way.id, point.cpu.vendor), []).append(point)
    return list(found.values())
