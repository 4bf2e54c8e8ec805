"""How many copies of a guest one CPU carries: from the ledgers of its runs, by arithmetic and nothing else.

The load is what one copy would take of the CPU on bare metal. A technique makes the same work cost more cycles, and so
a copy takes more of the CPU; how many copies fit follows. Everything is exact: whole numbers and fractions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import floor

from ringviz.engine.bill import Bill
from ringviz.engine.reference import NATIVE
from ringviz.engine.shared_runs import SharedRuns
from ringviz.engine.whole_run import Progress, ignore
from ringviz.errors import InputError, UnsupportedError
from ringviz.facts.costs import CPU_PROFILES, CpuProfile, cost_of
from ringviz.facts.instruction_weights import GUEST_WORK
from ringviz.facts.techniques import TECHNIQUES
from ringviz.guest.scenario import Scenario
from ringviz.vmm.registry import available, check_fits, choose, choose_cpu, technique_facts

WHOLE = 100
"""Per cent of one CPU."""
ASSUMPTIONS = (
    "A copy does the same work as this run, from power-on to its end, again and again.",
    "The load is the share of one CPU that a copy would take on bare metal; waiting in HLT takes none.",
    f"Cycles are modelled. {GUEST_WORK}",
    "Causes without a figure are charged nothing, so copies with such causes are too many.",
    "Switching between copies costs nothing, and they do not push each other out of caches and TLBs.",
    "Devices are never the bottleneck, and the scheduler wastes nothing.",
    "Whether the guest sees what it sees on bare metal is not asked here; `ringviz compare` does.",
    "Events are counted once for CPUs on which the same happens; each CPU then has its own prices.",
)
WITHOUT_WALKS = "TLB misses are not counted, so nested paging carries fewer copies than this; --walks counts them."
WITH_WALKS = "TLB misses are counted with the modelled TLB of each CPU, in runs of their own."
MEMORY_ASSUMPTION = (
    "Each copy has all of its memory at every moment, shares none of it, and the VMM's own memory is not counted."
)


@dataclass(frozen=True, slots=True)
class Copies:
    """One technique on one CPU."""

    technique: str
    mmu: str
    cpu: CpuProfile
    load_percent: Fraction
    native_cycles: int
    """Of the whole run on bare metal."""
    total_cycles: int
    """Of the same run here."""
    unknown: tuple[str, ...]
    """Causes of the run that this CPU has no price for."""
    by_memory: int | None
    """Copies whose memory fits, where that was asked for."""

    @property
    def slowdown(self) -> Fraction:
        """How many times bare metal's cycles."""
        return Fraction(self.total_cycles, self.native_cycles)

    @property
    def share_percent(self) -> Fraction:
        """What one copy takes of the CPU; above 100 it does not get its work done."""
        return self.load_percent * self.slowdown

    @property
    def by_cpu(self) -> int:
        """Copies for which the CPU has cycles."""
        return floor(WHOLE / self.share_percent)

    @property
    def copies(self) -> int:
        """Copies that fit."""
        return self.by_cpu if self.by_memory is None else min(self.by_cpu, self.by_memory)

    @property
    def native_cycles_a_second(self) -> Fraction | None:
        """What a copy would use on bare metal; None where no source names a clock."""
        clock = self.cpu.clock_hz
        return None if clock is None else clock * self.load_percent / WHOLE

    @property
    def cycles_a_second(self) -> Fraction | None:
        """What a copy uses here."""
        native = self.native_cycles_a_second
        return None if native is None else native * self.slowdown


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A technique that does not run this guest, or not on this CPU, or not to the same end."""

    technique: str
    mmu: str
    cpu_id: str
    """Empty: on none of them."""
    reason: str


@dataclass(frozen=True, slots=True)
class Consolidation:
    """All techniques on all CPUs that were asked for."""

    scenario_id: str
    guest_mib: int
    load_percent: Fraction
    host_mib: int | None
    has_walks: bool
    """TLB misses are counted and charged."""
    rows: tuple[Copies, ...]
    """CPU by CPU in the order of their years, techniques in the order of `ringviz list`."""
    left_out: tuple[LeftOut, ...]

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What all of it rests on."""
        walks = WITH_WALKS if self.has_walks else WITHOUT_WALKS
        return (*ASSUMPTIONS, walks, *(() if self.host_mib is None else (MEMORY_ASSUMPTION,)))


