"""What a run has written to a disk, sector by sector, as an immutable value that is cheap to keep many times.

A scenario's image is never written to: a written sector lives here and hides the image's. Every keyframe holds an
overlay, so versions share all they have in common. It is a tree of fixed depth over the sector numbers, 32 branches a
node, of which a write copies the few nodes on its path.

Two overlays are equal if they hold the same sectors, whatever the order in which they were written. That is told by a
fingerprint, the sum of a hash of each sector with its number: a write changes it by a difference, and nobody has to
look at a whole disk to compare two machines.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

SECTOR_BYTES = 512

_BRANCH_BITS = 5
_BRANCHES = 1 << _BRANCH_BITS
_LEVELS = 5
MOST_SECTORS = 1 << _BRANCH_BITS * _LEVELS
"""An overlay can hold sectors below this number: those of 16 GiB."""
_FINGERPRINTS = 1 << 256

_Node = tuple["_Node | bytes | None", ...]


@dataclass(frozen=True, slots=True)
class Overlay:
    """The sectors that differ from the image's."""

    fingerprint: int = 0
    """Equal for equal content; all that two overlays are compared, hashed and shown by."""
    sectors: int = 0
    """How many there are."""
    _root: _Node | None = field(default=None, repr=False, compare=False)

    def sector(self, number: int) -> bytes | None:
        """Give a sector's bytes, or None where the image's still hold."""
        node: _Node | bytes | None = self._root
        for level in reversed(range(_LEVELS)):
            if not isinstance(node, tuple):
                return None
            node = node[number >> _BRANCH_BITS * level & _BRANCHES - 1]
        return node if isinstance(node, bytes) else None

    def plus(self, number: int, content: bytes) -> "Overlay":
        """Give this overlay with a sector written, which must be whole."""
        return self._with(number, content)

    def minus(self, number: int) -> "Overlay":
        """Give this overlay with a sector as in the image again."""
        return self if self.sector(number) is None else self._with(number, None)

    def contents(self) -> Iterator[tuple[int, bytes]]:
        """Give every sector with its number, in the order of the disk."""
        if self._root is not None:
            yield from _contents(self._root, _LEVELS - 1, 0)

    def _with(self, number: int, content: bytes | None) -> "Overlay":
        before = self.sector(number)
        fingerprint = self.fingerprint - _hash(number, before) + _hash(number, content)
        sectors = self.sectors - (before is not None) + (content is not None)
        return Overlay(fingerprint % _FINGERPRINTS, sectors, _replaced(self._root, _LEVELS - 1, number, content))


def _contents(node: _Node, level: int, first: int) -> Iterator[tuple[int, bytes]]:
    for branch, below in enumerate(node):
        number = first + (branch << _BRANCH_BITS * level)
        if isinstance(below, bytes):
            yield number, below
        elif below is not None:
            yield from _contents(below, level - 1, number)


def _hash(number: int, content: bytes | None) -> int:
    if content is None:
        return 0
    return int.from_bytes(hashlib.sha256(number.to_bytes(8, "little") + content).digest(), "little")


def _replaced(node: "_Node | bytes | None", level: int, number: int, content: bytes | None) -> _Node:
    """Give a node with one sector below it replaced."""
    branches: list[_Node | bytes | None] = list(node) if isinstance(node, tuple) else [None] * _BRANCHES
    branch = number >> _BRANCH_BITS * level & _BRANCHES - 1
    branches[branch] = content if level == 0 else _replaced(branches[branch], level - 1, number, content)
    return tuple(branches)
