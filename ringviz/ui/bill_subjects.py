"""What is pointed at in the bill of cycles, as one paragraph: a cause, the sum, or the curve."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import TYPE_CHECKING

from ringviz.ui.glyphs import grouped
from ringviz.ui.subject import Subject, known
from ringviz.ui.widgets.overhead import CURVE, TOTAL
from ringviz.ui.widgets.overhead_table import CAUSE

if TYPE_CHECKING:
    from ringviz.engine.view import LedgerRow, LedgerView


def bill_subject(ledger: LedgerView, pointed: Hashable | None) -> Subject | None:
    """Give the line that is pointed at; None if it is none of these."""
    match pointed:
        case (str() as kind, cause) if kind == CAUSE:
            return next((_cause(row, ledger) for row in ledger.rows if row.cause == cause), None)
        case str() if pointed == TOTAL:
            return known("cycles", _sum(ledger))
        case str() if pointed == CURVE:
            return _curve(ledger)
        case _:
            return None


def bill_subjects(ledger: LedgerView) -> Iterator[Subject]:
    """Give the sum, and every cause that has come."""
    yield known("cycles")
    yield from (_cause(row, ledger) for row in ledger.rows if row.count or row.cycles)


def _cause(row: LedgerRow, ledger: LedgerView) -> Subject:
    each = "there is no figure for one" if row.each is None else f"{grouped(row.each)} cycles each"
    if row.is_weighed:
        each = "each is charged the weight of its class"
    spread = "" if row.low is None or row.high is None or row.low == row.high else (
        f", sources range from {grouped(row.low)} to {grouped(row.high)}"
    )  # fmt: skip
    share = f", {100 * row.cycles / ledger.total_cycles:.1f} % of all" if ledger.total_cycles else ""
    now = f"{grouped(row.count)}×, {grouped(row.cycles)} cycles together{share}; {each} ({row.status.value}){spread}."
    return Subject(row.label, now, row.advice)


def _sum(ledger: LedgerView) -> str:
    now = (
        f"{grouped(ledger.total_cycles)} cycles for {grouped(ledger.retired)} instructions: "
        f"{grouped(ledger.guest_cycles)} for the guest's own work, {grouped(ledger.overhead_cycles)} on top."
    )
    if ledger.slowdown is None or ledger.native_cycles is None:
        return now
    return f"{now} Bare metal pays {grouped(ledger.native_cycles)}: the factor is {ledger.slowdown:.1f}."


def _curve(ledger: LedgerView) -> Subject:
    now = f"From the first instruction to here: {grouped(ledger.overhead_cycles)} cycles." if ledger.curve else ""
    text = (
        "The cycles of overhead added up, from left to right over the instructions that have retired. Where it climbs, "
        "the VMM was busy; where it is flat, the guest had the CPU to itself."
    )
    return Subject("Overhead over steps", now, text, known("cycles").source)
