"""The list of what a host has done by itself, when, and why."""

from __future__ import annotations

from dataclasses import dataclass

DONE = "done"


@dataclass(frozen=True, slots=True)
class Audited:
    """One line of the list of what the host has done by itself, and why."""

    at: int
    """The host's clock, over all its runs."""
    who: str
    """A rule by name, an order for a set time, or one from outside."""
    why: str
    what: str
    result: str

    @property
    def is_done(self) -> bool:
        """It has been done."""
        return self.result == DONE

    def line(self) -> str:
        """Give it as a line of a list."""
        reason = f"  ({self.why})" if self.why else ""
        return f"{self.at:>12,}  {self.who}: {self.what}: {self.result}{reason}"
