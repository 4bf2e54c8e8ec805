"""Where a fact comes from: the work, the section, and how well we know it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Any, TypeVar

Row = TypeVar("Row")


class Status(Enum):
    """How far a fact may be trusted; the value is the word to show beside it."""

    SEEN = "seen in the source"
    SEEN_SECONDHAND = "seen in a secondary source"
    COMPUTED = "computed from sourced figures"
    BORROWED = "borrowed"
    """No figure for this very thing; the nearest sourced one stands in, and the note says which."""
    REMEMBERED = "remembered"
    """Known to nobody but memory: never shown, and no table of this package may hold one."""
    CHOSEN = "chosen by ringviz"
    """Our own decision, with the reason in the note."""
    MANUAL = "architectural rule"
    """A rule of the architecture, cited by manual and section title."""
    YOURS = "yours"
    """From a file of the user's; the work is its name."""


@dataclass(frozen=True, slots=True)
class Source:
    """One citation: work, section by its title, and how well the fact is known."""

    work: str
    section: str
    status: Status
    note: str = ""

    def __str__(self) -> str:
        place = f"{self.work}, {self.section}" if self.section else self.work
        return f"{place} ({self.note})" if self.note else place

    @classmethod
    def ringviz(cls, why: str) -> Source:
        """Give the source of a number or rule that ringviz chose itself, with the reason."""
        return cls("ringviz", "", Status.CHOSEN, why)

    @classmethod
    def yours(cls, file: str, stated: str = "") -> Source:
        """Give the source of a number from a user's file: the file's name, and where the user says it is from."""
        return cls(file, "", Status.YOURS, stated)


@dataclass(frozen=True, slots=True)
class Work:
    """A book, paper or manual that facts are taken from."""

    key: str
    cite: str
    """Short form, as a learner would say it."""
    title: str
    """Full title, authors and place of publication."""
    status: Status
    """What a fact from here is, unless its row says otherwise."""
    note: str = ""

    def at(self, section: str, status: Status | None = None, note: str = "") -> Source:
        """Give the source for one section of this work, named by its title."""
        return Source(self.cite, section, status or self.status, note or self.note)


def by(attr: str, *rows: Row) -> Mapping[Any, Row]:
    """Index rows by one attribute, in the order given, as a read-only mapping.

    Raises:
        ValueError: two rows have the same key.
    """
    table: dict[Any, Row] = {}
    for row in rows:
        key = getattr(row, attr)
        if key in table:
            raise ValueError(f"two rows have {attr} {key!r}: {table[key]!r} and {row!r}")
        table[key] = row
    return MappingProxyType(table)
