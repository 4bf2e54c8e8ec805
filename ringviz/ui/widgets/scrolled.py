"""A panel whose lines are more than fit: it shows a window of them, above a foot that stays."""

from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.reactive import var

from ringviz.engine.view import Snapshot
from ringviz.ui.widgets.panel import Panel


class ScrolledPanel(Panel):
    """Base of panels with a list; subclasses give all lines, where to begin, and a foot."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "look(-1)", "up", show=False),
        Binding("down", "look(1)", "down", show=False),
        Binding("pageup", "look_page(-1)", "page up", show=False),
        Binding("pagedown", "look_page(1)", "page down", show=False),
        Binding("enter", "follow", "back to now", show=False),
    ]

    top: var[int | None] = var(None)
    """First line in view; None where the panel chooses by itself."""

    def all_lines(self, snapshot: Snapshot, width: int) -> Sequence[Content]:
        """Give every line of the list."""
        raise NotImplementedError

    def first_line(self, snapshot: Snapshot, lines: Sequence[Content], room: int) -> int:
        """Give the line to begin with as long as the user has not chosen one."""
        raise NotImplementedError

    def foot(self, snapshot: Snapshot, width: int, height: int) -> Sequence[Content]:
        """Give what stands beneath the list."""
        raise NotImplementedError

    def lines(self, snapshot: Snapshot, width: int, height: int) -> Sequence[Content]:
        """Give a window of the list, and the foot."""
        foot = self.foot(snapshot, width, height)
        room = max(1, height - len(foot))
        lines = self.all_lines(snapshot, width)
        self._last_top = max(0, len(lines) - room)
        self._room = room
        top = self.first_line(snapshot, lines, room) if self.top is None else self.top
        self._top_now = top = max(0, min(top, self._last_top))
        window = [line.truncate(width, ellipsis=True) for line in lines[top : top + room]]
        return [*window, *[Content("")] * (room - len(window)), *foot]

    _last_top = _top_now = 0
    _room = 1

    def watch_top(self) -> None:
        """Draw the list at its new place."""
        self.watch_snapshot(self.snapshot)

    def action_look(self, by: int) -> None:
        """Move by lines."""
        self.top = max(0, min(self._top_now + by, self._last_top))

    def point(self, by: int) -> None:
        """Point at the next line; at the edge of what is in view, the list moves along."""
        before = self.pointed
        super().point(by)
        if before is not None and self.pointed is None:
            self.pointed = before
            self.action_look(by)
            self.call_after_refresh(super().point, by)

    def action_look_page(self, by: int) -> None:
        """Move by a screenful."""
        self.action_look(by * max(1, self._room - 1))

    def action_follow(self) -> None:
        """Go back to what is going on now."""
        self.top = None

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Look further down."""
        event.stop()
        self.action_look(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Look further up."""
        event.stop()
        self.action_look(-3)
