"""The changed texts of one scenario on disk: one version, or several where two windows have changed them at once.

Whoever writes looks first whether the file is what it has read, or written, last. If somebody else has written it
since, that one keeps it, and the writer goes on in a file of its own: nothing that anybody made is written over.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FIRST = "edit.json"
_LATER = "edit-{}.json"


class KeptTexts:
    """The files in a folder, and the one among them that is read and written here.

    Args:
        folder: need not be there yet. Its last written version is the one to begin with.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.path = max(self.versions(), key=lambda path: path.stat().st_mtime_ns, default=folder / _FIRST)
        self._known: bytes | None = None
        """What stands in the file, as far as is known here; None for no file."""

    def versions(self) -> tuple[Path, ...]:
        """Give the files there are, the oldest first."""
        found = [self._folder / _FIRST, *(self._folder / _LATER.format(number) for number in range(2, 100))]
        return tuple(path for path in found if path.exists())

    @property
    def number(self) -> int:
        """Which version this is, from 1, as they are counted for people; 0 if it is on disk no more, or not yet."""
        versions = self.versions()
        return versions.index(self.path) + 1 if self.path in versions else 0

    def read(self) -> bytes | None:
        """Give what stands in the file; None if there is none.

        Raises:
            OSError: it cannot be read.
        """
        self._known = self.path.read_bytes() if self.path.exists() else None
        return self._known

    def write(self, content: bytes | None, *, is_new: bool) -> bool:
        """Put content in place of the old one; None removes the file.

        Args:
            content: the whole file.
            is_new: something in it has been made here since the file was read or written.

        Returns:
            False if somebody else has written to the file since, and this content is now in another one.

        Raises:
            OSError: it cannot be written.
        """
        if content is None and self._known is None:
            return True
        self._folder.mkdir(parents=True, exist_ok=True)
        has_parted = False
        with _locked(self._folder / ".lock"):
            there = self.path.read_bytes() if self.path.exists() else None
            if there not in (self._known, content):
                if not is_new:
                    return True  # what somebody else made stands
                if there is not None:
                    self.path = self._free()
                    has_parted = content is not None
            if content is None:
                self.path.unlink(missing_ok=True)
            else:
                _write_whole(self.path, content)
        self._known = content
        return not has_parted

    def turn(self) -> bool:
        """Take the next version as the one that is read and written here; False if there is no other."""
        versions = self.versions()
        others = [path for path in versions if path != self.path]
        if not others:
            return False
        self.path = next((path for path in others if path.name > self.path.name), others[0])
        return True

    def forget(self) -> None:
        """Have nothing to do any more with what stands in the file: it has been moved away."""
        self._known = None

    def _free(self) -> Path:
        taken = {self.path, *self.versions()}
        return next(path for number in range(2, 1000) if (path := self._folder / _LATER.format(number)) not in taken)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keep other windows from writing meanwhile; where the system has no such locks, trust that they do not."""
    with path.open("ab") as file:
        try:
            import fcntl

            fcntl.flock(file.fileno(), fcntl.LOCK_EX)
        except ImportError:
            pass
        yield


def _write_whole(path: Path, content: bytes) -> None:
    """Write a file so that after a crash there is the old one or the new one, never a part."""
    beside = path.with_suffix(f".{os.getpid()}.part")
    with beside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)
