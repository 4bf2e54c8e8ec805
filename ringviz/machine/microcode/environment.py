"""What a routine may touch: a CPU state, its memory, its ports, its model-specific registers and its clock."""

from __future__ import annotations

from enum import Enum
from typing import Protocol

from ringviz.machine.linear import LinearMemory, PhysicalSpace
from ringviz.machine.state import CpuState


class Effect(Enum):
    """How an instruction ended, where it did not fault."""

    DONE = "done"
    HALTED = "halted"
    """HLT: complete, and the CPU now waits for an interrupt."""
    UNFINISHED = "unfinished"
    """A long string instruction gave way: it goes on when the CPU runs again, and has not retired."""


class Environment(Protocol):
    """The rest of the computer, as one CPU sees it."""

    state: CpuState
    memory: LinearMemory
    physical: PhysicalSpace
    """Physical memory as this CPU sees it: where a VMCB lies."""

    def read_port(self, port: int, size: int) -> int:
        """Input from a port."""

    def write_port(self, port: int, size: int, value: int) -> None:
        """Output to a port."""

    def read_msr(self, number: int) -> int | None:
        """Value of a model-specific register; None if there is none of that number."""

    def write_msr(self, number: int, value: int) -> bool:
        """Set a model-specific register; False if there is none, or the value is reserved."""

    def time_stamp(self) -> int:
        """The time-stamp counter."""

    def cpuid(self, leaf: int, subleaf: int) -> tuple[int, int, int, int]:
        """EAX, EBX, ECX, EDX of CPUID."""

    def flush_tlb(self) -> None:
        """Forget cached translations."""


class GuestFault(Exception):  # noqa: N818 - an exception of the guest, not an error of ours
    """The instruction raised an exception; nothing else of it happened."""

    def __init__(self, vector: int, error_code: int | None = None) -> None:
        super().__init__(f"vector {vector}, error code {error_code}")
        self.vector = vector
        self.error_code = error_code


class UnsupportedError(Exception):
    """The instruction asks for something this machine does not have (hardware task switches)."""
