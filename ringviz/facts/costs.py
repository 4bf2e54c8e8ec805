"""What a trap costs: modelled cycles by cause, for CPUs whose figures were published.

ringviz counts events for real and prices them with these rows. A cause without any figure has `cycles` None: it is
counted, charged nothing, and shown as unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from ringviz.facts.figures import FIGURES
from ringviz.facts.source import Source, Status, by
from ringviz.facts.sources import AMD06, TIMELINE


@dataclass(frozen=True, slots=True)
class Cause:
    """Something that costs cycles, and whether a bare machine pays it as well."""

    id: str
    title: str
    level: Literal["machine", "vmm"]
    """`machine`: paid without a VMM too. `vmm`: overhead of virtualization."""
    source: Source


_MODEL = Source.ringviz("the causes are ringviz's own division of the run")

CAUSES: Mapping[str, Cause] = by(
    "id",
    Cause("guest-instruction", "A guest instruction run by the CPU itself", "machine", _MODEL),
    Cause("native-port-io", "The port access itself", "machine", _MODEL),
    Cause("native-exception", "An exception to its handler and back", "machine", _MODEL),
    Cause("native-page-fault", "A page fault to its handler and back", "machine", _MODEL),
    Cause("native-gate", "INT n through a gate and back", "machine", _MODEL),
    Cause("native-cpuid", "CPUID", "machine", _MODEL),
    Cause("native-msr", "RDMSR or WRMSR", "machine", _MODEL),
    Cause("trap-emulate", "A trap to the VMM, emulation and back", "vmm", _MODEL),
    Cause("trap-reflect", "A trap to the VMM, passed on to the guest's handler", "vmm", _MODEL),
    Cause("hidden-fault", "A page fault of the shadow's, filled in by the VMM", "vmm", _MODEL),
    Cause("trace", "A guest write to its page tables, carried out by the VMM", "vmm", _MODEL),
    Cause("silent", "A silent instruction: no trap, no cost, no fidelity", "vmm", _MODEL),
    Cause("exit", "A hardware exit to the VMM and the entry back", "vmm", _MODEL),
    Cause("vmm-work", "The VMM's own work during an exit", "vmm", _MODEL),
    Cause("nested-walk", "The longer page walk of nested paging", "vmm", _MODEL),
)


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
    """Of `vt-x`, `amd-v`, `ept`, `npt`."""
    clock_hz: int
    clock_source: Source
    costs: Mapping[str, Cost]
    """One row for every cause."""
    source: Source
    """For the year and the features."""
    note: str = ""


def cost_of(profile: CpuProfile, cause: str) -> Cost:
    """Give the price of a cause on a CPU.

    Raises:
        KeyError: ringviz has no such cause.
    """
    return profile.costs[cause]


def _as_published(cause: str, figure: str, note: str = "") -> Cost:
    """Give a cost that is a figure, as printed."""
    row = FIGURES[figure]
    return Cost(cause, row.value, row.low, row.high, row.source, note)


def _borrowed(cause: str, figure: str, note: str) -> Cost:
    """Give a cost for which a figure for something alike stands in."""
    row = FIGURES[figure]
    source = replace(row.source, status=Status.BORROWED, note=f"{row.source.note}; {note}")
    return Cost(cause, row.value, row.low, row.high, source, note)


def _chosen(cause: str, cycles: int, why: str) -> Cost:
    """Give a cost that ringviz set itself."""
    return Cost(cause, cycles, cycles, cycles, Source.ringviz(why), why)


def _unknown(cause: str, why: str) -> Cost:
    """Give the row of a cause that nobody has measured where we looked."""
    return Cost(cause, None, None, None, Source.ringviz(f"no figure found; counted, not charged: {why}"), why)


def _p4_exit() -> Cost:
    """Add up VM entry and VM exit; a second paper's round trip is the lower bound."""
    entry, exit_, other = FIGURES["p4-vm-entry"], FIGURES["p4-page-fault-exit"], FIGURES["prescott-round-trip"]
    total = entry.value + exit_.value
    return Cost(
        "exit",
        total,
        min(total, other.value),
        max(total, other.value),
        replace(entry.source, status=Status.COMPUTED, note=f"entry {entry.value} + page-fault exit {exit_.value}"),
        f"{other.source} has {other.value} for the same family of CPUs",
    )


def _p4_vmm_work() -> Cost:
    """Price the VMCS reads of a typical exit; whatever else the VMM does is not in it."""
    read, count = FIGURES["p4-vmread"], FIGURES["vmreads-per-exit"]
    total = read.value * count.value
    return Cost(
        "vmm-work",
        total,
        total,
        total,
        replace(read.source, status=Status.COMPUTED, note=f"about {count.value} VMCS reads of {read.value} cycles"),
        "VMCS reads only, for VT-x; decoding and emulation are not in it",
    )


