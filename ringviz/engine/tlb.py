"""A modelled TLB: which translations a CPU of a stated shape would still have.

The emulated CPU has one of its own, which says nothing about hardware. This one is told of every access of a run.
"""

from __future__ import annotations

from dataclasses import dataclass

from ringviz.facts.tlb import FIRST_LEVEL, TlbShape

__all__ = ["FIRST_LEVEL", "Tlb", "TlbShape"]


@dataclass(frozen=True, slots=True)
class _Translation:
    shift: int
    """log2 of the page size."""
    number: int
    """Linear address without the bits within the page."""
    is_global: bool


class Tlb:
    """The entries of one TLB."""

    def __init__(self, shape: TlbShape = FIRST_LEVEL) -> None:
        self.shape = shape
        self._sets: list[list[_Translation]] = [[] for _ in range(shape.sets)]
        """The most recently used first."""
        self._shifts: set[int] = set()

    def use(self, linear: int) -> int | None:
        """Look a linear address up; give the number of the set that has its translation, or None."""
        for shift in self._shifts:
            number = linear >> shift
            index = number % self.shape.sets
            entries = self._sets[index]
            for at, entry in enumerate(entries):
                if entry.number == number and entry.shift == shift:
                    if at:
                        entries.insert(0, entries.pop(at))
                    return index
        return None

    def fill(self, linear: int, page_bytes: int, *, is_global: bool = False) -> int:
        """Take a translation in, in the place of the one used longest ago; give the number of its set."""
        shift = page_bytes.bit_length() - 1
        self._shifts.add(shift)
        number = linear >> shift
        index = number % self.shape.sets
        entries = self._sets[index]
        entries.insert(0, _Translation(shift, number, is_global))
        del entries[self.shape.ways :]
        return index

    def drop(self, linear: int) -> None:
        """Forget the translation of one address, as INVLPG and page faults make the CPU do."""
        for shift in self._shifts:
            number = linear >> shift
            entries = self._sets[number % self.shape.sets]
            entries[:] = [entry for entry in entries if (entry.shift, entry.number) != (shift, number)]

    def flush(self, *, everything: bool) -> None:
        """Forget all translations; global ones stay unless everything is to go."""
        for entries in self._sets:
            entries[:] = [entry for entry in entries if entry.is_global and not everything]

    def __len__(self) -> int:
        return sum(map(len, self._sets))
