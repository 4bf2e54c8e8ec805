"""What comes of a stop: the run goes on, or it has ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Resume:
    """The guest goes on."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The run is over."""

    how: Literal["halted", "exit", "triple-fault", "reset"]
    text: str
    """In words, for a learner."""


Outcome = Resume | Ended
"""What a technique makes of a stop."""

RESUME = Resume()
