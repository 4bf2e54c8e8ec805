"""Slowdown against year: one guest under each technique, its events counted once and priced for every CPU.

CPUs on which the same things happen share a run (see `shared_runs`). A CPU on which a technique is not to be had has no
point there. Cycles are modelled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

from ringviz.engine.bill import walk_charges
from ringviz.engine.reference import NATIVE
from ringviz.engine.shared_runs import SharedRuns
from ringviz.engine.whole_run import Progress, ignore
from ringviz.engine.work import Work
from ringviz.errors import UnsupportedError
from ringviz.facts.adams_agesen_macro import MACRO, Measured
from ringviz.facts.cost_rows import is_lent
from ringviz.facts.costs import CAUSES, CPU_PROFILES, GUEST_INSTRUCTION, CpuProfile, cost_of
from ringviz.facts.techniques import TECHNIQUES
from ringviz.guest.scenario import Scenario
from ringviz.vmm.registry import check_fits, technique_facts

Side = Literal["software", "hardware", "recompiled", "emulated"]


@dataclass(frozen=True, slots=True)
class Way:
    """One curve of the chart: a technique with one way of memory virtualization."""

    id: str
    technique: str
    mmu: str
    title: str
    side: Side
    mark: str
    """The letter that stands for it."""


def _way(technique: str, mmu: str, side: Side, mark: str) -> Way:
    facts = TECHNIQUES[technique]
    title = f"{facts.title}, {mmu} paging" if len(facts.mmus) > 1 else facts.title
    return Way(_way_id(technique, mmu), technique, mmu, title, side, mark)


def _way_id(technique: str, mmu: str) -> str:
    return f"{technique}-{mmu}" if len(TECHNIQUES[technique].mmus) > 1 else technique


BINARY_TRANSLATION = _way("binary-translation", "shadow", "software", "B")
USUAL: tuple[Way, ...] = (
    BINARY_TRANSLATION,
    _way("vt-x", "shadow", "hardware", "S"),
    _way("vt-x", "nested", "hardware", "N"),
    _way("paravirt", "direct", "recompiled", "P"),
    _way("amd-v", "shadow", "hardware", "s"),
    _way("amd-v", "nested", "hardware", "n"),
)
"""Drawn where nobody asks for others."""
WAYS: tuple[Way, ...] = (
    *USUAL,
    _way("emulation", "shadow", "emulated", "E"),
    _way("classic", "shadow", "software", "C"),
    _way("trap-emulate", "shadow", "software", "T"),
)


@dataclass(frozen=True, slots=True)
class Row:
    """One cause of a point's cycles."""

    cause: str
    count: int
    cycles: int | None
    """None: no figure, counted and not charged."""
    is_lent: bool
    """The price is another CPU's."""


@dataclass(frozen=True, slots=True)
class Point:
    """One way on one CPU."""

    way: Way
    cpu: CpuProfile
    native_cycles: int
    rows: tuple[Row, ...]
    has_walks: bool
    """Page walks are in the price."""

    @property
    def cycles(self) -> int:
        """All of them, modelled."""
        return sum(row.cycles or 0 for row in self.rows)

    @property
    def slowdown(self) -> Fraction:
        """Against bare metal on the same CPU."""
        return Fraction(self.cycles, self.native_cycles)

    @property
    def lent_percent(self) -> int:
        """Share of the VMM's cycles that is counted at prices of another CPU."""
        rows = [row for row in self.rows if CAUSES[row.cause].level == "vmm"]
        return 100 * sum(row.cycles or 0 for row in rows if row.is_lent) // max(1, sum(row.cycles or 0 for row in rows))

    @property
    def unknown(self) -> tuple[str, ...]:
        """Causes that came and have no price."""
        return tuple(row.cause for row in self.rows if row.cycles is None and row.count)


@dataclass(frozen=True, slots=True)
class Counted:
    """One run, and the CPUs for which it stands."""

    way: str
    work: Work
    cpus: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Beside:
    """A workload of the paper beside the scenario made like it."""

    paper: Measured
    software: Point
    hardware: Point

    @property
    def same_winner(self) -> bool:
        """Software is ahead in both, or hardware is in both."""
        ahead = self.software.cycles < self.hardware.cycles
        return ahead == (self.paper.software < self.paper.hardware)


