"""A list that may grow for ever: only lines on screen are drawn; its end stays in view unless the user looks up."""

from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.content import Content
from textual.geometry import Size
from textual.reactive import reactive, var
from textual.scroll_view import ScrollView
from textual.strip import Strip

from ringviz.engine.view import Snapshot


class TailView(ScrollView, can_focus=True):
    """Base of the endless panels; subclasses say how many lines there are and draw one."""

    TITLE: ClassVar[str] = ""
    EXPLANATION: ClassVar[str] = ""
    ALLOW_MAXIMIZE = True
    HEADER_ROWS: ClassVar[int] = 0
    """Lines at the top that do not scroll."""

    ALLOW_SELECT = False

    snapshot: reactive[Snapshot | None] = reactive(None, repaint=False)
    is_following: var[bool] = var(True)
    _settled_size = Size(0, 0)

    def line_count(self) -> int:
        """How many lines there are below the header."""
        raise NotImplementedError

    def line(self, index: int, width: int) -> Strip:
        """One line, at most `width` cells."""
        raise NotImplementedError

    def header(self, width: int) -> Strip:
        """Give the line that does not scroll."""
        raise NotImplementedError

    def on_mount(self) -> None:
        """Name the frame."""
        self.auto_links = False
        self.border_title = Content(self.TITLE)

    def on_resize(self) -> None:
        """Keep the end in view in the new size."""
        self.settle()

    def settle(self) -> None:
        """Take over the number of lines, and go to the end if the user has not looked up."""
        self._settled_size = self.size
        rows = self.line_count() + self.HEADER_ROWS
        # Set past the reactive, which would lay out the whole screen anew for each event; the scrollbar is always
        # there, so nothing but its thumb can change.
        self.set_reactive(TailView.virtual_size, Size(0, rows))
        self.vertical_scrollbar.window_virtual_size = rows
        if self.is_following:
            self.scroll_to(y=self.max_scroll_y, animate=False, immediate=True, force=True)
        self.refresh()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Follow the end again once the user is back there; stop when they look up."""
        super().watch_scroll_y(old_value, new_value)
        if round(new_value) != round(old_value):
            # In a new size it is not the user who moves it.
            if self.size == self._settled_size:
                self.is_following = round(new_value) >= self.max_scroll_y
            self.refresh()

    def render_line(self, y: int) -> Strip:
        """Draw line `y` of what is in view."""
        width = self.scrollable_content_region.width
        if y < self.HEADER_ROWS:
            strip = self.header(width)
        else:
            index = y - self.HEADER_ROWS + self.scroll_offset.y
            strip = self.line(index, width) if 0 <= index < self.line_count() else Strip.blank(width, self.rich_style)
        return strip.adjust_cell_length(width, self.rich_style).apply_style(self.rich_style)

    def component_style(self, name: str) -> Style:
        """Give a style from the style sheets, on this widget's own ground."""
        return self.get_component_rich_style(name, partial=True)

    def strip_of(self, text: str, style: Style) -> Strip:
        """One line of one style; the text is shown as it is, never as markup."""
        return Strip([Segment(text, style)])
