"""Runs of one guest under several techniques, counted once, to be priced as often as somebody asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from ringviz.engine.bill import Bill, bill_at, walk_charges
from ringviz.engine.occasions import TLB_MISSES, Share, shares_of
from ringviz.engine.reference import NATIVE
from ringviz.engine.walk_count import count_walks
from ringviz.engine.whole_run import Progress, ending_of, ignore, play_whole
from ringviz.errors import InputError, UnsupportedError
from ringviz.facts.costs import CpuProfile
from ringviz.facts.techniques import TECHNIQUES
from ringviz.guest.scenario import Scenario
from ringviz.vmm.registry import check_fits, choose, choose_cpu, choose_mmu, technique_facts

SOFTWARE = "binary-translation"
"""What hardware assistance had to beat."""
DEFAULT_CPU = "nehalem"
"""Intel's first CPU on which software, shadow page tables and nested paging can all be had."""


@dataclass(frozen=True, slots=True)
class Contender:
    """A technique with its way of memory."""

    technique: str
    mmu: str

    @property
    def name(self) -> str:
        """For people: the way of memory only where the technique has a choice."""
        return self.technique if len(TECHNIQUES[self.technique].mmus) == 1 else f"{self.technique}, {self.mmu}"


@dataclass(frozen=True, slots=True)
class Counted:
    """A run to its end, counted and not priced."""

    contender: Contender
    ending: tuple[str, int | None]
    bill: Bill
    shares: Mapping[str, Share]
    """What each occasion has put on the bill."""
    has_walks: bool = False
    """The page-table entries read at TLB misses are on the bill."""


@dataclass(frozen=True, slots=True)
class Contest:
    """The runs to compare, and the CPU whose prices they start from."""

    scenario_id: str
    cpu: CpuProfile
    native: Counted
    runs: tuple[Counted, ...]
    left_out: tuple[tuple[str, str], ...]
    """Contenders that are not among the runs, each with the reason."""

    @property
    def has_walks(self) -> bool:
        """Page walks were counted."""
        return self.native.has_walks


def contest(
    scenario: Scenario,
    contenders: Sequence[str] | None = None,
    cpu: str | None = None,
    progress: Progress = ignore,
    walks: bool = False,
    walks_if_shorter: int = 0,
) -> Contest:
    """Run a guest under several techniques and count.

    Args:
        scenario: the guest.
        contenders: `technique` or `technique/mmu`; None is binary translation and what hardware assistance the CPU has.
        cpu: id; None is the first that has it all.
        progress: told how far the runs are.
        walks: run each once more to count TLB misses.
        walks_if_shorter: do so, if it can be done, where bare metal completes fewer instructions than this.

    Raises:
        RingvizError: a name is unknown, or one that was named does not go with the CPU or the guest.
    """
    profile = choose_cpu(NATIVE, None, cpu or DEFAULT_CPU)
    native = _counted(scenario, Contender(NATIVE, "none"), profile, progress, walks)
    if not walks and native.bill.retired < walks_if_shorter:
        with suppress(UnsupportedError):
            native = _walked(scenario, native, profile, progress)
    runs: list[Counted] = []
    left_out: list[tuple[str, str]] = []
    for contender in _named(contenders, profile) if contenders else _usual():
        try:
            run = _counted(scenario, contender, profile, progress, native.has_walks)
        except UnsupportedError as error:
            if contenders:
                raise
            if TECHNIQUES[contender.technique].needs_feature in (None, *profile.features):
                left_out.append((contender.name, str(error)))
            continue
        if run.ending == native.ending:
            runs.append(run)
        else:
            left_out.append((contender.name, "it ends otherwise than bare metal: not the same work"))
    if not runs:
        raise InputError(f"{scenario.id}: nothing to compare: {'; '.join(f'{who}: {why}' for who, why in left_out)}")
    return Contest(scenario.id, profile, native, tuple(runs), tuple(left_out))


def _usual() -> list[Contender]:
    hardware = [row.id for row in TECHNIQUES.values() if row.needs_feature is not None]
    return [Contender(technique, mmu) for technique in (SOFTWARE, *hardware) for mmu in TECHNIQUES[technique].mmus]


def _named(words: Sequence[str], cpu: CpuProfile) -> list[Contender]:
    found: list[Contender] = []
    for word in words:
        technique, sign, mmu = word.partition("/")
        technique_facts(technique)
        choose_cpu(technique, None, cpu.id)
        contender = Contender(technique, choose_mmu(technique, mmu if sign else None, cpu))
        if contender not in found:
            found.append(contender)
    return found


def _counted(scenario: Scenario, contender: Contender, cpu: CpuProfile, progress: Progress, has_walks: bool) -> Counted:
    setup = choose(contender.technique, contender.mmu, cpu.id)
    check_fits(scenario, contender.technique)
    recording = play_whole(scenario, contender.technique, setup, progress)
    run = Counted(contender, ending_of(recording), bill_at(recording), shares_of(recording.log.raw))
    return _walked(scenario, run, cpu, progress) if has_walks else run


def _walked(scenario: Scenario, run: Counted, cpu: CpuProfile, progress: Progress) -> Counted:
    """Run once more to count TLB misses, and put the walks on the bill."""
    contender, limit = run.contender, scenario.limits.instructions
    setup = choose(contender.technique, contender.mmu, cpu.id)
    what = f"counting page walks, {contender.name}"
    count = count_walks(scenario, contender.technique, setup, lambda done: progress(what, done, limit))
    native, vmm = walk_charges(count)
    shares = {**run.shares, TLB_MISSES: Share(count.misses, vmm, native)}
    return replace(run, bill=run.bill.with_walks(count), shares=shares, has_walks=True)
