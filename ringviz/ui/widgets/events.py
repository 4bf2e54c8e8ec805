"""Traps and exits: every event up to now, endless."""

from dataclasses import dataclass
from typing import ClassVar

from rich.segment import Segment
from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive, var
from textual.strip import Strip

from ringviz.engine.view import EventRow, Kind, Snapshot
from ringviz.ui.glyphs import KIND_LOOKS, grouped
from ringviz.ui.widgets.panel import printable, set_title
from ringviz.ui.widgets.short import fit
from ringviz.ui.widgets.tail import TailView


@dataclass(frozen=True, slots=True)
class _Columns:
    """Widths in cells; what is left over goes to what the VMM did."""

    number: int
    at: int
    instruction: int
    cause: int
    action: int
    cycles: int


def _columns(width: int, count: int, last_at: int) -> _Columns:
    """Column widths for a panel of `width` cells; one cell between columns, two for the sign.

    Args:
        width: of the panel.
        count: the highest number in the list.
        last_at: the highest step in the list.
    """
    number, at, instruction, cause, cycles = (6, 9, 22, 20, 9) if width >= 100 else (5, 7, 17, 12, 7)
    if width >= 130:
        instruction, cause = 30, 28
    # Figures are never cut: where they grow, words make room.
    number, at = max(number, len(grouped(count))), max(at, len(grouped(last_at)))
    fixed = 2 + number + at + instruction + cause + cycles + 5
    return _Columns(number, at, instruction, cause, max(4, width - fixed), cycles)


class EventsPanel(TailView):
    """The list of events; Enter on one goes there."""

    TITLE = "Traps and exits"
    EXPLANATION = (
        "Every time something happened that the guest's own straight line of instructions does not explain: who was "
        "called, what was done about it, and what it cost (modelled cycles). Choose a line with the arrow keys and "
        "press Enter to go back to that moment. The signs are those of the table below."
    )
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "events--header",
        "events--cursor",
        *(f"kind-{kind.value}" for kind in Kind),
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "cursor(-1)", "up", show=False),
        Binding("down", "cursor(1)", "down", show=False),
        Binding("pageup", "cursor_page(-1)", "page up", show=False),
        Binding("pagedown", "cursor_page(1)", "page down", show=False),
        Binding("enter", "choose", "go there", show=False),
    ]
    HEADER_ROWS = 1

    cursor: reactive[int] = reactive(-1, repaint=False)
    """Index of the highlighted event."""
    known: var[int] = var(0)
    """How many events there were at the last moment shown."""

    @dataclass
    class Chosen(Message):
        """The user wants to stand at the moment of an event."""

        at: int
        """Retired guest instructions."""

    def pointed_at(self, snapshot: Snapshot) -> int | None:
        """Give the index of the highlighted event; None where there is none."""
        return self.cursor if 0 <= self.cursor < len(snapshot.events) else None

    def line_count(self) -> int:
        """How many events there are."""
        return len(self.snapshot.events) if self.snapshot is not None else 0

    def watch_snapshot(self, snapshot: Snapshot | None) -> None:
        """Take over the events; the cursor follows the newest unless the user has moved it."""
        if snapshot is None:
            return
        count = len(snapshot.events)
        title = Content.assemble(self.TITLE, (f" · {grouped(count)}", "bold"))
        words = _last_words(snapshot)
        # A short screen has no room for a lower edge, which is where the guest's words stand otherwise.
        has_lower_edge = not self.screen.has_class("-short")
        if has_lower_edge:
            set_title(self, title, words)
        else:
            set_title(self, Content.assemble(title, "   ", words) if words else title, Content(""))
        # Gone back to before the highlighted line, the list is at its end again.
        went_back = count < self.known
        self.known = count
        self.is_following = self.is_following or (went_back and self.cursor >= count - 1)
        # First the new length, then the cursor: to bring a line into view, the list must know how long it is.
        self.settle()
        self.cursor = count - 1 if self.is_following else self.cursor

    def header(self, width: int) -> Strip:
        """Give the names of the columns."""
        c = self._columns(width)
        text = (
            f"  {'#':>{c.number}} {'at step':>{c.at}} {'instruction':<{c.instruction}} {'cause':<{c.cause}} "
            f"{'what was done':<{c.action}} {'cycles':>{c.cycles}}"
        )
        return self.strip_of(text, self.component_style("events--header"))

    def line(self, index: int, width: int) -> Strip:
        """One event."""
        assert self.snapshot is not None
        row = self.snapshot.events[index]
        style = self.component_style(f"kind-{row.kind.value}")
        if index == self.cursor:
            style += self.component_style("events--cursor")
        return Strip([Segment(event_text(row, self._columns(width)), style)])

    def _columns(self, width: int) -> _Columns:
        """Column widths for the list as it stands."""
        if self.snapshot is None or not self.line_count():
            return _columns(width, 0, 0)
        last = self.snapshot.events[-1]
        return _columns(width, last.number, last.at)

    def watch_cursor(self, old: int, new: int) -> None:
        """Redraw the two lines that changed, and keep the new one in view."""
        for index in (old, new):
            self.refresh_line(index + self.HEADER_ROWS - self.scroll_offset.y)
        visible = self.scrollable_content_region.height - self.HEADER_ROWS
        top = self.scroll_offset.y
        if new < top or new >= top + visible:
            target = new if new < top else new - visible + 1
            self.scroll_to(y=max(0, target), animate=False, immediate=True, force=True)

    def action_cursor(self, by: int) -> None:
        """Move the highlight."""
        if self.line_count():
            self.cursor = min(max(self.cursor + by, 0), self.line_count() - 1)
            # Only on the newest line does the highlight go along with the run.
            self.is_following = self.cursor == self.line_count() - 1

    def action_cursor_page(self, by: int) -> None:
        """Move the highlight by a page."""
        self.action_cursor(by * max(1, self.scrollable_content_region.height - self.HEADER_ROWS - 1))

    def action_choose(self) -> None:
        """Go to the highlighted event."""
        if self.snapshot is not None and 0 <= self.cursor < self.line_count():
            self.post_message(self.Chosen(self.snapshot.events[self.cursor].at))

    def on_click(self, event: events.Click) -> None:
        """Highlight the clicked line; a second click goes there."""
        offset = event.get_content_offset(self)
        if offset is None or offset.y < self.HEADER_ROWS:
            return
        index = offset.y - self.HEADER_ROWS + self.scroll_offset.y
        if index < self.line_count():
            self.cursor = index
            if event.chain == 2:
                self.action_choose()


def event_text(row: EventRow, c: _Columns) -> str:
    """One event as text in columns."""
    cycles = "" if row.cycles is None else grouped(row.cycles)
    return (
        f"{KIND_LOOKS[row.kind].glyph} {grouped(row.number):>{c.number}} {grouped(row.at):>{c.at}} "
        f"{fit(row.instruction, c.instruction)} {fit(row.cause, c.cause)} {fit(row.action, c.action)} "
        f"{cycles:>{c.cycles}}"
    )


def _last_words(snapshot: Snapshot) -> Content:
    """Give the last line the guest printed, or else the last one on its screen, for the frame."""
    # The end of the text is enough: a guest may print megabytes.
    lines = [line for line in snapshot.console[-400:].splitlines() if line.strip()]
    what = "guest prints"
    if not lines and snapshot.screen is not None:
        lines, what = [row.strip() for row in snapshot.screen.written], "on the guest's screen"
    return Content.assemble((f"{what}: {printable(lines[-1])[:60]}", "$kind-io")) if lines else Content("")
