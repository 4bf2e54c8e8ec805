"""Files of a machine that comes from another host: made anew one after the other, each on top of the right one."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from pathlib import Path

from ringviz.errors import MigrationError
from ringviz.guest.disks import VirtualDisk, open_disk
from ringviz.guest.disks.creating import create_disk, snapshot_disk, sync_folder
from ringviz.record.machines.arrived import SUFFIX
from ringviz.record.machines.offer import OfferedFile, sectors_of

MOST_DISK_SECTORS = 1 << 28
"""Ours: 128 GiB, more than any guest here; a disk that claims more is none."""


class ArrivingFiles:
    """The files, of which the first ones are whole, and one is being written.

    An image remembers when its parent was last written to, so it is made when its parent is whole and closed.
    """

    def __init__(self, files: tuple[OfferedFile, ...], new_file: Callable[[str], Path], now: Callable[[], int]) -> None:
        """Expect files.

        Args:
            files: as they were offered.
            new_file: gives the path of a file that was never there, by its ending.
            now: seconds since 1970.

        Raises:
            MigrationError: one of them is no disk.
        """
        for number, file in enumerate(files, 1):
            if file.sectors is not None and not 0 < file.sectors <= MOST_DISK_SECTORS:
                raise MigrationError(f"disk {number} is said to have {file.sectors:,} sectors")
        self._files, self._new_file, self._now = files, new_file, now
        self._paths: list[Path] = []
        self._disk: VirtualDisk | None = None

    def write(self, number: int, place: int, data: bytes) -> None:
        """Take in a piece of a file; all before it are whole now.

        Raises:
            RingvizError: it belongs to none, or cannot be written.
        """
        if not max(0, len(self._paths) - 1) <= number < len(self._files):
            raise MigrationError(f"a piece of file {number + 1} comes out of turn")
        self._begin_up_to(number)
        if self._disk is None:
            self._append(self._paths[-1], place, data)
            return
        sectors = sectors_of(place, data)
        if max(sectors) >= self._disk.sectors:
            raise MigrationError(f"a piece of disk {number + 1} lies outside of it")
        self._disk.write(sectors)

    def finish(self) -> dict[str, str]:
        """Have all files whole, on the disk for good, and give their names by those at the source."""
        self._begin_up_to(len(self._files) - 1)
        self.close()
        return {file.name: path.name for file, path in zip(self._files, self._paths, strict=True)}

    def close(self) -> None:
        """Let go of the file that is being written."""
        if self._disk is not None:
            self._disk.flush()
            self._disk.close()
        self._disk = None

    def _begin_up_to(self, number: int) -> None:
        while len(self._paths) <= number:
            self.close()
            file = self._files[len(self._paths)]
            path = self._new_file(SUFFIX if file.sectors is None else ".vhd")
            if file.sectors is None:
                self._append(path, 0, b"")
            elif file.parent is None:
                create_disk(path, "dynamic", file.sectors, uuid.uuid4().bytes, self._now())
                self._disk = open_disk(path, is_writable=True)
            else:
                snapshot_disk(self._paths[file.parent], path, uuid.uuid4().bytes, self._now())
                self._disk = open_disk(path, is_writable=True)
            self._paths.append(path)

    @staticmethod
    def _append(path: Path, place: int, data: bytes) -> None:
        try:
            with path.open("ab") as stream:
                if stream.tell() != place:
                    raise MigrationError(f"{path.name}: a piece for byte {place:,} comes at byte {stream.tell():,}")
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            sync_folder(path.parent)
        except OSError as error:
            raise MigrationError(f"{path.name}: cannot be written: {error.strerror}") from None
