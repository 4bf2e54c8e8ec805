"""Stride scheduling: the machine that has had least for its weight is next.

A machine's pass moves on by its stride for each time slice, and the stride is the less the more weight it has. A turn
that ends early, or runs over, moves it by as much as it took. Who comes back from a sleep starts no further behind than
the others are, else it would have the CPU for itself until it had caught up.

Source: Waldspurger & Weihl 1995, as told by secondary sources; there a machine is a client, and its weight tickets.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

_STRIDE_ONE = 1 << 20
"""Pass for one cycle at weight 1: large, so that integers lose nothing that matters."""


class Stride:
    """A pass for each machine."""

    def __init__(self) -> None:
        self._passes: dict[str, int] = {}

    def pick(self, ready: Collection[str], weights: Mapping[str, int]) -> str:
        """Choose the lowest pass; of equal ones the machine that was started first."""
        del weights
        for name in ready:
            self._passes.setdefault(name, 0)
        return min(ready, key=lambda name: self._passes[name])

    def charge(self, name: str, cycles: int, weight: int) -> None:
        """Move a machine's pass on."""
        self._passes[name] = self._passes.get(name, 0) + cycles * _STRIDE_ONE // weight

    def account(self, present: Collection[str], weights: Mapping[str, int], cycles: int) -> None:
        """Nothing: the passes are the accounts."""

    def wake(self, name: str, ready: Collection[str]) -> None:
        """Let a machine start no further behind than the one that is furthest behind now."""
        others = [self._passes[other] for other in ready if other != name and other in self._passes]
        self._passes[name] = max(self._passes.get(name, 0), min(others, default=0))

    def longest_turn(self, name: str, time_slice: int) -> int:
        """A whole time slice."""
        del name
        return time_slice

    def preempts(self, name: str) -> bool:
        """No: who wakes waits for the end of the turn."""
        del name
        return False

    def leave(self, name: str) -> None:
        """Forget a machine."""
        self._passes.pop(name, None)
