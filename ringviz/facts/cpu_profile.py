"""A CPU as the cost model knows it: what it can do, and what each cause costs on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from ringviz.facts.source import Source
from ringviz.facts.tlb import FIRST_LEVEL, TlbShape


@dataclass(frozen=True, slots=True)
class Cost:
    """The price of one cause on one CPU."""

    cause: str
    cycles: int | None
    """What the model charges; None: no figure, nothing is charged."""
    low: int | None
    high: int | None
    """The range that the sources leave open; equal to `cycles` if they leave none."""
    source: Source
    note: str = ""
    lender: str = ""
    """Whose figure it is, for want of one of the CPU's own."""

    @property
    def charged_cycles(self) -> int:
        """What the ledger adds for one event: `cycles`, or 0 where there is no figure."""
        return self.cycles or 0


@dataclass(frozen=True, slots=True)
class CpuProfile:
    """A named CPU: what it can do and what things cost on it."""

    id: str
    title: str
    vendor: Literal["intel", "amd"]
    year: int
    features: frozenset[str]
    """What it has for a VMM: keys of `CPU_FEATURES`. One that no source confirms is left out."""
    clock_hz: int | None
    """None: no source names a clock for it."""
    clock_source: Source | None
    """None where there is no clock."""
    costs: Mapping[str, Cost]
    """One row for every cause but the guest's instructions, which have weights."""
    source: Source
    """For the year and the features."""
    note: str = ""
    tlb: TlbShape = FIRST_LEVEL
    """The TLB that page walks are counted with."""
    weights: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    """Weights of instruction classes that are its own, in hundredths of a cycle; the others are common to all CPUs."""
    base: str = ""
    """Id of the profile that a user's file changes; empty for all others."""
    cpuid_of: str = ""
    """Id of the profile whose recorded CPUID it answers with; empty: its own."""

    @property
    def identity(self) -> str:
        """Key of `CPU_IDENTITIES`: what it says of itself."""
        return self.cpuid_of or self.id


def cost_of(profile: CpuProfile, cause: str) -> Cost:
    """Give the price of a cause on a CPU.

    Raises:
        KeyError: ringviz has no such cause, or it is that of the guest's instructions, which are charged by weight.
    """
    return profile.costs[cause]
