"""The ledger: modelled cycles by cause, for any prefix or stretch of a run."""

from __future__ import annotations

from collections.abc import Mapping

from ringviz.engine.bill import Bill, bill_of
from ringviz.engine.cause_looks import look_of
from ringviz.engine.event_log import EventLog
from ringviz.engine.ledger_view import LedgerRow, LedgerView
from ringviz.facts.advice import ADVICE
from ringviz.facts.costs import GUEST_INSTRUCTION, CpuProfile, cost_of
from ringviz.facts.source import Status

_CURVE_POINTS = 64


def ledger(
    log: EventLog,
    cpu: CpuProfile,
    position: int,
    emulated: int,
    tallies: Mapping[str, int],
    count: int,
    guest_weight: int,
    native_cycles: int | None,
) -> LedgerView:
    """Add up the first `count` events and the instructions the CPU ran by itself.

    Args:
        log: the events.
        cpu: prices.
        position: retired guest instructions.
        emulated: of these, completed by the VMM: they are in the price of their trap or exit, or among `tallies`.
        tallies: what has come without an event, by cause.
        count: how many events have happened.
        guest_weight: of the instructions that the CPU ran by itself, in hundredths of a cycle.
        native_cycles: what bare metal pays up to the same position, if known.
    """
    bill = bill_of(log, count, position, emulated, tallies, guest_weight)
    return priced(bill, cpu, native_cycles, overhead_curve(log, position, count))


def priced(bill: Bill, cpu: CpuProfile, native_cycles: int | None = None, curve: tuple[int, ...] = ()) -> LedgerView:
    """Price a bill on a CPU.

    Args:
        bill: the counts.
        cpu: prices.
        native_cycles: what bare metal pays for the same stretch, if known.
        curve: overhead added up, if known.
    """
    rows = [_instructions(bill)]
    for cause, times in bill.causes.items():
        rows.append(_row(cpu, cause, times, times * cost_of(cpu, cause).charged_cycles))
    rows.sort(key=lambda row: (-row.cycles, row.cause))
    return LedgerView(
        rows=tuple(rows),
        guest_cycles=bill.guest_cycles(cpu),
        overhead_cycles=bill.overhead_cycles(cpu),
        native_cycles=native_cycles,
        curve=curve,
        retired=bill.retired,
    )


def _instructions(bill: Bill) -> LedgerRow:
    look = look_of(GUEST_INSTRUCTION)
    return LedgerRow(
        cause=GUEST_INSTRUCTION,
        label=look.label,
        count=bill.direct,
        cycles=bill.instruction_cycles,
        kind=look.kind,
        each=None,
        low=None,
        high=None,
        status=Status.CHOSEN,
        advice=ADVICE[GUEST_INSTRUCTION].text,
        is_weighed=True,
    )


def _row(cpu: CpuProfile, cause: str, count: int, cycles: int) -> LedgerRow:
    cost, look, advice = cost_of(cpu, cause), look_of(cause), ADVICE.get(cause)
    return LedgerRow(
        cause=cause,
        label=look.label,
        count=count,
        cycles=cycles,
        kind=look.kind,
        each=cost.cycles,
        low=cost.low,
        high=cost.high,
        status=cost.source.status,
        advice="" if advice is None else advice.text,
    )


def overhead_curve(log: EventLog, position: int, count: int) -> tuple[int, ...]:
    """Give the overhead as it stood at equal distances of retired instructions, up to a position.

    Args:
        log: the events.
        position: the last of the distances.
        count: how many events have happened there.
    """
    if not position:
        return ()
    places = (position * (point + 1) // _CURVE_POINTS for point in range(_CURVE_POINTS))
    return tuple(log.overhead_cycles(min(count, log.before(place))) for place in places)
