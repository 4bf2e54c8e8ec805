"""What can be otherwise than it is: prices in cycles, and how often a guest does something."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from types import MappingProxyType

from ringviz.engine.bill import NESTED_WALK, WALK_REFERENCE
from ringviz.engine.occasions import OCCASIONS, TLB_MISSES
from ringviz.errors import InputError
from ringviz.facts.costs import PRICED, CpuProfile
from ringviz.guest.schema import did_you_mean

_NOTHING: Mapping[str, Fraction] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Knob:
    """One price, or one rate."""

    id: str
    title: str
    is_rate: bool
    """How many times as often as in the run; else cycles for one."""

    def value(self, cpu: CpuProfile, changes: Changes) -> Fraction:
        """Give what it stands at; a price without a figure counts as nothing."""
        return changes.rates.get(self.id, Fraction(1)) if self.is_rate else price_of(cpu, self.id, changes)


def _knobs() -> dict[str, Knob]:
    # A part of another's price is never charged itself: turning it would change nothing.
    charged = (cause for cause in PRICED.values() if cause.part_of is None)
    prices = [Knob(cause.id, cause.title, is_rate=False) for cause in charged]
    rates = [Knob(occasion.id, occasion.title, is_rate=True) for occasion in OCCASIONS.values()]
    return {knob.id: knob for knob in (*prices, *rates)}


KNOBS: Mapping[str, Knob] = MappingProxyType(_knobs())
"""All of them, by id."""
SLIDERS = ("exit", TLB_MISSES, "page-table-writes")
"""Those that decide between software, shadow page tables and nested paging."""
NEED_WALKS = frozenset({TLB_MISSES, WALK_REFERENCE, NESTED_WALK})
"""Those that say something only where page walks are counted."""


@dataclass(frozen=True, slots=True)
class Changes:
    """Prices and rates that are other than they are."""

    prices: Mapping[str, Fraction] = field(default_factory=lambda: _NOTHING)
    """Cycles for one, by cause."""
    rates: Mapping[str, Fraction] = field(default_factory=lambda: _NOTHING)
    """How many times as often, by occasion."""

    def with_value(self, knob: Knob, value: Fraction) -> Changes:
        """Give the same with one knob set."""
        if knob.is_rate:
            return Changes(self.prices, MappingProxyType({**self.rates, knob.id: value}))
        return Changes(MappingProxyType({**self.prices, knob.id: value}), self.rates)

    def without(self, knob: Knob) -> Changes:
        """Give the same with one knob where it was."""
        prices, rates = (
            MappingProxyType({id_: value for id_, value in values.items() if id_ != knob.id})
            for values in (self.prices, self.rates)
        )
        return Changes(prices, rates)


def known_price(cpu: CpuProfile, cause: str) -> int | None:
    """Give a CPU's price; None where there is no figure."""
    row = cpu.costs.get(cause)
    return None if row is None else row.cycles


def price_of(cpu: CpuProfile, cause: str, changes: Changes) -> Fraction:
    """Give a price as it is or as it was changed; without a figure it is nothing."""
    return changes.prices.get(cause, Fraction(known_price(cpu, cause) or 0))


def changes_of(words: Iterable[str], cpu: CpuProfile) -> Changes:
    """Understand what a user wants otherwise: `exit=500` sets a price, `exit=x0.5` halves it, `interrupts=x2` a rate.

    Raises:
        InputError: a name is unknown, or a value is none.
    """
    changes = Changes()
    for word in words:
        name, sign, text = (part.strip() for part in word.partition("="))
        if name not in KNOBS:
            raise InputError(
                f'"{name}" is no price and no rate; choose one of {", ".join(KNOBS)}{did_you_mean(name, KNOBS)}'
            )
        knob = KNOBS[name]
        times = text[:1] in ("x", "×")
        value = _number(text[1:] if times else text)
        if not sign or value is None or (knob.is_rate and not times):
            wanted = "xFACTOR, such as x2" if knob.is_rate else "cycles, or xFACTOR"
            raise InputError(f'"{word}": expected {name}={wanted}')
        if times and not knob.is_rate:
            known = known_price(cpu, name)
            if known is None:
                raise InputError(f'"{word}": {cpu.id} has no figure for {name} to multiply; give cycles')
            value *= known
        changes = changes.with_value(knob, value)
    return changes


def _number(text: str) -> Fraction | None:
    """Read a number from 0 on, exactly; None if it is none."""
    try:
        value = Fraction(text.strip())
    except (ValueError, ZeroDivisionError):
        return None
    return value if value >= 0 else None
