"""How much of its memory a machine uses, estimated from a few pages.

Some pages are chosen at random and their translations thrown away; those that the guest reaches for before the period
is over come by here. Three estimates are kept, and the largest counts: so a machine that becomes busy is believed at
once, and one that falls idle only by and by.

Source: Waldspurger 2002, "Measuring Idle Memory".
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from ringviz.facts.host_memory import number

_SLOW, _FAST = Fraction(number("slow-average"), 100), Fraction(number("fast-average"), 100)


class WorkingSet:
    """The estimate for one machine."""

    def __init__(self) -> None:
        self._sample: set[int] = set()
        self._hits = 0
        self._size = 0
        self._slow = self._fast = Fraction(1)
        self.samples = 0
        """Periods that are over."""

    def touched(self, page: int) -> None:
        """Hear that the guest has reached for a page."""
        if page in self._sample:
            self._sample.discard(page)
            self._hits += 1

    def begin(self, pages: Sequence[int]) -> frozenset[int]:
        """Watch these pages from now on; give them, for their translations to be thrown away."""
        self._sample = set(pages)
        self._size, self._hits = len(self._sample), 0
        return frozenset(self._sample)

    def end(self) -> None:
        """Close a period."""
        if not self._size:
            return
        now = self.current
        if self.samples:
            self._slow += _SLOW * (now - self._slow)
            self._fast += _FAST * (now - self._fast)
        else:
            self._slow = self._fast = now
        self.samples += 1

    @property
    def current(self) -> Fraction:
        """What the period that is under way has shown so far."""
        return Fraction(self._hits, self._size) if self._size else Fraction(0)

    @property
    def active(self) -> Fraction:
        """Part of its pages that the machine uses; all of them before anything is known."""
        if not self.samples:
            return Fraction(1)
        return max(self._slow, self._fast, self.current)
