"""What every virtual hard disk answers, and the two kinds that keep all their sectors in a row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from ringviz.facts.vhd import SECTOR_BYTES
from ringviz.guest.disks.store import Store


class VirtualDisk(Protocol):
    """A disk as its guest sees it: sectors by number."""

    @property
    def kind(self) -> str:
        """`raw`, `fixed`, `dynamic` or `differencing`."""

    @property
    def sectors(self) -> int:
        """How many there are."""

    def read(self, sector: int, count: int) -> bytes:
        """Give sectors that follow each other; all of them are on the disk."""

    def write(self, contents: Mapping[int, bytes]) -> None:
        """Write whole sectors by number; they are on the disk for good when `flush` has returned.

        A crash before that leaves each of these sectors as it was or as it is to be, and all others untouched.
        """

    def flush(self) -> None:
        """Return when everything written so far will survive a crash."""

    def close(self) -> None:
        """Let go of the files."""


class SectorRow:
    """All sectors of a disk from the beginning of a file: raw, or a fixed VHD with its footer behind them."""

    def __init__(self, store: Store, kind: str, sectors: int) -> None:
        self.store = store
        self._kind = kind
        self._sectors = sectors

    @property
    def kind(self) -> str:
        """`raw` or `fixed`."""
        return self._kind

    @property
    def sectors(self) -> int:
        """How many there are."""
        return self._sectors

    def read(self, sector: int, count: int) -> bytes:
        """Give sectors that follow each other."""
        return self.store.read(sector * SECTOR_BYTES, count * SECTOR_BYTES)

    def write(self, contents: Mapping[int, bytes]) -> None:
        """Write each sector in its place."""
        for first, data in runs(contents):
            self.store.write(first * SECTOR_BYTES, data)

    def flush(self) -> None:
        """Return when everything written so far will survive a crash."""
        self.store.flush()

    def close(self) -> None:
        """Let go of the file."""
        close_store(self.store)


def runs(contents: Mapping[int, bytes]) -> Iterator[tuple[int, bytes]]:
    """Give sectors that follow each other as one piece, each piece with the number of its first sector."""
    first = -1
    pieces: list[bytes] = []
    for number in sorted(contents):
        if pieces and number != first + len(pieces):
            yield first, b"".join(pieces)
            pieces = []
        if not pieces:
            first = number
        pieces.append(contents[number])
    if pieces:
        yield first, b"".join(pieces)


def close_store(store: Store) -> None:
    """Let go of a store that holds something open."""
    close = getattr(store, "close", None)
    if close is not None:
        close()
