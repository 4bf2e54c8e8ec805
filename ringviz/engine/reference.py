"""What bare metal would have paid: the native run of a scenario, as running totals of cycles."""

from __future__ import annotations

from functools import lru_cache

from ringviz.engine.recording import Cancelled, Recording, never
from ringviz.facts.instruction_weights import HUNDREDTHS
from ringviz.guest.scenario import Scenario
from ringviz.vmm.registry import choose

NATIVE = "native"


class NativeReference:
    """The native run, played as far as somebody has asked."""

    def __init__(self, scenario: Scenario, cpu_id: str) -> None:
        self._recording = Recording(scenario, NATIVE, choose(NATIVE, cpu=cpu_id))
        self._weights: dict[int, int] = {}
        """What the instructions up to a position weigh, wherever somebody has asked."""

    def cycles_at(self, position: int, *, at_end: bool = False, cancelled: Cancelled = never) -> int | None:
        """Cycles of bare metal up to a position; None if the native run ends earlier, or was not played so far."""
        recording = self._recording
        if recording.explored < position or (at_end and recording.end is None):
            recording.seek(position, cancelled)
            if at_end:
                recording.play(position + 1, cancelled)
            if recording.position < position:
                return None
        weight = self._weight_at(position, cancelled)
        if weight is None:
            return None
        log = recording.log
        count = len(log) if at_end else log.before(position)
        return weight // HUNDREDTHS + log.native_cycles(count)

    def _weight_at(self, position: int, cancelled: Cancelled) -> int | None:
        """Go where the instructions weigh what is asked for; None if that was cancelled on the way."""
        if position not in self._weights:
            self._recording.seek(position, cancelled)
            if self._recording.position != position:
                return None
            self._weights[position] = self._recording.technique.guest_weight()
        return self._weights[position]

    def cycles_of_all(self, cancelled: Cancelled = never) -> int | None:
        """Cycles of bare metal for the whole run; None if it was cancelled."""
        self._recording.play_to_the_end(cancelled)
        end = self._recording.end
        return None if end is None else self.cycles_at(end.position, at_end=True)


@lru_cache(maxsize=4)
def native_reference(scenario: Scenario, cpu_id: str) -> NativeReference:
    """Share one native run among all sessions of a scenario on a CPU."""
    return NativeReference(scenario, cpu_id)
