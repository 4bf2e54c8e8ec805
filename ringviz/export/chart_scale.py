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
    bottom: float
    """Slowdown at the lower edge: bare metal, unless something is faster, such as a kernel that was recompiled."""
    top: float
    """Slowdown at the upper edge."""

    @classmethod
    def of(cls, result: Generations) -> Scale:
        """Make room for everything."""
        years = [cpu.year for cpu in result.cpus]
        slowdowns = [float(point.slowdown) for point in result.points]
        most, least = max(slowdowns), min(slowdowns)
        top, bottom = 2.0, BREAK_EVEN
        while bottom > least > 0:
            bottom *= 0.75 if log2(bottom).is_integer() else 2 / 3
        while top < most:
            top *= 1.5 if log2(top).is_integer() else 4 / 3
        return cls(min(years), max(years), bottom, top)

    def across(self, year: int) -> float:
        """Give the place of a year, 0 to 1."""
        return (year - self.first_year) / max(1, self.last_year - self.first_year)

    def up(self, slowdown: float) -> float:
        """Give the place of a slowdown, 0 to 1."""
        return log2(slowdown / self.bottom) / log2(self.top / self.bottom) if slowdown > self.bottom else 0.0

    def grid(self) -> tuple[float, ...]:
        """Give the slowdowns that have a line of the grid, the lowest first."""
        found = []
        octave = BREAK_EVEN
        while octave > self.bottom:
            octave /= 2
        while octave <= self.top:
            found += [octave * step for step in _STEPS if self.bottom <= octave * step <= self.top]
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
