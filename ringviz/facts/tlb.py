"""The TLB that walks are counted with: modelled, and the same on every CPU unless a profile says otherwise."""

from __future__ import annotations

from dataclasses import dataclass

from ringviz.facts.source import Source


@dataclass(frozen=True, slots=True)
class TlbShape:
    """How big a TLB is. An entry holds one page of any size; the one used longest ago is replaced."""

    entries: int
    ways: int
    source: Source

    @property
    def sets(self) -> int:
        """Groups of entries; the low bits of the page number choose one."""
        return self.entries // self.ways


FIRST_LEVEL = TlbShape(
    64,
    4,
    Source.ringviz(
        "one TLB for code and one for data, of 64 entries in 4 ways each, least recently used first out, no second "
        "level: a round size that a learner can follow, the same on every CPU, so that only the technique matters"
    ),
)