@dataclass(frozen=True, slots=True)
class Turn:
    """The first CPU of a maker on which hardware assistance costs less than binary translation."""

    vendor: str
    before: tuple[tuple[Point, Point], ...]
    """On earlier CPUs: binary translation, and the best that hardware had."""
    at: tuple[Point, Point] | None
    """The same on the first that turned it; None: on none of them."""


@dataclass(frozen=True, slots=True)
class Generations:
    """One guest on all CPUs."""

    scenario: str
    has_markers: bool
    """The guest says itself from where to where it is to be counted."""
    natives: Mapping[str, Work]
    """By CPU: bare metal."""
    counted: tuple[Counted, ...]
    points: tuple[Point, ...]
    """CPUs by year, ways in the order of `WAYS`."""
    left_out: tuple[tuple[str, str], ...]
    """Ways that have no points at all, and why."""
    ways: tuple[Way, ...] = field(default=())
    """Those that have some."""

    @property
    def cpus(self) -> tuple[CpuProfile, ...]:
        """Those that have points, by year."""
        return tuple({point.cpu.id: point.cpu for point in self.points}.values())

    def at(self, way: str, cpu: str) -> Point | None:
        """Give one point."""
        return next((point for point in self.points if (point.way.id, point.cpu.id) == (way, cpu)), None)

    def best_hardware(self, cpu: str) -> Point | None:
        """Give the cheapest way with hardware assistance on a CPU."""
        points = [point for point in self.points if point.cpu.id == cpu and point.way.side == "hardware"]
        return min(points, key=lambda point: point.cycles, default=None)

    def turns(self) -> tuple[Turn, ...]:
        """Say, for each maker, where hardware has caught up with software."""
        return tuple(self._turn(vendor) for vendor in dict.fromkeys(cpu.vendor for cpu in self.cpus))

    def _turn(self, vendor: str) -> Turn:
        before: list[tuple[Point, Point]] = []
        for cpu in self.cpus:
            software, hardware = self.at(BINARY_TRANSLATION.id, cpu.id), self.best_hardware(cpu.id)
            if cpu.vendor != vendor or software is None or hardware is None:
                continue
            if hardware.cycles < software.cycles:
                return Turn(vendor, tuple(before), (software, hardware))
            before.append((software, hardware))
        return Turn(vendor, tuple(before), None)

    def beside_the_paper(self) -> Iterator[Beside]:
        """Give what was measured in 2006 with a workload that the scenario is made like."""
        for row in MACRO:
            software, hardware = self.at(BINARY_TRANSLATION.id, row.cpu), self.at("vt-x-shadow", row.cpu)
            if row.scenario == self.scenario and software is not None and hardware is not None:
                yield Beside(row, software, hardware)


def ways_of(techniques: Sequence[str] | None) -> tuple[Way, ...]:
    """Give the ways of the techniques named, or the usual ones.

    Raises:
        InputError: no such technique.
    """
    if not techniques:
        return USUAL
    wanted = {technique_facts(technique).id for technique in techniques}
    return tuple(way for way in WAYS if way.technique in wanted)


def over_generations(
    scenario: Scenario,
    techniques: Sequence[str] | None = None,
    progress: Progress = ignore,
    cpus: Sequence[CpuProfile] | None = None,
) -> Generations:
    """Run a guest under each way and price the runs for every CPU.

    Args:
        scenario: the guest.
        techniques: ids; None is the usual ones.
        progress: told how far the runs are.
        cpus: those to price for; None is all that are known.

    Raises:
        InputError: no such technique.
        UnsupportedError: a technique that was named cannot run the guest.
    """
    profiles = sorted(cpus or CPU_PROFILES.values(), key=lambda cpu: cpu.year)
    runs = SharedRuns(scenario, progress)
    natives = {cpu.id: runs.on(NATIVE, "none", cpu) for cpu in profiles}
    points: list[Point] = []
    left_out: list[tuple[str, str]] = []
    for way in ways_of(techniques):
        try:
            check_fits(scenario, way.technique)
        except UnsupportedError as error:
            if techniques:
                raise
            left_out.append((way.id, str(error)))
            continue
        found, why = _points(way, profiles, natives, runs)
        points += found
        if not found:
            left_out.append((way.id, why))
    order = {cpu.id: number for number, cpu in enumerate(profiles)}
    points.sort(key=lambda point: order[point.cpu.id])  # stable: ways keep their order
    return Generations(
        scenario=scenario.id,
        has_markers=any(work.begin for work in natives.values()),
        natives=natives,
        counted=tuple(Counted(_way_id(run.technique, run.mmu), run.work, run.cpus) for run in runs.all()),
        points=tuple(points),
        left_out=tuple(left_out),
        ways=tuple(way for way in WAYS if any(point.way is way for point in points)),
    )


