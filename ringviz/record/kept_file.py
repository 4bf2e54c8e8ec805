"""A small JSON file that a program keeps for its user: what it remembers, and what has been noted or learned.

It is written whole or not at all. One that makes no sense is set aside beside the new one, so that nothing is lost, and
nobody is kept from going on.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

_SCHEMA = 1
_Found = TypeVar("_Found")


class KeptFile:
    """One file, which need not be there yet.

    Args:
        path: the file.
        what: what stands in it, for people: `bookmarks`.
    """

    def __init__(self, path: Path, what: str) -> None:
        self.path = path
        self.trouble = ""
        """One line for the user if the file could not be used, or written."""
        self._what = what

    def read(self, understand: Callable[[dict[str, Any]], _Found]) -> _Found | None:
        """Give the content; None if there is no file, or none of which sense can be made: then `trouble` says so.

        Args:
            understand: makes something of the object in the file. What it raises of ValueError, KeyError, TypeError and
                AttributeError means that the file is damaged.
        """
        try:
            content = json.loads(self.path.read_bytes())
            if content["schema"] != _SCHEMA:
                raise ValueError("unknown schema")
            return understand(content)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            self.trouble = f"{self._named} cannot be read: {error.strerror}"
        except (ValueError, KeyError, TypeError, AttributeError):
            self._set_aside()
        return None

    def write(self, content: Mapping[str, object]) -> bool:
        """Write the content in place of the old one; False if that cannot be done, and `trouble` says why."""
        unfinished = self.path.with_suffix(f".{os.getpid()}.part")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with unfinished.open("w", encoding="utf-8") as file:
                json.dump({"schema": _SCHEMA, **content}, file, indent=1, ensure_ascii=False)
                file.flush()
                os.fsync(file.fileno())
            os.replace(unfinished, self.path)
        except OSError as error:
            self.trouble = f"{self._named} cannot be written: {error.strerror}"
            return False
        return True

    @property
    def _named(self) -> str:
        return f"{self.path.name}, with {self._what},"

    def _set_aside(self) -> None:
        aside = self.path.with_suffix(".damaged.json")
        try:
            os.replace(self.path, aside)
        except OSError as error:
            self.trouble = f"{self._named} is damaged, and cannot be set aside: {error.strerror}"
        else:
            self.trouble = f"{self._named} was damaged; it is kept as {aside.name}"
