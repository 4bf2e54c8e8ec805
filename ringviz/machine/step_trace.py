"""What a few steps read and write in memory: the guest's own code, and whoever serves it.

The emulator tells of the loads and stores of the code that the CPU runs. What is stored on the guest's behalf without
that, a frame pushed on the way into a handler or the result of an instruction that a VMM carries out, passes through
`Ram.write`; what is only read so cannot be told from a VMM's own reading, and is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from ringviz.machine.machine import Machine


@dataclass(frozen=True, slots=True)
class Touch:
    """One access."""

    address: int
    """In RAM: host-physical."""
    size_bytes: int
    is_write: bool
    is_by_code: bool
    """A load or store of the code that the CPU runs; else a write on its behalf."""


@dataclass(slots=True)
class StepTrace:
    """The accesses of one stretch of a run, in order."""

    touches: list[Touch] = field(default_factory=list)
    old: dict[int, int] = field(default_factory=dict)
    """RAM address of each byte written -> what stood there before the first write."""

    def mark_at(self, address: int) -> tuple[bool, bool]:
        """Tell whether a byte of RAM was read, and whether it was written."""
        is_read = is_written = False
        for touch in self.touches:
            if 0 <= address - touch.address < touch.size_bytes:
                is_read |= not touch.is_write
                is_written |= touch.is_write
        return is_read, is_written


@contextmanager
def tracing(machine: Machine) -> Iterator[StepTrace]:
    """Note what is read and written from here on; what the machine does is the same with and without."""
    trace = StepTrace()
    ram = machine.ram

    def note(address: int, size: int, is_write: bool, is_by_code: bool) -> None:
        if is_write:
            for at, byte in enumerate(ram.read(address, size), address):
                trace.old.setdefault(at, byte)
        touch = Touch(address, size, is_write, is_by_code)
        # An access that finds no frame is begun anew, and told twice.
        if not trace.touches or trace.touches[-1] != touch:
            trace.touches.append(touch)

    ram.on_write = lambda address, size: note(address, size, True, False)
    try:
        with machine.cpu.telling_accesses(lambda is_write, address, size: note(address, size, is_write, True)):
            yield trace
    finally:
        ram.on_write = None
