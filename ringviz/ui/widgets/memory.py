"""The memory panel: bytes, stack, descriptor tables and page tables, with what the last step did to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message

from ringviz.engine.memory_look import ACCESS, LINE, MemoryLook, MemoryMode
from ringviz.engine.view import Snapshot
from ringviz.ui.glyphs import DIFFERS, REAL
from ringviz.ui.widgets.panel import keyed, printable, set_title
from ringviz.ui.widgets.scrolled import ScrolledPanel

if TYPE_CHECKING:
    from ringviz.engine.memory_touches import MemoryTouch
    from ringviz.engine.memory_view import HexRow, MemoryView
    from ringviz.engine.table_rows import MemoryRow

_MODES = tuple(MemoryMode)
_SIXTEEN = 8 + 3 * LINE + 1 + LINE
"""Cells of an address, sixteen bytes and their characters."""
_BESIDE_WIDTH = 150
"""From this width on, the real entry stands beside the guest's, else beneath it."""
_PLACE_WIDTH = 18
_MARK_STYLES = {" ": "$foreground", "r": "bold $kind-io", "w": "bold $changed", "b": "bold $changed"}
_MARK_SIGNS = {" ": " ", "r": "r", "w": "w", "b": "±"}
"""Before a byte: what the last step did to it. No sign is a hexadecimal digit."""


