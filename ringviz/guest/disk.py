"""Disk image files: raw rows of whole sectors, looked at first and read once, never written to.

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
    modified_ns: int
    """When it was last written to, in nanoseconds since 1970."""


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
    if size == 0 or size % SECTOR_BYTES:
        raise DiskError(f"{found} of {size:,} bytes, expected whole sectors of {SECTOR_BYTES} bytes, at least one")
    if size > MAX_DISK_MIB << 20:
        raise DiskError(f"{found} of {size:,} bytes, expected no more than {MAX_DISK_MIB:,} MiB")
    return DiskFile(path.resolve(), size, status.st_mtime_ns)


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
    try:
        with disk.path.open("rb") as file:
            status = os.fstat(file.fileno())
            content = file.read(disk.size_bytes + 1)
    except OSError as error:
        raise DiskError(f"{where}: cannot be read: {error.strerror}") from None
    if (len(content), status.st_mtime_ns) != (disk.size_bytes, disk.modified_ns):
        raise DiskError(f"{where}: has changed since its scenario was loaded; open the scenario again")
    return content
