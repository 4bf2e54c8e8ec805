"""Pages of VMM memory for shadow tables."""

from __future__ import annotations

import heapq
from collections.abc import Iterable

from ringviz.machine.memory import PAGE, Ram


class PoolEmptyError(Exception):
    """Every page is in use: some shadow must go first."""


class PagePool:
    """A range of RAM given out page by page, always the lowest free one: what is in use says all there is to know."""

    def __init__(self, ram: Ram, start: int, end: int) -> None:
        self._ram = ram
        self._all = range(start, end, PAGE)
        self._free = list(self._all)
        """A heap."""

    def take(self) -> int:
        """Give the address of an empty page.

        Raises:
            PoolEmptyError: there is none.
        """
        if not self._free:
            raise PoolEmptyError
        address = heapq.heappop(self._free)
        self._ram.write(address, bytes(PAGE))
        return address

    def give_back(self, address: int) -> None:
        """Take a page back; its bytes stay until it is used again."""
        heapq.heappush(self._free, address)

    def restore(self, used: Iterable[int]) -> None:
        """Return to the state in which just these pages are in use."""
        taken = set(used)
        self._free = [address for address in self._all if address not in taken]
