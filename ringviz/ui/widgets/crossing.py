"""A crossing in motion: the moments between one ring and the next, in the order in which they are drawn."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

SECONDS = 0.05
"""Between two frames."""
_PER_LEG = 4
"""Frames from one ring to the next."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One moment of a crossing."""

    lit: int
    """The ring that is lit."""
    leg: int
    """Which part of the way, from 0."""
    share: float
    """How much of that part lies behind: 0 to 1."""


def frames(path: Sequence[int]) -> tuple[Frame, ...]:
    """Give the moments of a way through rings; the last of each leg lights the ring it leads to."""
    found = []
    legs = [(source, target) for source, target in pairwise(path) if source != target]
    for leg, (source, target) in enumerate(legs):
        for number in range(_PER_LEG):
            share = (number + 1) / _PER_LEG
            found.append(Frame(target if share == 1 else source, leg, share))
    return tuple(found)
