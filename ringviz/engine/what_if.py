"""Who would win if an exit cost half as much, or if the guest wrote to its page tables twice as often.

Runs are counted once and priced again for every question: nothing is run anew. Where two techniques cost the same is
solved for, as the point where two straight lines meet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from ringviz.engine.contest import Contender, Contest, Counted
from ringviz.engine.knobs import KNOBS, NEED_WALKS, SLIDERS, Changes, Knob, known_price
from ringviz.engine.repricing import Line, break_even, cycles_of, line_of


@dataclass(frozen=True, slots=True)
class Standing:
    """One run with the changes made."""

    run: Counted
    before: Fraction
    """Cycles without any change."""
    cycles: Fraction
    slowdown: Fraction | None
    """Times bare metal's cycles, with the same changes made to both; None if bare metal pays nothing."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A value of a knob beyond which another one wins."""

    value: Fraction
    winner: Contender


@dataclass(frozen=True, slots=True)
class Pairing:
    """Two runs and one knob: where they cost the same."""

    one: Contender
    other: Contender
    value: Fraction | None
    """None: nowhere from 0 on, or everywhere."""
    below: Contender | None
    """Who costs less at smaller values; None: nobody."""
    above: Contender | None
    """Who costs less at greater values; without a value, everywhere."""


@dataclass(frozen=True, slots=True)
class KnobView:
    """One knob: where it stands, and where the verdict turns."""

    knob: Knob
    value: Fraction
    known: int | None
    """The CPU's own price; None: it is a rate, or there is no figure."""
    earlier: Turn | None
    """The nearest value, downwards, beyond which another one wins."""
    later: Turn | None
    """The nearest upwards."""
    pairings: tuple[Pairing, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """All there is to say about one set of changes."""

    standings: tuple[Standing, ...]
    """The cheapest first."""
    native_before: Fraction
    """What bare metal pays without any change."""
    native_cycles: Fraction
    """What it pays with the changes made: its own prices and the guest's habits may be among them."""
    knobs: tuple[KnobView, ...]

    @property
    def winner(self) -> Contender:
        """Who costs least."""
        return self.standings[0].run.contender

    @property
    def lead(self) -> Fraction | None:
        """How many times the winner's cycles the next one takes; None if there is no other, or nothing costs."""
        if len(self.standings) < 2 or not self.standings[0].cycles:
            return None
        return self.standings[1].cycles / self.standings[0].cycles


def answer(found: Contest, changes: Changes, knobs: Sequence[str] = SLIDERS) -> Answer:
    """Price all runs with the changes made, and solve for where the verdict turns.

    Args:
        found: the runs.
        changes: what is other than it is.
        knobs: ids of those to solve for; page walks only where they were counted.
    """
    cpu = found.cpu
    native = cycles_of(found.native, cpu, changes)
    standings = []
    for run in found.runs:
        cycles = cycles_of(run, cpu, changes)
        slowdown = cycles / native if native else None
        standings.append(Standing(run, cycles_of(run, cpu, Changes()), cycles, slowdown))
    standings.sort(key=lambda standing: standing.cycles)
    turned = [KNOBS[id_] for id_ in knobs if id_ not in NEED_WALKS or found.has_walks]
    before = cycles_of(found.native, cpu, Changes())
    return Answer(tuple(standings), before, native, tuple(_view(found, changes, knob) for knob in turned))


def _view(found: Contest, changes: Changes, knob: Knob) -> KnobView:
    now = knob.value(found.cpu, changes)
    lines = {run.contender: line_of(run, found.cpu, changes, knob) for run in found.runs}
    contenders = list(lines)
    pairings = tuple(
        _pairing(one, other, lines) for index, one in enumerate(contenders) for other in contenders[index + 1 :]
    )
    places = sorted({pairing.value for pairing in pairings if pairing.value is not None})
    known = None if knob.is_rate else known_price(found.cpu, knob.id)
    return KnobView(knob, now, known, _earlier(lines, places, now), _later(lines, places, now), pairings)


def _pairing(one: Contender, other: Contender, lines: dict[Contender, Line]) -> Pairing:
    pair = {one: lines[one], other: lines[other]}
    value = break_even(pair[one], pair[other])
    if value is None:
        always = None if pair[one] == pair[other] else _cheapest(pair, Fraction(1))
        return Pairing(one, other, None, None, always)
    below = _cheapest(pair, value / 2) if value else None
    return Pairing(one, other, value, below, _cheapest(pair, value + 1))


def _cheapest(lines: dict[Contender, Line], value: Fraction) -> Contender:
    """Say who costs least at a value; of several, the first."""
    return min(lines, key=lambda contender: lines[contender].at(value))


def _later(lines: dict[Contender, Line], places: Sequence[Fraction], now: Fraction) -> Turn | None:
    """Go upwards from one crossing to the next until somebody else wins; between two crossings nothing changes."""
    ahead = [place for place in places if place >= now]
    beyond = [(place + after) / 2 for place, after in pairwise(ahead)] + [place + 1 for place in ahead[-1:]]
    return _turn(lines, ahead, beyond, now)


def _earlier(lines: dict[Contender, Line], places: Sequence[Fraction], now: Fraction) -> Turn | None:
    """Go downwards in the same way, to 0."""
    behind = [place for place in reversed(places) if 0 < place <= now]
    beyond = [(place + after) / 2 for place, after in pairwise([*behind, Fraction(0)])]
    return _turn(lines, behind, beyond, now)


def _turn(
    lines: dict[Contender, Line], places: Sequence[Fraction], beyond: Sequence[Fraction], now: Fraction
) -> Turn | None:
    """Give the first crossing on the way beyond which another one costs less than who wins now."""
    winner = _cheapest(lines, now)
    for place, value in zip(places, beyond, strict=True):
        other = _cheapest(lines, value)
        if lines[other].at(value) < lines[winner].at(value):
            return Turn(place, other)
    return None


def answer_json(found: Contest, changes: Changes, result: Answer) -> dict[str, object]:
    """Give the object of `whatif --json`; values that are no whole numbers are rounded to six decimals."""
    return {
        "schema": 1,
        "scenario": found.scenario_id,
        "cpu": found.cpu.id,
        "changes": {id_: _number(value) for id_, value in sorted({**changes.prices, **changes.rates}.items())},
        "native_cycles": _number(result.native_cycles),
        "standings": [
            {
                "technique": standing.run.contender.technique,
                "mmu": standing.run.contender.mmu,
                "cycles_before": _number(standing.before),
                "cycles": _number(standing.cycles),
                "slowdown": None if standing.slowdown is None else round(float(standing.slowdown), 6),
            }
            for standing in result.standings
        ],
        "knobs": [
            {
                "id": view.knob.id,
                "unit": "times" if view.knob.is_rate else "cycles",
                "value": _number(view.value),
                "known": view.known,
                "earlier": _turn_json(view.earlier),
                "later": _turn_json(view.later),
                "break_even": [
                    {
                        "between": [pairing.one.name, pairing.other.name],
                        "value": None if pairing.value is None else _number(pairing.value),
                        "below": None if pairing.below is None else pairing.below.name,
                        "above": None if pairing.above is None else pairing.above.name,
                    }
                    for pairing in view.pairings
                ],
            }
            for view in result.knobs
        ],
        "left_out": [{"technique": who, "reason": why} for who, why in found.left_out],
    }


def _turn_json(turn: Turn | None) -> dict[str, object] | None:
    return None if turn is None else {"value": _number(turn.value), "winner": turn.winner.name}


def _number(value: Fraction) -> int | float:
    return value.numerator if value.denominator == 1 else round(float(value), 6)
