"""Numbers that others measured or stated, exactly as printed; `costs` builds the cost model from these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ringviz.facts.source import Source, by
from ringviz.facts.sources import AA06, AG12, AMD06, CNET07

_RAW = AA06.at("appendix with the raw data", note="3.8 GHz Pentium 4 672")
_TABLE1 = AA06.at("Table 1", note="3.8 GHz Pentium 4 672")


@dataclass(frozen=True, slots=True)
class Figure:
    """One published number, or a range if `low` and `high` differ."""

    id: str
    low: int
    high: int
    unit: Literal["cycles", "percent", "count", "hertz"]
    title: str
    source: Source

    @property
    def value(self) -> int:
        """The number.

        Raises:
            ValueError: the source gives a range.
        """
        if self.low != self.high:
            raise ValueError(f"figure {self.id} is a range, {self.low} to {self.high}")
        return self.low


def _cycles(id_: str, value: int, title: str, source: Source) -> Figure:
    return Figure(id_, value, value, "cycles", title, source)


FIGURES: Mapping[str, Figure] = by(
    "id",
    _cycles("p4-in", 3209, "IN from port 80h, no VMM", _RAW),
    _cycles("p4-divzero", 889, "Division by zero to the handler and back, no VMM", _RAW),
    _cycles("p4-pgfault", 1093, "True page fault to the handler and back, no VMM", _RAW),
    _cycles(
        "p4-trap-rdtsc",
        2030,
        "RDTSC by trap and emulation, whole round trip",
        AA06.at("section 3.3", note="3.8 GHz Pentium 4 672"),
    ),
    _cycles("p4-vm-entry", 2409, "VM entry", _TABLE1),
    _cycles("p4-page-fault-exit", 1931, "VM exit on a page fault", _TABLE1),
    _cycles("p4-vmread", 178, "Reading one VMCS field", _TABLE1),
    Figure("vmreads-per-exit", 10, 10, "count", "VMCS fields that a typical exit reads", AA06.at("section 7.1")),
    _cycles("prescott-round-trip", 3963, "Hardware round trip of an exit, Prescott (Pentium 4)", AG12.at("Table 1")),
    Figure("amd-world-switch", 1000, 2000, "cycles", "World switch of AMD-V before Barcelona, about", AMD06.at("")),
    Figure(
        "barcelona-saving", 25, 25, "percent", "By how much Barcelona's world switch is shorter, about", AMD06.at("")
    ),
    Figure(
        "p4-672-clock",
        3_800_000_000,
        3_800_000_000,
        "hertz",
        "Clock of the Pentium 4 672",
        AA06.at("experimental setup"),
    ),
    Figure(
        "barcelona-clock",
        2_000_000_000,
        2_000_000_000,
        "hertz",
        "Highest clock of the first Barcelona Opterons",
        CNET07.at(""),
    ),
)
