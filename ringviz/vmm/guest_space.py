"""Guest-physical memory as a VMM reaches it: a window of the machine's RAM."""

from __future__ import annotations

from collections.abc import Callable, Container

from ringviz.machine.memory import PAGE, PAGE_SHIFT, Ram

MOST_PAGES_LENT = 16
"""Pages outside the guest shown to one instruction before it has to ask again: a repeated one may want millions."""


class GuestSpace:
    """Guest-physical 0 .. size at a RAM address. Beyond it nothing answers: ones, and writes are lost."""

    def __init__(self, ram: Ram, base: int, size: int) -> None:
        self._ram = ram
        self.base = base
        self.size = size
        self.touched: set[int] = set()
        """Guest frames written by the VMM on the guest's behalf; whoever reads it may empty it."""
        self._frames: Container[int] = ()
        self._on_written: Callable[[int, bytes, bytes], None] | None = None

    def watch_writes(self, frames: Container[int], on_written: Callable[[int, bytes, bytes], None]) -> None:
        """Tell somebody about each write to certain guest frames, after it was made.

        Args:
            frames: which; looked at anew for every write.
            on_written: takes a guest-physical address divisible by 8, and what stood there before and stands now.
        """
        self._frames, self._on_written = frames, on_written

    def read_physical(self, address: int, size: int) -> bytes:
        """Read bytes at a guest-physical address."""
        return self.peek_physical(address, size)

    def peek_physical(self, address: int, size: int) -> bytes:
        """Read bytes for a spectator: nobody who listens to accesses hears of it."""
        inside = max(0, min(size, self.size - address))
        return self._ram.read(self.base + address, inside) + b"\xff" * (size - inside)

    def write_physical(self, address: int, data: bytes) -> None:
        """Write bytes at a guest-physical address."""
        data = data[: max(0, self.size - address)]
        if not data:
            return
        self.touched.update((address >> PAGE_SHIFT, address + len(data) - 1 >> PAGE_SHIFT))
        if self._on_written is None or address >> PAGE_SHIFT not in self._frames:
            self._ram.write(self.base + address, data)
            return
        first = address & ~7
        size = (address + len(data) + 7 & ~7) - first
        old = self.read_physical(first, size)
        self._ram.write(self.base + address, data)
        self._on_written(first, old, self.read_physical(first, size))

    def give_up(self, page: int) -> None:
        """Let a page hold zeros that the guest's balloon driver gives up, by its number."""
        self.touched.add(page)
        first, is_heard = page << PAGE_SHIFT, self._on_written is not None and page in self._frames
        old = self.peek_physical(first, PAGE) if is_heard else b""
        self._ram.inflate((self.base >> PAGE_SHIFT) + page)
        if is_heard:
            assert self._on_written is not None
            self._on_written(first, old, bytes(PAGE))


class Overlay:
    """A scratch copy of memory for a what-if: reads see its writes, the memory beneath stays as it is."""

    def __init__(self, beneath: GuestSpace) -> None:
        self._beneath = beneath
        self.written: dict[int, int] = {}
        """Guest-physical address -> byte."""

    def read_physical(self, address: int, size: int) -> bytes:
        """Read bytes, the scratch ones first."""
        data = bytearray(self._beneath.read_physical(address, size))
        for i in range(size):
            if address + i in self.written:
                data[i] = self.written[address + i]
        return bytes(data)

    def write_physical(self, address: int, data: bytes) -> None:
        """Write into the scratch copy; where nothing answers, nothing is written."""
        data = data[: max(0, self._beneath.size - address)]
        self.written.update(zip(range(address, address + len(data)), data, strict=True))
