"""New disk images: empty ones, copies in another format, and snapshots, which are differencing disks.

A new image is written under another name and takes its own when it is whole, so a crash leaves the whole image or none.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from ringviz.errors import DiskError
from ringviz.facts.vhd import (
    DEFAULT_BLOCK_BYTES,
    FOOTER_BYTES,
    HEADER_BYTES,
    SECTOR_BYTES,
    DiskType,
    whole_geometry_sectors,
)
from ringviz.guest.disks.blocks import BlockDisk
from ringviz.guest.disks.differences import locator_for, named_parent
from ringviz.guest.disks.opening import find_footer, is_vhd, open_disk
from ringviz.guest.disks.records import decode_header, new_footer, new_header, time_stamp, with_parent
from ringviz.guest.disks.store import FileStore, Store
from ringviz.guest.disks.virtual_disk import SectorRow, VirtualDisk

KINDS = ("raw", "fixed", "dynamic")
"""What can be created without a parent."""
_UNFINISHED = ".unfinished"
_COPIED_SECTORS = DEFAULT_BLOCK_BYTES // SECTOR_BYTES
_NS_PER_SECOND = 1_000_000_000


def create_disk(path: Path, kind: str, sectors: int, unique_id: bytes, created: int) -> int:
    """Create a disk full of zeros, and give its size in sectors.

    A VHD is made as large as its geometry can say, up to a cylinder larger than asked for: some programs take the size
    from there.

    Args:
        path: file that does not exist yet.
        kind: one of `KINDS`.
        sectors: size asked for.
        unique_id: 16 bytes that no other image has.
        created: seconds since 1970.

    Raises:
        DiskError: it cannot be written, or exists; one line.
    """
    size = sectors if kind == "raw" else whole_geometry_sectors(sectors)
    with _new_file(path, kind) as store:
        new_image(store, kind, size, unique_id, created)
    return size


def convert_disk(source: Path, target: Path, kind: str, unique_id: bytes, created: int) -> int:
    """Copy what a guest sees of a disk into a new image without parent, and give its size in sectors.

    Raises:
        DiskError: the source cannot be read, or the target not be written; one line.
    """
    disk = open_disk(source)
    try:
        size = disk.sectors if kind == "raw" else whole_geometry_sectors(disk.sectors)
        with _new_file(target, kind) as store:
            copy_sectors(disk, new_image(store, kind, size, unique_id, created))
    finally:
        disk.close()
    return size


def snapshot_disk(parent: Path, child: Path, unique_id: bytes, created: int) -> None:
    """Create a differencing disk: everything is as in the parent, which is not to be written to any more.

    Raises:
        DiskError: the parent is no VHD or damaged, or the child cannot be written; one line.
    """
    if not is_vhd(parent):
        raise DiskError(f"{parent.name}: a snapshot needs a parent in VHD; convert it first")
    disk = open_disk(parent)
    disk.close()
    file = FileStore(parent, is_writable=False)
    footer, stamp = find_footer(file), time_stamp(file.modified_ns // _NS_PER_SECOND)
    file.close()
    with _new_file(child, "differencing") as store:
        table_offset = FOOTER_BYTES + HEADER_BYTES
        blocks = -(-disk.sectors * SECTOR_BYTES // DEFAULT_BLOCK_BYTES)
        locator, place = locator_for(child, parent, table_offset + _table_room(blocks))
        header = with_parent(
            new_header(table_offset, blocks, DEFAULT_BLOCK_BYTES), footer.unique_id, stamp, parent.name, (locator,)
        )
        own = new_footer(DiskType.DIFFERENCING, disk.sectors, unique_id, created)
        own = replace(own, cylinders=footer.cylinders, heads=footer.heads, sectors_per_track=footer.sectors_per_track)
        store.write(0, own.encode() + header.encode() + b"\xff" * _table_room(blocks) + place + own.encode())


def reconnect_disk(child: Path) -> None:
    """Let a differencing disk take its parent as it is now for the one that it was made from.

    Raises:
        DiskError: it is no differencing disk, or its parent another disk; one line.
    """
    store = FileStore(child, is_writable=True)
    try:
        footer = find_footer(store)
        if footer.disk_type != DiskType.DIFFERENCING:
            raise DiskError("no differencing disk")
        header = decode_header(store.read(footer.data_offset, HEADER_BYTES))
        parent = parent_path(store, child)
        file = FileStore(parent, is_writable=False)
        unique_id, stamp = find_footer(file).unique_id, time_stamp(file.modified_ns // _NS_PER_SECOND)
        file.close()
        if unique_id != header.parent_unique_id:
            raise DiskError(f'its parent "{parent.name}" is another disk: unique ID {unique_id.hex()}')
        changed = replace(header, parent_time_stamp=stamp).encode()
        # Both what changes and its checksum lie in the first sector, which is written wholly or not at all.
        store.write(footer.data_offset, changed[:SECTOR_BYTES])
        store.flush()
    except DiskError as error:
        raise DiskError(f"{child.name}: {error}") from None
    finally:
        store.close()


def parent_path(store: Store, child: Path) -> Path:
    """Give the file that a differencing disk names as its parent.

    Raises:
        DiskError: there is none; without the child's name.
    """
    header = decode_header(store.read(find_footer(store).data_offset, HEADER_BYTES))
    parent = named_parent(store, header, child)
    path = next((path for path in parent.paths if path.is_file()), None)
    if path is None:
        raise DiskError(f'its parent "{parent.name}" is not where it says')
    return path


def new_image(
    store: Store, kind: str, sectors: int, unique_id: bytes, created: int, block_bytes: int = DEFAULT_BLOCK_BYTES
) -> VirtualDisk:
    """Write an image full of zeros into an empty store, and give it open for writing."""
    size = sectors * SECTOR_BYTES
    if kind == "raw":
        store.truncate(size)
        return SectorRow(store, "raw", sectors)
    if kind == "fixed":
        store.write(size, new_footer(DiskType.FIXED, sectors, unique_id, created).encode())
        return SectorRow(store, "fixed", sectors)
    footer = new_footer(DiskType.DYNAMIC, sectors, unique_id, created)
    blocks = -(-size // block_bytes)
    header = new_header(FOOTER_BYTES + HEADER_BYTES, blocks, block_bytes)
    store.write(0, footer.encode() + header.encode() + b"\xff" * _table_room(blocks) + footer.encode())
    disk = BlockDisk(store, footer, header, None)
    disk.repair()
    return disk


def copy_sectors(source: VirtualDisk, target: VirtualDisk) -> None:
    """Copy all sectors that are not zero to a disk full of zeros."""
    for first in range(0, source.sectors, _COPIED_SECTORS):
        count = min(_COPIED_SECTORS, source.sectors - first)
        data = source.read(first, count)
        if any(data):
            pieces = {first + i: data[i * SECTOR_BYTES : (i + 1) * SECTOR_BYTES] for i in range(count)}
            target.write({number: piece for number, piece in pieces.items() if any(piece)})
    target.flush()


def _table_room(blocks: int) -> int:
    return -(-blocks * 4 // SECTOR_BYTES) * SECTOR_BYTES


@contextmanager
def _new_file(path: Path, kind: str) -> Iterator[FileStore]:
    """Give a file that takes its name when it is whole."""
    if is_vhd(path) != (kind != "raw"):
        wanted = "a name that does not end in .vhd" if kind == "raw" else "a name that ends in .vhd"
        raise DiskError(f"{path.name}: a {kind} disk needs {wanted}")
    if path.exists():
        raise DiskError(f"{path.name}: exists already")
    unfinished = path.with_name(path.name + _UNFINISHED)
    try:
        unfinished.write_bytes(b"")
    except OSError as error:
        raise DiskError(f"{path.name}: cannot be written: {error.strerror}") from None
    store = FileStore(unfinished, is_writable=True)
    try:
        yield store
        store.flush()
        os.replace(unfinished, path)
        sync_folder(path.parent)
    except OSError as error:
        raise DiskError(f"{path.name}: cannot be written: {error.strerror}") from None
    finally:
        store.close()
        with suppress(OSError):
            unfinished.unlink()


def sync_folder(folder: Path) -> None:
    """Return when the names in a folder will survive a crash; where folders cannot be opened, at once."""
    try:
        handle = os.open(folder or Path(), os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