def consolidate(
    scenario: Scenario,
    load_percent: Fraction,
    techniques: Sequence[str] | None = None,
    cpus: Sequence[str] | None = None,
    host_mib: int | None = None,
    progress: Progress = ignore,
    walks: bool = False,
) -> Consolidation:
    """Count how many copies of a guest fit one CPU.

    Args:
        scenario: the guest.
        load_percent: share of one CPU that a copy would take on bare metal, above 0 and up to 100.
        techniques: ids; None is all.
        cpus: ids; None is all.
        host_mib: memory of the machine, for the bound that memory sets.
        progress: told how far the runs are.
        walks: run each once more to count TLB misses.

    Raises:
        InputError: a name is unknown, or a figure is out of range.
        UnsupportedError: a technique that was named does not run this guest.
    """
    if not 0 < load_percent <= WHOLE:
        raise InputError(f"load {float(load_percent):g}: expected per cent of one CPU, above 0 and up to {WHOLE}")
    if host_mib is not None and host_mib < 1:
        raise InputError(f"memory {host_mib}: expected the host's MiB, 1 or more")
    profiles = [choose_cpu(NATIVE, None, cpu) for cpu in cpus or CPU_PROFILES]
    profiles.sort(key=lambda profile: profile.year)
    rows: list[Copies] = []
    left_out: list[LeftOut] = []
    chosen = _fitting(scenario, techniques, left_out)
    runs = SharedRuns(scenario, progress, is_whole=True, has_walks=walks)
    by_memory = None if host_mib is None else host_mib // scenario.guest.memory_mib
    for cpu in profiles:
        native = _counted(runs, NATIVE, "none", cpu)
        for technique in chosen:
            for mmu in TECHNIQUES[technique].mmus:
                row = _row(runs, technique, mmu, cpu, native, load_percent, by_memory)
                if isinstance(row, LeftOut):
                    left_out.append(row)
                else:
                    rows.append(row)
    return Consolidation(
        scenario.id, scenario.guest.memory_mib, load_percent, host_mib, walks, tuple(rows), tuple(left_out)
    )


def _fitting(scenario: Scenario, techniques: Sequence[str] | None, left_out: list[LeftOut]) -> list[str]:
    """Give the techniques that run this guest; one that was named must."""
    fitting = []
    for technique in techniques or available():
        technique_facts(technique)
        try:
            check_fits(scenario, technique)
        except UnsupportedError as error:
            if techniques:
                raise
            left_out.append(LeftOut(technique, "", "", str(error)))
            continue
        fitting.append(technique)
    return fitting


Ending = tuple[str, int | None]


def _counted(runs: SharedRuns, technique: str, mmu: str, cpu: CpuProfile) -> tuple[Bill, Ending]:
    """Give what a run has come to, with its page walks where they are counted, and how it ended."""
    work = runs.on(technique, mmu, cpu)
    how, code, _said = work.ending
    return work.bill if work.walks is None else work.bill.with_walks(work.walks), (how, code)


def _row(
    runs: SharedRuns,
    technique: str,
    mmu: str,
    cpu: CpuProfile,
    native: tuple[Bill, Ending],
    load_percent: Fraction,
    by_memory: int | None,
) -> Copies | LeftOut:
    needs = TECHNIQUES[technique].needs_feature
    if needs is not None and needs not in cpu.features:
        return LeftOut(technique, mmu, cpu.id, f"the CPU has no {needs}")
    try:
        choose(technique, mmu, cpu.id)
    except UnsupportedError as error:
        reason = "the CPU has no nested paging" if mmu == "nested" else str(error)
        return LeftOut(technique, mmu, cpu.id, reason)
    (bill, ending), (native_bill, native_ending) = _counted(runs, technique, mmu, cpu), native
    if ending != native_ending:
        ended, should = (f"{how}, exit code {code}" for how, code in (ending, native_ending))
        return LeftOut(
            technique, mmu, cpu.id, f"ended otherwise than bare metal ({ended}; not {should}): not the same work"
        )
    native_cycles, total_cycles = native_bill.total_cycles(cpu), bill.total_cycles(cpu)
    if not native_cycles or not total_cycles:
        return LeftOut(technique, mmu, cpu.id, "no cycles are charged for this run")
    unknown = tuple(sorted(cause for cause in bill.causes if cost_of(cpu, cause).cycles is None))
    return Copies(technique, mmu, cpu, load_percent, native_cycles, total_cycles, unknown, by_memory)


def consolidation_json(result: Consolidation) -> dict[str, object]:
    """Give the object of `consolidate --json`; fractions are rounded to six decimals, copies are exact."""
    return {
        "schema": 1,
        "scenario": result.scenario_id,
        "load_percent": round(float(result.load_percent), 6),
        "guest_mib": result.guest_mib,
        "host_mib": result.host_mib,
        "walks": result.has_walks,
        "assumptions": list(result.assumptions),
        "rows": [
            {
                "cpu": row.cpu.id,
                "year": row.cpu.year,
                "technique": row.technique,
                "mmu": row.mmu,
                "clock_hz": row.cpu.clock_hz,
                "native_cycles": row.native_cycles,
                "total_cycles": row.total_cycles,
                "slowdown": round(float(row.slowdown), 6),
                "share_percent": round(float(row.share_percent), 6),
                "copies_by_cpu": row.by_cpu,
                "copies_by_memory": row.by_memory,
                "copies": row.copies,
                "unknown_causes": list(row.unknown),
            }
            for row in result.rows
        ],
        "left_out": [
            {"technique": row.technique, "mmu": row.mmu or None, "cpu": row.cpu_id or None, "reason": row.reason}
            for row in result.left_out
        ],
    }
