"""Disk image files, raw or VHD, looked at first and read once, never written to.

A scenario carries its disks as `DiskFile`: which file it is and how it looked when the scenario was loaded. So a
scenario with a changed disk is another scenario to everything that keeps results by scenario. The content is read when
a machine is built and shared by all that run the same scenario: a file that changes meanwhile changes no run, and a run
can be repeated exactly.
"""

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ringviz.errors import DiskError
from ringviz.guest.disks import file_chain, is_vhd, open_disk
from ringviz.guest.schema import clipped

SECTOR_BYTES = 512
MAX_DISK_MIB = 1024
"""Ours: a disk is held in memory while its guest runs."""
_KEPT = 2
"""As many disks as a machine can have."""


@dataclass(frozen=True, slots=True)
class DiskFile:
    """A disk image as it was found."""

    path: Path
    size_bytes: int
    """Size of the disk; the file of a VHD has another."""
    modified_ns: int
    """When it was last written to, in nanoseconds since 1970."""
    files: tuple[tuple[Path, int, int], ...] = ()
    """A VHD: its file and those that it is based on, each with its size and when it was last written to."""


def find_disk(path: Path, where: str, shown: str) -> DiskFile:
    """Look at a disk image.

    Args:
        path: the file.
        where: what names it, as error messages are to begin.
        shown: the name there, as error messages are to give it.

    Raises:
        DiskError: no such file, not whole sectors, or too large; one line.
    """
    found = f'{where}: found "{clipped(shown)}"'
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "a name that no file can have"
        raise DiskError(f"{found}, which cannot be read: {reason}") from None
    if not stat.S_ISREG(status.st_mode):
        raise DiskError(f"{found}, which is no file, expected a disk image")
    size = status.st_size
    if is_vhd(path):
        return _find_vhd(path, f"{where}: ")
    if size == 0 or size % SECTOR_BYTES:
        raise DiskError(f"{found} of {size:,} bytes, expected whole sectors of {SECTOR_BYTES} bytes, at least one")
    if size > MAX_DISK_MIB << 20:
        raise DiskError(f"{found} of {size:,} bytes, expected no more than {MAX_DISK_MIB:,} MiB")
    return DiskFile(path.resolve(), size, status.st_mtime_ns)


def _find_vhd(path: Path, where: str) -> DiskFile:
    """Look at a VHD and all that it is based on."""
    try:
        disk = open_disk(path)
        sectors = disk.sectors
        disk.close()
        files = tuple((file.resolve(), *_size_and_time(file)) for file in file_chain(path))
    except DiskError as error:
        raise DiskError(f"{where}{error}") from None
    size = sectors * SECTOR_BYTES
    if size > MAX_DISK_MIB << 20:
        raise DiskError(f"{where}{path.name}: a disk of {size:,} bytes, expected no more than {MAX_DISK_MIB:,} MiB")
    return DiskFile(path.resolve(), size, files[0][2], files)


def _size_and_time(path: Path) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns


def read_disks(disks: Iterable[DiskFile | None]) -> list[bytes | None]:
    """Give the contents of a machine's disks; None for one that is not there.

    Raises:
        DiskError: one cannot be read, or is not as it was found any more.
    """
    return [None if disk is None else read_disk(disk) for disk in disks]


@lru_cache(maxsize=_KEPT)
def read_disk(disk: DiskFile) -> bytes:
    """Give a disk's content.

    Raises:
        DiskError: it cannot be read, or is not as it was found any more.
    """
    where = disk.path.name
    if is_vhd(disk.path):
        return _read_vhd(disk)
    try:
        with disk.path.open("rb") as file:
            status = os.fstat(file.fileno())
            content = file.read(disk.size_bytes + 1)
    except OSError as error:
        raise DiskError(f"{where}: cannot be read: {error.strerror}") from None
    if (len(content), status.st_mtime_ns) != (disk.size_bytes, disk.modified_ns):
        raise DiskError(f"{where}: has changed since its scenario was loaded; open the scenario again")
    return content


def _read_vhd(disk: DiskFile) -> bytes:
    """Give what a guest sees of a VHD."""
    image = open_disk(disk.path)
    try:
        for file, size_bytes, modified_ns in disk.files:
            if _size_and_time(file) != (size_bytes, modified_ns):
                raise DiskError(f"{file.name}: has changed since its scenario was loaded; open the scenario again")
        return image.read(0, image.sectors)
    except OSError as error:
        raise DiskError(f"{disk.path.name}: cannot be read: {error.strerror}") from None
    finally:
        image.close()
