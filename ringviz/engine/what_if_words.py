"""The verdict of a what-if in words: who wins, by how much, and at which value it turns. The same on every surface."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from ringviz.engine.decimals import decimal, decimals
from ringviz.engine.knobs import Knob
from ringviz.engine.what_if import Answer, KnobView, Pairing


def value_text(knob: Knob, value: Fraction) -> str:
    """Give a value of a knob with its unit."""
    if knob.is_rate:
        return f"×{decimal(value)}"
    return f"{decimal(value)} cycle" if value == 1 else f"{decimal(value)} cycles"


def verdict(result: Answer) -> str:
    """Say who wins, and by how much."""
    winner = result.winner.name
    if len(result.standings) < 2:
        return f"{winner} is alone: there is nobody to win against."
    second = result.standings[1].run.contender.name
    if result.lead is None or result.lead == 1:
        return f"{winner} and {second} cost the same."
    return f"{winner} costs least; {second} takes {decimals(result.lead, 3)} times its cycles."


def turn_texts(view: KnobView) -> Iterator[str]:
    """Say at which values of a knob the verdict turns, or that it does not."""
    if view.earlier is not None:
        yield f"below {value_text(view.knob, view.earlier.value)}, {view.earlier.winner.name} wins"
    if view.later is not None:
        yield f"above {value_text(view.knob, view.later.value)}, {view.later.winner.name} wins"
    if view.earlier is None and view.later is None:
        yield "the verdict is the same at any value"


def pairing_text(view: KnobView, pairing: Pairing) -> str:
    """Say where two of them cost the same."""
    one, other = pairing.one.name, pairing.other.name
    if pairing.value is not None:
        at = f"{one} and {other} cost the same at {value_text(view.knob, pairing.value)}"
        below = "" if pairing.below is None else f", below it {pairing.below.name} costs less"
        return f"{at}{below}, above it {pairing.above.name if pairing.above else 'nobody'}"
    if pairing.above is None:
        return f"{one} and {other} cost the same at any value"
    dearer = other if pairing.above == pairing.one else one
    return f"{pairing.above.name} costs less than {dearer} at any value"
