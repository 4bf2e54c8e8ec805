"""The geometry of the rings: discs inside discs on a grid of half-cell pixels. No colours, no widget."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot

from ringviz.engine.view import Seat

_INNERMOST_SHARE = 2.4
_RESIDENT_SHARE = 2.0
_EMPTY_SHARE = 1.0
"""How thick a ring is drawn, relative to the others: rings where somebody lives need room for a name."""


@dataclass(frozen=True, slots=True)
class Disc:
    """One ring as a disc; what lies inside `inner` belongs to the next ring."""

    seat: Seat
    outer: float
    """In pixels; a pixel is one cell wide and half a cell high, so nearly square."""
    inner: float


@dataclass(frozen=True, slots=True)
class Discs:
    """All rings, and where they stand on the grid."""

    width: int
    height: int
    """In cells."""
    centre_x: float
    centre_y: float
    """In pixels."""
    discs: tuple[Disc, ...]
    """Outermost first."""

    def ring_at(self, x: int, pixel_y: int) -> int | None:
        """Give the ring that a pixel lies in, or None outside all of them."""
        distance = hypot(x + 0.5 - self.centre_x, pixel_y + 0.5 - self.centre_y)
        for disc in reversed(self.discs):
            if distance <= disc.outer:
                return disc.seat.ring
        return None

    def label_row(self, disc: Disc) -> int:
        """Give the cell row for the ring's name: in the upper arc of its band, or amid the innermost disc."""
        if disc.inner == 0:
            return int(self.centre_y) // 2
        return int((self.centre_y - (disc.outer * 0.45 + disc.inner * 0.55)) // 2)

    def lower_row(self, disc: Disc) -> int:
        """Give the cell row in the lower arc of a ring's band that mirrors `label_row`; below the name amid a disc."""
        if disc.inner == 0:
            return self.label_row(disc) + 1
        return int((self.centre_y + (disc.outer * 0.45 + disc.inner * 0.55)) // 2)

    def column_right_of_centre(self, ring: int) -> int:
        """Give the cell column in the middle of the ring's band, on the horizontal line right of the centre."""
        for disc in self.discs:
            if disc.seat.ring == ring:
                return int(self.centre_x + (disc.outer + disc.inner) / 2)
        return int(self.centre_x)


def lay_out(seats: Sequence[Seat], width: int, height: int) -> Discs:
    """Fit the rings into `width` by `height` cells.

    Args:
        seats: innermost first, as in `RingsView`.
        width: in cells.
        height: in cells.
    """
    radius = min(width / 2, float(height)) - 0.25
    shares = [_INNERMOST_SHARE, *(_RESIDENT_SHARE if seat.resident else _EMPTY_SHARE for seat in seats[1:])]
    unit = radius / sum(shares)
    discs = []
    inner = 0.0
    for seat, share in zip(seats, shares, strict=True):
        outer = inner + share * unit
        discs.append(Disc(seat, outer, inner))
        inner = outer
    return Discs(width, height, width / 2, float(height), tuple(reversed(discs)))


def has_room(seats: Sequence[Seat], width: int, height: int) -> bool:
    """Whether every ring can be drawn at least one cell thick, and each name has a line of its own."""
    if not seats or width < 24 or height < 2 * len(seats) + 2:
        return False
    discs = lay_out(seats, width, height)
    return len({discs.label_row(disc) for disc in discs.discs}) == len(seats)
