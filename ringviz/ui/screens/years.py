"""The years screen: one guest's slowdown under each technique, drawn against the years of the CPUs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, cast

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static

from ringviz.export.chart_text import Line, draw
from ringviz.export.chart_words import TITLE, notes, verdicts
from ringviz.ui.glyphs import grouped
from ringviz.ui.requests import Failed, Progressed, Remarked
from ringviz.ui.widgets.panel import printable

if TYPE_CHECKING:
    from ringviz.engine.generations import Generations
    from ringviz.ui.app import RingvizApp

_LOOKS = {
    "axis": "$dim",
    "binary-translation": "bold $kind-translate",
    "vt-x-shadow": "bold $kind-exit",
    "vt-x-nested": "bold $kind-gate",
    "paravirt": "bold $kind-hypercall",
    "amd-v-shadow": "bold $kind-reflect",
    "amd-v-nested": "bold $kind-io",
}
_OTHER_LOOK = "bold $foreground"
_FRAME_CELLS = 5
"""Frame, padding and scrollbar."""
_NARROWEST_CELLS = 60
_FEWEST_ROWS, _MOST_ROWS = 8, 30
_ROWS_BESIDE = 14
"""Of the screen: frame, head, years, names of CPUs, legend, and the first verdict."""
_SPACIOUS = 100
"""From this width on the figures have a column for bare metal's cycles."""


class YearsScreen(Screen[None]):
    """Shows progress first, then the drawing with its words, or every point's figures."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,y", "leave", "back", show=False),
        Binding("f", "figures", "figures", show=False),
        Binding("space", "scroll(1)", "more", show=False),
        Binding("b", "scroll(-1)", "less", show=False),
    ]
    AUTO_FOCUS = "#scroll"

    def __init__(self) -> None:
        self._found: Generations | None = None
        self._shows_figures = False
        super().__init__()

    def compose(self) -> ComposeResult:
        """A line on top, and the page below it."""
        with Vertical(id="years") as page:
            page.border_title = Content("Slowdown against year: software, hardware, and when it turned · modelled")
            page.border_subtitle = Content("f figures · space b scroll · esc back")
            yield Static("running every technique to the end, to count …", markup=False, id="head")
            with VerticalScroll(id="scroll"):
                yield Static("", markup=False, id="drawing")

    def progress(self, message: Progressed) -> None:
        """Say how far it is."""
        limit = "" if message.limit is None else f" of at most {grouped(message.limit)}"
        self._say(Content(f"{message.what}: {grouped(message.done)}{limit} instructions …"))

    def show(self, found: Generations) -> None:
        """Take over the counted runs."""
        self._found = found
        self._say(Content.assemble((printable(found.scenario), "bold $primary"), (f"  {TITLE}", "$dim")))
        self._draw()

    def notice(self, message: Failed | Remarked) -> None:
        """Show what went wrong."""
        self._say(Content.assemble((printable(message.text), "bold $kind-violation")))

    def action_leave(self) -> None:
        """Stop the counting if it still goes on, and go back."""
        if self._found is None:
            cast("RingvizApp", self.app).engine.cancel()
        self.dismiss()

    def action_figures(self) -> None:
        """Every point's figures in place of the drawing, and back."""
        self._shows_figures = not self._shows_figures
        self._draw()
        self.query_one("#scroll", VerticalScroll).scroll_home(animate=False)

    def action_scroll(self, by: int) -> None:
        """Scroll the page."""
        page = self.query_one("#scroll", VerticalScroll)
        page.scroll_relative(y=by * max(1, page.size.height - 1), animate=False)

    def on_resize(self) -> None:
        """Draw for the new size."""
        self._draw()

    def _draw(self) -> None:
        if self._found is None:
            return
        shown = figure_lines(self._found, self.size.width) if self._shows_figures else self._picture(self._found)
        words = [Content(""), *(Content(printable(text)) for text in verdicts(self._found)), Content("")]
        words += [Content.assemble((printable(text), "$dim")) for text in notes(self._found)]
        self.query_one("#drawing", Static).update(Content("\n").join([*shown, *words]))

    def _picture(self, found: Generations) -> list[Content]:
        if not found.points:
            return []
        width = max(_NARROWEST_CELLS, self.size.width - _FRAME_CELLS)
        height = min(_MOST_ROWS, max(_FEWEST_ROWS, self.size.height - _ROWS_BESIDE))
        return [coloured(line) for line in draw(found, width, height)]

    def _say(self, text: Content) -> None:
        self.query_one("#head", Static).update(text)


def coloured(line: Line) -> Content:
    """Give a line of the drawing its colours; the letters say the same without them."""
    return Content.assemble(
        *((piece.text, _LOOKS.get(piece.look, _OTHER_LOOK) if piece.look else "") for piece in line)
    )


def figure_lines(found: Generations, width: int) -> Iterator[Content]:
    """Give every point as a line of figures."""
    is_spacious = width >= _SPACIOUS
    native = f"{'bare metal':>14}" if is_spacious else ""
    titles = f"{'year':<6}{'CPU':<14}{'technique':<20}{'cycles':>14}{native}{'slowdown':>10}{'lent':>7}"
    yield Content.assemble((titles, "bold"))
    for point in found.points:
        native = f"{grouped(point.native_cycles):>14}" if is_spacious else ""
        yield Content.assemble(
            f"{point.cpu.year:<6}{point.cpu.id:<14}",
            (f"{point.way.id:<20}", _LOOKS.get(point.way.id, _OTHER_LOOK)),
            f"{grouped(point.cycles):>14}{native}{float(point.slowdown):>9.2f}×{point.lent_percent:>5} %",
        )
    yield Content.assemble(("lent: share of the VMM's cycles at another CPU's prices, for want of figures", "$dim"))
