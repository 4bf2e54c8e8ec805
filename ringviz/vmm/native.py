"""Bare metal: no VMM. Every stop is completed by the hardware itself; events only tell what it did."""

from __future__ import annotations

from typing import ClassVar

from ringviz.guest.instruction import Instruction
from ringviz.guest.scenario import Scenario
from ringviz.machine.linear import LinearMemory
from ringviz.machine.paging import Access
from ringviz.machine.state import CpuState
from ringviz.machine.stops import Halted, Stop, Watched
from ringviz.machine.svm.intercepts import possible_intercepts
from ringviz.vmm.hardware import HALTED, RETURNS, hardware_event, outcome_of, watched_return
from ringviz.vmm.outcome import RESUME, Outcome
from ringviz.vmm.setup import Setup
from ringviz.vmm.technique import Technique
from ringviz.vmm.verdicts import on_bare_cpu
from ringviz.vmm.walks import Tables, TableWalk, Walker, Walks, one_dimension, within


class Native(Technique):
    """The reference: the guest owns the machine."""

    id: ClassVar[str] = "native"
    mmus: ClassVar[tuple[str, ...]] = ("none",)

    def __init__(self, scenario: Scenario, setup: Setup) -> None:
        super().__init__(scenario, setup)
        self.machine.watch(RETURNS)

    def no_preemption(self) -> str:
        """Nobody is beneath it."""
        return "bare metal has no VMM that could take the CPU from it"

    def power_on(self, state: CpuState) -> None:
        """Load the state into the CPU."""
        self.machine.cpu.load(state)

    def guest_state(self) -> CpuState:
        """On bare metal, belief and truth are one."""
        return self.machine.state.copy()

    def guest_memory(self) -> LinearMemory:
        """Likewise."""
        return self.machine.memory

    def walks(self, linear: int, access: Access) -> Walks:
        """The CPU walks the guest's tables, in one dimension: guest-physical is host-physical."""
        return Walks((self.cpu_walk(linear, access),))

    def cpu_walk(self, linear: int, access: Access) -> TableWalk:
        """That one."""
        ram = self.machine.ram
        return one_dimension(
            ram.read_int, self.machine.state, linear, access,
            walker=Walker.CPU, tables=Tables.GUEST, gpa_of=lambda address: address, hpa_of=within(0, ram.size),
        )  # fmt: skip

    def handle(self, stop: Stop) -> Outcome:
        """Let the hardware do what it does, and say so."""
        if isinstance(stop, Watched):
            inner = watched_return(self, stop)
            return RESUME if inner is None else self.handle(inner)
        if isinstance(stop, Halted):
            return HALTED
        before = self.machine.state.copy()
        at = self.machine.retired
        completion = self.complete(stop)
        after = self.machine.state
        event = hardware_event(self, stop, before, after, at, completion)
        if event is not None:
            self.events.append(event)
        return outcome_of(self, completion)

    def verdict(self, instruction: Instruction, cpl: int) -> tuple[str, str]:
        """The CPU's own rules; and in the guest of a hypervisor, what that has asked for."""
        word, why = on_bare_cpu(instruction.form, cpl)
        guest = self.machine.guest_mode
        if guest is None or instruction.form is None or (word == "faults" and instruction.form != "vmmcall"):
            return word, why
        asked = next((name for name in possible_intercepts(instruction) if name in guest.intercepts), "")
        return ("exits", f"the hypervisor's own VMCB intercepts {asked}") if asked else (word, why)
