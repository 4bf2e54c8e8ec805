"""How a table describes bits in a word and bytes in a structure."""

from __future__ import annotations

from dataclasses import dataclass

from ringviz.facts.source import Source


@dataclass(frozen=True, slots=True)
class BitField:
    """Bits `lo` to `hi`, both included, of a word."""

    name: str
    lo: int
    hi: int
    title: str
    source: Source

    @property
    def width(self) -> int:
        """Number of bits."""
        return self.hi - self.lo + 1

    @property
    def mask(self) -> int:
        """The field's bits, in place."""
        return ((1 << self.width) - 1) << self.lo

    def get(self, word: int) -> int:
        """Read the field's value out of a word."""
        return (word & self.mask) >> self.lo

    def put(self, word: int, value: int) -> int:
        """Give `word` with the field set to `value`.

        Raises:
            ValueError: the value needs more bits than the field has.
        """
        if not 0 <= value < 1 << self.width:
            raise ValueError(f"{self.name} has {self.width} bits; {value:#x} does not fit")
        return (word & ~self.mask) | (value << self.lo)


@dataclass(frozen=True, slots=True)
class ByteField:
    """`size_bytes` bytes at `offset` of a structure in memory, little-endian."""

    offset: int
    size_bytes: int
    name: str
    title: str
    source: Source

    @property
    def end(self) -> int:
        """Offset of the first byte after the field."""
        return self.offset + self.size_bytes
