"""A folder that keeps machines so that a crash at any moment leaves every one where its last operation has left it.

One file, `machines.json`, says what there is. It is never written to: a new one is written beside it, and takes its
name when it is whole, which is one step for the file system. All other files are disks. Once they are named in there
they do not change either; an operation writes new ones, under numbers that were never used, and what is not named any
more is removed afterwards. So what a crash can leave behind is a file too many, and the next that opens the folder
removes it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ringviz.errors import InputError
from ringviz.guest.disks.creating import sync_folder

SCHEMA = 1
FILE, NEW_FILE, LOCK = "machines.json", "machines.json.new", "lock"
SUFFIXES = (".vhd", ".arrived")
"""Of files that are removed when nothing needs them: disks, and what machines were when they came."""
FOLDER_VARIABLE = "RINGVIZ_MACHINES"
"""In the environment: the folder to keep machines in."""


class InUseError(InputError):
    """Another process has the folder to itself."""


def default_folder() -> Path:
    """Give the folder for machines of a user who names none."""
    named = os.environ.get(FOLDER_VARIABLE)
    if named:
        return Path(named)
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "ringviz" / "machines"


def read_content(folder: Path) -> dict[str, Any]:
    """Give what the last operation has left, also while somebody else has the folder to himself.

    Raises:
        InputError: it cannot be understood.
    """
    path = folder / FILE
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{FILE}: cannot be read: {type(error).__name__}") from None
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise InputError(f"{FILE}: made by another version of ringviz, expected schema {SCHEMA}")
    return content


class Store:
    """An open folder; nobody else opens it meanwhile."""

    def __init__(self, folder: Path) -> None:
        """Open a folder, and make it if there is none.

        Raises:
            InputError: it is in use, cannot be written, or what is in it cannot be understood; one line.
        """
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = (folder / LOCK).open("a")
        except OSError as error:
            raise InputError(f"{folder.name}: cannot keep machines there: {error.strerror}") from None
        if not _take_lock(self._lock.fileno()):
            self._lock.close()
            raise InUseError(f"{folder.name}: another ringviz is at work on these machines; wait until it is done")
        try:
            self.content = read_content(folder)
        except InputError:
            self._lock.close()
            raise

    def commit(self, content: Mapping[str, Any]) -> None:
        """Let something else, for JSON, be the content from this moment on.

        Raises:
            InputError: the folder cannot be written; what was there holds.
        """
        text = json.dumps({"schema": SCHEMA, **content}, indent=1, ensure_ascii=True)
        new = self.folder / NEW_FILE
        try:
            with new.open("w", encoding="utf-8") as file:
                file.write(text + "\n")
                file.flush()
                os.fsync(file.fileno())
            os.replace(new, self.folder / FILE)
            sync_folder(self.folder)
        except OSError as error:
            raise InputError(f"{FILE}: cannot be written: {error.strerror}") from None
        self.content = json.loads(text)

    def remove_others(self, needed: Collection[str]) -> None:
        """Remove the files that are not needed: what a crash, or an operation, has left over."""
        for path in self.folder.iterdir():
            if any(suffix in path.name for suffix in SUFFIXES) and path.name not in needed:
                with suppress(OSError):
                    path.unlink()

    def close(self) -> None:
        """Let others open the folder."""
        self._lock.close()


def _take_lock(handle: int) -> bool:
    """Lock a file until it is closed, or the process is gone; where the system has no such lock, claim to have it."""
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
