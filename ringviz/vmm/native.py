"""Bare metal: no VMM. Every stop is completed by the hardware itself; events only tell what it did."""

from __future__ import annotations

from typing import ClassVar

from ringviz.machine.linear import LinearMemory
from ringviz.machine.state import CpuState
from ringviz.machine.stops import Stop
from ringviz.vmm.hardware import hardware_event, outcome_of
from ringviz.vmm.outcome import Outcome
from ringviz.vmm.technique import Technique


class Native(Technique):
    """The reference: the guest owns the machine."""

    id: ClassVar[str] = "native"

    def power_on(self, state: CpuState) -> None:
        """Load the state into the CPU."""
        self.machine.cpu.load(state)

    def guest_state(self) -> CpuState:
        """On bare metal, belief and truth are one."""
        return self.machine.state.copy()

    def guest_memory(self) -> LinearMemory:
        """Likewise."""
        return self.machine.memory

    def handle(self, stop: Stop) -> Outcome:
        """Let the hardware do what it does, and say so."""
        before = self.machine.state.copy()
        at = self.machine.retired
        completion = self.machine.complete(stop)
        after = self.machine.state
        event = hardware_event(self, stop, before, after, at, completion)
        if event is not None:
            self.events.append(event)
        return outcome_of(self, completion)
