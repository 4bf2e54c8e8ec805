"""The scorecard: whether a run kept the three properties of a virtual machine monitor, and by what figures."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from ringviz.engine.divergence import INTERVAL, Divergence
from ringviz.facts.properties import MAJORITY, PROPERTIES, Property
from ringviz.facts.techniques import TECHNIQUES
from ringviz.machine.cpuid import SVM_BIT
from ringviz.vmm.registry import why_no_svm

if TYPE_CHECKING:
    from ringviz.engine.fidelity import Fidelity
    from ringviz.engine.stat import Stat


class Verdict(Enum):
    """Whether a property holds; the value is the word for people."""

    HOLDS = "holds"
    FAILS = "fails"
    UNTRIED = "not tried"
    """The run says nothing about it."""


@dataclass(frozen=True, slots=True)
class Score:
    """One property of one run."""

    property: Property
    verdict: Verdict
    figure: str
    """What the verdict rests on, in a few words."""
    words: str
    """The same as one or two sentences."""


@dataclass(frozen=True, slots=True)
class Scorecard:
    """One run by the three properties."""

    technique: str
    scores: tuple[Score, ...]
    """Fidelity, performance, safety."""
    direct_share: float | None
    """Of the guest's instructions, the share that the CPU ran with no VMM in between; None if none retired."""
    calls_per_thousand: float | None
    """Traps, exits, callouts, hypercalls and translations per thousand guest instructions; None if no instruction
    ran on the CPU, so that there was nothing to leave for the VMM."""

    def score(self, property_id: str) -> Score:
        """Give the score of one property."""
        return next(score for score in self.scores if score.property.id == property_id)


def scorecard(run: Stat) -> Scorecard:
    """Judge a run."""
    share = run.direct / run.retired if run.retired else None
    calls = 1000 * run.vmm_calls / run.retired if run.direct else None
    return Scorecard(run.technique, (_fidelity(run), _performance(run, share, calls), _safety(run)), share, calls)


def _fidelity(run: Stat) -> Score:
    verdict, figure, words = _fidelity_words(run, run.fidelity)
    return Score(PROPERTIES["fidelity"], verdict, figure, words)


def _fidelity_words(run: Stat, fidelity: Fidelity | None) -> tuple[Verdict, str, str]:
    if fidelity is None:
        return Verdict.UNTRIED, "not compared", "The run was not compared with bare metal."
    first = fidelity.first_divergence
    if first is not None:
        count = len(fidelity.divergences)
        more = "" if count < 2 else f" {count:,} instructions differ in all."
        more += _kept_to_itself(run.technique, first)
        native, here = (value if isinstance(value, str) else f"{value:X}h" for value in (first.native, first.here))
        return (
            Verdict.FAILS,
            f"differs at step {first.retired:,}: {first.instruction}",
            f"After {first.retired:,} instructions, {first.instruction}: the guest got {here}, bare metal gives "
            f"{native}.{more}",
        )
    if TECHNIQUES[run.technique].vmm_ring is None and TECHNIQUES[run.technique].guest_kernel_ring is not None:
        return Verdict.HOLDS, "the reference", "This is bare metal: what the others are compared with."
    if fidelity.markers is not None:
        return (
            Verdict.HOLDS,
            f"identical at {fidelity.markers:,} markers",
            f"Its kernel is another build, so the two were compared at {fidelity.markers:,} markers that both have: "
            "all alike.",
        )
    if fidelity.closely_until is not None:
        return (
            Verdict.HOLDS,
            "identical at intervals",
            f"The guest saw what it sees on bare metal: compared at every stop up to step {fidelity.closely_until:,}, "
            f"and from there after every {INTERVAL:,} instructions.",
        )
    return Verdict.HOLDS, "identical", "The guest saw what it sees on bare metal, at every instruction."


def _kept_to_itself(technique: str, first: Divergence) -> str:
    """Say that CPUID has told a hypervisor that there is no AMD-V for it, if that is the difference."""
    if first.form != "cpuid" or isinstance(first.native, str) or isinstance(first.here, str):
        return ""
    is_svm = first.native ^ first.here == SVM_BIT
    return f" The VMM keeps AMD-V to itself: {why_no_svm(technique)}." if is_svm else ""


def _performance(run: Stat, share: float | None, calls: float | None) -> Score:
    property_ = PROPERTIES["performance"]
    if share is None:
        return Score(property_, Verdict.UNTRIED, "nothing ran", "No guest instruction was completed.")
    times = "" if run.slowdown is None else f", {run.slowdown:,.2f}× bare metal's cycles (modelled)"
    if calls is None:
        words = f"No instruction of the guest ran on the CPU: each was carried out by a program{times}."
    else:
        words = (
            f"{100 * share:.1f} % of the guest's instructions ran on the CPU with nothing in between; "
            f"{calls:,.1f} of 1,000 called the VMM{times}."
        )
    verdict = Verdict.HOLDS if share >= MAJORITY.value else Verdict.FAILS
    return Score(property_, verdict, f"{100 * share:.1f} % direct", words)


def _safety(run: Stat) -> Score:
    property_ = PROPERTIES["safety"]
    tried, stopped = run.safety.attempts, run.safety.contained
    if not tried:
        return Score(property_, Verdict.UNTRIED, "no attempt", "This guest reached for nothing that is not its own.")
    verdict = Verdict.HOLDS if stopped == tried else Verdict.FAILS
    words = f"The guest reached {tried:,} times for what is not its own, and was stopped {stopped:,} times."
    return Score(property_, verdict, f"{stopped:,} of {tried:,} contained", words)


def scorecard_json(card: Scorecard) -> dict[str, object]:
    """Give the card as the object that `stat --json` and `compare --json` hold."""
    return {
        score.property.id: {"verdict": score.verdict.value, "figure": score.figure, "words": score.words}
        for score in card.scores
    } | {
        "direct_share": None if card.direct_share is None else round(card.direct_share, 6),
        "vmm_calls_per_1000": None if card.calls_per_thousand is None else round(card.calls_per_thousand, 6),
        "majority": MAJORITY.value,
    }
