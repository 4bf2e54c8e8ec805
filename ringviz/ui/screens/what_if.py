"""The what-if screen: prices and rates as sliders, and the verdict of software against hardware moving with them.

Nothing is run when a slider moves: the runs were counted once, and are priced anew.
"""

from fractions import Fraction
from typing import TYPE_CHECKING, ClassVar, cast

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from ringviz.engine.contest import Contest
from ringviz.engine.knobs import Changes
from ringviz.engine.what_if import Answer, KnobView, answer
from ringviz.engine.what_if_words import pairing_text, turn_texts, verdict
from ringviz.ui.glyphs import grouped
from ringviz.ui.requests import Failed, Progressed, Remarked
from ringviz.ui.widgets.panel import printable
from ringviz.ui.widgets.slider import moved, slider_line
from ringviz.ui.widgets.standings import standing_lines

if TYPE_CHECKING:
    from ringviz.ui.app import RingvizApp

_KEYS = "↑↓ slider · ←→ move · PgUp PgDn far · enter to where it turns · 0 as it is · space b scroll · esc back"
_KEYS_SHORT = "↑↓ slider · ←→ PgUp/Dn move · enter turn · 0 reset · space scroll · esc"
_SPACIOUS = 110
_RULES = (
    "Runs are counted once and priced anew: other prices do not change what a VMM does. A rate multiplies what its "
    "events charge, and nothing that comes of them later."
)


class WhatIfScreen(Screen[None]):
    """Shows progress first, then sliders, standings, and where the verdict turns."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,dollar_sign", "leave", "back", show=False),
        Binding("left,h", "move(-1)", "less", show=False),
        Binding("right,l", "move(1)", "more", show=False),
        Binding("pagedown,shift+left", "move(-10)", "much less", show=False, priority=True),
        Binding("pageup,shift+right", "move(10)", "much more", show=False, priority=True),
        Binding("enter", "turn", "to where it turns", show=False, priority=True),
        Binding("0,backspace,delete", "reset", "as it is", show=False),
        Binding("space", "scroll(1)", "more", show=False),
        Binding("b", "scroll(-1)", "less", show=False),
    ]
    AUTO_FOCUS = "#sliders"

    def __init__(self) -> None:
        self._found: Contest | None = None
        self._changes = Changes()
        self._answer: Answer | None = None
        super().__init__()

    def compose(self) -> ComposeResult:
        """Sliders, standings, and the words."""
        with Vertical(id="what-if") as page:
            page.border_title = Content("What if? Software against hardware at other prices · modelled")
            yield Static("running every technique to the end, to count …", markup=False, id="head")
            yield OptionList(id="sliders", markup=False)
            yield Static("", markup=False, id="standings")
            with VerticalScroll(id="turns", can_focus=False):
                yield Static("", markup=False, id="words")

    def progress(self, message: Progressed) -> None:
        """Say how far it is."""
        limit = "" if message.limit is None else f" of at most {grouped(message.limit)}"
        self._say(Content(f"{message.what}: {grouped(message.done)}{limit} instructions …"))

    def show(self, found: Contest) -> None:
        """Take over the counted runs."""
        self._found = found
        self._price()
        options = self.query_one("#sliders", OptionList)
        if self._answer is not None:
            options.add_options(Option("") for _ in self._answer.knobs)
            options.highlighted = 0
        options.focus()
        self._draw()

    def notice(self, message: Failed | Remarked) -> None:
        """Show what went wrong in the page's place."""
        self._say(Content.assemble((printable(message.text), "bold $kind-violation")))

    def action_leave(self) -> None:
        """Stop the counting if it still goes on, and go back."""
        if self._found is None:
            cast("RingvizApp", self.app).engine.cancel()
        self.dismiss()

    def action_move(self, by: int) -> None:
        """Move the highlighted slider by so many steps."""
        view = self._view()
        if view is not None:
            self._set(view, moved(view, by))

    def action_turn(self) -> None:
        """Put the slider where the verdict turns: the nearest place upwards, or else downwards."""
        view = self._view()
        if view is not None:
            turns = [turn.value for turn in (view.later, view.earlier) if turn is not None]
            other = [value for value in turns if value != view.value]
            if other:
                self._set(view, other[0])

    def action_reset(self) -> None:
        """Put the slider back."""
        view = self._view()
        if view is not None:
            self._changes = self._changes.without(view.knob)
            self._price()
            self._draw()

    def action_scroll(self, by: int) -> None:
        """Scroll the words."""
        turns = self.query_one("#turns", VerticalScroll)
        turns.scroll_relative(y=by * max(1, turns.size.height - 1), animate=False)

    def on_resize(self) -> None:
        """Fit everything into the new width."""
        page = self.query_one("#what-if", Vertical)
        page.border_subtitle = Content(_KEYS if self.size.width >= _SPACIOUS else _KEYS_SHORT)
        self._draw()

    @on(OptionList.OptionHighlighted, "#sliders")
    def _highlighted(self) -> None:
        self._draw()

    def _view(self) -> KnobView | None:
        highlighted = self.query_one("#sliders", OptionList).highlighted
        return None if self._answer is None or highlighted is None else self._answer.knobs[highlighted]

    def _set(self, view: KnobView, value: Fraction) -> None:
        self._changes = self._changes.with_value(view.knob, value)
        self._price()
        self._draw()

    def _price(self) -> None:
        self._answer = None if self._found is None else answer(self._found, self._changes)

    def _draw(self) -> None:
        found, result = self._found, self._answer
        if found is None or result is None:
            return
        width = max(20, self.size.width - 6)
        options = self.query_one("#sliders", OptionList)
        for index, view in enumerate(result.knobs):
            options.replace_option_prompt_at_index(index, slider_line(view, width, index == options.highlighted))
        self._say(_heading(found))
        self.query_one("#standings", Static).update(Content("\n").join(standing_lines(result, width)))
        self.query_one("#words", Static).update(_words(found, result, self._view()))

    def _say(self, text: Content) -> None:
        self.query_one("#head", Static).update(text)


def _heading(found: Contest) -> Content:
    return Content.assemble(
        (printable(found.scenario_id), "bold $primary"),
        (f"  on {printable(found.cpu.title)} ({found.cpu.year}), the whole run", "$dim"),
    )


def _words(found: Contest, result: Answer, view: KnobView | None) -> Content:
    """The verdict, where it turns with the highlighted slider, every pair, and what it rests on."""
    lines = [Content.assemble((verdict(result), "bold $kind-gate"))]
    if view is not None:
        for text in turn_texts(view):
            lines.append(Content.assemble((f"{view.knob.id}: ", "bold"), (text, "bold $changed")))
        lines += [Content.assemble(("· ", "$dim"), pairing_text(view, pairing)) for pairing in view.pairings]
    for who, why in found.left_out:
        lines.append(Content.assemble((f"{who} is left out: ", "bold"), (printable(why), "$dim")))
    if not found.has_walks:
        lines.append(
            Content.assemble(("TLB misses are not counted: `ringviz whatif --walks` does for this guest.", "$dim"))
        )
    lines.append(Content.assemble((_RULES, "$dim")))
    return Content("\n").join(lines)
