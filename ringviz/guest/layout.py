"""What every image format comes down to: bytes, zeroes and an entry."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Layout:
    """A parsed image, before anyone has checked that it fits into a guest's memory."""

    segments: tuple[tuple[int, bytes], ...]
    """(physical address, bytes)"""
    zeroed: tuple[tuple[int, int], ...]
    """(physical address, number of bytes)"""
    entry: int
    registers: tuple[tuple[str, int], ...] = ()
    """General registers that do not start as 0."""
