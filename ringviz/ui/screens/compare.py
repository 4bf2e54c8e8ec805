"""The compare screen: every technique to the end of the same guest, one row each."""

from typing import TYPE_CHECKING, ClassVar, cast

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static

from ringviz.ui.glyphs import grouped
from ringviz.ui.laboratory import ComparedRun, ComparedRuns
from ringviz.ui.requests import Failed, Progressed, Remarked
from ringviz.ui.widgets.panel import printable

if TYPE_CHECKING:
    from ringviz.ui.app import RingvizApp

_NAME_WIDTH = 20


class CompareScreen(Screen[None]):
    """Shows progress first, then the table."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,c", "leave", "back", show=False)]

    def compose(self) -> ComposeResult:
        """One page."""
        with VerticalScroll(id="page") as page:
            page.border_title = Content("All techniques, the same guest")
            page.border_subtitle = Content("esc back")
            yield Static("running bare metal and every technique to the end …", markup=False, id="table")

    def progress(self, message: Progressed) -> None:
        """Say how far it is."""
        limit = "" if message.limit is None else f" of at most {grouped(message.limit)}"
        self._say(Content(f"{message.what}: {grouped(message.done)}{limit} instructions …"))

    def show(self, runs: ComparedRuns) -> None:
        """Show the answer."""
        self._say(comparison_text(runs))

    def notice(self, message: Failed | Remarked) -> None:
        """Show what went wrong in the table's place."""
        self._say(Content.assemble((printable(message.text), "bold $kind-violation")))

    def action_leave(self) -> None:
        """Stop the comparison if it still runs, and go back."""
        cast("RingvizApp", self.app).engine.cancel()
        self.dismiss()

    def _say(self, text: Content) -> None:
        self.query_one("#table", Static).update(text)


def comparison_text(runs: ComparedRuns) -> Content:
    """Give the table as text, with a bar for the slowdown of each run."""
    worst = max((run.slowdown or 0 for run in runs.runs), default=0)
    lines = [
        Content.assemble(
            (f"{runs.scenario}; all cycles are modelled, each run on a CPU that has what it needs", "$dim")
        ),
        Content(""),
    ]
    for run in runs.runs:
        lines += _run_lines(run, worst)
    for technique, reason in runs.refused:
        lines.append(
            Content.assemble((f"{technique:<{_NAME_WIDTH}}", "bold $dim"), (f"not run: {printable(reason)}", "$dim"))
        )
    return Content("\n").join(lines)


def _run_lines(run: ComparedRun, worst: float) -> list[Content]:
    indent = " " * _NAME_WIDTH
    bar = "█" * max(1, round(30 * (run.slowdown or 0) / worst)) if worst else ""
    factor = "" if run.slowdown is None else f"{run.slowdown:,.2f}× ".replace(",", " ")
    sign, colour = ("≡ ", "$kind-gate") if run.is_faithful else ("≠ ", "$kind-silent")
    return [
        Content.assemble((f"{run.technique:<{_NAME_WIDTH}}", "bold"), (bar, "$kind-trap"), (f" {factor}", "bold")),
        Content.assemble(
            indent,
            (f"{run.outcome} after {grouped(run.retired)} instructions, {grouped(run.total_cycles)} cycles", "$dim"),
            (f" on {run.cpu}" if run.cpu else "", "$dim"),
        ),
        Content.assemble(indent, (f"{sign}{printable(run.fidelity)}", f"bold {colour}")),
        *(Content.assemble(indent, ("  ◆ ", "$kind-silent"), printable(line)) for line in run.divergences),
        Content.assemble(indent, (printable(run.events), "$dim")),
        Content(""),
    ]
