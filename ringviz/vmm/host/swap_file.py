"""The host's swap file: pages that have no frame, as real bytes on disk."""

from __future__ import annotations

import heapq
import tempfile
from typing import IO

from ringviz.machine.memory import PAGE


class SwapFile:
    """Slots of one page each; the file is made when the first is needed, and is gone with the host."""

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None
        self._slots = 0
        self._free: list[int] = []

    @property
    def used(self) -> int:
        """Slots that hold a page."""
        return self._slots - len(self._free)

    def store(self, data: bytes) -> int:
        """Write a page and give its slot."""
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="ringviz-swap-", buffering=0)  # noqa: SIM115 - as long as the host
        if self._free:
            slot = heapq.heappop(self._free)
        else:
            slot = self._slots
            self._slots += 1
        self._file.seek(slot * PAGE)
        self._file.write(data)
        return slot

    def load(self, slot: int) -> bytes:
        """Read the page in a slot."""
        assert self._file is not None
        self._file.seek(slot * PAGE)
        return self._file.read(PAGE)

    def free(self, slot: int) -> None:
        """Let a slot be used for another page: what it held is wiped."""
        assert self._file is not None
        self._file.seek(slot * PAGE)
        self._file.write(bytes(PAGE))
        heapq.heappush(self._free, slot)
