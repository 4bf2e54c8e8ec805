"""The frames of a host: which are free, and what each of the others stands behind.

A frame is wiped when it becomes free, so whoever gets it finds zeros.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

from ringviz.machine.frame_block import ZERO_PAGE, FrameBlock, Window, make_block
from ringviz.machine.memory import PAGE

if TYPE_CHECKING:
    from ringviz.vmm.host.physical_map import PhysicalMap

Use = tuple["PhysicalMap", int]
"""A page of a machine's RAM."""


class Frame:
    """A frame in use."""

    __slots__ = ("digest", "is_shared", "number", "uses")

    def __init__(self, number: int, owner: PhysicalMap, page: int) -> None:
        self.number = number
        self.uses: dict[Use, None] = {(owner, page): None}
        """The pages that it stands behind, in the order in which they came."""
        self.is_shared = False
        """It is read-only for all of them: a write makes a copy."""
        self.digest: int | None = None
        """Of the bytes, while it is shared."""


class Frames:
    """All of them."""

    def __init__(self, size_bytes: int) -> None:
        self.total = size_bytes // PAGE
        self._size_bytes = size_bytes
        self._block: FrameBlock | None = None
        self._fresh = 0
        """Frames below this one have been used."""
        self._returned: list[int] = []
        self.in_use: dict[int, Frame] = {}

    @property
    def free(self) -> int:
        """How many nobody uses."""
        return self.total - len(self.in_use)

    @property
    def block(self) -> FrameBlock:
        """Their bytes."""
        if self._block is None:
            self._block = make_block(self._size_bytes)
        return self._block

    def window(self, size_bytes: int) -> Window:
        """Give a window for a machine's RAM."""
        return self.block.window(size_bytes)

    def take(self, owner: PhysicalMap, page: int) -> Frame:
        """Give the first free frame, all zero, to a page.

        Raises:
            IndexError: none is free.
        """
        if self._returned:
            number = heapq.heappop(self._returned)
        elif self._fresh < self.total:
            number = self._fresh
            self._fresh += 1
        else:
            raise IndexError("no frame is free")
        self.in_use[number] = frame = Frame(number, owner, page)
        return frame

    def drop_use(self, frame: Frame, use: Use) -> bool:
        """Let a frame not stand behind a page any more, and tell whether it has become free by that.

        The page shows it no more.
        """
        del frame.uses[use]
        if frame.uses:
            return False
        self.block.write(frame.number, ZERO_PAGE)
        del self.in_use[frame.number]
        heapq.heappush(self._returned, frame.number)
        return True

    def content(self, frame: Frame) -> bytes:
        """Give its bytes."""
        return self.block.read(frame.number)
