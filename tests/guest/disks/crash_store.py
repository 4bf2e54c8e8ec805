"""A file in memory that remembers how it came to be, so that it can be had as a crash at any moment may leave it.

Until a flush, a crash keeps of the writes what it likes, sector by sector; of several writes to one sector the later
ones are the first to be lost.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

SECTOR = 512


@dataclass
class CrashStore:
    """Keeps every write since it was made, besides the content."""

    content: bytearray = field(default_factory=bytearray)
    log: list[tuple[str, int, bytes]] = field(default_factory=list)

    def read(self, offset: int, size: int) -> bytes:
        return bytes(self.content[offset : offset + size])

    def write(self, offset: int, data: bytes) -> None:
        self.log.append(("write", offset, data))
        _put(self.content, offset, data)

    def truncate(self, size: int) -> None:
        self.log.append(("truncate", size, b""))
        _cut(self.content, size)

    def flush(self) -> None:
        self.log.append(("flush", 0, b""))

    @property
    def size(self) -> int:
        return len(self.content)


def prefixes(before: bytes, log: list[tuple[str, int, bytes]]) -> Iterator[tuple[int, bytes]]:
    """Give the file after every prefix of the log, large writes cut at every sector, with the entries done so far."""
    content = bytearray(before)
    yield 0, bytes(content)
    for number, (verb, at, data) in enumerate(log, start=1):
        if verb == "truncate":
            _cut(content, at)
        for start in range(0, len(data), SECTOR) if verb == "write" else ():
            _put(content, at + start, data[start : start + SECTOR])
            if start + SECTOR < len(data):
                yield number - 1, bytes(content)
        yield number, bytes(content)


def torn(before: bytes, log: list[tuple[str, int, bytes]], number: int, chance: random.Random) -> bytes:
    """Give the file after a crash behind so many entries: of those since the last flush, some sectors are missing."""
    content = bytearray(before)
    safe = max((i + 1 for i, entry in enumerate(log[:number]) if entry[0] == "flush"), default=0)
    lost: set[int] = set()
    for index, (verb, at, data) in enumerate(log[:number]):
        if verb == "truncate" and (index < safe or chance.random() < 0.5):
            _cut(content, at)
        for start in range(0, len(data), SECTOR) if verb == "write" else ():
            place = (at + start) // SECTOR
            if index >= safe and (place in lost or chance.random() < 0.4):
                lost.add(place)
            else:
                _put(content, at + start, data[start : start + SECTOR])
    return bytes(content)


def _put(content: bytearray, offset: int, data: bytes) -> None:
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


def _cut(content: bytearray, size: int) -> None:
    del content[size:]
    content.extend(bytes(size - len(content)))
