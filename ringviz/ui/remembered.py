"""What the app remembers from one time to the next: the theme, and the last place."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from ringviz.record.kept_file import KeptFile


@dataclass(frozen=True, slots=True)
class LastPlace:
    """Which guest was left where, and on what machine."""

    scenario: str = ""
    """Id or path; empty if there was none."""
    technique: str = "native"
    position: int = 0
    theme: str = ""
    """Empty: the one that the app begins with."""
    cpu: str = ""
    """Empty: the technique's own choice."""
    mmu: str = ""
    """Empty: the technique's own choice."""
    controls: str = ""
    """Settings that are not the technique's own, `+name` or `-name`, with blanks between them."""


_SINCE_THE_BEGINNING = ("scenario", "technique", "position", "theme")
"""What every file has; older ones do not have the rest."""


class Remembered:
    """The file of it; every change is written at once.

    Args:
        path: the file; None keeps it in memory only.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._file = None if path is None else KeptFile(path, "theme and last place")
        found = None if self._file is None else self._file.read(_understood)
        self.last = found or LastPlace()

    @property
    def trouble(self) -> str:
        """One line for the user if the file could not be used, or written."""
        return "" if self._file is None else self._file.trouble

    def keep(self, **changes: str | int) -> None:
        """Change some of it."""
        after = replace(self.last, **changes)  # type: ignore[arg-type]
        if after != self.last:
            self.last = after
            if self._file is not None:
                self._file.write(asdict(after))


def _understood(content: Mapping[str, Any]) -> LastPlace:
    names = [field.name for field in fields(LastPlace)]
    values = {name: content[name] for name in names if name in content or name in _SINCE_THE_BEGINNING}
    if any(type(value) is not type(getattr(LastPlace(), name)) for name, value in values.items()):
        raise ValueError("a value of another kind")
    return LastPlace(**values)
