"""The timeline: the whole run as one line, with its events as marks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message

from ringviz.engine.view import Kind, Snapshot, TimelineView
from ringviz.ui.glyphs import KIND_LOOKS, grouped
from ringviz.ui.widgets.panel import Panel

_RANK = [
    Kind.VIOLATION,
    Kind.SILENT,
    Kind.END,
    Kind.EXIT,
    Kind.TRAP,
    Kind.HYPERCALL,
    Kind.CALLOUT,
    Kind.TRANSLATE,
    Kind.REFLECT,
    Kind.INTERRUPT,
    Kind.FAULT,
    Kind.GATE,
    Kind.IO,
    Kind.GUEST,
]
"""Which mark is shown where several fall into one cell: the rarer and graver first."""

_UNKNOWN_END_SHARE = 0.8
"""While the end is not known, what is explored takes this much of the line and the rest stands for what may come."""


class TimelinePanel(Panel):
    """The line from the first instruction to the last; arrow keys and clicks move along it."""

    TITLE = "Timeline"
    EXPLANATION = (
        "The whole run from its first instruction at the left to its end at the right. Thick: already run at least "
        "once; thin: not yet. ● is now; marks are events, by the signs of the table below. With the focus here, ← and "
        "→ move along the line, and a click goes to a place. Going back is exact: the machine itself is put back."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "scrub(-1)", "earlier", show=False),
        Binding("right", "scrub(1)", "later", show=False),
        Binding("shift+left", "scrub(-10)", "much earlier", show=False),
        Binding("shift+right", "scrub(10)", "much later", show=False),
    ]

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
        marks = _marks(timeline, columns)
        line = _track(timeline, columns, marks if height < 2 else {}, tail)
        if height < 2:
            return [line]
        row = [marks.get(x) for x in range(columns)]
        above = Content.assemble(
            *((KIND_LOOKS[kind].glyph, KIND_LOOKS[kind].colour) if kind else (" ", "") for kind in row)
        )
        return [above, line, *([_legend(timeline, width)] if height > 2 else [])]

    def action_scrub(self, by: int) -> None:
        """Move by cells of the line."""
        if self.snapshot is not None:
            timeline = self.snapshot.timeline
            columns = _columns(timeline, self.content_size.width)
            step = max(1, round(_span(timeline) / max(1, columns - 1)))
            self._ask(timeline.position + by * step)

    def on_click(self, event: events.Click) -> None:
        """Go to the clicked place."""
        offset = event.get_content_offset(self)
        if offset is not None and self.snapshot is not None:
            timeline = self.snapshot.timeline
            columns = _columns(timeline, self.content_size.width)
            if offset.x < columns:
                self._ask(round(offset.x * _span(timeline) / max(1, columns - 1)))

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


def _marks(timeline: TimelineView, columns: int) -> dict[int, Kind]:
    marks: dict[int, Kind] = {}
    for mark in timeline.marks:
        x = _cell(mark.at, timeline, columns)
        if x not in marks or _RANK.index(mark.kind) < _RANK.index(marks[x]):
            marks[x] = mark.kind
    return marks


def _track(timeline: TimelineView, columns: int, marks: dict[int, Kind], tail: str) -> Content:
    here = _cell(timeline.position, timeline, columns)
    explored = _cell(timeline.explored, timeline, columns)
    parts: list[tuple[str, str]] = []
    for x in range(columns):
        if x == here:
            parts.append(("●", "bold $changed"))
        elif x in marks:
            parts.append((KIND_LOOKS[marks[x]].glyph, KIND_LOOKS[marks[x]].colour))
        elif x <= explored:
            parts.append(("━", "$foreground"))
        else:
            parts.append(("┄" if timeline.end is None else "─", "$dim"))
    return Content.assemble(*parts, (tail, "bold"))


def _legend(timeline: TimelineView, width: int) -> Content:
    """Give the signs that occur on this line."""
    kinds = [kind for kind in KIND_LOOKS if any(mark.kind is kind for mark in timeline.marks)]
    parts = [(f"{KIND_LOOKS[kind].glyph} {KIND_LOOKS[kind].word}   ", KIND_LOOKS[kind].colour) for kind in kinds]
    return Content.assemble(("● now   ", "bold $changed"), *parts).truncate(width, ellipsis=True)
