"""The whole ledger, for an overhead panel that has the screen: every cause with its price, and what would help."""

from collections.abc import Iterator, Sequence

from textual.content import Content

from ringviz.engine.view import LedgerRow, LedgerView
from ringviz.facts.source import Status
from ringviz.ui.glyphs import KIND_LOOKS, grouped
from ringviz.ui.widgets.panel import keyed, printable, wrapped

_HEADS = (("count", 11), ("each", 9), ("cycles", 14), ("share", 8), ("per 1000", 10))
"""Columns of numbers behind the name, with their widths."""
LEAST_WIDTH = 20 + sum(width for _, width in _HEADS)
LEAST_HEIGHT = 14
MOST_ADVICE = 3
CAUSE = "cause"
"""Lines are about this, with its name."""
_UNKNOWN = "?"
_BY_CLASS = "by class"
_SIGN_OF = {Status.BORROWED: "*", Status.CHOSEN: "+", Status.YOURS: "^"}
"""Behind a price that nobody has published for this very thing on this very CPU, as `stat` has them."""
_MEANINGS = {
    _BY_CLASS: "= the weight of each instruction's class",
    "*": "borrowed: no figure for this very thing",
    "+": "chosen by ringviz",
    "^": "from your own file",
    _UNKNOWN: "no figure: counted, not charged",
}


def table_lines(ledger: LedgerView, fills: Sequence[tuple[str, str]], width: int, height: int) -> list[Content]:
    """Give the table and, as far as there is room, what its signs mean and what would make the dearest cheaper.

    Args:
        ledger: the rows.
        fills: pattern and colour of each row, as in the bar.
        width: cells of a line.
        height: lines at most.
    """
    rows = [(row, fill) for row, fill in zip(ledger.rows, fills, strict=True) if row.count or row.cycles]
    name_cells = width - sum(cells for _, cells in _HEADS) - 2
    heads = "".join(title.rjust(cells) for title, cells in _HEADS)
    lines = [Content.assemble((f"{'  cause'.ljust(name_cells + 2)}{heads}", "bold $dim"))]
    room = max(1, height - 1)
    shown = rows if len(rows) <= room else rows[: room - 1]
    lines += [keyed(_line(ledger, row, fill, name_cells), (CAUSE, row.cause)) for row, fill in shown]
    if len(shown) < len(rows):
        lines.append(Content.assemble((f"… {len(rows) - len(shown)} more", "$dim")))
        return lines[:height]
    signs = _signs([row for row, _ in rows])
    if signs:
        lines += wrapped(Content.assemble((signs, "$dim")), width, 2)
    for advice in _advice(ledger):
        told = wrapped(advice, width, 4)
        if len(lines) + len(told) <= height:
            lines += told
    return lines[:height]


def _line(ledger: LedgerView, row: LedgerRow, fill: tuple[str, str], name_cells: int) -> Content:
    pattern, colour = fill
    label, cause = printable(row.label), printable(row.cause)
    name = f"{label}  {cause}" if len(label) + len(cause) + 3 <= name_cells else label
    name = name if len(name) < name_cells else f"{name[: name_cells - 2]}…"
    total, rate = ledger.total_cycles, ledger.per_thousand(row.cycles)
    share = f"{100 * row.cycles / total:.1f} %" if total else "-"
    cells = (grouped(row.count), _each(row), grouped(row.cycles), share, "-" if rate is None else grouped(rate))
    numbers = "".join(text.rjust(width) for text, (_, width) in zip(cells, _HEADS, strict=True))
    return Content.assemble((f"{pattern} ", colour), (name.ljust(name_cells), colour), (numbers, "$foreground"))


def _each(row: LedgerRow) -> str:
    """Give the price of one, with its sign."""
    if row.is_weighed:
        return _BY_CLASS
    if row.each is None:
        return _UNKNOWN
    return f"{grouped(row.each)}{_sign(row)}"


def _sign(row: LedgerRow) -> str:
    if row.is_weighed:
        return _BY_CLASS
    return _UNKNOWN if row.each is None else _SIGN_OF.get(row.status, "")


def _signs(rows: Sequence[LedgerRow]) -> str:
    """Say what the signs mean that stand in the table."""
    used = {_sign(row) for row in rows}
    return " · ".join(f"{sign} {meaning}" for sign, meaning in _MEANINGS.items() if sign in used)


def _advice(ledger: LedgerView) -> Iterator[Content]:
    """Say of the dearest causes what would make them cheaper."""
    for row in [row for row in ledger.rows if row.cycles and row.advice][:MOST_ADVICE]:
        colour = KIND_LOOKS[row.kind].colour
        yield Content.assemble((f"→ {printable(row.label)}: ", f"bold {colour}"), (row.advice, "$foreground"))
