"""The compare screen: every technique to the end of the same guest, as a scorecard with one line each."""

from typing import TYPE_CHECKING, ClassVar, cast

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from ringviz.engine.scorecard import Score, Verdict
from ringviz.facts.properties import MAJORITY, PROPERTIES
from ringviz.ui.glyphs import grouped
from ringviz.ui.laboratory import ComparedRun, ComparedRuns
from ringviz.ui.requests import Failed, Progressed, Remarked
from ringviz.ui.widgets.panel import printable

if TYPE_CHECKING:
    from ringviz.ui.app import RingvizApp

_NAME_CELLS = 19
_VERDICT_CELLS = 12
_LOOKS = {
    Verdict.HOLDS: ("≡", "$kind-gate"),
    Verdict.FAILS: ("≠", "bold $kind-silent"),
    Verdict.UNTRIED: ("·", "$dim"),
}
"""A sign and a colour for each verdict; its word stands beside them."""


class CompareScreen(Screen[None]):
    """Shows progress first, then the scorecard; the highlighted technique is told about below."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,c", "leave", "back", show=False),
        Binding("space", "scroll(1)", "more", show=False),
        Binding("b", "scroll(-1)", "less", show=False),
    ]

    def __init__(self) -> None:
        self._runs: ComparedRuns | None = None
        super().__init__()

    def compose(self) -> ComposeResult:
        """A table, and what there is to say about its highlighted line."""
        with Vertical(id="page") as page:
            page.border_title = Content("Who keeps what makes a virtual machine monitor?")
            page.border_subtitle = Content("↑↓ choose a technique · space b scroll · esc back")
            yield Static("running bare metal and every technique to the end …", markup=False, id="head")
            yield OptionList(id="runs", markup=False)
            with VerticalScroll(id="details", can_focus=False):
                yield Static("", markup=False, id="story")

    def progress(self, message: Progressed) -> None:
        """Say how far it is."""
        limit = "" if message.limit is None else f" of at most {grouped(message.limit)}"
        self._say(Content(f"{message.what}: {grouped(message.done)}{limit} instructions …"))

    def show(self, runs: ComparedRuns) -> None:
        """Show the answer."""
        self._runs = runs
        self._say(_heading(runs))
        options = self.query_one("#runs", OptionList)
        options.add_options([Option(prompt) for prompt in self._prompts()])
        options.add_options(Option(_refusal(technique), disabled=True) for technique, _ in runs.refused)
        options.focus()
        if runs.runs:
            options.highlighted = 0

    def notice(self, message: Failed | Remarked) -> None:
        """Show what went wrong in the table's place."""
        self._say(Content.assemble((printable(message.text), "bold $kind-violation")))

    def action_leave(self) -> None:
        """Stop the comparison if it still runs, and go back."""
        cast("RingvizApp", self.app).engine.cancel()
        self.dismiss()

    def action_scroll(self, by: int) -> None:
        """Scroll what is told about a technique."""
        details = self.query_one("#details", VerticalScroll)
        details.scroll_relative(y=by * max(1, details.size.height - 1), animate=False)

    def on_resize(self) -> None:
        """Fit the bars into the new width."""
        options = self.query_one("#runs", OptionList)
        for index, prompt in enumerate(self._prompts()):
            options.replace_option_prompt_at_index(index, prompt)

    @on(OptionList.OptionHighlighted, "#runs")
    def _highlighted(self, event: OptionList.OptionHighlighted) -> None:
        if self._runs is not None and event.option_index < len(self._runs.runs):
            self.query_one("#story", Static).update(details(self._runs, self._runs.runs[event.option_index]))
            self.query_one("#details", VerticalScroll).scroll_home(animate=False)

    def _prompts(self) -> list[Content]:
        if self._runs is None:
            return []
        worst = max((run.slowdown or 0 for run in self._runs.runs), default=0)
        # The frame of the page takes four cells, the list's own two.
        return [score_line(run, worst, max(0, self.size.width - 6)) for run in self._runs.runs]

    def _say(self, text: Content) -> None:
        self.query_one("#head", Static).update(text)


def _heading(runs: ComparedRuns) -> Content:
    """Name the guest, and the columns."""
    titles = "".join(f"{row.title:<{_VERDICT_CELLS}}" for row in PROPERTIES.values())
    return Content.assemble(
        (f"{printable(runs.scenario)}", "bold $primary"),
        ("  all techniques to the end; cycles are modelled\n\n", "$dim"),
        (f"{'':<{_NAME_CELLS}}{titles}{'direct':>8}  slowdown", "bold"),
    )


def score_line(run: ComparedRun, worst: float, width: int) -> Content:
    """One technique: its three verdicts, the share that ran directly, and its slowdown as figure and bar."""
    parts: list[tuple[str, str]] = [(f"{run.technique:<{_NAME_CELLS}}", "bold")]
    for score in run.card.scores:
        sign, colour = _LOOKS[score.verdict]
        parts.append((f"{sign} {score.verdict.value:<{_VERDICT_CELLS - 2}}", colour))
    share = run.card.direct_share
    direct = "" if share is None else f"{100 * share:.1f} %"
    factor = "" if run.slowdown is None else f"{run.slowdown:,.2f}×".replace(",", " ")
    parts += [(f"{direct:>8}", "$foreground"), (f"  {factor:>8} ", "bold")]
    room = width - sum(len(text) for text, _ in parts)
    bar = "█" * max(1, round(min(40, room) * (run.slowdown or 0) / worst)) if worst and room > 0 else ""
    return Content.assemble(*parts, (bar, "$kind-trap"))


def _refusal(technique: str) -> Content:
    return Content.assemble((f"{technique:<{_NAME_CELLS}}", "bold $dim"), ("× not run: see below", "$dim"))


def details(runs: ComparedRuns, run: ComparedRun) -> Content:
    """All there is to say about one technique, then about those that were refused and about the three words."""
    lines = [Content.assemble((run.technique, "bold $primary"), (f"  {_ending(run)}", "$dim"))]
    lines += [_told(score) for score in run.card.scores]
    for line in run.divergences:
        lines.append(Content.assemble(("    ◆ ", "$kind-silent"), printable(line)))
    lines.append(Content.assemble(("  Where the cycles went: ", "bold"), printable(run.events)))
    for technique, reason in runs.refused:
        lines.append(Content.assemble((f"  {technique} was not run: ", "bold"), (printable(reason), "$dim")))
    lines.append(Content(""))
    for row in PROPERTIES.values():
        demand = f"{row.title} ({row.classical}): {row.demand} [{row.source}]"
        lines.append(Content.assemble((demand, "$dim")))
    line = f"Performance holds from {100 * MAJORITY.value:.0f} % direct on: {MAJORITY.source.note}."
    return Content("\n").join([*lines, Content.assemble((line, "$dim"))])


def _ending(run: ComparedRun) -> str:
    cpu = f" on {run.cpu}" if run.cpu else ""
    return (
        f"{printable(run.outcome)} after {grouped(run.retired)} instructions, {grouped(run.total_cycles)} cycles{cpu}"
    )


def _told(score: Score) -> Content:
    sign, colour = _LOOKS[score.verdict]
    return Content.assemble(
        (f"  {sign} {score.property.title} {score.verdict.value}. ", colour), printable(score.words)
    )
