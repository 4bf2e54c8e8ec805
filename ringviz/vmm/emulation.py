"""Full emulation: the guest's CPU is a variable in a program, and no instruction of the guest runs on a CPU.

The program fetches an instruction, decodes it, does to its variables what the manual says, and goes on to the next:
Bochs is such a program, and so is the emulated CPU beneath ringviz, which therefore serves as the interpreter here.
Whatever an instruction is, privileged, silent or innocuous, it is interpreted like every other: there is nothing to
trap, nothing to hide, and no ring that the guest could be pushed to. The price is paid at every single instruction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from ringviz.guest.instruction import Instruction
from ringviz.guest.scenario import Scenario
from ringviz.machine.linear import LinearMemory
from ringviz.machine.paging import Access
from ringviz.machine.state import CpuState
from ringviz.machine.stops import Halted, Stop, Watched
from ringviz.vmm.events import Event, Kind
from ringviz.vmm.hardware import HALTED, RETURNS, hardware_event, outcome_of, watched_return
from ringviz.vmm.outcome import RESUME, Outcome
from ringviz.vmm.setup import Setup
from ringviz.vmm.technique import Technique
from ringviz.vmm.walks import Tables, Walker, Walks, nowhere, one_dimension

EMULATOR_RING = 3
"""An emulator is an application of the machine below it."""
_HANDLER = "the emulator"
_NO_CPU_WALKS = (
    "No CPU walks these tables: the emulator reads them as data, and its own memory is translated by the tables of the "
    "machine it runs on"
)
_RULES = {
    Kind.GATE: "the emulator reads the gate in the guest's table, as the manual tells the CPU to",
    Kind.FAULT: "the emulator found that the instruction must fault",
    Kind.INTERRUPT: "the emulator asks its interrupt controller before each instruction, and IF is 1",
    Kind.IO: "the emulator passes it to the device it plays",
}


class Emulation(Technique):
    """An interpreter of machine code."""

    id: ClassVar[str] = "emulation"
    mmus: ClassVar[tuple[str, ...]] = ("shadow",)

    preemption_charges: ClassVar[tuple[str, ...]] = ("native-interrupt",)
    preemption_rule: ClassVar[str] = "the emulator is a program like others: the host's kernel interrupts it"

    def __init__(self, scenario: Scenario, setup: Setup) -> None:
        super().__init__(scenario, setup)
        self.machine.watch(RETURNS)

    def power_on(self, state: CpuState) -> None:
        """Set the variables."""
        self.machine.cpu.load(state)

    def guest_state(self) -> CpuState:
        """The variables are the guest's CPU, all of it."""
        return self.machine.state.copy()

    def real_state(self) -> CpuState:
        """The CPU below runs the emulator, in ring 3, and holds nothing of the guest's.

        Only its ring is known; the other registers are the guest's own values, which lie in the emulator's memory.
        """
        return replace(self.guest_state(), cpl=EMULATOR_RING)

    def guest_memory(self) -> LinearMemory:
        """The emulator walks the guest's page tables itself."""
        return self.machine.memory

    def walks(self, linear: int, access: Access) -> Walks:
        """The emulator walks the guest's tables, which are data to it; what the CPU below walks is its own affair."""
        walked = one_dimension(
            self.machine.ram.read_int, self.machine.state, linear, access,
            walker=Walker.EMULATOR, tables=Tables.GUEST, gpa_of=lambda address: address, hpa_of=nowhere,
        )  # fmt: skip
        return Walks((walked,), note=_NO_CPU_WALKS)

    def cpu_walk(self, linear: int, access: Access) -> None:
        """None: the guest's tables are data."""
        del linear, access

    def completed_by_vmm(self) -> int:
        """Every instruction."""
        return self.machine.retired

    def guest_weight(self) -> int:
        """None of it."""
        return 0

    def tallies(self) -> Mapping[str, int]:
        """Every instruction has its price."""
        return {"interpreted-instruction": self.machine.retired}

    def handle(self, stop: Stop) -> Outcome:
        """Interpret what is not plain computation, and tell it."""
        if isinstance(stop, Watched):
            inner = watched_return(self, stop)
            self.events[:] = [_told(event) for event in self.events]
            return RESUME if inner is None else self.handle(inner)
        if isinstance(stop, Halted):
            return HALTED
        before = self.machine.state.copy()
        at = self.machine.retired
        completion = self.complete(stop)
        event = hardware_event(self, stop, before, self.machine.state, at, completion)
        if event is not None:
            self.events.append(_told(event))
        return outcome_of(self, completion)

    def verdict(self, instruction: Instruction, cpl: int) -> tuple[str, str]:
        """All instructions are equal before an interpreter."""
        return "emulated", "the emulator does what the manual says of it, with the guest's CPU in its memory"


def _told(event: Event) -> Event:
    """Say of an event that it happened in a program: the CPU below stays in ring 3."""
    return replace(
        event,
        rule=_RULES.get(event.kind, event.rule),
        handler=_HANDLER,
        charges=() if event.kind in (Kind.IO, Kind.END) else ("interpreted-instruction",),
        # Delivery is a routine of the interpreter; only the device's own price remains.
        native_charges=event.native_charges if event.kind is Kind.IO else (),
        changes=tuple(replace(change, is_real=False) for change in event.changes),
        from_ring=EMULATOR_RING,
        to_ring=EMULATOR_RING,
    )
