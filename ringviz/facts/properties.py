"""The three properties that make a program a virtual machine monitor, and where ringviz draws its lines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ringviz.facts.source import Source, by
from ringviz.facts.sources import AA06, POPEK_GOLDBERG


@dataclass(frozen=True, slots=True)
class Property:
    """One property."""

    id: str
    title: str
    classical: str
    """Popek and Goldberg's own word for it."""
    demand: str
    """What it asks for, as one sentence."""
    source: Source


_CLASSICAL = POPEK_GOLDBERG.at("properties of a virtual machine monitor")

PROPERTIES: Mapping[str, Property] = by(
    "id",
    Property(
        "fidelity",
        "Fidelity",
        "equivalence",
        "The guest behaves as on the bare machine, apart from timing and the amount of resources.",
        _CLASSICAL,
    ),
    Property(
        "performance",
        "Performance",
        "efficiency",
        "An overwhelming majority of the guest's instructions run on the CPU without the VMM.",
        AA06.at("section 2"),
    ),
    Property(
        "safety",
        "Safety",
        "resource control",
        "The VMM keeps all resources: what is not the guest's own, it cannot reach.",
        _CLASSICAL,
    ),
)


@dataclass(frozen=True, slots=True)
class Line:
    """A line drawn by ringviz where the literature has a word and no number."""

    value: float
    source: Source


MAJORITY = Line(0.5, Source.ringviz("no paper names a number for “an overwhelming majority”: ringviz asks for half"))
"""Share of the guest's instructions that must run directly for `performance` to hold."""
