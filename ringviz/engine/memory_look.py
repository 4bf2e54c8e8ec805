"""What somebody wants to look at in memory."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from ringviz.facts.registers import GPR_NAMES, GPR_NAMES_64

LINE = 16
"""Bytes in a line of the hex view."""


class MemoryMode(Enum):
    """What the panel shows; the value is the word for it."""

    HEX = "bytes"
    STACK = "stack"
    GDT = "GDT"
    IDT = "IDT"
    PAGES = "pages"


ACCESS = "access"
"""To follow: where the last step read or wrote."""


@dataclass(frozen=True, slots=True)
class MemoryLook:
    """What somebody wants to look at."""

    mode: MemoryMode = MemoryMode.HEX
    follow: str = ACCESS
    """A register's name or `access`; empty for an address that stays."""
    base: int = 0
    """Linear address; where nothing is followed, or what is followed leads nowhere."""


def register_names(*, has_long_mode: bool) -> tuple[str, ...]:
    """Names of the registers that can be followed."""
    return (*GPR_NAMES, *GPR_NAMES_64, "rip", "eip", "cr2") if has_long_mode else (*GPR_NAMES, "eip", "cr2")
