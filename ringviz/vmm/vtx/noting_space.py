"""Guest-physical memory that remembers where an access went beyond it."""

from __future__ import annotations

from ringviz.machine.memory import Ram
from ringviz.vmm.guest_space import GuestSpace


class NotingSpace(GuestSpace):
    """As `GuestSpace`: ones beyond the end, and writes are lost. But each such access is noted."""

    def __init__(self, ram: Ram, base: int, size: int) -> None:
        super().__init__(ram, base, size)
        self.strayed: list[tuple[int, bool]] = []
        """Guest-physical address, and whether it was a write; whoever executes something takes these out."""

    def read_physical(self, address: int, size: int) -> bytes:
        """Read bytes, and note what lies beyond."""
        if address + size > self.size:
            self.strayed.append((max(address, self.size), False))
        return super().read_physical(address, size)

    def write_physical(self, address: int, data: bytes) -> None:
        """Write bytes, and note what lies beyond."""
        if address + len(data) > self.size:
            self.strayed.append((max(address, self.size), True))
        super().write_physical(address, data)

    def take(self) -> list[tuple[int, bool]]:
        """Give what was noted, and start anew."""
        noted, self.strayed = self.strayed, []
        return noted
