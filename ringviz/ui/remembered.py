"""What the app remembers from one time to the next: the theme, and the last place."""

import json
import os
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

_SCHEMA = 1


@dataclass(frozen=True, slots=True)
class LastPlace:
    """Which guest was left where."""

    scenario: str = ""
    """Id or path; empty if there was none."""
    technique: str = "native"
    position: int = 0
    theme: str = ""
    """Empty: the one that the app begins with."""


class Remembered:
    """The file of it; every change is written at once.

    Args:
        path: the file; None keeps it in memory only.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self.last = LastPlace()
        self.trouble = ""
        """One line for the user if the file could not be used."""
        if path is not None and path.exists():
            self._load(path)

    def keep(self, **changes: str | int) -> None:
        """Change some of it."""
        after = replace(self.last, **changes)  # type: ignore[arg-type]
        if after != self.last:
            self.last = after
            self._save()

    def _load(self, path: Path) -> None:
        try:
            content = json.loads(path.read_bytes())
            if content["schema"] != _SCHEMA:
                raise ValueError("unknown schema")
            values = {field.name: content[field.name] for field in fields(LastPlace)}
            if any(type(value) is not type(getattr(LastPlace(), name)) for name, value in values.items()):
                raise ValueError("a value of another kind")
            self.last = LastPlace(**values)
        except OSError as error:
            self.trouble = f"{path.name} cannot be read: {error.strerror}"
        except (ValueError, KeyError, TypeError, AttributeError):
            aside = path.with_suffix(".damaged.json")
            self.trouble = f"{path.name}, with theme and last place, was damaged; it is kept as {aside.name}"
            try:
                os.replace(path, aside)
            except OSError as error:
                self.trouble = f"{path.name} is damaged, and cannot be set aside: {error.strerror}"

    def _save(self) -> None:
        if self._path is None:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            beside = self._path.with_suffix(f".{os.getpid()}.part")
            beside.write_text(json.dumps({"schema": _SCHEMA, **asdict(self.last)}), encoding="utf-8")
            os.replace(beside, self._path)
        except OSError as error:
            self.trouble = f"theme and last place cannot be kept: {error.strerror}"
