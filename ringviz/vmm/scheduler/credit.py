"""The credit scheduler: machines are given credits by weight, burn them while they run, and are `under` or `over`.

Whoever has credits left is under its share and goes before those that are over; among equals it is first come, first
served, and who has run lines up again behind the others of its kind. A machine that wakes from a sleep with credits
left is boosted: it goes before all, until it has run once. Credits are in cycles here, and as many are burnt as were
run. Nobody can hoard more than the CPU for a whole period; what it cannot take is given to the others.

Source: Xen wiki, Credit Scheduler. How much can be hoarded, and that the rest is passed on, are ours: so there is one
credit for each cycle to come, and nobody sinks into debt for what others have left unused.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ringviz.facts.scheduling import TICK_CYCLES

_BOOST, _UNDER, _OVER = 0, 1, 2


class Credit:
    """An account for each machine, and a queue."""

    def __init__(self) -> None:
        self._credits: dict[str, int] = {}
        self._queue: list[str] = []
        self._boosted: set[str] = set()

    def credits(self, name: str) -> int:
        """What a machine has, or owes."""
        return self._credits.get(name, 0)

    def pick(self, ready: Collection[str], weights: Mapping[str, int]) -> str:
        """Choose by priority, and of equals the one that has waited longest."""
        del weights
        self._queue += [name for name in ready if name not in self._queue]
        return min((name for name in self._queue if name in ready), key=self._priority)

    def _priority(self, name: str) -> int:
        if name in self._boosted:
            return _BOOST
        return _UNDER if self._credits.get(name, 0) > 0 else _OVER

    def charge(self, name: str, cycles: int, weight: int) -> None:
        """Burn what a turn has taken; the machine lines up behind the others."""
        del weight
        self._credits[name] = self._credits.get(name, 0) - cycles
        self._boosted.discard(name)
        if name in self._queue:
            self._queue.remove(name)
        self._queue.append(name)

    def account(self, present: Collection[str], weights: Mapping[str, int], cycles: int) -> None:
        """Give out credits by weight, so that all together have one for each cycle until the next accounting."""
        takers = dict.fromkeys(present, cycles)
        left = max(0, cycles - sum(self._credits.get(name, 0) for name in present))
        while left and takers:
            weight = sum(weights[name] for name in takers)
            given = {name: left * weights[name] // weight for name in takers}
            given[next(iter(given))] += left - sum(given.values())  # what division leaves over
            left = 0
            for name, credits in given.items():
                self._credits[name] = self._credits.get(name, 0) + credits
                surplus = self._credits[name] - takers[name]
                if surplus >= 0:
                    self._credits[name] = takers.pop(name)
                    left += surplus

    def wake(self, name: str, ready: Collection[str]) -> None:
        """Boost a machine that comes back from a sleep with credits left."""
        del ready
        if name in self._credits and self._credits[name] > 0:
            self._boosted.add(name)
        if name not in self._queue:
            self._queue.append(name)

    def longest_turn(self, name: str, time_slice: int) -> int:
        """A time slice, or up to the tick at which a machine is found to have burnt all it had."""
        credits = self._credits.get(name, 0)
        ticks = -(-credits // TICK_CYCLES)
        return min(time_slice, ticks * TICK_CYCLES) if credits > 0 else time_slice

    def preempts(self, name: str) -> bool:
        """Tell whether a machine that wakes now is to have the CPU at once."""
        return self._credits.get(name, 0) > 0

    def leave(self, name: str) -> None:
        """Forget a machine."""
        self._credits.pop(name, None)
        self._boosted.discard(name)
        if name in self._queue:
            self._queue.remove(name)
