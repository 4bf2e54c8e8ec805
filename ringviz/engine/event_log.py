"""All events of a run, in order, with running totals: any question about a prefix is answered without a scan."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import overload

from ringviz.engine.events import Event, record
from ringviz.facts.costs import CpuProfile, cost_of
from ringviz.vmm.events import Event as RawEvent

_CHECKPOINT_EVERY = 1024
_MOST_SHARED = 4096
_OFTEN_ALIKE = ("address", "instruction", "cause", "rule", "action", "charges", "native_charges", "changes", "resume",
                "detail")  # fmt: skip
"""Fields of an event whose values come again and again."""
_NOTHING: Mapping[str, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Counts:
    """How often each cost cause was charged."""

    vmm: Counter[str]
    """On the VMM's account."""
    native: Counter[str]
    """On that of the machine itself: bare metal pays for the same thing."""

    def add(self, event: RawEvent) -> None:
        """Count what an event charges."""
        for cause in event.charges:
            self.vmm[cause] += 1
        for cause in event.native_charges:
            self.native[cause] += 1

    def copy(self) -> Counts:
        """Give counters that go on by themselves."""
        return Counts(self.vmm.copy(), self.native.copy())


class EventLog(Sequence[Event]):
    """Grows at its end only. Items are made when asked for."""

    def __init__(self, cpu: CpuProfile) -> None:
        self._cpu = cpu
        self.raw: list[RawEvent] = []
        self._at = array("Q")
        self._overhead = array("Q", [0])
        """Running total of cycles that events put on the VMM's account, one more than there are events."""
        self._tallied = array("Q", [0])
        """Cycles of what comes without an event, as it stood at each event."""
        self._native = array("Q", [0])
        """Running total of cycles that bare metal pays too."""
        self._checkpoints: list[Counts] = [Counts(Counter(), Counter())]
        self._running = Counts(Counter(), Counter())
        self._known_prices: dict[tuple[tuple[str, ...], tuple[str, ...]], tuple[int, int]] = {}
        self._shared: dict[object, object] = {}
        """Values of late, each once: a million events of a loop say the same few things."""

    def append(self, event: RawEvent, tallies: Mapping[str, int] = _NOTHING) -> None:
        """Add an event.

        Args:
            event: what happened.
            tallies: what has come without an event up to now, by cause.
        """
        self._share(event)
        self.raw.append(event)
        self._tallied.append(self.tally_cycles(tallies))
        self._at.append(event.at)
        overhead, native = self._prices(event.charges, event.native_charges)
        self._overhead.append(self._overhead[-1] + overhead)
        self._native.append(self._native[-1] + native)
        self._running.add(event)
        if len(self.raw) % _CHECKPOINT_EVERY == 0:
            self._checkpoints.append(self._running.copy())

    def _share(self, event: RawEvent) -> None:
        """Have equal values of events be one object, which more than halves what a long run takes of memory."""
        if len(self._shared) > _MOST_SHARED:
            self._shared.clear()
        for name in _OFTEN_ALIKE:
            value = getattr(event, name)
            # An event is frozen; that it now has an equal value in the old one's place, nobody can see.
            object.__setattr__(event, name, self._shared.setdefault(value, value))

    def _prices(self, charges: tuple[str, ...], native_charges: tuple[str, ...]) -> tuple[int, int]:
        """Add up the cycles on the VMM's and on bare metal's account; there are few combinations of causes."""
        known = self._known_prices.get((charges, native_charges))
        if known is None:
            known = (
                sum(cost_of(self._cpu, cause).charged_cycles for cause in charges),
                sum(cost_of(self._cpu, cause).charged_cycles for cause in native_charges),
            )
            self._known_prices[charges, native_charges] = known
        return known

    def __len__(self) -> int:
        return len(self.raw)

    @overload
    def __getitem__(self, index: int) -> Event: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Event]: ...
    def __getitem__(self, index: int | slice) -> Event | Sequence[Event]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self.raw)))]
        if index < 0:
            index += len(self.raw)
        return record(index + 1, self.raw[index], self.cycles(index))

    def __iter__(self) -> Iterator[Event]:
        for index in range(len(self.raw)):
            yield self[index]

    def before(self, position: int) -> int:
        """How many events happened before `position` retired instructions were reached."""
        return bisect_left(self._at, position)

    def cycles(self, index: int) -> int | None:
        """Price of one event; None if it charges something without a known price, and nothing else."""
        return price_of(self._cpu, self.raw[index])

    def charged(self) -> Iterator[int]:
        """Give what each event puts on both accounts; what has no price counts as nothing."""
        for index in range(len(self.raw)):
            overhead = self._overhead[index + 1] - self._overhead[index]
            yield overhead + self._native[index + 1] - self._native[index]

    def tally_cycles(self, tallies: Mapping[str, int]) -> int:
        """Price what comes without an event."""
        return sum(times * cost_of(self._cpu, cause).charged_cycles for cause, times in tallies.items())

    def event_cycles(self, count: int) -> int:
        """Cycles that the first `count` events put on the VMM's account."""
        return self._overhead[count]

    def overhead_cycles(self, count: int) -> int:
        """All cycles on the VMM's account up to the `count`-th event, with what came without events till then."""
        return self._overhead[count] + self._tallied[count]

    def native_cycles(self, count: int) -> int:
        """Cycles of the first `count` events that bare metal pays too."""
        return self._native[count]

    def causes(self, count: int) -> Counter[str]:
        """How often each cost cause was charged in the first `count` events, on both accounts together."""
        counts = self.accounts(count)
        return counts.vmm + counts.native

    def accounts(self, count: int) -> Counts:
        """How often each cost cause was charged in the first `count` events, on which account."""
        checkpoint = count // _CHECKPOINT_EVERY
        counts = self._checkpoints[checkpoint].copy()
        for event in self.raw[checkpoint * _CHECKPOINT_EVERY : count]:
            counts.add(event)
        return counts


def price_of(cpu: CpuProfile, event: RawEvent) -> int | None:
    """Price an event; None if it charges something without a known price, and nothing else."""
    prices = [cost_of(cpu, cause).cycles for cause in (*event.charges, *event.native_charges)]
    known = [price for price in prices if price is not None]
    return sum(known) if known else None
