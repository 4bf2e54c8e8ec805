"""The CPU, twice: what the guest thinks, and what is really so."""

from collections.abc import Sequence

from textual.content import Content

from ringviz.engine.view import RegisterRow, Snapshot
from ringviz.ui.glyphs import DIFFERS
from ringviz.ui.widgets.panel import Panel, keyed, printable, wrapped

_WIDEST_COLUMN = 24
"""Enough for an old and a new 32-bit value side by side."""


class TwicePanel(Panel):
    """The register panel."""

    TITLE = "The CPU, twice"
    EXPLANATION = (
        "On the left the value the guest would name if you asked it; on the right the one the CPU really holds. "
        f"{DIFFERS} marks every register where the two are not the same. An arrow marks what the last instruction "
        "changed, from the old value to the new. On bare metal both columns agree: that is what bare metal means."
    )

    def title_for(self, snapshot: Snapshot) -> Content:
        """Give the title, and what else this place can show."""
        if snapshot.side is None or self.screen.has_class("-wide"):
            return Content(self.TITLE)
        return Content.assemble(self.TITLE, (f" · v: {printable(snapshot.side.title)}", "$dim"))

    def lines(self, snapshot: Snapshot, width: int, height: int) -> Sequence[Content]:
        """Give a heading, then one line a register; those that tell something come first where room is short."""
        name_width = max([4, *(len(row.name) for row in snapshot.registers)])
        column = max(1, min(_WIDEST_COLUMN, (width - name_width - 3) // 2))
        heading = f"{'':<{name_width}} {'guest thinks':<{column}} {'really':<{column}}"
        lines = [Content.assemble((heading.rstrip(), "bold $dim"))]
        blocks = [_block(row, name_width, column) for row in snapshot.registers]
        kept = _choose(snapshot.registers, [len(block) for block in blocks], height - 1)
        for index in kept:
            lines += [keyed(line, snapshot.registers[index].name) for line in blocks[index]]
        if len(kept) < len(blocks) and len(lines) < height:
            lines.append(Content.assemble((f"… {len(blocks) - len(kept)} more, the same on both sides", "$dim")))
        if height - len(lines) >= 2:
            lines += _notes(snapshot.registers, width, height - len(lines))
        return lines


def _choose(rows: Sequence[RegisterRow], heights: Sequence[int], room: int) -> list[int]:
    """Choose the rows to show, in their order: those that differ or changed before others, then from the top."""
    if sum(heights) <= room:
        return list(range(len(rows)))

    def rank(index: int) -> tuple[int, int]:
        row = rows[index]
        is_changed = row.guest_old is not None or row.real_old is not None
        return (0 if row.differs or is_changed else 1, index)

    kept: list[int] = []
    used = 0
    for index in sorted(range(len(rows)), key=rank):
        if used + heights[index] <= room:
            used += heights[index]
            kept.append(index)
    return sorted(kept)


def _block(row: RegisterRow, name_width: int, column: int) -> list[Content]:
    """One register: a line, and a second one with the old values if they do not fit beside the new."""
    if max(len(row.guest), len(row.real)) > column:
        return _tall_block(row, name_width, column)
    guest, guest_was = _value(row.guest, row.guest_old, column)
    real, real_was = _value(row.real, row.real_old, column)
    sign = DIFFERS if row.differs else " "
    truth = "bold $kind-silent" if row.differs else "$foreground"
    line = Content.assemble(
        (f"{row.name:<{name_width}} ", "bold" if row.differs else "$dim"),
        (f"{guest:<{column}} ", "bold $changed" if row.guest_old is not None else "$foreground"),
        (f"{real:<{column}}", "bold $changed" if row.real_old is not None and not row.differs else truth),
        (sign, "bold $kind-silent"),
    )
    if not guest_was and not real_was:
        return [line]
    old = f"{'was':>{name_width}} {guest_was:<{column}} {real_was:<{column}}"
    return [line, Content.assemble((old.rstrip(), "$dim"))]


def _tall_block(row: RegisterRow, name_width: int, column: int) -> list[Content]:
    """Draw a register too wide for the columns: the truth stands under the belief."""
    guest, real = printable(row.guest), printable(row.real)
    is_changed = row.guest_old is not None or row.real_old is not None
    value = "bold $changed" if is_changed else "$foreground"
    if not row.differs:
        return [Content.assemble((f"{row.name:<{name_width}} ", "$dim"), (guest, value))]
    return [
        Content.assemble(
            (f"{row.name:<{name_width}} ", "bold"),
            (f"{guest:<{2 * column + 1}}", value),
            (DIFFERS, "bold $kind-silent"),
        ),
        Content.assemble((f"{'really':>{name_width}} ", "$dim"), (real, "bold $kind-silent")),
    ]


def _value(new: str, old: str | None, width: int) -> tuple[str, str]:
    """Give the text for a column, and the old value if it needs a line of its own."""
    new = printable(new)
    if old is None:
        return new, ""
    old = printable(old)
    both = f"{old} → {new}"
    if len(both) <= width:
        return both, ""
    return new, old


def _notes(rows: Sequence[RegisterRow], width: int, room: int) -> list[Content]:
    lines = [Content("")]
    for row in rows:
        if row.differs and row.note:
            note = Content.assemble((f"{DIFFERS} {row.name} ", "bold $kind-silent"), (printable(row.note), "$dim"))
            wanted = wrapped(note, width, room)
            # Half a reason is none.
            if len(lines) + len(wanted) <= room:
                lines += wanted
    return lines
