"""What Adams & Agesen measured in 2006 with whole workloads: the figures that `ringviz chart` stands beside its own.

They are never an input of anything: ringviz runs other guests, so only who wins can be compared, and by about how much.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from ringviz.facts.source import Source
from ringviz.facts.sources import AA06


@dataclass(frozen=True, slots=True)
class Measured:
    """One workload on one CPU, in seconds, without a VMM and under both of VMware's."""

    scenario: str
    """The scenario that is made like it."""
    title: str
    cpu: str
    """The profile of the CPU."""
    native: Fraction
    software: Fraction
    """Binary translation."""
    hardware: Fraction
    """VT-x with shadow page tables."""
    source: Source


_MACRO = AA06.at("appendix with the raw data")
_CORE2 = AA06.at("appendix with the raw data", note="a Core 2 Duo before production")
_FORKWAIT = "forkwait, 40,000 children"
_COMPILE = "compiling the Linux kernel, 8 jobs"

MACRO: tuple[Measured, ...] = (
    Measured("forkwait", _FORKWAIT, "p4-672", Fraction("6.02"), Fraction("36.95"), Fraction("106.4"), _MACRO),
    Measured("forkwait", _FORKWAIT, "core2", Fraction("2.62"), Fraction("18.43"), Fraction("38.89"), _CORE2),
    Measured("compile-like", _COMPILE, "p4-672", Fraction(265), Fraction(393), Fraction(483), _MACRO),
    Measured("compile-like", _COMPILE, "core2", Fraction(204), Fraction("259.3"), Fraction(281), _CORE2),
)

WHY_DIFFERENT: Mapping[str, str] = {
    "forkwait": "theirs is 64-bit Linux, whose processes have far more pages and whose kernel changes far more entries "
    "of page tables that a VMM watches, at a fork and at an exit. teachos shares some forty pages, and drops the "
    "tables of a process that has ended as a whole",
    "compile-like": "theirs is Linux and a real compiler, with disk, clock, eight jobs and a cache that fills up; "
    "ours is one process after the other, in memory, without a clock",
}
"""By scenario: what makes a comparison of its slowdowns one of kinds only."""
