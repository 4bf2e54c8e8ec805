"""What all panels share: a frame with a title, a snapshot that comes from above, and lines to draw it."""

from collections.abc import Hashable, Sequence
from typing import ClassVar

from textual import events
from textual.content import Content
from textual.geometry import Region, Size
from textual.reactive import reactive, var
from textual.strip import Strip
from textual.style import Style
from textual.visual import Visual
from textual.widget import Widget

from ringviz.engine.view import Snapshot

_KEY = "explain"


class Panel(Widget, can_focus=True):
    """A framed part of the explore screen.

    A step changes a few lines of a few panels. So a panel keeps the lines it drew last and asks for the others only:
    that is what keeps a key press fast on a large screen.
    """

    TITLE: ClassVar[str] = ""
    EXPLANATION: ClassVar[str] = ""
    """What the panel shows and how to read it, for the help screen; plain text."""
    ALLOW_MAXIMIZE = True
    ALLOW_SELECT = False

    snapshot: reactive[Snapshot | None] = reactive(None, repaint=False)

    pointed: var[Hashable | None] = var(None)
    """What the user points at, as `keyed` names it; None for the panel as a whole."""

    def __init__(self) -> None:
        self._drawn: list[Content] = []
        self._drawn_size = Size(0, 0)
        super().__init__()

    def on_mount(self) -> None:
        """Name the frame."""
        self.auto_links = False
        self.border_title = Content(self.TITLE)

    def lines(self, snapshot: Snapshot, width: int, height: int) -> Sequence[Content]:
        """Draw the panel's content for a given size in cells, one line each."""
        raise NotImplementedError

    def title_for(self, snapshot: Snapshot) -> Content:
        """Give the frame's title for this moment."""
        return Content(self.TITLE)

    def watch_snapshot(self, snapshot: Snapshot | None) -> None:
        """Redraw what changed."""
        if snapshot is None:
            return
        set_title(self, self.title_for(snapshot))
        before = self._drawn
        self._draw()
        changed = [y for y, (old, new) in enumerate(zip(before, self._drawn, strict=False)) if not old.is_same(new)]
        changed += range(min(len(before), len(self._drawn)), max(len(before), len(self._drawn)))
        if changed:
            self.refresh(*(Region(0, y, self._drawn_size.width, 1) for y in changed))

    def render_line(self, y: int) -> Strip:
        """Give one line of the content as it is on screen."""
        if self._drawn_size != self.content_size:
            self._draw()
        width = self.content_size.width
        if width <= 0:
            return Strip([])
        line = self._drawn[y] if y < len(self._drawn) else Content("")
        if self.pointed is not None and key_of(line) == self.pointed:
            line = line.pad_right(max(0, width - line.cell_length)).stylize("reverse")
        return Visual.to_strips(self, line, width, 1, self.visual_style)[0]

    def point(self, by: int) -> None:
        """Point at the next thing that stands on lines of its own, or the one before; beyond the last, at none."""
        keys = self.pointable()
        if not keys:
            return
        if self.pointed in keys:
            at = keys.index(self.pointed) + by
            self.pointed = keys[at] if 0 <= at < len(keys) else None
        else:
            self.pointed = self.first_to_point_at(keys, by)

    def pointable(self) -> list[Hashable]:
        """Give everything that can be pointed at, from top to bottom."""
        return list(dict.fromkeys(key for line in self._drawn if (key := key_of(line)) is not None))

    def first_to_point_at(self, keys: Sequence[Hashable], by: int) -> Hashable:
        """Give what is pointed at first: the uppermost, or the lowest."""
        return keys[0 if by > 0 else -1]

    def watch_pointed(self) -> None:
        """Draw the lines anew; few are pointed at in a second."""
        self.refresh()

    def on_click(self, event: events.Click) -> None:
        """Point at what is clicked."""
        offset = event.get_content_offset(self)
        if offset is not None and offset.y < len(self._drawn):
            self.pointed = key_of(self._drawn[offset.y])

    def _draw(self) -> None:
        self._drawn_size = self.content_size
        width, height = self.content_size
        is_drawable = self.snapshot is not None and width > 0 and height > 0
        self._drawn = list(self.lines(self.snapshot, width, height))[:height] if is_drawable and self.snapshot else []


def keyed(line: Content, key: Hashable) -> Content:
    """Let a line say what it is about, so that one can point at it and have it explained."""
    return line.stylize(Style.from_meta({_KEY: key}))


def key_of(line: Content) -> Hashable | None:
    """Give what a line is about; None if it does not say."""
    for span in line.spans:
        if isinstance(span.style, Style) and _KEY in span.style.meta:
            key: Hashable = span.style.meta[_KEY]
            return key
    return None


def set_title(widget: Widget, title: Content, subtitle: Content | None = None) -> None:
    """Name a frame, but only if the name is new: a new name redraws the whole widget."""
    if widget.border_title != title.markup:
        widget.border_title = title
    if subtitle is not None and (widget.border_subtitle or "") != subtitle.markup:
        widget.border_subtitle = subtitle


def printable(text: str) -> str:
    """Guest text with everything a terminal might obey, or draw more than once wide, made visible as a dot."""
    return "".join(c if c.isprintable() else "·" for c in text)


def wrapped(content: Content, width: int, height: int) -> list[Content]:
    """Word-wrap into at most `height` lines; the last one tells by an ellipsis if something is left out."""
    lines = [line.rstrip() for line in content.wrap(max(1, width))]
    if len(lines) <= height:
        return lines
    if height <= 0:
        return []
    cut = lines[height - 1]
    return [*lines[: height - 1], cut.truncate(width - 1).rstrip() + Content("…")]
