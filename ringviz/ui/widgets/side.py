"""The VMM's side: what it keeps beside the guest's code, as a list that shows what is new and what runs now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive, var

from ringviz.engine.view import Side, SideMark, SideRow, Snapshot
from ringviz.ui.glyphs import MARK_LOOKS, grouped
from ringviz.ui.widgets.code import foot_height, line_of_current
from ringviz.ui.widgets.panel import Panel, printable, set_title, wrapped

if TYPE_CHECKING:
    from ringviz.engine.hit_count import Hits

_NARROW = 40
"""Below this width there is no room for addresses and field numbers; the foot names those of one line."""
_WIDE = 44
"""From this width on, marks have their word beside them."""
_ORIGINAL_WIDTH = 72
"""From this width on, the guest's own instruction stands beside what has become of it."""
_ROOMY = 15
"""From this height on, the foot has several lines."""
_VALUE_WIDTH = 9
"""Of a 32-bit value; where one is longer, its field's name gives way."""
_SECTIONS = (
    (SideMark.BY_CPU, "changed by the CPU at the last exit"),
    (SideMark.BY_VMM, "changed by the VMM since"),
)
_CHANGES = tuple(mark for mark, _ in _SECTIONS)
"""Marks of a field that has had another value before."""
_THE_REST = "unchanged"

_Entry = SideRow | str
"""A line of the list: a row, or the heading of a section."""