def _barcelona_exit() -> Cost:
    """Shorten AMD's range for a world switch by what AMD says Barcelona saves, and charge the middle."""
    switch, saving = FIGURES["amd-world-switch"], FIGURES["barcelona-saving"]
    low, high = (bound * (100 - saving.value) // 100 for bound in (switch.low, switch.high))
    return Cost(
        "exit",
        (low + high) // 2,
        low,
        high,
        AMD06.at("", Status.COMPUTED, f"about {switch.low} to {switch.high} cycles, less about {saving.value} %"),
        "thin evidence: one statement of the maker before the CPU was sold; the middle of the range is charged",
    )


_ONE_CYCLE = "one cycle an instruction is a stated model, not a measurement: it only gives overheads a scale"
_REFLECT = "no figure for passing a trap on; the round trip of a trap that is emulated is shown"
_GATE = "no figure for INT n on this CPU; #DE takes the same way through an interrupt gate and back"

_P4_COSTS: Mapping[str, Cost] = by(
    "cause",
    _chosen("guest-instruction", 1, _ONE_CYCLE),
    _as_published("native-port-io", "p4-in", "measured for IN from port 80h; OUT is charged the same"),
    _as_published("native-exception", "p4-divzero", "measured for #DE; other exceptions but #PF are charged the same"),
    _as_published("native-page-fault", "p4-pgfault"),
    _borrowed("native-gate", "p4-divzero", _GATE),
    _unknown("native-cpuid", "no source for this CPU was found"),
    _unknown("native-msr", "no source for this CPU was found"),
    _as_published("trap-emulate", "p4-trap-rdtsc", "measured for RDTSC; decoding and emulation are in it"),
    _borrowed(
        "trap-reflect", "p4-trap-rdtsc", f"{_REFLECT}; native delivery to the guest's handler is charged as well"
    ),
    _unknown("hidden-fault", "no source for this CPU was found"),
    _unknown("trace", "no source for this CPU was found"),
    _chosen("silent", 0, "a silent instruction runs at full speed: what it costs is fidelity"),
    _p4_exit(),
    _p4_vmm_work(),
    _unknown("nested-walk", "this CPU has no nested paging"),
)

_FROM_P4 = "no figure for this CPU; the P4 672's is shown"


def _from_p4(cause: str) -> Cost:
    """Give the Pentium 4's price for a CPU that has no figure of its own, and say so."""
    row = _P4_COSTS[cause]
    return replace(row, source=replace(row.source, status=Status.BORROWED, note=_FROM_P4), note=_FROM_P4)


_BARCELONA_COSTS: Mapping[str, Cost] = by(
    "cause",
    _P4_COSTS["guest-instruction"],
    _from_p4("native-port-io"),
    _from_p4("native-exception"),
    _from_p4("native-page-fault"),
    _from_p4("native-gate"),
    _P4_COSTS["native-cpuid"],
    _P4_COSTS["native-msr"],
    _from_p4("trap-emulate"),
    _from_p4("trap-reflect"),
    _P4_COSTS["hidden-fault"],
    _P4_COSTS["trace"],
    _P4_COSTS["silent"],
    _barcelona_exit(),
    _unknown("vmm-work", "the VMCB is ordinary memory, so reading it has no price of its own"),
    _unknown("nested-walk", "published as a ratio of page-walk times, not in cycles"),
)

_BARCELONA_CLOCK = FIGURES["barcelona-clock"]
_P4_CLOCK = FIGURES["p4-672-clock"]

CPU_PROFILES: Mapping[str, CpuProfile] = by(
    "id",
    CpuProfile(
        id="p4-672",
        title="Intel Pentium 4 672",
        vendor="intel",
        year=2005,
        features=frozenset({"vt-x"}),
        clock_hz=_P4_CLOCK.value,
        clock_source=_P4_CLOCK.source,
        costs=_P4_COSTS,
        source=TIMELINE.at("VT-x, November 2005"),
        note="The first CPU with VT-x, and the one that the 2006 comparison of techniques was measured on",
    ),
    CpuProfile(
        id="barcelona",
        title="AMD Opteron (Barcelona)",
        vendor="amd",
        year=2007,
        features=frozenset({"amd-v", "npt"}),
        clock_hz=_BARCELONA_CLOCK.value,
        clock_source=_BARCELONA_CLOCK.source,
        costs=_BARCELONA_COSTS,
        source=TIMELINE.at("AMD-V with nested paging, September 2007"),
        note="The first CPU with nested paging. Thin evidence: only its world switch has a figure, and only about",
    ),
)
