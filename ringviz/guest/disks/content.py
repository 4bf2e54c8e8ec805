"""What a guest can read from a disk image, whatever its format: in pieces to be sent, and as one hash."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from ringviz.facts.vhd import NO_BLOCK, SECTOR_BYTES
from ringviz.guest.disks.blocks import BlockDisk, has_bit
from ringviz.guest.disks.opening import open_disk
from ringviz.guest.disks.virtual_disk import runs

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


def own_pieces(path: Path) -> Iterator[tuple[int, bytes]]:
    """Give what an image has besides its parent's, zeros too: first sector, and bytes; of one without parent, `pieces`.

    Raises:
        DiskError: it cannot be read; one line.
    """
    disk = open_disk(path)
    try:
        if not isinstance(disk, BlockDisk) or disk.parent is None:
            yield from pieces(path)
            return
        for block, entry in enumerate(disk.table):
            if entry == NO_BLOCK:
                continue
            first, bitmap = block * disk.sectors_per_block, disk.bitmap(block)
            count = min(disk.sectors_per_block, disk.sectors - first)
            held = {first + i: disk.read(first + i, 1) for i in range(count) if has_bit(bitmap, i)}
            for start, data in runs(held):
                for at in range(0, len(data), _PIECE_SECTORS * SECTOR_BYTES):
                    yield start + at // SECTOR_BYTES, data[at : at + _PIECE_SECTORS * SECTOR_BYTES]
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
