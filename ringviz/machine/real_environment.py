"""What microcode works with on the real CPU: one state of it, and the machine around."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ringviz.machine.linear import LinearMemory, PhysicalSpace
from ringviz.machine.msr import read_msr, write_msr
from ringviz.machine.state import CpuState
from ringviz.machine.svm.registers import guest_time

if TYPE_CHECKING:
    from ringviz.machine.machine import Machine


class RealEnvironment:
    """The machine around one state of its CPU, as microcode sees it."""

    def __init__(self, machine: Machine, state: CpuState) -> None:
        self._machine = machine
        self.state = state
        self.memory = LinearMemory(state, machine, machine.on_own_access)
        self.physical: PhysicalSpace = machine

    def read_port(self, port: int, size: int) -> int:
        """Input from the bus."""
        return self._machine.bus.read(port, size, self._machine.now)

    def write_port(self, port: int, size: int, value: int) -> None:
        """Output to the bus."""
        self._machine.bus.write(port, size, value, self._machine.now)

    def read_msr(self, number: int) -> int | None:
        """Read a model-specific register of the real CPU."""
        return read_msr(self.state, number, self.time_stamp())

    def write_msr(self, number: int, value: int) -> bool:
        """Write a model-specific register of the real CPU."""
        return write_msr(self.state, number, value)

    def time_stamp(self) -> int:
        """One tick a retired instruction, or as long in HLT, so that it shows the same under every technique."""
        return guest_time(self.state.svm, self._machine.now)

    def cpuid(self, leaf: int, subleaf: int) -> tuple[int, int, int, int]:
        """What the emulated CPU says of itself."""
        return self._machine.cpuid(leaf, subleaf)

    def flush_tlb(self) -> None:
        """Forget cached translations of the CPU."""
        self._machine.flush_tlb()
