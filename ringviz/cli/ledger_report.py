"""The ledger of a run as a text for people: what it cost, why the VMM was entered, what would make it cheaper."""

import textwrap
from collections.abc import Iterator, Sequence

from ringviz.cli import run_report
from ringviz.cli.output import width_cells
from ringviz.cli.table import Column, table
from ringviz.engine.ledger_view import LedgerRow, LedgerView
from ringviz.engine.reasons import Reason
from ringviz.facts.advice import ADVICE
from ringviz.facts.costs import CAUSES
from ringviz.facts.instruction_weights import GUEST_WORK
from ringviz.facts.source import Status

LEDGER = (
    Column("Cause"),
    Column("Count", is_number=True),
    Column("Each", is_number=True),
    Column("Cycles", is_number=True),
    Column("Share", is_number=True),
    Column("Per 1,000", is_number=True),
)
WHAT = Column("What it is", wraps=True)
"""Where the line is long enough."""
WIDE_CELLS = 110
REASONS = (
    Column("Events", is_number=True),
    Column("Share", is_number=True),
    Column("Cycles", is_number=True),
    Column("Share", is_number=True),
    Column("Min", is_number=True),
    Column("Avg", is_number=True),
    Column("Max", is_number=True),
    Column("Why", wraps=True),
)
MOST_REASONS = 12
"""Lines shown; the JSON has all."""
MOST_ADVICE = 3
"""Causes for which the text says what would make them cheaper; the JSON has all."""
SIGNS = {Status.BORROWED: "*", Status.CHOSEN: "+", Status.YOURS: "^"}
"""Behind a price that nobody has published for this very thing on this very CPU."""
_BARS = " ▁▂▃▄▅▆▇█"


def ledger_lines(view: LedgerView, cpu_id: str) -> Iterator[str]:
    """Give the table of causes, the dearest first, and what its signs mean."""
    is_wide = width_cells() >= WIDE_CELLS
    rows = [_row(view, row) for row in view.rows]
    rows.append(("total", "", "", f"{view.total_cycles:,}", run_report.share(1, 1), _thousand(view, view.total_cycles)))
    titles = [*(CAUSES[row.cause].title for row in view.rows), ""]
    if is_wide:
        rows = [(*row, title) for row, title in zip(rows, titles, strict=True)]
    yield from table((*LEDGER, WHAT) if is_wide else LEDGER, rows, width_cells())
    yield from _signs(view, cpu_id)


def reason_lines(reasons: Sequence[Reason]) -> Iterator[str]:
    """Give why the VMM was entered, the most frequent first, as `perf kvm stat` would."""
    count, cycles = sum(reason.count for reason in reasons), sum(reason.cycles for reason in reasons)
    rows = [_reason(reason, count, cycles) for reason in reasons[:MOST_REASONS]]
    left = reasons[MOST_REASONS:]
    if left:
        together = Reason(
            left[0].kind,
            "",
            "",
            sum(reason.count for reason in left),
            sum(reason.cycles for reason in left),
            min(reason.least_cycles for reason in left),
            max(reason.most_cycles for reason in left),
        )
        rows.append((*_reason(together, count, cycles)[:-1], f"{len(left)} reasons more"))
    yield from table(REASONS, rows, width_cells())


def advice_lines(view: LedgerView) -> Iterator[str]:
    """Say of the dearest causes what would make them cheaper."""
    for row in [row for row in view.rows if row.cycles and row.advice][:MOST_ADVICE]:
        share = run_report.share(row.cycles, view.total_cycles)
        source = ADVICE[row.cause].source
        cited = "" if source.status is Status.CHOSEN else f" [{source}]"
        yield from _wrapped(f"{row.cause}, {share}: {CAUSES[row.cause].title}. {row.advice}{cited}")


def curve_line(view: LedgerView) -> str:
    """Give the overhead added up over the run, as a row of bars; empty where there is none."""
    top = max(view.curve, default=0)
    if not top:
        return ""
    # The last bar is full; a bar that stands for anything at all is not empty.
    bars = "".join(_BARS[-(-value * (len(_BARS) - 1) // top)] for value in view.curve)
    return f"{bars} {top:,}"


def _row(view: LedgerView, row: LedgerRow) -> tuple[str, ...]:
    share = run_report.share(row.cycles, view.total_cycles)
    return row.cause, f"{row.count:,}", _each(row), f"{row.cycles:,}", share, _thousand(view, row.cycles)


def _each(row: LedgerRow) -> str:
    """Give the price of one, with a sign behind it where it is not a figure for this very thing."""
    if row.is_weighed:
        return "by class"
    if row.each is None:
        return "unknown"
    return f"{row.each:,}{SIGNS.get(row.status, '')}"


def _thousand(view: LedgerView, cycles: int) -> str:
    rate = view.per_thousand(cycles)
    return "-" if rate is None else f"{rate:,}"


def _signs(view: LedgerView, cpu_id: str) -> Iterator[str]:
    """Say what the signs behind prices mean, if there are any."""
    yield from _wrapped("Per 1,000: cycles per 1,000 guest instructions.")
    yield from _wrapped(f"by class: {GUEST_WORK}")
    used = {row.status for row in view.rows if row.each is not None}
    meanings = {
        Status.BORROWED: f"borrowed: no figure for this very thing; `ringviz cpus {cpu_id}` says from whom.",
        Status.CHOSEN: f"chosen by ringviz; `ringviz cpus {cpu_id}` says why.",
        Status.YOURS: "from your own profile file.",
    }
    for status, sign in SIGNS.items():
        if status in used:
            yield from _wrapped(f"{sign} {meanings[status]}")
    unknown = [row.cause for row in view.rows if row.is_unknown and row.count]
    if unknown:
        yield from _wrapped(
            f"unknown: no figure, counted and not charged, so the sum is too low: {', '.join(unknown)}."
        )


def _reason(reason: Reason, count: int, cycles: int) -> tuple[str, ...]:
    kind = "" if reason.kind.value in reason.cause else f"{reason.kind.value}:"
    why = " ".join(part for part in (kind, reason.cause, reason.form) if part)
    return (
        f"{reason.count:,}",
        run_report.share(reason.count, count),
        f"{reason.cycles:,}",
        run_report.share(reason.cycles, cycles),
        f"{reason.least_cycles:,}",
        f"{reason.average_cycles:,}",
        f"{reason.most_cycles:,}",
        why,
    )


def _wrapped(text: str) -> Iterator[str]:
    yield from textwrap.wrap(text, width_cells(), subsequent_indent="  ", break_on_hyphens=False)
