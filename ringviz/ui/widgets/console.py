"""The guest's console: what it has printed so far."""

from typing import ClassVar

from rich.segment import Segment
from textual.content import Content
from textual.reactive import var
from textual.strip import Strip

from ringviz.engine.view import Snapshot
from ringviz.ui.widgets.panel import printable
from ringviz.ui.widgets.tail import TailView


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
            self.printed = snapshot.console.split("\n") if snapshot.console else ["(the guest has printed nothing yet)"]
            self.border_title = Content(self.TITLE)
            self.settle()

    def line(self, index: int, width: int) -> Strip:
        """One line of guest text, as it is."""
        text = printable(self.printed[index].rstrip("\r"))[:width]
        return Strip([Segment(text, self.component_style("console--text"))])
