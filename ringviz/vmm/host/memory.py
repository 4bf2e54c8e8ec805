"""The host's memory: one block of bytes, of which every virtual machine has a stretch for itself.

A machine's emulated CPU is given its own stretch and nothing else: no address that a guest can form leads out of it.
What a machine leaves behind is wiped before somebody else gets it.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass

from ringviz.errors import UnsupportedError
from ringviz.machine.memory import PAGE

_ZERO = bytes(PAGE)


@dataclass(frozen=True, slots=True)
class Stretch:
    """A row of the host's memory that belongs to one machine."""

    owner: str
    first_byte: int
    size_bytes: int


class HostMemory:
    """All of it, and who owns what."""

    def __init__(self, size_bytes: int) -> None:
        """Make a host's memory, whole pages, all zero."""
        self.size_bytes = size_bytes
        self._block = memoryview(mmap.mmap(-1, size_bytes))
        self._stretches: list[Stretch] = []

    @property
    def stretches(self) -> tuple[Stretch, ...]:
        """Who owns what, by place."""
        return tuple(self._stretches)

    @property
    def free_bytes(self) -> int:
        """What nobody owns; it need not be in one piece."""
        return self.size_bytes - sum(stretch.size_bytes for stretch in self._stretches)

    def owner_of(self, page: int) -> str | None:
        """Say whose a page is, by its number; None if it is free."""
        at = page * PAGE
        for stretch in self._stretches:
            if stretch.first_byte <= at < stretch.first_byte + stretch.size_bytes:
                return stretch.owner
        return None

    def lend(self, owner: str, size_bytes: int) -> memoryview:
        """Give a machine a stretch of its own: the first gap that is large enough.

        Raises:
            UnsupportedError: there is none; one line with what is needed and what there is.
        """
        first = 0
        for index, stretch in enumerate([*self._stretches, Stretch("", self.size_bytes, 0)]):
            if stretch.first_byte - first >= size_bytes:
                self._stretches.insert(index, Stretch(owner, first, size_bytes))
                return self._block[first : first + size_bytes]
            first = stretch.first_byte + stretch.size_bytes
        raise UnsupportedError(
            f"needs {_mib(size_bytes)} with its VMM; of the host's {_mib(self.size_bytes)}, {_mib(self.free_bytes)} are"
            f" free, {_mib(self._largest_gap())} in one piece"
        )

    def take_back(self, owner: str) -> None:
        """Wipe what a machine had, and have it free."""
        for stretch in [stretch for stretch in self._stretches if stretch.owner == owner]:
            for at in range(stretch.first_byte, stretch.first_byte + stretch.size_bytes, PAGE):
                if self._block[at : at + PAGE] != _ZERO:
                    self._block[at : at + PAGE] = _ZERO
            self._stretches.remove(stretch)

    def content_of(self, owner: str) -> bytes:
        """Give the bytes of all that a machine has."""
        return b"".join(
            bytes(self._block[stretch.first_byte : stretch.first_byte + stretch.size_bytes])
            for stretch in self._stretches
            if stretch.owner == owner
        )

    def _largest_gap(self) -> int:
        largest = first = 0
        for stretch in [*self._stretches, Stretch("", self.size_bytes, 0)]:
            largest = max(largest, stretch.first_byte - first)
            first = stretch.first_byte + stretch.size_bytes
        return largest


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / (1 << 20):,.4g} MiB"
