"""The file under a disk image, as the few things that an image does with it.

A write may be carried out in any order with others, sector by sector, until `flush` has returned: so do operating
systems and drives. What is written before a flush is in the file for good when the next write begins.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from ringviz.errors import DiskError


class Store(Protocol):
    """A row of bytes that can grow and shrink."""

    def read(self, offset: int, size: int) -> bytes:
        """Give bytes; fewer than asked for where the file ends."""

    def write(self, offset: int, data: bytes) -> None:
        """Write bytes; between the old end and a write behind it, zeros appear."""

    def truncate(self, size: int) -> None:
        """Cut the file off, or let it grow by zeros."""

    def flush(self) -> None:
        """Return when everything written so far will survive a crash."""

    @property
    def size(self) -> int:
        """Bytes in the file."""


class FileStore:
    """A file of the host."""

    def __init__(self, path: Path, *, is_writable: bool) -> None:
        """Open a file that exists.

        Raises:
            DiskError: it cannot be opened; one line.
        """
        self._path = path
        flags = (os.O_RDWR if is_writable else os.O_RDONLY) | getattr(os, "O_BINARY", 0)
        try:
            self._file = os.fdopen(os.open(path, flags), "r+b" if is_writable else "rb", buffering=0)
        except OSError as error:
            raise DiskError(f"{path.name}: cannot be opened: {error.strerror}") from None

    def read(self, offset: int, size: int) -> bytes:
        """Give bytes; fewer than asked for where the file ends."""
        with _told(self._path, "read"):
            self._file.seek(offset)
            pieces = []
            while size > 0:
                piece = self._file.read(size)
                if not piece:
                    break
                pieces.append(piece)
                size -= len(piece)
            return b"".join(pieces)

    def write(self, offset: int, data: bytes) -> None:
        """Write bytes; between the old end and a write behind it, zeros appear."""
        with _told(self._path, "written"):
            self._file.seek(offset)
            left = memoryview(data)
            while left:
                left = left[self._file.write(left) or 0 :]

    def truncate(self, size: int) -> None:
        """Cut the file off, or let it grow by zeros."""
        with _told(self._path, "written"):
            self._file.truncate(size)

    def flush(self) -> None:
        """Return when everything written so far will survive a crash."""
        with _told(self._path, "written"):
            os.fsync(self._file.fileno())

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return os.fstat(self._file.fileno()).st_size

    @property
    def modified_ns(self) -> int:
        """When the file was last written to, in nanoseconds since 1970."""
        return os.fstat(self._file.fileno()).st_mtime_ns

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


class _told:  # noqa: N801 - reads as a word in front of the block that it guards
    """Turn what an operating system says against a file into our own error."""

    def __init__(self, path: Path, what: str) -> None:
        self._path, self._what = path, what

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        if isinstance(error, OSError):
            raise DiskError(f"{self._path.name}: cannot be {self._what}: {error.strerror}") from None
