"""The timeline: the whole run as one line, with its events as marks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive

from ringviz.engine.view import Snapshot, TimelineView
from ringviz.ui.bookmarks import Bookmark
from ringviz.ui.glyphs import BOOKMARK, KIND_LOOKS, grouped
from ringviz.ui.widgets.density import Density, density
from ringviz.ui.widgets.panel import Panel, set_title

_UNKNOWN_END_SHARE = 0.8
"""While the end is not known, what is explored takes this much of the line and the rest stands for what may come."""


class TimelinePanel(Panel):
    """The line from the first instruction to the last; arrow keys and clicks move along it."""

    TITLE = "Timeline"
    EXPLANATION = (
        "The whole run from its first instruction at the left to its end at the right. Thick: already run at "
        "least once; thin: not yet. ● is now; marks are events, by the signs of the table below. Where a kind "
        "comes too often for signs, a bar says how many there are, from ▁ to █; rarer kinds stand above the bars "
        "as signs. § is a bookmark of yours (f sets one, F lists them). With the focus here, ← and → move along "
        "the line, with shift faster, comma and full stop go to the bookmark before and after; the mouse clicks, "
        "drags and turns its wheel. Going back is exact: the machine itself is put back."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "scrub(-1)", "earlier", show=False),
        Binding("right", "scrub(1)", "later", show=False),
        Binding("shift+left", "scrub(-10)", "much earlier", show=False),
        Binding("shift+right", "scrub(10)", "much later", show=False),
        Binding("comma", "bookmark(-1)", "bookmark before", show=False),
        Binding("full_stop", "bookmark(1)", "bookmark after", show=False),
    ]

    bookmarks: reactive[tuple[Bookmark, ...]] = reactive((), repaint=False)

    @dataclass
    class Scrubbed(Message):
        """The user wants to stand at another place of the line."""

        position: int
        """Retired guest instructions."""

    def lines(self, snapshot: Snapshot, width: int, height: int) -> Sequence[Content]:
        """Draw marks above the line where there are two lines, else on it."""
        timeline = snapshot.timeline
        tail = _tail(timeline)
        columns = _columns(timeline, width)
        marks = _density(timeline, columns)
        own = {_cell(mark.position, timeline, columns) for mark in self.bookmarks}
        line = _track(timeline, columns, marks.cells if height < 2 else {}, own, tail)
        if height < 2:
            return [line]
        above = Content.assemble(*(marks.cells.get(x, (" ", "")) for x in range(columns)))
        return [above, line, *([_legend(timeline, marks, bool(own), width)] if height > 2 else [])]

    def watch_snapshot(self, snapshot: Snapshot | None) -> None:
        """Redraw what changed; what the bars stand for is said in the lower edge of the frame, where there is one."""
        super().watch_snapshot(snapshot)
        if snapshot is not None and not self.screen.has_class("-short"):
            columns = _columns(snapshot.timeline, max(1, self.content_size.width))
            set_title(self, self.title_for(snapshot), _bars_meaning(_density(snapshot.timeline, columns)))

    def watch_bookmarks(self) -> None:
        """Draw them."""
        self.watch_snapshot(self.snapshot)

    def action_bookmark(self, by: int) -> None:
        """Go to the bookmark before or after."""
        if self.snapshot is None:
            return
        here = self.snapshot.timeline.position
        places = [mark.position for mark in self.bookmarks]
        found = [at for at in places if at > here] if by > 0 else [at for at in reversed(places) if at < here]
        if found:
            self.post_message(self.Scrubbed(found[0]))

    def action_scrub(self, by: int) -> None:
        """Move by cells of the line."""
        if self.snapshot is not None:
            timeline = self.snapshot.timeline
            columns = _columns(timeline, self.content_size.width)
            step = max(1, round(_span(timeline) / max(1, columns - 1)))
            self._ask(timeline.position + by * step)

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Go to the place under the mouse, and follow it as long as its button is down."""
        self.capture_mouse()
        self._go_to_mouse(event)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Follow the mouse that has taken hold of the line."""
        if self.app.mouse_captured is self:
            self._go_to_mouse(event)

    def on_mouse_up(self) -> None:
        """Let go."""
        self.release_mouse()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Go on."""
        event.stop()
        self.action_scrub(1)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Go back."""
        event.stop()
        self.action_scrub(-1)

    def _go_to_mouse(self, event: events.MouseEvent) -> None:
        offset = event.get_content_offset_capture(self)
        if self.snapshot is None:
            return
        timeline = self.snapshot.timeline
        columns = _columns(timeline, self.content_size.width)
        x = min(max(offset.x, 0), columns - 1)
        if x != self._last_asked_cell or not isinstance(event, events.MouseMove):
            self._last_asked_cell = x
            self._ask(round(x * _span(timeline) / max(1, columns - 1)))

    _last_asked_cell = -1

    def _ask(self, position: int) -> None:
        assert self.snapshot is not None
        end = self.snapshot.timeline.end
        self.post_message(self.Scrubbed(max(0, position if end is None else min(position, end))))


def _tail(timeline: TimelineView) -> str:
    end = "?" if timeline.end is None else grouped(timeline.end)
    return f" {grouped(timeline.position)} / {end}"


def _columns(timeline: TimelineView, width: int) -> int:
    """Give the cells of the line itself; the text after it has the room of its longest form, so that none moves."""
    longest = 2 * len(grouped(timeline.end or timeline.explored)) + 4
    return max(8, width - longest)


def _span(timeline: TimelineView) -> int:
    """How many instructions the whole line stands for."""
    if timeline.end is not None:
        return max(1, timeline.end)
    return max(1, int(timeline.explored / _UNKNOWN_END_SHARE))


def _cell(at: int, timeline: TimelineView, columns: int) -> int:
    return min(columns - 1, max(0, round(at * (columns - 1) / _span(timeline))))


@lru_cache(maxsize=8)
def _density(timeline: TimelineView, columns: int) -> Density:
    cell_of = {index: _cell(mark.at, timeline, columns) for index, mark in enumerate(timeline.marks)}
    return density(timeline.marks, cell_of, columns)


def _track(
    timeline: TimelineView, columns: int, marks: Mapping[int, tuple[str, str]], bookmarks: set[int], tail: str
) -> Content:
    here = _cell(timeline.position, timeline, columns)
    explored = _cell(timeline.explored, timeline, columns)
    parts: list[tuple[str, str]] = []
    for x in range(columns):
        if x == here:
            parts.append(("●", "bold $changed"))
        elif x in bookmarks:
            parts.append((BOOKMARK, "bold $changed"))
        elif x in marks:
            parts.append(marks[x])
        elif x <= explored:
            parts.append(("━", "$foreground"))
        else:
            parts.append(("┄" if timeline.end is None else "─", "$dim"))
    return Content.assemble(*parts, (tail, "bold"))


def _legend(timeline: TimelineView, marks: Density, has_bookmarks: bool, width: int) -> Content:
    """Give the signs that occur on this line."""
    kinds = [kind for kind in KIND_LOOKS if any(mark.kind is kind for mark in timeline.marks)]
    parts = [("● now   ", "bold $changed")]
    if has_bookmarks:
        parts.append((f"{BOOKMARK} bookmark   ", "bold $changed"))
    for kind in kinds:
        look = KIND_LOOKS[kind]
        parts.append((f"{'▁█' if kind in marks.common else look.glyph} {look.word}   ", look.colour))
    return Content.assemble(*parts).truncate(width, ellipsis=True)


def _bars_meaning(marks: Density) -> Content:
    """Say which kinds are drawn as bars, and what the highest stands for."""
    if not marks.common:
        return Content("")
    words = ", ".join(KIND_LOOKS[kind].word for kind in marks.common)
    return Content(f"bars: {words}; █ is {grouped(marks.most)}")
