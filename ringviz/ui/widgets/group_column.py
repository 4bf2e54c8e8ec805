"""One technique's column on the side-by-side screen: the same lines in every column, so that eyes can go across."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING

from textual.content import Content

from ringviz.engine.view import LedgerRow, Verdict
from ringviz.ui.glyphs import BELIEVED, DIFFERS, KIND_LOOKS, REAL, VERDICT_LOOKS, grouped, ring_name
from ringviz.ui.widgets.card import chain
from ringviz.ui.widgets.overhead import FILLS, shares
from ringviz.ui.widgets.panel import printable, wrapped

if TYPE_CHECKING:
    from ringviz.engine.group import GroupColumn, GroupRegister, GroupView

_DIFFERENT = "bold $kind-silent"
_NAME_CELLS = 7


def column_lines(view: GroupView, column: GroupColumn, width: int, height: int) -> list[Content]:
    """Give one column as exactly `height` lines.

    Args:
        view: all columns: which registers are shown, and the scale of the bars, is the same for all.
        column: the one to draw.
        width: cells.
        height: lines.
    """
    chain_height = 2 if height < 16 else 3 if height < 24 else 5
    bill_height = 2 if height < 16 else min(6, 2 + max(len(_causes(c)) for c in view.columns))
    room = height - (3 + chain_height + 1 + bill_height + (2 if height >= 16 else 0))
    lines = [_place(column), _ring(column), _next(column, width)]
    lines += _filled(wrapped(chain(column.card), width, chain_height), chain_height)
    if height >= 16:
        lines.append(_rule(width))
    lines += _filled([_register(column, name, width) for name in chosen(view, room)], room)
    lines.append(_console(column, view.columns[0].console, width))
    if height >= 16:
        lines.append(_rule(width))
    lines += _filled(_bill(view, column, width, bill_height), bill_height)
    return [line.truncate(width, ellipsis=True) for line in lines[:height]]


def chosen(view: GroupView, room: int) -> list[str]:
    """Choose the registers to show: those that differ anywhere first, then those that changed, then from the top."""
    names = [register.name for register in view.columns[0].registers]

    def rank(name: str) -> tuple[int, int]:
        index = names.index(name)
        rows = [column.registers[index] for column in view.columns]
        differs = any(row.differs for row in rows)
        return (0 if differs else 1 if any(row.is_changed for row in rows) else 2, index)

    kept = set(sorted(names, key=rank)[: max(0, room)])
    return [name for name in names if name in kept]


def _filled(lines: list[Content], height: int) -> list[Content]:
    return [*lines[: max(0, height)], *[Content("")] * (height - len(lines))]


def _rule(width: int) -> Content:
    return Content.assemble(("╌" * width, "$frame"))


def _place(column: GroupColumn) -> Content:
    where = f"step {grouped(column.position)}"
    if column.is_at_marker:
        where = f"its own step {where[5:]}, at a marker"
    count = column.differences
    if column.outcome:
        head = Content.assemble((f"▣ {where} ", "bold $kind-end"))
    else:
        head = Content.assemble((f"{where} ", "bold"))
    if count:
        return head + Content.assemble((f"{DIFFERS} {count} differ{'' if count > 1 else 's'}", _DIFFERENT))
    return head + Content.assemble((f"{grouped(column.events)} event{'' if column.events == 1 else 's'}", "$dim"))


def _ring(column: GroupColumn) -> Content:
    rings = column.rings
    mode = f" of {rings.real_mode}" if rings.real_mode else ""
    real = Content.assemble((f"{REAL} ring {ring_name(rings.real)}{mode}", "bold $ring-lit"))
    if rings.is_data:
        real = Content.assemble((f"{REAL} program, ring {ring_name(rings.real)}", "bold $ring-lit"))
    if rings.believed == rings.real and not column.ring_differs:
        return real
    style = _DIFFERENT if column.ring_differs else "$changed"
    sign = f" {DIFFERS}" if column.ring_differs else ""
    return real + Content.assemble((f"  {BELIEVED} thinks {ring_name(rings.believed)}{sign}", style))


def _next(column: GroupColumn, width: int) -> Content:
    if column.outcome:
        return Content.assemble((printable(column.outcome), "$kind-end"))
    row = column.code
    if row is None:
        return Content.assemble(("(no instruction)", "$dim"))
    look = VERDICT_LOOKS[row.verdict]
    word = "" if row.verdict is Verdict.RUNS else f" {look.glyph} {look.word}"
    sign = f" {DIFFERS}" if column.code_differs else ""
    text = f"{printable(row.mnemonic)} {printable(row.operands)}".rstrip()
    room = max(4, width - len(word) - len(sign) - 5)
    text = text if len(text) <= room else f"{text[: room - 1]}…"
    style = _DIFFERENT if column.code_differs else "bold"
    return Content.assemble(("next ", "$dim"), (text, style), (sign, _DIFFERENT), (word, look.colour))


def _register(column: GroupColumn, name: str, width: int) -> Content:
    row: GroupRegister = next(register for register in column.registers if register.name == name)
    style = _DIFFERENT if row.differs else "bold $changed" if row.is_changed else "$foreground"
    if column.is_at_marker:
        style = "$dim"
    sign = DIFFERS if row.differs else "*" if row.is_changed else " "
    value = printable(row.value) or "—"
    room = max(4, width - _NAME_CELLS - 2)
    value = value if len(value) <= room else f"…{value[-room + 1 :]}"
    return Content.assemble((f"{name:<{_NAME_CELLS}}", "bold" if row.differs else "$dim"), (f"{sign} {value}", style))


def _console(column: GroupColumn, standard: str, width: int) -> Content:
    """Give the last line printed; or the first that the first column has otherwise, its end if it is too long."""
    lines = [line for line in column.console[-400:].splitlines() if line.strip()]
    if not column.console_differs:
        text = printable(lines[-1]) if lines else "(nothing printed)"
        return Content.assemble((f"○ {text}", "$kind-io")).truncate(width, ellipsis=True)
    pairs = zip_longest(column.console.splitlines(), standard.splitlines(), fillvalue="(nothing)")
    text = printable(next((ours for ours, theirs in pairs if ours != theirs), ""))
    text = " ".join(text.split())
    text = text if len(text) <= width - 2 else f"…{text[-width + 3 :]}"
    return Content.assemble((f"{DIFFERS} {text}", _DIFFERENT))


def _causes(column: GroupColumn) -> list[LedgerRow]:
    return [row for row in column.ledger.rows if row.cycles]


def _bill(view: GroupView, column: GroupColumn, width: int, height: int) -> list[Content]:
    """Total and factor, a bar on the scale that all columns share, and the dearest causes."""
    ledger = column.ledger
    factor = "" if ledger.slowdown is None else f"  {ledger.slowdown:,.2f}× bare metal".replace(",", " ")
    most = max((c.ledger.total_cycles for c in view.columns), default=0)
    cells = round(width * ledger.total_cycles / most) if most else 0
    rows = _causes(column)
    fills = _fills(view)
    parts = [
        (fills[row.cause] * count, KIND_LOOKS[row.kind].colour)
        for row, count in zip(rows, shares([r.cycles for r in rows], cells), strict=True)
    ]
    bar = Content.assemble(*parts) if cells else Content.assemble(("·", "$dim"))
    lines = [Content.assemble((f"{grouped(ledger.total_cycles)} cycles", "bold"), (factor, "$foreground")), bar]
    for row in rows[: max(0, height - 2)]:
        number = f" {grouped(row.cycles)}"
        room = max(4, width - len(number) - 2)
        label = printable(row.label)
        label = label.ljust(room) if len(label) <= room else f"{label[: room - 1]}…"
        lines.append(Content.assemble((f"{fills[row.cause]} {label}", KIND_LOOKS[row.kind].colour), (number, "")))
    return lines


def _fills(view: GroupView) -> dict[str, str]:
    """Give every cause one pattern, the same in all columns."""
    causes = dict.fromkeys(row.cause for column in view.columns for row in _causes(column))
    return {cause: FILLS[index % len(FILLS)] for index, cause in enumerate(causes)}


def legend(columns: Sequence[GroupColumn]) -> str:
    """Say what the bars are measured in."""
    cpus = {column.cpu for column in columns}
    return "bars on one scale, cycles modelled" + ("" if len(cpus) == 1 else ", each on its own CPU")
