"""How a row of the cost model is made from figures, and how a CPU without a figure borrows one in plain sight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ringviz.facts.causes import PRICED
from ringviz.facts.cpu_profile import Cost
from ringviz.facts.figures import FIGURES
from ringviz.facts.source import Source, Status, by

WALK_REFERENCE, NESTED_WALK = "walk-reference", "nested-walk"
_FROM_L2 = "an entry is taken to come from the second-level cache"


def as_published(cause: str, figure: str, note: str = "") -> Cost:
    """Give a cost that is a figure, as printed."""
    row = FIGURES[figure]
    return Cost(cause, row.value, row.low, row.high, row.source, note)


def borrowed(cause: str, figure: str, note: str) -> Cost:
    """Give a cost for which a figure for something alike stands in."""
    row = FIGURES[figure]
    source = replace(row.source, status=Status.BORROWED, note=f"{row.source.note}; {note}")
    return Cost(cause, row.value, row.low, row.high, source, note)


def chosen(cause: str, cycles: int, why: str) -> Cost:
    """Give a cost that ringviz set itself."""
    return Cost(cause, cycles, cycles, cycles, Source.ringviz(why), why)


def unknown(cause: str, why: str) -> Cost:
    """Give the row of a cause that nobody has measured where we looked."""
    return Cost(cause, None, None, None, Source.ringviz(f"no figure found; counted, not charged: {why}"), why)


def computed(cause: str, cycles: int, source: Source, how: str, *, others: Sequence[int] = (), note: str = "") -> Cost:
    """Give a cost that follows from figures by arithmetic; `others` are rival figures, which make the range."""
    values = (cycles, *others)
    return Cost(cause, cycles, min(values), max(values), replace(source, status=Status.COMPUTED, note=how), note)


def round_trip(charged: str, rivals: Sequence[str], note: str) -> Cost:
    """Give an exit and the entry back: one figure is charged, all of them make the range."""
    row = FIGURES[charged]
    bounds = [bound for id_ in (charged, *rivals) for bound in (FIGURES[id_].low, FIGURES[id_].high)]
    return Cost("exit", row.value, min(bounds), max(bounds), row.source, note)


def vmm_software(cause: str, note: str) -> Cost:
    """Price what a VMM does by itself at a trap: a whole trap with emulation, less the hardware's way in and out."""
    whole, way = FIGURES["p4-trap-rdtsc"], FIGURES["p4-divzero"]
    how = f"RDTSC by trap and emulation, {whole.value}, less an exception to its handler and back, {way.value}"
    return computed(cause, whole.value - way.value, whole.source, how, note=note)


def simulated() -> Cost:
    """Price a call out of translated code for an instruction that is known when the code is made."""
    callout, own = FIGURES["p4-callout-rdtsc"], FIGURES["p4-in-cache-rdtsc"]
    emulator = vmm_software("", "").charged_cycles
    way = callout.value - emulator
    return Cost(
        "translated-simulate",
        way + own.value,
        way,
        callout.value,
        replace(
            callout.source,
            status=Status.COMPUTED,
            note=f"call to the emulator, {callout.value}, less dispatch, decoding and emulation, {emulator}, "
            f"and {own.value} as for RDTSC emulated by code of its own",
        ),
        "at least the way there and back, at most a call to the emulator",
    )


LOOKUP_INSTRUCTIONS, LOOKUP_LOADS = 13, 6
"""What the translator writes for a RET, and how much of that reads memory; a test counts them."""


def lookup() -> Cost:
    """Price the lookup of a return by counting its instructions: one cycle each, a load its latency."""
    latency = FIGURES["prescott-l1"]
    others = LOOKUP_INSTRUCTIONS - LOOKUP_LOADS
    return Cost(
        "translated-indirect",
        others + LOOKUP_LOADS * latency.value,
        LOOKUP_INSTRUCTIONS,
        others + LOOKUP_LOADS * latency.value,
        replace(
            latency.source,
            status=Status.COMPUTED,
            note=f"{LOOKUP_INSTRUCTIONS} instructions in place of a RET: {others} at one cycle, {LOOKUP_LOADS} loads "
            f"at the {latency.value} cycles of the first-level cache of such a CPU",
        ),
        "each load waits for the one before it; if none did, they would take a cycle each",
    )


