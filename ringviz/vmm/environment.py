"""The virtual computer around a virtual CPU, as the interpreter routines see it."""

from __future__ import annotations

from collections.abc import Callable

from ringviz.machine.bus import Bus
from ringviz.machine.cpuid import Cpuid, host_cpuid
from ringviz.machine.linear import LinearMemory, PhysicalSpace
from ringviz.machine.msr import read_msr, write_msr
from ringviz.machine.state import CpuState
from ringviz.machine.svm.registers import guest_time


class VirtualEnvironment:
    """Microcode's environment for a virtual CPU: virtual devices, virtual registers, guest memory."""

    def __init__(
        self,
        state: CpuState,
        space: PhysicalSpace,
        bus: Bus | None,
        now: int,
        flush: Callable[[], None] = lambda: None,
        cpuid: Cpuid = host_cpuid,
    ) -> None:
        """Make one.

        Args:
            state: the virtual CPU; routines change it.
            space: guest-physical memory.
            bus: the virtual devices; None for a what-if, in which ports read as ones and take nothing.
            now: device time, and the time-stamp counter.
            flush: called when the guest flushes its TLB.
            cpuid: what the virtual CPU says of itself.
        """
        self.state = state
        self.memory = LinearMemory(state, space)
        self.physical = space
        self._bus = bus
        self._now = now
        self._flush = flush
        self._cpuid = cpuid

    def read_port(self, port: int, size: int) -> int:
        """Input from a virtual device."""
        return (1 << 8 * size) - 1 if self._bus is None else self._bus.read(port, size, self._now)

    def write_port(self, port: int, size: int, value: int) -> None:
        """Output to a virtual device."""
        if self._bus is not None:
            self._bus.write(port, size, value, self._now)

    def read_msr(self, number: int) -> int | None:
        """Read a virtual model-specific register."""
        return read_msr(self.state, number, self.time_stamp())

    def write_msr(self, number: int, value: int) -> bool:
        """Write a virtual model-specific register."""
        return write_msr(self.state, number, value)

    def time_stamp(self) -> int:
        """The virtual time-stamp counter: retired guest instructions."""
        return guest_time(self.state.svm, self._now)

    def cpuid(self, leaf: int, subleaf: int) -> tuple[int, int, int, int]:
        """What the virtual CPU says of itself."""
        return self._cpuid(leaf, subleaf)

    def flush_tlb(self) -> None:
        """The guest flushed its TLB."""
        self._flush()
