"""A paper's measurements beside the model's: the same operations run for real, priced, and compared row by row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from ringviz.engine.nanobench import Bench, Charges, Loop
from ringviz.facts.adams_agesen import EMPTY_MARKER, END, OPERATIONS, Contender, Operation, Variant
from ringviz.facts.costs import CpuProfile
from ringviz.guest.scenario import find_scenario
from ringviz.vmm.registry import choose
from ringviz.vmm.setup import Setup

RUN_AS: Mapping[Contender, tuple[str, str | None]] = {
    Contender.NATIVE: ("native", None),
    Contender.SOFTWARE: ("binary-translation", "shadow"),
    Contender.HARDWARE: ("vt-x", "shadow"),
}
"""By column of the paper: technique and way of memory virtualization."""
ROUND_LABEL = "empty_loop"
_FACTOR = 2
_RIVALS = (Contender.SOFTWARE, Contender.HARDWARE)


@dataclass(frozen=True, slots=True)
class Measure:
    """One operation under one technique."""

    paper: int
    """Cycles that the paper has."""
    model: Fraction
    """Cycles that the model predicts; for bare metal an input, where the paper's price is one."""
    bill: Charges
    """What the model's cycles consist of, over all rounds of the loop."""

    @property
    def ratio(self) -> Fraction:
        """Model over paper."""
        return self.model / self.paper

    @property
    def is_near(self) -> bool:
        """The two differ by a factor of two at most."""
        return Fraction(1, _FACTOR) <= self.ratio <= _FACTOR


@dataclass(frozen=True, slots=True)
class Row:
    """One measured row of the paper."""

    variant: Variant
    measures: Mapping[Contender, Measure]

    @property
    def paper_winner(self) -> Contender | None:
        """Who is faster according to the paper, bare metal aside; None if neither is."""
        return _faster({who: Fraction(self.measures[who].paper) for who in _RIVALS})

    @property
    def model_winner(self) -> Contender | None:
        """Who is faster according to the model, bare metal aside; None if neither is."""
        return _faster({who: self.measures[who].model for who in _RIVALS})

    @property
    def agrees(self) -> bool:
        """Both name the same."""
        return self.paper_winner is self.model_winner

    def advantage(self, *, of_model: bool) -> Fraction:
        """Hardware's cycles over software's."""
        software, hardware = (self.measures[who] for who in _RIVALS)
        return hardware.model / software.model if of_model else Fraction(hardware.paper, software.paper)


@dataclass(frozen=True, slots=True)
class Reproduction:
    """All operations of the paper on one CPU."""

    cpu: CpuProfile
    rows: Mapping[str, tuple[Row, ...]]
    """By operation; the first row of each is the one that the paper discusses."""

    def agrees(self, operation: str) -> bool:
        """Paper and model name the same winner in every row of an operation."""
        return all(row.agrees for row in self.rows[operation])

    @property
    def agreeing(self) -> int:
        """On how many operations they do."""
        return sum(map(self.agrees, self.rows))

    def near(self, who: Contender) -> int:
        """In how many operations the first row is within a factor of two of the paper's."""
        return sum(rows[0].measures[who].is_near for rows in self.rows.values())

    @property
    def bills(self) -> tuple[tuple[Contender, Charges], ...]:
        """Everything that was charged, and under which column."""
        rows = [row for rows in self.rows.values() for row in rows]
        return tuple((who, row.measures[who].bill) for row in rows for who in Contender)


def reproduce(cpu: str, progress: Callable[[str], None] | None = None) -> Reproduction:
    """Run all operations of Adams & Agesen 2006 under the three techniques.

    Args:
        cpu: profile to run on and to price with.
        progress: told which operation is next.

    Raises:
        RingvizError: the CPU does not have what a technique needs.
    """
    setups = _setups(cpu)
    rows = {}
    for operation in OPERATIONS.values():
        if progress is not None:
            progress(operation.title)
        rows[operation.id] = _rows(operation, setups)
    return Reproduction(setups[Contender.NATIVE].cpu, rows)


def reproduce_one(operation: str, cpu: str) -> tuple[Row, ...]:
    """Run one operation of Adams & Agesen 2006 under the three techniques; the first row is the one they discuss.

    Raises:
        KeyError: the paper has no such operation.
        RingvizError: the CPU does not have what a technique needs.
    """
    return _rows(OPERATIONS[operation], _setups(cpu))


def _setups(cpu: str) -> Mapping[Contender, Setup]:
    return {who: choose(technique, mmu, cpu) for who, (technique, mmu) in RUN_AS.items()}


def _rows(operation: Operation, setups: Mapping[Contender, Setup]) -> tuple[Row, ...]:
    empty = _loop(EMPTY_MARKER)
    loops = {variant.id: _loop(variant.marker) for variant in operation.variants}
    native = setups[Contender.NATIVE]
    bench = Bench(find_scenario(operation.scenario), (empty, *loops.values()), ROUND_LABEL, native)
    bills = {who: bench.bills(RUN_AS[who][0], setup) for who, setup in setups.items()}
    times = bench.rounds * operation.per_round

    def measure(variant: Variant, who: Contender) -> Measure:
        bill = bills[who][loops[variant.id]].less(bills[who][empty])
        return Measure(variant.of(who), bill.cycles(native.cpu) / times, bill)

    return tuple(Row(variant, {who: measure(variant, who) for who in Contender}) for variant in operation.variants)


def _loop(marker: str) -> Loop:
    return Loop(marker, marker + END)


def _faster(cycles: Mapping[Contender, Fraction]) -> Contender | None:
    software, hardware = (cycles[who] for who in _RIVALS)
    if software == hardware:
        return None
    return Contender.SOFTWARE if software < hardware else Contender.HARDWARE
