"""Registers of a device that lie among the memory addresses, shown to the CPU as memory for one instruction.

The CPU reaches them with ordinary instructions, so there is nothing to trap but the address. Whoever is asked for the
page lends one that holds what the device would answer, lets the instruction run, and passes on what it has stored.
Registers are four bytes wide and aligned; reading one of the devices here has no effect, so it may be read in advance.
"""

from __future__ import annotations

from dataclasses import dataclass

from ringviz.guest.instruction import Instruction
from ringviz.machine.bus import Bus
from ringviz.machine.memory import PAGE

_WIDTH = 4


@dataclass(frozen=True, slots=True)
class _Access:
    gpa: int
    size: int
    is_write: bool
    retired: int
    now: int


class DeviceWindow:
    """The one access that is under way, if any."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._access: _Access | None = None

    def open(
        self, gpa: int, instruction: Instruction | None, *, is_write: bool, retired: int, now: int
    ) -> bytes | None:
        """Give the page as the CPU is to see it; None where no device has registers.

        Args:
            gpa: address of the access that found no memory.
            instruction: the one that makes it; None where it is not known.
            is_write: the access itself is a store; an instruction may read first and store later.
            retired: instructions completed before it.
            now: device time.
        """
        if self._bus.memory_device(gpa) is None:
            return None
        operand = None
        if instruction is not None and not instruction.is_string:
            operand = next((op for op in instruction.ops if op.kind == "mem" and (op.is_read or op.is_written)), None)
        size = _WIDTH if operand is None else operand.size_bytes
        stores = is_write or (operand is not None and operand.is_written)
        self._access = _Access(gpa, size, stores, retired, now)
        page = bytearray(b"\xff" * PAGE)
        offset = gpa & (PAGE - 1)
        if operand is None or operand.is_read:
            data = self._bus.read_memory(gpa, size, now).to_bytes(size, "little")
            page[offset : offset + size] = data[: PAGE - offset]
        return bytes(page)

    @property
    def is_open(self) -> bool:
        """A page of a device is lent."""
        return self._access is not None

    def close(self, page: bytes, retired: int) -> None:
        """Take the page back; what the instruction stored there is the device's.

        Args:
            page: as the instruction has left it.
            retired: instructions completed by now; if none, nothing has been stored.
        """
        access, self._access = self._access, None
        if access is None or retired == access.retired or not access.is_write:
            return
        offset = access.gpa & (PAGE - 1)
        value = int.from_bytes(page[offset : offset + access.size], "little")
        self._bus.write_memory(access.gpa, access.size, value, access.now)
