"""Round-robin: each machine in turn, whatever its weight."""

from __future__ import annotations

from collections.abc import Collection, Mapping


class RoundRobin:
    """A queue of machines: who has run goes to its end."""

    def __init__(self) -> None:
        self._queue: list[str] = []

    def pick(self, ready: Collection[str], weights: Mapping[str, int]) -> str:
        """Choose the one that has waited longest."""
        del weights
        self._queue += [name for name in ready if name not in self._queue]
        return next(name for name in self._queue if name in ready)

    def charge(self, name: str, cycles: int, weight: int) -> None:
        """Send a machine that has run to the end of the queue."""
        del cycles, weight
        if name in self._queue:
            self._queue.remove(name)
        self._queue.append(name)

    def account(self, present: Collection[str], weights: Mapping[str, int], cycles: int) -> None:
        """Nothing: there are no accounts."""

    def wake(self, name: str, ready: Collection[str]) -> None:
        """Let a machine that has slept line up at the end."""
        del ready
        if name in self._queue:
            self._queue.remove(name)
        self._queue.append(name)

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
        if name in self._queue:
            self._queue.remove(name)
