"""The nanobenchmarks of Adams & Agesen 2006, row by row, and the scenario that runs each of them here.

The native column is an input of the cost model, as Table 1 of the same paper is; the software and hardware columns are
what the model predicts, and no price is taken from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from ringviz.facts.source import Source, by
from ringviz.facts.sources import AA06

TITLE = "Adams & Agesen 2006: A Comparison of Software and Hardware Techniques for x86 Virtualization"
CPU = "p4-672"
"""What it was measured on."""
SOURCE = AA06.at("appendix with the raw data", note="3.8 GHz Pentium 4 672")


class Contender(Enum):
    """A column of the paper; the value is the word to show."""

    NATIVE = "native"
    SOFTWARE = "software"
    """A binary translator: VMware Player 1.0.1."""
    HARDWARE = "hardware"
    """The same VMM on VT-x, without nested paging."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One measured row: an operation, or one of several forms of it."""

    id: str
    title: str
    native: int
    software: int
    hardware: int
    """Cycles, as printed."""
    marker: str
    """Label where the loop with the operation begins; it ends at the label `<marker>_end`."""

    def of(self, contender: Contender) -> int:
        """Give one of the three."""
        return {
            Contender.NATIVE: self.native,
            Contender.SOFTWARE: self.software,
            Contender.HARDWARE: self.hardware,
        }[contender]


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of the paper, and how it is run here."""

    id: str
    title: str
    scenario: str
    variants: tuple[Variant, ...]
    """The first is the one that the paper discusses."""
    per_round: int = 1
    """How often one round of the loop does it."""
    stands_in: str = ""
    """What is run in its place, and why; empty where it is the very same."""
    source: Source = SOURCE


EMPTY_MARKER, END = "marker_empty", "_end"
"""The same loop without the operation, and what the label at a loop's end adds to its name."""
_OPERATION = "marker_operation"


def _one(
    id_: str,
    title: str,
    native: int,
    software: int,
    hardware: int,
    *,
    per_round: int = 1,
    stands_in: str = "",
) -> Operation:
    row = Variant(id_, title, native, software, hardware, _OPERATION)
    scenario = f"nano-{id_.replace('/', '')}"
    return Operation(id_, title, scenario, (row,), per_round, stands_in)


OPERATIONS: Mapping[str, Operation] = by(
    "id",
    _one(
        "syscall",
        "System call and back",
        242,
        2308,
        246,
        stands_in="SYSENTER and SYSEXIT are run: on Intel's CPUs SYSCALL, which the paper measured, is for 64-bit "
        "kernels only. They are charged as SYSCALL and SYSRET are, half each",
    ),
    _one("in", "IN from port 80h", 3209, 216, 15826),
    _one(
        "cr8wr",
        "MOV to CR8, nothing pending",
        150,
        35,
        177,
        per_round=2,
        stands_in="CLI and STI are run: 32-bit code has no CR8. They are writes of the interrupt mask, too, that no "
        "VMM needs to hear of while nothing waits; but their native price is another, 60 cycles each",
    ),
    _one("call/ret", "CALL and RET", 11, 51, 11),
    _one("pgfault", "True page fault and back", 1093, 3927, 11242),
    _one("divzero", "Division by zero and back", 889, 3223, 1014),
    Operation(
        "ptemod",
        "Write of a page-table entry",
        "nano-ptemod",
        (
            Variant("unchanged", "entry unchanged", 1, 391, 12733, "marker_unchanged"),
            Variant("removed", "present to not present", 4, 17, 9154, "marker_removed"),
            Variant("brought", "not present to present", 5, 2121, 17020, "marker_brought"),
        ),
    ),
)
"""All seven; the paper measured on 64-bit guests, these are 32-bit."""

_OTHER_MASK = "another instruction runs: CLI and STI cost 60 cycles each on bare metal, MOV to CR8 150"
_NO_FILL = (
    "the VMM here leaves the entry of its own tables to be filled when the page is first used, which is after the "
    "loop; what the paper's VMM does at once is not said"
)
_STORE = "a store is priced by the row above; why the paper's two others take longer is not said"


@dataclass(frozen=True, slots=True)
class Deviation:
    """What is known about the reason why a row is off by more than a factor of two on the paper's own CPU."""

    row: str
    """Id of the variant, and the word of the contender: `in, software`."""
    text: str
    source: Source


def _off(variant: str, who: Contender, text: str) -> Deviation:
    return Deviation(f"{variant}, {who.value}", text, Source.ringviz("ringviz's own reading of the paper"))


DEVIATIONS: Mapping[str, Deviation] = by(
    "row",
    _off(
        "in",
        Contender.SOFTWARE,
        "the paper's translator answers this IN within the translation cache, at the price of an RDTSC that it answers "
        "there; the translator here calls the VMM's emulator at every port access",
    ),
    _off(
        "in",
        Contender.HARDWARE,
        "beyond entry and exit the paper leaves 11,486 cycles to the software of its VMM. The model knows dispatch, "
        "decoding and emulation as measured for RDTSC, and the VMCS accesses that were counted; a device model's own "
        "price was not published and is not charged",
    ),
    _off("cr8wr", Contender.NATIVE, _OTHER_MASK),
    _off(
        "cr8wr",
        Contender.SOFTWARE,
        f"{_OTHER_MASK}; in translated code CLI is one store, and a write of CR8 has to look for an interrupt that the "
        "new mask lets in",
    ),
    _off(
        "cr8wr",
        Contender.HARDWARE,
        f"{_OTHER_MASK}. Against bare metal it is 1.00 here and 1.18 in the paper",
    ),
    _off("removed", Contender.NATIVE, _STORE),
    _off("brought", Contender.NATIVE, _STORE),
    _off(
        "removed",
        Contender.SOFTWARE,
        "the paper's VMM lets such a write pass nearly unnoticed; here each write to a page table calls the VMM",
    ),
    _off("brought", Contender.SOFTWARE, _NO_FILL),
    _off("brought", Contender.HARDWARE, _NO_FILL),
)


def why_off(variant: Variant, who: Contender) -> str:
    """Say why a row is off, as far as that is known."""
    row = DEVIATIONS.get(f"{variant.id}, {who.value}")
    return "no reason is known" if row is None else row.text