class SidePanel(Panel):
    """Translated code, a control structure or hypercalls."""

    TITLE = "The VMM's side"
    EXPLANATION = (
        "What the VMM keeps beside the guest's code. Under binary translation: its code cache, with the guest "
        "address each instruction was made from; the lines marked ► are what the guest's present instruction has "
        "become. Under hardware assistance: the control structure (VMCS, VMCB), with what the CPU wrote into it "
        "at the last exit and what the VMM has changed since. Under paravirtualization: the hypercalls. With the "
        "focus here, arrow keys look through the list, and Enter goes back to what is going on now. In the code "
        "cache ═► is a way out that is chained to the translation of that guest address, ┄► one that still leads "
        "to a stub, and h counts how often each fragment was entered up to here, by running the guest once more."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "look(-1)", "up", show=False),
        Binding("down", "look(1)", "down", show=False),
        Binding("pageup", "look_page(-1)", "page up", show=False),
        Binding("pagedown", "look_page(1)", "page down", show=False),
        Binding("enter", "follow", "back to now", show=False),
        Binding("h", "hits", "count hits", show=False),
    ]

    @dataclass
    class HitsWanted(Message):
        """The user wants to know how often each fragment was entered."""

    hits: reactive[Hits | None] = reactive(None, repaint=False)

    looked_at: var[tuple[str, str] | None] = var(None)
    """Place and name of the row the user chose to look at; None follows the run."""

    def title_for(self, snapshot: Snapshot) -> Content:
        """Give the side's own name, and how to get back where it stands in another panel's place."""
        if snapshot.side is None:
            return Content(self.TITLE)
        title = Content(printable(snapshot.side.title))
        takes_turns = not self.screen.has_class("-wide")
        return Content.assemble(title, (" · v: the CPU", "$dim")) if takes_turns else title

    def watch_snapshot(self, snapshot: Snapshot | None) -> None:
        """Redraw what changed; the caption stands in the lower edge of the frame, where there is one."""
        super().watch_snapshot(snapshot)
        if snapshot is not None and snapshot.side is not None:
            has_edge = not self.screen.has_class("-short") or self.screen.maximized is self
            hits = self._hits_text(snapshot.side)
            caption = f"{hits}{printable(snapshot.side.caption)}" if has_edge else ""
            set_title(self, self.title_for(snapshot), Content(caption))

    def watch_hits(self) -> None:
        """Show the figures."""
        self.watch_snapshot(self.snapshot)

    def _hits_text(self, side: Side) -> str:
        """Say how often the fragment in view was entered, and which one most often."""
        if self.hits is None or not side.rows or not _is_code(side):
            return ""
        here = self.hits.at(int(side.rows[0].place, 16))
        top = self.hits.fragments[0]
        if here is None:
            return ""
        upto = f"up to step {grouped(self.hits.position)}"
        return f"entered {grouped(here)}× {upto} (most: guest {top.eip:X}, {grouped(top.hits)}×); "

    def action_hits(self) -> None:
        """Ask for the figures."""
        if self.snapshot is not None and self.snapshot.side is not None and _is_code(self.snapshot.side):
            self.post_message(self.HitsWanted())

    def lines(self, snapshot: Snapshot, width: int, height: int) -> Sequence[Content]:
        """Give a window of the list, and beneath it the line looked at in words."""
        if snapshot.side is None:
            return []
        entries = _entries(snapshot.side)
        shown = self._shown(entries)
        foot = _foot(entries[shown] if entries else None, width, height)
        room = height - len(foot)
        if self.looked_at is None and _is_code(snapshot.side) and self.screen.maximized is not self:
            # The translation stands on the same line of the screen as the original in the code panel.
            first = _beginning(entries, shown) - line_of_current(snapshot.code, height)
        else:
            first = max(0, min(shown - room * 2 // 5, len(entries) - room))
        layout = _layout(snapshot, width)
        here = next((row.address for row in snapshot.code if row.is_current), None)
        window = [
            _line(entries, index, layout, here, index == shown and self.looked_at is not None)
            if 0 <= index < len(entries)
            else Content("")
            for index in range(first, first + room)
        ]
        return [*window, *foot]

    def _shown(self, entries: Sequence[_Entry]) -> int:
        """Give the index of the entry to keep in view: the one looked at, or what is going on now."""
        rows = [(index, entry) for index, entry in enumerate(entries) if isinstance(entry, SideRow)]
        for index, row in rows:
            if self.looked_at is not None and (row.place, row.name) == self.looked_at:
                return index
        if self.looked_at is not None:
            self.set_reactive(SidePanel.looked_at, None)
        return next((index for index, row in rows if row.mark is SideMark.CURRENT), rows[0][0] if rows else 0)

    def watch_looked_at(self) -> None:
        """Draw the list at its new place."""
        self.watch_snapshot(self.snapshot)

    def action_look(self, by: int) -> None:
        """Move to another row."""
        if self.snapshot is None or self.snapshot.side is None:
            return
        entries = _entries(self.snapshot.side)
        index = self._shown(entries)
        rows = [i for i, entry in enumerate(entries) if isinstance(entry, SideRow)]
        if rows:
            position = rows.index(index) if index in rows else 0
            target = entries[rows[min(max(position + by, 0), len(rows) - 1)]]
            assert isinstance(target, SideRow)
            self.looked_at = (target.place, target.name)

    def action_look_page(self, by: int) -> None:
        """Move by a screenful."""
        self.action_look(by * max(1, self.content_size.height - foot_height(self.content_size.height) - 1))

    def action_follow(self) -> None:
        """Go back to what is going on now."""
        self.looked_at = None

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Look further down."""
        event.stop()
        self.action_look(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Look further up."""
        event.stop()
        self.action_look(-3)


@dataclass(frozen=True, slots=True)
class _Layout:
    """Widths in cells, the same for every line of one drawing."""

    width: int
    origin: int
    """Digits of guest addresses; 0 where no row has one."""
    place: int
    name: int
    """Of a table's name column; 0 for code."""
    original: int = 0
    """Of the column with the guest's own instructions; 0 where there is no room."""


def _is_code(side: Side) -> bool:
    """Tell a translation from a table: something was made from guest code, and lies elsewhere than that."""
    return any(row.origin is not None and f"{row.origin:x}" != row.place.lower().lstrip("0") for row in side.rows)


def _entries(side: Side) -> list[_Entry]:
    """Give the lines of the list; in a table, what has changed stands first, under its own heading."""
    if _is_code(side) or not any(row.mark is mark for row in side.rows for mark, _ in _SECTIONS):
        return list(side.rows)
    entries: list[_Entry] = [row for row in side.rows if row.mark is SideMark.CURRENT]
    for mark, heading in (*_SECTIONS, (SideMark.NONE, _THE_REST)):
        rows = [row for row in side.rows if row.mark is mark]
        entries += [heading, *rows] if rows else []
    return entries


def _layout(snapshot: Snapshot, width: int) -> _Layout:
    side = snapshot.side
    assert side is not None
    place = max((len(row.place) for row in side.rows), default=0)
    if _is_code(side):
        place = place if width >= _NARROW else 0
        origins = [row.origin for row in side.rows if row.origin is not None]
        original = max(len(row.original) for row in side.rows) if width >= _ORIGINAL_WIDTH else 0
        return _Layout(width, 6 if width < 60 and max(origins) < 1 << 24 else 8, place, 0, min(original, width // 3))
    longest = max((len(row.name) for row in side.rows), default=0)
    # The number of a field gives way to its name; the foot has both.
    if width - 2 - (place + 1) - _VALUE_WIDTH - 1 < longest and width < _WIDE:
        place = 0
    room = width - 2 - (place + 1 if place else 0) - _VALUE_WIDTH - 1
    return _Layout(width, 0, place, max(8, min(longest, room)))


def _beginning(entries: Sequence[_Entry], index: int) -> int:
    """Give the first of the rows made from the same guest instruction."""
    origin = _origin_at(entries, index)
    while origin is not None and _origin_at(entries, index - 1) == origin:
        index -= 1
    return index


def _line(entries: Sequence[_Entry], index: int, layout: _Layout, here: int | None, is_looked_at: bool) -> Content:
    """Draw a row: its mark, where it is, what it is; the mark's word stands at the right where there is room.

    Args:
        entries: all lines of the list.
        index: of the one to draw.
        layout: widths.
        here: address of the guest instruction about to run; what was made from it is set off.
        is_looked_at: the user has moved to it.
    """
    entry = entries[index]
    if isinstance(entry, str):
        return Content.assemble((f"─ {entry} ".ljust(layout.width, "─"), "$dim")).truncate(layout.width)
    look = MARK_LOOKS[entry.mark]
    is_current = entry.mark is SideMark.CURRENT
    style = f"bold {look.colour}" if entry.mark is not SideMark.NONE else "$foreground"
    if entry.origin is not None and entry.origin == here:
        style = f"bold {MARK_LOOKS[SideMark.CURRENT].colour}"
    style += " reverse" if is_current or is_looked_at else ""
    dim = style if is_current or is_looked_at else "$dim"
    word = f" {look.word}" if look.word and layout.width >= _WIDE else ""
    text_width = layout.width - len(word)
    head = f"{look.glyph}{_origin(entries, index, layout)}"
    head += f"{printable(entry.place):<{layout.place}} " if layout.place else ""
    text = _fit(_name_and_value(entry, layout, text_width - len(head)), text_width - len(head))
    return Content.assemble((head, dim), (text, style), (word, style))


def _origin(entries: Sequence[_Entry], index: int, layout: _Layout) -> str:
    """Give the guest address a row was made from, and what ties it to the other rows made from the same."""
    if not layout.origin:
        return " "
    origin = _origin_at(entries, index)
    if origin is None:
        return " " * (layout.origin + 1 + (layout.original + 2 if layout.original else 0))
    is_first = _origin_at(entries, index - 1) != origin
    is_last = _origin_at(entries, index + 1) != origin
    entry = entries[index]
    original = entry.original if isinstance(entry, SideRow) else ""
    text = f" {_fit(printable(original), layout.original)} " if layout.original else ""
    tie = "→" if is_first and is_last else "┬" if is_first else "└" if is_last else "├"
    return (f"{origin:0{layout.origin}x}" if is_first else " " * layout.origin) + text + tie


def _origin_at(entries: Sequence[_Entry], index: int) -> int | None:
    entry = entries[index] if 0 <= index < len(entries) else ""
    return entry.origin if isinstance(entry, SideRow) else None


def _name_and_value(row: SideRow, layout: _Layout, room: int) -> str:
    name, value, old = printable(row.name), printable(row.value), printable(row.old)
    if not layout.name:
        return name if len(name) <= room else _without_sizes(name)
    both = f"{old} → {value}"
    if old and row.mark in _CHANGES and layout.name + 1 + len(both) <= room:
        value = both
    return f"{_fit(name, max(4, min(layout.name, room - len(value) - 1)))} {value}"


def _without_sizes(text: str) -> str:
    """Give an instruction without the sizes of its operands: in a narrow list, what it does matters more."""
    for size in ("byte ptr ", "word ptr ", "dword ptr ", "qword ptr "):
        text = text.replace(f" {size}", " ")
    return text


def _foot(entry: _Entry | None, width: int, height: int) -> list[Content]:
    """Give one row in words; on a small screen, its note or its old value."""
    size = foot_height(height)
    if not isinstance(entry, SideRow):
        return [Content("")] * size
    look = MARK_LOOKS[entry.mark]
    was = f"was {printable(entry.old)}. " if entry.old else ""
    note = Content.assemble((f"{look.glyph} ", f"bold {look.colour}"), (f"{was}{printable(entry.note)}", "$dim"))
    if height < _ROOMY:
        return wrapped(note, width, 1) or [Content("")]
    full = " ".join(part for part in (entry.place, entry.name, entry.value) if part)
    lines = [
        Content.assemble(("╌" * width, "$frame")),
        Content.assemble((printable(full), "italic")).truncate(width, ellipsis=True),
        *(wrapped(note, width, size - 2) if was or entry.note else []),
    ]
    return lines + [Content("")] * (size - len(lines))


def _fit(text: str, width: int) -> str:
    """Exactly `width` cells, with an ellipsis if something had to go."""
    width = max(0, width)
    return text.ljust(width) if len(text) <= width else f"{text[: max(0, width - 1)]}…"[:width]
