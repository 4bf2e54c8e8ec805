"""What a machine may have of a host's memory, and how the host divides it.

Three parameters for each machine: a minimum that it keeps whatever happens, a maximum that it never goes beyond, and
shares, which say how it stands against the others in between.
"""

from __future__ import annotations

from dataclasses import dataclass

from ringviz.errors import InputError
from ringviz.facts.host_memory import DEFAULT_TAX_PERCENT, LEAST_PAGES, number
from ringviz.machine.memory import PAGE

MOST_SHARES = 100_000_000
MOST_TAX_PERCENT = 99
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Allotment:
    """What one machine may have; what is None follows from the size of its memory."""

    min_mib: int | None = None
    """It keeps so much; None: all of it, or next to nothing on a host that overcommits."""
    max_mib: int | None = None
    """It is to have no more, however much it believes to have: its balloon has the rest."""
    shares: int | None = None

    def check(self, where: str, memory_mib: int) -> None:
        """Refuse what does not go together.

        Raises:
            InputError: one line that begins with `where`.
        """
        for key, value in (("memory_min_mib", self.min_mib), ("memory_max_mib", self.max_mib)):
            if value is not None and not 1 <= value <= memory_mib:
                raise InputError(
                    f"{where}: {key}: found {value}, expected a number from 1 to the machine's {memory_mib} MiB"
                )
        if self.min_mib is not None and self.max_mib is not None and self.min_mib > self.max_mib:
            raise InputError(
                f"{where}: memory_min_mib: found {self.min_mib}, expected no more than memory_max_mib, {self.max_mib}"
            )
        if self.shares is not None and not 1 <= self.shares <= MOST_SHARES:
            raise InputError(
                f"{where}: memory_shares: found {self.shares}, expected a number from 1 to {MOST_SHARES:,}"
            )

    def min_pages(self, pages: int, *, overcommits: bool) -> int:
        """Give the pages that a machine of so many keeps."""
        if self.min_mib is not None:
            return min(pages, self.min_mib * _MIB // PAGE)
        return min(pages, LEAST_PAGES) if overcommits else pages

    def max_pages(self, pages: int) -> int:
        """Give the most pages that it is to have."""
        return pages if self.max_mib is None else min(pages, self.max_mib * _MIB // PAGE)

    def share_count(self, pages: int) -> int:
        """Give its shares."""
        return pages * number("shares-per-page") if self.shares is None else self.shares


@dataclass(frozen=True, slots=True)
class MemoryRules:
    """How a host goes about its memory."""

    overcommits: bool = False
    """Machines may together have more memory than the host: only their minimum is set aside."""
    shares_pages: bool = False
    """Pages of the same bytes are looked for, and kept once."""
    tax_percent: int = DEFAULT_TAX_PERCENT
    """Idle-memory tax."""

    def check(self, where: str) -> None:
        """Refuse a tax that no host could have.

        Raises:
            InputError: one line that begins with `where`.
        """
        if not 0 <= self.tax_percent <= MOST_TAX_PERCENT:
            raise InputError(
                f"{where}: idle_tax_percent: found {self.tax_percent}, expected a number from 0 to {MOST_TAX_PERCENT}"
            )
