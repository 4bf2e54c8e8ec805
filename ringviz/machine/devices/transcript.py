"""Text that only grows, as an immutable value that is cheap to keep many times.

Every keyframe of a run holds what was printed up to it. Were that one `bytes`, a thousand keyframes of a long text
would be a thousand copies. Here full chunks are shared between all versions and only the last, partial one is copied.
Chunks have a fixed size, so equal texts are equal values however they were written.
"""

from typing import NamedTuple

CHUNK_BYTES = 1024


class Transcript(NamedTuple):
    """What was printed so far."""

    chunks: tuple[bytes, ...] = ()
    """Full chunks, each of CHUNK_BYTES."""
    tail: bytes = b""
    """What follows them; always shorter than a chunk."""

    def plus(self, byte: int) -> "Transcript":
        """Give this text with one more byte."""
        tail = self.tail + bytes((byte,))
        if len(tail) < CHUNK_BYTES:
            return Transcript(self.chunks, tail)
        return Transcript((*self.chunks, tail))

    @property
    def text(self) -> bytes:
        """The whole text."""
        return b"".join((*self.chunks, self.tail))
