"""What is shown where the terminal is too small for anything else; what was there before waits beneath."""

from typing import TYPE_CHECKING, ClassVar, cast

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.screen import Screen
from textual.widgets import Static

if TYPE_CHECKING:
    from ringviz.ui.app import RingvizApp

SMALLEST = Size(60, 18)
"""Columns and rows from which on every screen can say what it has to say."""


def is_too_small(size: Size) -> bool:
    """Tell whether a terminal is smaller than the smallest that will do."""
    return size.width < SMALLEST.width or size.height < SMALLEST.height


class TooSmallScreen(Screen[None]):
    """Says what is wanted; goes by itself once the terminal is large enough."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "stop", "stop", show=False)]

    def compose(self) -> ComposeResult:
        """One sentence."""
        yield Static("", markup=False, id="too-small")

    def on_mount(self) -> None:
        """Say it."""
        self._say(self.app.size)

    def on_resize(self) -> None:
        """Say how far it is now."""
        self._say(self.app.size)

    def action_stop(self) -> None:
        """A run that goes on beneath can be stopped from here, too."""
        cast("RingvizApp", self.app).engine.cancel()

    def _say(self, size: Size) -> None:
        said = (
            f"{size.width}×{size.height} is too small: at least {SMALLEST.width}×{SMALLEST.height}. "
            "Your place is kept. ctrl+q quits."
        )
        self.query_one("#too-small", Static).update(said)
