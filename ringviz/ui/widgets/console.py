"""The guest's console: what it has printed so far, and what stands on its text screen."""

from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.content import Content
from textual.reactive import var
from textual.strip import Strip

from ringviz.engine.view import Snapshot, TextScreen
from ringviz.ui.widgets.panel import printable, set_title
from ringviz.ui.widgets.tail import TailView

_NOTHING = "(the guest has printed nothing yet)"


class ConsolePanel(TailView):
    """The text that the guest sent to its serial port or debug console, and below it the text screen if it is used."""

    TITLE = "Guest console"
    EXPLANATION = (
        "What the guest has printed through its serial port or debug console, and below it the screen of the machine "
        "if something stands there; the reversed cell is the cursor. Under a technique that keeps its promise of "
        "fidelity, all of it is the same as on bare metal, letter by letter. Press z to see more of it."
    )
    COMPONENT_CLASSES: ClassVar[set[str]] = {"console--text"}

    printed: var[list[str]] = var(list)
    """Lines of printed text, then the frame and the rows of the text screen."""
    cursor: var[tuple[int, int] | None] = var(None)
    """Line and column of the text screen's cursor."""

    def line_count(self) -> int:
        """How many lines there are, those of the text screen included."""
        return len(self.printed)

    def watch_snapshot(self, snapshot: Snapshot | None) -> None:
        """Take over the text."""
        if snapshot is not None:
            set_title(self, Content(self.TITLE))
            self.settle()

    def settle(self) -> None:
        """Break the text into lines of the present width, put the screen below, and go to the end."""
        text = self.snapshot.console if self.snapshot is not None else ""
        width = max(1, self.scrollable_content_region.width)
        screen = self.snapshot.screen if self.snapshot is not None else None
        lines = [printable(line.rstrip("\r")) for line in text.removesuffix("\n").split("\n")] if text else []
        printed = [line[at : at + width] for line in lines for at in range(0, max(1, len(line)), width)]
        self.cursor = None
        if screen is not None:
            printed.append(_edge(screen, width))
            if screen.cursor is not None:
                self.cursor = (len(printed) + screen.cursor[0], screen.cursor[1])
            printed += _rows(screen)
        self.printed = printed or [_NOTHING]
        super().settle()

    def line(self, index: int, width: int) -> Strip:
        """One line of guest text, as it is; the cursor's cell is reversed."""
        style = self.component_style("console--text")
        text = self.printed[index]
        if self.cursor is None or self.cursor[0] != index:
            return Strip([Segment(text, style)])
        column = self.cursor[1]
        text = text.ljust(column + 1)
        reverse = style + Style(reverse=True)
        return Strip(
            [Segment(text[:column], style), Segment(text[column], reverse), Segment(text[column + 1 :], style)]
        ).crop(0, width)


def _edge(screen: TextScreen, width: int) -> str:
    """Give the line between what was printed and the screen."""
    columns = len(screen.rows[0])
    return f"── text screen, {columns}×{len(screen.rows)} ".ljust(min(width, columns), "─")[:width]


def _rows(screen: TextScreen) -> list[str]:
    """Give the rows as far down as something stands on them, the cursor included."""
    count = max(len(screen.written), 0 if screen.cursor is None else screen.cursor[0] + 1)
    return [printable(row.rstrip()) for row in screen.rows[:count]]