def round_trip_parts(entry: str, exit_: str, note: str = "") -> tuple[Cost, Cost]:
    """Give VM entry and VM exit, which were measured apart."""
    return as_published("vm-entry", entry, note), as_published("vm-exit", exit_, note)


def walk_reference(figure: str, *, is_other_cpu: bool = False) -> Cost:
    """Price one entry of a page walk at the latency of the second-level cache, the middle of its range."""
    row = FIGURES[figure]
    note = f"{row.title}; {row.source.note}; {_FROM_L2}"
    status = Status.BORROWED if is_other_cpu else Status.COMPUTED
    source = replace(row.source, status=status, note=note)
    return Cost(WALK_REFERENCE, (row.low + row.high) // 2, row.low, row.high, source, _FROM_L2)


def nested_walk(reference: Cost) -> Cost:
    """Price one entry of the second dimension by what it adds to a walk on the average.

    A walk in two dimensions reads 24 entries instead of 4 and was measured to take 3.9 to 4.6 times as long, so the 20
    entries more take 2.9 to 3.6 times the time of the 4: each less than one of the first dimension.
    """
    ratio, one, two = FIGURES["two-dimensional-walk"], FIGURES["walk-entries"], FIGURES["nested-walk-entries"]
    entries_more = two.value - one.value

    def price(cycles: int | None, percent: int) -> int:
        return round((cycles or 0) * one.value * (percent - 100) / (100 * entries_more))

    how = (
        f"a walk of {two.value} entries takes {ratio.low / 100:.1f} to {ratio.high / 100:.1f} times as long as one of "
        f"{one.value}, at {reference.cycles} cycles an entry"
    )
    source = replace(ratio.source, status=Status.COMPUTED, note=how)
    middle = price(reference.cycles, (ratio.low + ratio.high) // 2)
    return Cost(
        NESTED_WALK,
        middle,
        price(reference.low, ratio.low),
        price(reference.high, ratio.high),
        source,
        "measured with nothing cached; follows walk-reference",
    )


def interpreted(figure: str, *, others: Sequence[str] = (), is_other_cpu: bool = False) -> Cost:
    """Turn an interpreter's instructions per second into cycles an instruction.

    Args:
        figure: charged at the middle of its range.
        others: older measurements on such a CPU, which widen the range.
        is_other_cpu: it was measured on a relative of the CPU and not on the CPU itself.
    """
    speed, clock = FIGURES[figure], FIGURES[f"{figure}-clock"]
    cycles = round(clock.value / (1_000_000 * (speed.low + speed.high) / 2))
    bounds = [
        round(FIGURES[f"{id_}-clock"].value / (1_000_000 * speed_bound))
        for id_ in (figure, *others)
        for speed_bound in (FIGURES[id_].low, FIGURES[id_].high)
    ]
    how = f"{speed.source.note}: {speed.low} to {speed.high} million instructions a second"
    status = Status.BORROWED if is_other_cpu else Status.COMPUTED
    note = "an interpreter's average over what it was running; newer versions of it are faster"
    source = replace(speed.source, status=status, note=how)
    return Cost("interpreted-instruction", cycles, min(bounds), max(bounds), source, note)


@dataclass(frozen=True, slots=True)
class Lender:
    """A CPU with figures of its own, from which others borrow."""

    name: str
    rows: Mapping[str, Cost]


def complete(own: Sequence[Cost], *lenders: Lender) -> Mapping[str, Cost]:
    """Give a row for every cause: the CPU's own, or else that of the first lender that has one.

    Raises:
        KeyError: nobody has a row for some cause.
    """
    mine = by("cause", *own)
    rows = []
    for cause in PRICED:
        if cause in mine:
            rows.append(mine[cause])
            continue
        lender = next((lender for lender in lenders if cause in lender.rows), None)
        if lender is None:
            raise KeyError(f"no row for {cause}")
        rows.append(_lent(lender.rows[cause], lender.name))
    return by("cause", *rows)


def is_lent(row: Cost) -> bool:
    """The row is another CPU's, for want of a figure."""
    return bool(row.lender)


def _lent(row: Cost, name: str) -> Cost:
    """Give another CPU's row, and say so; what is unknown or our own choice is the same for all."""
    if row.cycles is None or row.source.status is Status.CHOSEN:
        return row
    note = f"no figure for this CPU; the {name}'s is shown"
    return replace(row, source=replace(row.source, status=Status.BORROWED, note=note), note=note, lender=name)
