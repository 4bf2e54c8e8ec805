"""Who is to get how much of the CPU: weights, caps, and what an ideal host would give.

The ideal divides every moment among all machines that want the CPU then, by weight, none beyond its cap; what a capped
machine cannot take goes to the others. A real CPU runs one machine at a time, and comes as near as its scheduler can.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from fractions import Fraction

from ringviz.errors import InputError
from ringviz.facts.scheduling import DEFAULT_WEIGHT, LEAST_WEIGHT, MOST_WEIGHT

NO_CAP = 0
FULL_PERCENT = 100


@dataclass(frozen=True, slots=True)
class Share:
    """What a machine may have."""

    weight: int = DEFAULT_WEIGHT
    cap_percent: int = NO_CAP
    """Of the whole CPU, also if nobody else wants it; 0 is no cap."""

    def check(self, where: str) -> None:
        """Refuse what no scheduler has.

        Raises:
            InputError: one line that begins with `where`.
        """
        if not LEAST_WEIGHT <= self.weight <= MOST_WEIGHT:
            raise InputError(
                f"{where}: weight: found {self.weight}, expected a number from {LEAST_WEIGHT} to {MOST_WEIGHT:,}"
            )
        if not 0 <= self.cap_percent <= FULL_PERCENT:
            raise InputError(
                f"{where}: cap_percent: found {self.cap_percent}, expected a number from 0, which is no cap, to 100"
            )


def ideal_rates(shares: Mapping[str, Share], wanting: Collection[str]) -> dict[str, Fraction]:
    """Give each machine that wants the CPU its part of a moment; together they make up 1, unless caps forbid."""
    rates: dict[str, Fraction] = {}
    left, open_ones = Fraction(1), list(wanting)
    while open_ones:
        weight = sum(shares[name].weight for name in open_ones)
        capped = [
            name
            for name in open_ones
            if shares[name].cap_percent
            and left * shares[name].weight / weight >= Fraction(shares[name].cap_percent, FULL_PERCENT)
        ]
        if not capped:
            return rates | {name: left * shares[name].weight / weight for name in open_ones}
        for name in capped:
            rates[name] = Fraction(shares[name].cap_percent, FULL_PERCENT)
            left -= rates[name]
            open_ones.remove(name)
        if left <= 0:
            return rates | dict.fromkeys(open_ones, Fraction(0))
    return rates
