"""A counted run priced anew, and how its cycles depend on one knob: a straight line, always.

A changed rate multiplies what the events of that occasion charge, and nothing else: not the few instructions that the
guest needs for it, and not what comes of it later. A traced write may lead to a hidden fault at the next access, which
is an occasion of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from ringviz.engine.contest import Counted
from ringviz.engine.knobs import Changes, Knob, price_of
from ringviz.facts.costs import CpuProfile


@dataclass(frozen=True, slots=True)
class Line:
    """Cycles as a function of one knob: `constant + slope * value`."""

    constant: Fraction
    slope: Fraction

    def at(self, value: Fraction) -> Fraction:
        """Give the cycles at a value."""
        return self.constant + self.slope * value


def cycles_of(run: Counted, cpu: CpuProfile, changes: Changes) -> Fraction:
    """Price a run."""
    counts = _counts(run, changes)
    events = sum((count * price_of(cpu, cause, changes) for cause, count in counts.items()), Fraction(0))
    return run.bill.instruction_cycles + events


def line_of(run: Counted, cpu: CpuProfile, changes: Changes, knob: Knob) -> Line:
    """Say how the cycles of a run depend on one knob, all others being left where they are."""
    if knob.is_rate:
        share = run.shares[knob.id]
        charged = [*share.vmm.items(), *share.native.items()]
        slope = sum((count * price_of(cpu, cause, changes) for cause, count in charged), Fraction(0))
    else:
        slope = _counts(run, changes).get(knob.id, Fraction(0))
    return Line(cycles_of(run, cpu, changes) - slope * knob.value(cpu, changes), slope)


def break_even(one: Line, other: Line) -> Fraction | None:
    """Give the value from 0 on at which both cost the same; None if there is none, or if they do everywhere."""
    if one.slope == other.slope:
        return None
    value = (other.constant - one.constant) / (one.slope - other.slope)
    return value if value >= 0 else None


def _counts(run: Counted, changes: Changes) -> dict[str, Fraction]:
    """Give how often each cause comes, at the rates asked for."""
    counts = {cause: Fraction(count) for cause, count in run.bill.causes.items()}
    for occasion, rate in changes.rates.items():
        share = run.shares[occasion]
        for account in (share.vmm, share.native):
            for cause, count in account.items():
                counts[cause] = counts.get(cause, Fraction(0)) + (rate - 1) * count
    return counts