class MemoryPanel(ScrolledPanel):
    """A window on the guest's memory."""

    TITLE = "Memory"
    EXPLANATION = (
        "The guest's memory by linear address. r before a byte: the last step read it; w: it wrote it; ± both; "
        "the last line says so in full, with the old value and the new. * marks what was written on the "
        "instruction's behalf: by the CPU on its way into a handler, or by the VMM. ← and → change between bytes, "
        f"stack, GDT, IDT and page tables. {DIFFERS} is what the CPU really uses where the VMM has a table of its "
        "own. a takes an address, a symbol, or a register to follow (esp, eip, …; access: where the last step "
        "read or wrote); Enter follows that again, ↑ and ↓ look around."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "mode(-1)", "other view", show=False),
        Binding("right", "mode(1)", "other view", show=False),
    ]

    @dataclass
    class Looked(Message):
        """The user wants to see something else."""

        look: MemoryLook

    def title_for(self, snapshot: Snapshot) -> Content:
        """Give the views to choose from, the present one set off by brackets, and what it shows."""
        view = snapshot.memory
        if view is None:
            return Content(self.TITLE)
        parts: list[tuple[str, str]] = [("Memory ", "")]
        for mode in _MODES:
            is_chosen = mode is view.look.mode
            parts.append((f"[{mode.value}]" if is_chosen else f" {mode.value} ", "bold" if is_chosen else "$dim"))
        return Content.assemble(*parts, (f" {printable(view.title)}", ""))

    def watch_snapshot(self, snapshot: Snapshot | None) -> None:
        """Redraw what changed; a note stands in the lower edge of the frame, where there is one."""
        super().watch_snapshot(snapshot)
        if snapshot is not None and snapshot.memory is not None:
            note = "" if self.screen.has_class("-short") else printable(snapshot.memory.note)
            set_title(self, self.title_for(snapshot), Content(note))

    def all_lines(self, snapshot: Snapshot, width: int) -> Sequence[Content]:
        """Give every line of the present view."""
        view = snapshot.memory
        if view is None:
            return []
        if view.look.mode is MemoryMode.HEX:
            return [keyed(line, row.address) for row in view.hex_rows for line in _hex_lines(row, width)]
        place = min(max([4, *(len(row.place) for row in view.rows if not row.is_heading)]), _PLACE_WIDTH)
        return [
            line if row.is_heading else keyed(line, (view.look.mode.value, index))
            for index, row in enumerate(view.rows)
            for line in _row_lines(row, place, width)
        ]

    def first_line(self, snapshot: Snapshot, lines: Sequence[Content], room: int) -> int:
        """Begin a little before the address, the top of the stack, or at the beginning of a table."""
        view = snapshot.memory
        if view is None:
            return 0
        context = room // 4
        if view.look.mode is MemoryMode.HEX:
            per_row = max(1, len(lines) // max(1, len(view.hex_rows)))
            at = next((i for i, row in enumerate(view.hex_rows) if 0 <= view.look.base - row.address < LINE), 0)
            return at * per_row - context
        if view.look.mode is MemoryMode.STACK:
            return next((i for i, row in enumerate(view.rows) if row.is_current), 0) - context
        return 0

    def foot(self, snapshot: Snapshot, width: int, height: int) -> Sequence[Content]:
        """Say what the last step read and wrote."""
        view = snapshot.memory
        return [] if view is None else [_touches_line(view, width)]

    def action_mode(self, by: int) -> None:
        """Change between the views."""
        view = None if self.snapshot is None else self.snapshot.memory
        if view is not None:
            self.top = None
            mode = _MODES[(_MODES.index(view.look.mode) + by) % len(_MODES)]
            self.post_message(self.Looked(replace(view.look, mode=mode)))

    def action_look(self, by: int) -> None:
        """Move by lines; through bytes without end."""
        view = None if self.snapshot is None else self.snapshot.memory
        if view is None or view.look.mode is not MemoryMode.HEX:
            super().action_look(by)
            return
        base = max(0, view.look.base + by * LINE)
        self.post_message(self.Looked(replace(view.look, follow="", base=base)))

    def action_follow(self) -> None:
        """Follow what the last step accesses, and in a list go back to its beginning."""
        self.top = None
        view = None if self.snapshot is None else self.snapshot.memory
        if view is not None and view.look.mode is MemoryMode.HEX:
            self.post_message(self.Looked(replace(view.look, follow=ACCESS)))


def _hex_lines(row: HexRow, width: int) -> list[Content]:
    """Draw sixteen bytes on one line, or where that is too wide, eight on each of two."""
    if width >= _SIXTEEN:
        return [_hex_line(row, 0, LINE, width)]
    half = LINE // 2
    return [_hex_line(row, 0, half, width), _hex_line(row, half, half, width)]


def _hex_line(row: HexRow, start: int, count: int, width: int) -> Content:
    parts: list[tuple[str, str]] = [(f"{row.address + start:08x}", "$dim")]
    gap = " " if count == LINE and width > _SIXTEEN else ""
    for at in range(start, start + count):
        byte, mark = row.data[at], row.marks[at]
        text = "--" if byte is None else f"{byte:02x}"
        style = _MARK_STYLES[mark] if byte not in (0, None) or mark != " " else "$dim"
        parts.append((f"{gap if at == start + LINE // 2 else ''}{_MARK_SIGNS[mark]}{text}", style))
    characters = "".join(_character(row.data[at]) for at in range(start, start + count))
    parts.append((f" {characters}", "$kind-guest"))
    used = sum(len(text) for text, _ in parts)
    if row.label and not start and used + 2 + len(row.label) <= width:
        parts.append((f"  {printable(row.label)}", "bold $kind-guest"))
    return Content.assemble(*parts)


def _character(byte: int | None) -> str:
    return " " if byte is None else chr(byte) if 0x20 <= byte < 0x7F else "·"


def _row_lines(row: MemoryRow, place_width: int, width: int) -> list[Content]:
    if row.is_heading:
        return [Content.assemble((f"─ {printable(row.value)} ".ljust(width, "─"), "$dim"))]
    mark = "b" if row.is_read and row.is_written else "r" if row.is_read else "w" if row.is_written else " "
    style = _MARK_STYLES[mark] if mark != " " else "$dim" if row.is_faint else "$foreground"
    head = f"{REAL if row.is_current else ' '}{_MARK_SIGNS[mark]}{printable(row.place):<{place_width}} "
    note = f"  {printable(row.note)}" if row.note else ""
    line = Content.assemble(
        (head, "bold" if row.is_current else "$dim"), (printable(row.value), style), (note, "$kind-guest")
    )
    if not row.beside:
        return [line]
    real = f"{DIFFERS} {printable(row.beside)}"
    if width >= _BESIDE_WIDTH:
        return [line + Content.assemble((f"  {real}", "$kind-silent"))]
    return [line, Content.assemble((" " * (len(head) - 2), ""), (real, "$kind-silent"))]


def _touches_line(view: MemoryView, width: int) -> Content:
    if not view.touches:
        return Content.assemble(("the last step accessed no data", "$dim"))
    parts: list[Content] = [Content.assemble(("last step", "$dim"))]
    used = parts[0].cell_length
    for number, touch in enumerate(view.touches):
        text, style = _touch_text(touch)
        left = len(view.touches) - number
        more = f"  … {left} more"
        if used + 2 + len(text) > width - (len(more) if left > 1 else 0):
            parts.append(Content.assemble((more, "$dim")))
            break
        parts.append(Content.assemble((f"  {text}", style)))
        used += 2 + len(text)
    return Content("").join(parts)


def _touch_text(touch: MemoryTouch) -> tuple[str, str]:
    """`r 00102047 20`, `w 0010FFB8 00000000 → 00000001`; `*` where it was done on the instruction's behalf."""
    where = f"physical {touch.gpa:08x}" if touch.linear is None else f"{touch.linear:08x}"
    digits = 2 * touch.size_bytes
    new = f"{touch.size_bytes} bytes" if touch.new is None else f"{touch.new:0{digits}x}"
    if not touch.is_write:
        return f"r {where} {new}", _MARK_STYLES["r"]
    sign = "w" if touch.is_by_code else "w*"
    if touch.old is None or touch.old == touch.new:
        return f"{sign} {where} {new}", _MARK_STYLES["w"]
    return f"{sign} {where} {touch.old:0{digits}x} → {new}", _MARK_STYLES["w"]
