"""What somebody looks at beside the usual: a stretch of memory, the translation of an address."""

from __future__ import annotations

from dataclasses import dataclass

from ringviz.engine.memory_look import ACCESS, MemoryLook


@dataclass(frozen=True, slots=True)
class WalkLook:
    """An address whose translation is wanted."""

    follow: str = ACCESS
    """A register's name or `access`; empty for an address that stays."""
    base: int = 0
    """Linear address; where nothing is followed, or what is followed leads nowhere."""


@dataclass(frozen=True, slots=True)
class Looks:
    """What a snapshot is to have besides; None for what nobody looks at."""

    memory: MemoryLook | None = None
    walk: WalkLook | None = None


NOTHING = Looks()
