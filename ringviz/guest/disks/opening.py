"""Opening a disk image, with all parents of a differencing one.

What a file is, its name says: `.vhd` and `.avhd` are VHDs, everything else is raw. The content is not asked. A guest
can write anything to a raw disk, a footer that names a file of the host as its parent too.
"""

from __future__ import annotations

from pathlib import Path

from ringviz.errors import DiskError
from ringviz.facts.vhd import (
    FOOTER_BYTES,
    FOOTER_COOKIE,
    HEADER_BYTES,
    OLD_FOOTER_BYTES,
    SECTOR_BYTES,
    DiskType,
)
from ringviz.guest.disks.blocks import BlockDisk
from ringviz.guest.disks.differences import Parent, named_parent
from ringviz.guest.disks.records import Footer, decode_footer, decode_header, time_stamp
from ringviz.guest.disks.store import FileStore, Store
from ringviz.guest.disks.virtual_disk import SectorRow, VirtualDisk

SUFFIXES = frozenset({".vhd", ".avhd"})
LONGEST_CHAIN = 64
"""Ours: images from a disk down to the one without parent."""
_NS_PER_SECOND = 1_000_000_000


def is_vhd(path: Path) -> bool:
    """Tell whether a file is a VHD, by its name."""
    return path.suffix.lower() in SUFFIXES


def open_disk(path: Path, *, is_writable: bool = False) -> VirtualDisk:
    """Open an image; a parent is opened for reading only.

    Raises:
        DiskError: it is damaged, or a parent is not to be had or has changed; one line.
    """
    return _open(path, is_writable=is_writable, children=())


def first_sector(path: Path) -> bytes:
    """Give the beginning of an image, 512 bytes or fewer: where a boot sector is.

    Raises:
        DiskError: a VHD is damaged; one line.
        OSError: the file cannot be read.
    """
    if not is_vhd(path):
        with path.open("rb") as file:
            return file.read(SECTOR_BYTES)
    disk = open_disk(path)
    try:
        return disk.read(0, 1)
    finally:
        disk.close()


def file_chain(path: Path) -> tuple[Path, ...]:
    """Give the files that a disk consists of, the disk's own first.

    Raises:
        DiskError: one cannot be opened; one line.
    """
    files: list[Path] = []
    _open(path, is_writable=False, children=(), opened=files).close()
    return tuple(files)


def find_footer(store: Store) -> Footer:
    """Give the footer of a VHD; where it is missing or damaged, its copy at the beginning.

    Raises:
        DiskError: there is no good one; without the file's name.
    """
    first: DiskError | None = None
    size = store.size
    for offset, length in ((size - FOOTER_BYTES, FOOTER_BYTES), (size - OLD_FOOTER_BYTES, OLD_FOOTER_BYTES)):
        data = store.read(offset, length) if offset >= 0 else b""
        if data.startswith(FOOTER_COOKIE):
            try:
                return decode_footer(data)
            except DiskError as error:
                first = first or error
    copy = store.read(0, FOOTER_BYTES)
    if copy.startswith(FOOTER_COOKIE):
        footer = decode_footer(copy)
        if footer.disk_type != DiskType.FIXED:  # else it is the guest's own first sector
            return footer
    raise first or DiskError("no VHD: it has no hard disk footer (conectix)")


def open_store(
    store: Store, path: Path, *, is_writable: bool, children: tuple[Path, ...] = (), opened: list[Path] | None = None
) -> VirtualDisk:
    """Open a VHD that lies in a store.

    Args:
        store: the file.
        path: where it is, for finding its parent.
        is_writable: it is to be written to, and made ready for that.
        children: the images between it and the disk.
        opened: takes the paths of all files that are opened.

    Raises:
        DiskError: without the file's name, but for errors of a parent.
    """
    footer = find_footer(store)
    sectors = footer.current_size // SECTOR_BYTES
    if footer.disk_type == DiskType.FIXED:
        if store.size < footer.current_size + OLD_FOOTER_BYTES:
            raise DiskError(f"a file of {store.size:,} bytes for a disk of {footer.current_size:,}")
        return SectorRow(store, "fixed", sectors)
    header = decode_header(store.read(footer.data_offset, HEADER_BYTES))
    parent = None
    if footer.disk_type == DiskType.DIFFERENCING:
        parent = _open_parent(named_parent(store, header, path), (*children, path), opened)
    try:
        disk = BlockDisk(store, footer, header, parent)
    except DiskError:
        if parent is not None:
            parent.close()
        raise
    if is_writable:
        disk.repair()
    return disk


def _open(
    path: Path, *, is_writable: bool, children: tuple[Path, ...], opened: list[Path] | None = None
) -> VirtualDisk:
    store = FileStore(path, is_writable=is_writable)
    if opened is not None:
        opened.append(path)
    if not is_vhd(path):
        if store.size == 0 or store.size % SECTOR_BYTES:
            size = store.size
            store.close()
            raise DiskError(f"{path.name}: {size:,} bytes, expected whole sectors of 512 bytes, at least one")
        return SectorRow(store, "raw", store.size // SECTOR_BYTES)
    try:
        return open_store(store, path, is_writable=is_writable, children=children, opened=opened)
    except DiskError as error:
        store.close()
        raise DiskError(f"{path.name}: {error}") from None


def _open_parent(parent: Parent, children: tuple[Path, ...], opened: list[Path] | None) -> VirtualDisk:
    """Open the parent that the last of the children names, if it is still the same."""
    if len(children) >= LONGEST_CHAIN:
        raise DiskError(f"a chain of more than {LONGEST_CHAIN} images")
    path = next((path for path in parent.paths if path.is_file()), None)
    if path is None:
        raise DiskError(f'its parent "{parent.name}" is not where it says')
    if any(path.samefile(child) for child in children):
        raise DiskError(f'its parent "{parent.name}" is one of its own children')
    if not is_vhd(path):
        raise DiskError(f'its parent "{parent.name}" is no VHD')
    store = FileStore(path, is_writable=False)
    try:
        unique_id = find_footer(store).unique_id
        stamp = time_stamp(store.modified_ns // _NS_PER_SECOND)
    except DiskError as error:
        raise DiskError(f'its parent "{parent.name}": {error}') from None
    finally:
        store.close()
    if unique_id != parent.unique_id:
        raise DiskError(f'its parent "{parent.name}" is another disk: unique ID {unique_id.hex()}')
    if stamp != parent.time_stamp:
        raise DiskError(
            f'its parent "{parent.name}" has been written to since the snapshot was made, or copied without its time'
            " (`ringviz disk reconnect` vouches for it)"
        )
    return _open(path, is_writable=False, children=children, opened=opened)
