"""Overhead so far: where the cycles went, all of them modelled."""

from collections.abc import Sequence

from textual.content import Content

from ringviz.engine.view import LedgerRow, LedgerView, Snapshot
from ringviz.ui.glyphs import KIND_LOOKS, grouped
from ringviz.ui.widgets.overhead_table import CAUSE, LEAST_HEIGHT, LEAST_WIDTH, table_lines
from ringviz.ui.widgets.panel import Panel, keyed, printable

TOTAL, CURVE = "total", "curve"
"""What can be pointed at besides the causes."""
FILLS = "█▓▒░▚▞▤▥"
"""Causes differ by pattern as well as by colour."""
_CURVE = " ▁▂▃▄▅▆▇█"


class OverheadPanel(Panel):
    """The ledger as a bar, a legend, a factor and a curve."""

    TITLE = "Overhead so far · modelled"
    EXPLANATION = (
        "Where the cycles of this run went, by cause. No cycle here is measured: each event is charged what published "
        "measurements of the CPU in the top line say it costs, and each instruction that the CPU runs by itself the "
        "weight of its class. The factor compares the sum with bare metal at the same instruction. The curve is the "
        "overhead added up, from the first instruction to here. Zoomed with z, the panel has every cause with its "
        "price, and what would make the dearest cheaper; $ asks what if prices were others. ↓ and ↑ point at its "
        "lines; ? then explains the one that is pointed at."
    )

    def lines(self, snapshot: Snapshot, width: int, height: int) -> Sequence[Content]:
        """One line on a small screen; else total, bar, legend and curve."""
        ledger = snapshot.ledger
        if height <= 1:
            return [keyed(_one_line(ledger, width), TOTAL)]
        lines = [keyed(_total(ledger, width), TOTAL), _bar(ledger, width)]
        if width >= LEAST_WIDTH and height >= LEAST_HEIGHT:
            return [*lines, *_whole(ledger, width, height - len(lines))]
        curve_height = 1 if height < 12 else min(6, height // 4)
        room = height - len(lines) - curve_height
        lines += _legend(ledger, width, room)
        lines += [Content("")] * (height - curve_height - len(lines))
        lines += [keyed(line, CURVE) for line in _curve(ledger.curve, width, curve_height)]
        return lines


def _whole(ledger: LedgerView, width: int, height: int) -> list[Content]:
    """Give the whole table and, beneath it, the curve in what room is left."""
    curve_height = max(3, min(8, height // 4))
    fills = [_paint(index, row) for index, row in enumerate(ledger.rows)]
    lines = table_lines(ledger, fills, width, height - curve_height)
    lines += [Content("")] * (height - curve_height - len(lines))
    return lines + [keyed(line, CURVE) for line in _curve(ledger.curve, width, curve_height, most=width)]


def _paint(index: int, row: LedgerRow) -> tuple[str, str]:
    return FILLS[index % len(FILLS)], KIND_LOOKS[row.kind].colour


def _factor(ledger: LedgerView) -> str:
    return "" if ledger.slowdown is None else f"{ledger.slowdown:,.1f}×".replace(",", " ")


def _total(ledger: LedgerView, width: int) -> Content:
    """Give the sum and the factor: the panel's message."""
    factor = _factor(ledger)
    style = "bold $kind-gate" if (ledger.slowdown or 0) < 2 else "bold $kind-silent"
    tail = f"  {factor} bare metal" if factor else ""
    total = f"{grouped(ledger.total_cycles)} cycles"
    if len(total) + len(tail) > width:
        tail = f"  {factor}"
    return Content.assemble((total, "bold"), (tail, style))


def shares(cycles: Sequence[int], width: int) -> list[int]:
    """Split `width` cells in proportion; what costs anything gets at least one cell if there are enough."""
    total = sum(cycles)
    if total <= 0 or width <= 0:
        return [0 for _ in cycles]
    exact = [value * width / total for value in cycles]
    cells = [max(1, int(part)) if value else 0 for part, value in zip(exact, cycles, strict=True)]
    while sum(cells) > width:
        cells[cells.index(max(cells))] -= 1
    order = sorted(range(len(cells)), key=lambda i: exact[i] - int(exact[i]), reverse=True)
    for index in (i for i in order if cycles[i]):
        if sum(cells) < width:
            cells[index] += 1
    return cells


def _bar(ledger: LedgerView, width: int) -> Content:
    cells = shares([row.cycles for row in ledger.rows], width)
    parts = []
    for index, (row, count) in enumerate(zip(ledger.rows, cells, strict=True)):
        fill, colour = _paint(index, row)
        parts.append((fill * count, colour))
    return Content.assemble(*parts) if any(cells) else Content.assemble(("·" * width, "$dim"))


def _legend(ledger: LedgerView, width: int, room: int) -> list[Content]:
    """One line a cause; if there are too many, the rest is summed up in the last line."""
    rows = [row for row in ledger.rows if row.cycles or row.count]
    shown = rows if len(rows) <= room else rows[: max(0, room - 1)]
    lines = []
    for row in shown:
        fill, colour = _paint(ledger.rows.index(row), row)
        line = _legend_line(fill, colour, _names(row), row.count, row.cycles, width)
        lines.append(keyed(line, (CAUSE, row.cause)))
    rest = rows[len(shown) :]
    if rest and room > 0:
        name = (f"{len(rest)} more",)
        lines.append(_legend_line("…", "$dim", name, sum(r.count for r in rest), sum(r.cycles for r in rest), width))
    return lines


def _names(row: LedgerRow) -> tuple[str, str]:
    """Give a cause's name in words, and its short one."""
    return printable(row.label), printable(row.cause)


def _legend_line(fill: str, colour: str, names: Sequence[str], count: int, cycles: int, width: int) -> Content:
    """Draw one cause under the first of its names that fits."""
    numbers = f"{grouped(count)}× {grouped(cycles):>9}"
    room = max(1, width - len(numbers) - 3)
    name = next((name for name in names if len(name) <= room), names[-1])
    name = name.ljust(room) if len(name) <= room else f"{name[: room - 1]}…"
    return Content.assemble((f"{fill} ", colour), (f"{name} ", colour), (numbers, "$foreground"))


def _curve(curve: Sequence[int], width: int, height: int, most: int = 64) -> list[Content]:
    """Block columns, at most so many, lowest line last; the caption stands at the right of the last line."""
    caption = " overhead over steps"
    columns = max(1, min(width - len(caption), most))
    top = max(curve, default=0)
    if top <= 0:
        return [Content("")] * (height - 1) + [Content.assemble(("no overhead yet", "$dim"))]
    values = [curve[min(len(curve) - 1, x * len(curve) // columns)] for x in range(columns)]
    steps = [round(value * height * 8 / top) for value in values]
    lines = []
    for row in range(height - 1, -1, -1):
        text = "".join(_CURVE[min(8, max(0, step - row * 8))] for step in steps)
        lines.append(Content.assemble((text, "$kind-trap"), (caption if row == 0 else "", "$dim")))
    return lines


def _one_line(ledger: LedgerView, width: int) -> Content:
    """Total, factor and a bar of what is left of the width."""
    total = _total(ledger, width)
    note = Content.assemble(("  modelled ", "$dim"))
    rows = [row for row in ledger.rows if row.cycles]
    head = Content("").join([total, note])
    if rows:
        biggest = rows[0]
        fill, colour = _paint(ledger.rows.index(biggest), biggest)
        name = Content.assemble((f" {fill} {printable(biggest.label)} {grouped(biggest.cycles)}", colour))
        bar_width = width - head.cell_length - name.cell_length
        if bar_width >= 8:
            return Content("").join([head, _bar(ledger, bar_width), name])
    return Content("").join([head, _bar(ledger, max(0, width - head.cell_length))])
