"""The guest's console: what it has printed so far."""

from typing import ClassVar

from rich.segment import Segment
from textual.content import Content
from textual.reactive import var
from textual.strip import Strip

from ringviz.engine.view import Snapshot
from ringviz.ui.widgets.panel import printable, set_title
from ringviz.ui.widgets.tail import TailView

_NOTHING = "(the guest has printed nothing yet)"


class ConsolePanel(TailView):
    """The text that the guest sent to its serial port or debug console."""

    TITLE = "Guest console"
    EXPLANATION = (
        "What the guest has printed through its serial port. Under a technique that keeps its promise of fidelity, "
        "this text is the same as on bare metal, letter by letter."
    )
    COMPONENT_CLASSES: ClassVar[set[str]] = {"console--text"}

    printed: var[list[str]] = var(list)

    def line_count(self) -> int:
        """How many lines the guest has printed."""
        return len(self.printed)

    def watch_snapshot(self, snapshot: Snapshot | None) -> None:
        """Take over the text."""
        if snapshot is not None:
            set_title(self, Content(self.TITLE))
            self.settle()

    def settle(self) -> None:
        """Break the text into lines of the present width, and go to its end."""
        text = self.snapshot.console if self.snapshot is not None else ""
        width = max(1, self.scrollable_content_region.width)
        lines = [printable(line.rstrip("\r")) for line in text.split("\n")] if text else [_NOTHING]
        self.printed = [line[at : at + width] for line in lines for at in range(0, max(1, len(line)), width)]
        super().settle()

    def line(self, index: int, width: int) -> Strip:
        """One line of guest text, as it is."""
        return Strip([Segment(self.printed[index], self.component_style("console--text"))])