def _points(
    way: Way, profiles: Sequence[CpuProfile], natives: Mapping[str, Work], runs: SharedRuns
) -> tuple[list[Point], str]:
    """Price one way wherever it is to be had; with the reason why nowhere, if so."""
    points: list[Point] = []
    why = "none of the CPUs has what it takes"
    for cpu in profiles:
        try:
            work = runs.on(way.technique, way.mmu, cpu)
        except UnsupportedError:
            continue
        if work.ending != natives[cpu.id].ending:
            why = "its run ends otherwise than that of bare metal: it has not done the same work"
            continue
        native = sum(row.cycles or 0 for row in priced(natives[cpu.id], cpu))
        if native:
            points.append(Point(way, cpu, native, priced(work, cpu), has_walks(work, cpu)))
    return points, why


def priced(work: Work, cpu: CpuProfile) -> tuple[Row, ...]:
    """Price what a run has done on a CPU, the dearest cause first."""
    bill = work.bill
    rows = [Row(GUEST_INSTRUCTION, bill.direct, bill.instruction_cycles, is_lent=False)]
    for cause, count in (bill.causes + Counter(_walk_counts(work))).items():
        cost = cost_of(cpu, cause)
        rows.append(Row(cause, count, None if cost.cycles is None else count * cost.cycles, is_lent(cost)))
    return tuple(sorted(rows, key=lambda row: (-(row.cycles or 0), row.cause)))


def has_walks(work: Work, cpu: CpuProfile) -> bool:
    """Tell whether a CPU has prices for all page walks of a run."""
    counts = _walk_counts(work)
    return bool(counts) and all(cost_of(cpu, cause).cycles is not None for cause in counts)


def _walk_counts(work: Work) -> dict[str, int]:
    """Give the page-table entries that the CPU read, by cause."""
    if work.walks is None:
        return {}
    native, vmm = walk_charges(work.walks)
    return {cause: count for cause, count in (*native.items(), *vmm.items()) if count}


def generations_json(result: Generations) -> dict[str, object]:
    """Give everything as plain values: slowdowns are rounded to six decimals, the rest is exact."""
    return {
        "scenario": result.scenario,
        "between_markers": result.has_markers,
        "cycles_are": "modelled",
        "runs": [
            {
                "way": counted.way,
                "cpus": list(counted.cpus),
                "begin": counted.work.begin,
                "end": counted.work.end,
                "direct": counted.work.bill.direct,
                "causes": dict(sorted((counted.work.bill.causes + Counter(_walk_counts(counted.work))).items())),
                "tlb_misses": None if counted.work.walks is None else counted.work.walks.misses,
            }
            for counted in result.counted
        ],
        "points": [
            {
                "cpu": point.cpu.id,
                "year": point.cpu.year,
                "vendor": point.cpu.vendor,
                "way": point.way.id,
                "technique": point.way.technique,
                "mmu": point.way.mmu,
                "native_cycles": point.native_cycles,
                "cycles": point.cycles,
                "slowdown": round(float(point.slowdown), 6),
                "lent_percent": point.lent_percent,
                "page_walks_priced": point.has_walks,
                "unknown": list(point.unknown),
                "rows": [
                    {"cause": row.cause, "count": row.count, "cycles": row.cycles, "is_lent": row.is_lent}
                    for row in point.rows
                ],
            }
            for point in result.points
        ],
        "turns": [
            {
                "vendor": turn.vendor,
                "cpu": None if turn.at is None else turn.at[1].cpu.id,
                "way": None if turn.at is None else turn.at[1].way.id,
            }
            for turn in result.turns()
        ],
        "paper": [
            {
                "workload": beside.paper.title,
                "cpu": beside.paper.cpu,
                "source": str(beside.paper.source),
                "software": round(float(beside.paper.software / beside.paper.native), 6),
                "hardware": round(float(beside.paper.hardware / beside.paper.native), 6),
                "same_winner": beside.same_winner,
            }
            for beside in result.beside_the_paper()
        ],
        "left_out": [{"way": way, "why": why} for way, why in result.left_out],
    }
