"""What a guest can read from a disk image, whatever its format: in pieces to be sent, and as one hash."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from ringviz.guest.disks.opening import open_disk

_PIECE_SECTORS = 2048
"""A mebibyte: a piece fits a frame of a migration."""


def pieces(path: Path) -> Iterator[tuple[int, bytes]]:
    """Give all stretches of a disk in which there is something: first sector, and bytes.

    Raises:
        DiskError: it cannot be read; one line.
    """
    disk = open_disk(path)
    try:
        for first in range(0, disk.sectors, _PIECE_SECTORS):
            data = disk.read(first, min(_PIECE_SECTORS, disk.sectors - first))
            if data.count(0) != len(data):
                yield first, data
    finally:
        disk.close()


def content_sha256(path: Path, size_bytes: int) -> bytes:
    """Hash a disk's size and all that can be read from it.

    Raises:
        DiskError: it cannot be read; one line.
    """
    digest = hashlib.sha256(size_bytes.to_bytes(8, "little"))
    for first, data in pieces(path):
        digest.update(first.to_bytes(8, "little") + data)
    return digest.digest()
