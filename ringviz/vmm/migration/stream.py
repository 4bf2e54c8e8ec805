"""What goes over the link: a greeting in the clear, then frames that nobody can forge, repeat, leave out or reorder.

    greeting   "RINGVIZM", version (2 bytes), 16 bytes that were never used before
    frame      kind (1 byte), length (4 bytes), content, seal (32 bytes)

Numbers are little-endian. The destination greets first. The seal is an HMAC-SHA256 over the direction, the number of
the frame, its kind and its content, with a key made of the shared secret and both greetings: a stream that was taken
down yesterday has other greetings, and its seals fit nowhere.

Source: RFC 2104 for the HMAC; the format is ringviz's own.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from enum import IntEnum

from ringviz.errors import MigrationError

MAGIC = b"RINGVIZM"
VERSION = 2
NONCE_BYTES = 16
GREETING_BYTES = len(MAGIC) + 2 + NONCE_BYTES
SEAL_BYTES = 32
HEADER_BYTES = 5
MOST_CONTENT_BYTES = 1 << 24
"""A frame that claims to be longer is no frame."""


class Kind(IntEnum):
    """Of frames; those below 16 go to the destination, the others come back."""

    HELLO = 1
    """What machine it is."""
    PAGES = 2
    """Pages of memory, with their numbers."""
    STATE = 3
    """Everything but memory."""
    END = 4
    """Hash of all memory and of all frames before: has everything arrived?"""
    COMMIT = 5
    """The machine is the destination's."""
    OFFER = 6
    """Comes first, if the destination does not know which machine is to come: name, definition, record, files."""
    DISK = 7
    """What is in its files, in pieces: number of the file, where, and bytes. Files are images of disks, and more."""
    WELCOME = 16
    """Such a machine may come, or its files may."""
    REFUSED = 17
    """It may not, or something was wrong; a line says why."""
    READY = 18
    """Everything is here, and the machine could run."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame, its seal checked."""

    kind: Kind
    content: bytes


def greeting(nonce: bytes) -> bytes:
    """Give the first bytes of a side."""
    return MAGIC + VERSION.to_bytes(2, "little") + nonce


def nonce_of(data: bytes) -> bytes:
    """Take the other side's greeting, all of it.

    Raises:
        MigrationError: it is none, or of another version.
    """
    if data[: len(MAGIC)] != MAGIC:
        raise MigrationError(f"the stream begins with {data[: len(MAGIC)].hex()}, expected {MAGIC.hex()}: no migration")
    version = int.from_bytes(data[len(MAGIC) : len(MAGIC) + 2], "little")
    if version != VERSION:
        raise MigrationError(f"the stream has version {version}, expected {VERSION}")
    return data[len(MAGIC) + 2 :]


def session_key(secret: bytes, nonce_of_destination: bytes, nonce_of_source: bytes) -> bytes:
    """Give the key of this one migration."""
    return hmac.digest(secret, b"ringviz migration" + nonce_of_destination + nonce_of_source, "sha256")


class Sealer:
    """Makes the frames of one direction."""

    def __init__(self, key: bytes, direction: bytes) -> None:
        self._key = key
        self._direction = direction
        self._number = 0
        self.digest = hashlib.sha256()
        """Of all frames so far."""

    def seal(self, kind: Kind, content: bytes = b"") -> bytes:
        """Give a frame's bytes."""
        head = bytes((kind,)) + len(content).to_bytes(4, "little")
        frame = head + content + _seal_of(self._key, self._direction, self._number, head, content)
        self._number += 1
        self.digest.update(frame)
        return frame


class Opener:
    """Takes the frames of one direction, in whatever pieces they come."""

    def __init__(self, key: bytes, direction: bytes) -> None:
        self._key = key
        self._direction = direction
        self._number = 0
        self.digest = hashlib.sha256()
        """Of all frames so far."""

    def take(self, data: bytearray) -> Frame | None:
        """Take one frame off the front of what has come; None if it has not come whole.

        Raises:
            MigrationError: it is no frame, or its seal is not right.
        """
        if len(data) < HEADER_BYTES:
            return None
        size = int.from_bytes(data[1:HEADER_BYTES], "little")
        if size > MOST_CONTENT_BYTES:
            raise MigrationError(f"frame {self._number} claims {size:,} bytes, expected {MOST_CONTENT_BYTES:,} at most")
        whole = HEADER_BYTES + size + SEAL_BYTES
        if len(data) < whole:
            return None
        frame = bytes(data[:whole])
        head, content, seal = frame[:HEADER_BYTES], frame[HEADER_BYTES:-SEAL_BYTES], frame[-SEAL_BYTES:]
        if not hmac.compare_digest(seal, _seal_of(self._key, self._direction, self._number, head, content)):
            raise MigrationError(
                f"the seal of frame {self._number} is not right: damaged on the way, taken from another stream, "
                "or from somebody who does not know the secret"
            )
        del data[:whole]
        self._number += 1
        self.digest.update(frame)
        try:
            return Frame(Kind(head[0]), content)
        except ValueError:
            where = f"frame {self._number - 1}"
            raise MigrationError(f"{where} is of kind {head[0]}, which version {VERSION} lacks") from None


TO_DESTINATION, TO_SOURCE = b"to destination", b"to source"


def _seal_of(key: bytes, direction: bytes, number: int, head: bytes, content: bytes) -> bytes:
    return hmac.digest(key, direction + number.to_bytes(8, "little") + head + content, "sha256")
