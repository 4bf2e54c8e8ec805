"""The side-by-side screen: one guest under two to four techniques, moving together, every difference lit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.geometry import Region
from textual.message import Message
from textual.screen import ModalScreen
from textual.strip import Strip
from textual.visual import Visual
from textual.widget import Widget
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from ringviz.engine.group_size import FEWEST, MOST
from ringviz.ui.commands import GROUP, Command, bindings
from ringviz.ui.glyphs import DIFFERS, grouped
from ringviz.ui.laboratory import TechniqueChoice
from ringviz.ui.requests import CloseGroup, Failed, NextDivergence, OpenGroup, Progressed, Remarked
from ringviz.ui.screens.dialogs import TechniqueDialog
from ringviz.ui.screens.help import HelpScreen
from ringviz.ui.screens.moving import MovingScreen
from ringviz.ui.widgets.group_column import column_lines, legend
from ringviz.ui.widgets.keyline import KeyLine
from ringviz.ui.widgets.panel import printable, set_title

if TYPE_CHECKING:
    from ringviz.engine.group import GroupColumn, GroupView

_TITLE = "Side by side"
_EXPLANATION = (
    "The same guest under two to four techniques, all at the same retired instruction; every key moves all of them. "
    f"{DIFFERS} marks what the guest sees otherwise than in the first column: a register, the ring it believes to be "
    "in, the next instruction, what it has printed. d goes to just after the next instruction by which a guest gets "
    "something else than on bare metal; the line at the top says what. A recompiled kernel (paravirtualization) has "
    "other instructions: it stands at the last marker that the others have passed, and its registers are shown, but "
    "not compared. The bars at the bottom share one scale; cycles are modelled, each technique's on its own CPU. Where "
    "not all columns have room, left and right move along them. m chooses other techniques."
)
_EDIT_EXPLANATION = (
    "The original at the left, the guest as you changed it at the right, under the same technique, at the same count "
    f"of retired instructions; every key moves both. {DIFFERS} marks what is not the same: a register, the ring, the "
    "next instruction, what was printed. d goes to the first place where they part; again, to where they first print "
    "something else, and to where one of them ends; the line at the top says what. Behind the place where they part, "
    "the same count may be another place of the program. m takes another technique for both; q goes back to the text."
)
_COLUMN_CELLS = 38
"""A narrower column cuts off what matters."""
_PREFERRED = ("native", "trap-emulate", "binary-translation", "vt-x", "amd-v", "paravirt", "classic", "emulation")
"""Who stands beside the present technique if the user does not say: bare metal first, as the standard."""


def choose_techniques(current: str, known: Sequence[str], width: int, left: str | None = None) -> tuple[str, ...]:
    """Choose as many techniques as have room: bare metal, the present one, and what is most instructive beside them.

    Args:
        current: the present one.
        known: all that there are.
        width: of the screen, in cells.
        left: the one that the guest was under before; with room for two only, it is the one to be seen.
    """
    count = columns_with_room(width)
    before = () if left is None else (left,)
    wanted = (*before, current) if before and count == FEWEST else ("native", current, *before)
    return tuple(technique for technique in dict.fromkeys((*wanted, *_PREFERRED)) if technique in known)[:count]


def columns_with_room(width: int) -> int:
    """How many columns fit."""
    return max(FEWEST, min(MOST, width // (_COLUMN_CELLS + 2)))


class _Column(Widget):
    """One technique; tells the screen when it has got another size.

    A step changes a few lines of each: only these are drawn anew.
    """

    ALLOW_SELECT = False

    class Resized(Message):
        """The text is to be fitted anew."""

    def __init__(self, name: str) -> None:
        self._lines: list[Content] = []
        super().__init__(id=name, classes="column")

    def show(self, lines: Sequence[Content]) -> None:
        """Show other lines."""
        before, self._lines = self._lines, list(lines)
        width = self.content_size.width
        changed = [y for y, (old, new) in enumerate(zip(before, lines, strict=False)) if not old.is_same(new)]
        changed += range(min(len(before), len(lines)), max(len(before), len(lines)))
        if changed:
            self.refresh(*(Region(0, y, width, 1) for y in changed))

    def render_line(self, y: int) -> Strip:
        """Give one line as it is on screen."""
        width = self.content_size.width
        if width <= 0:
            return Strip([])
        line = self._lines[y] if y < len(self._lines) else Content("")
        return Visual.to_strips(self, line, width, 1, self.visual_style)[0]

    def on_resize(self) -> None:
        """Pass it on: events of size stay with the widget, messages do not."""
        self.post_message(self.Resized())


class SideBySideScreen(MovingScreen):
    """Two to four columns over the keys."""

    COMMAND_ROWS: ClassVar[tuple[Command, ...]] = GROUP
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(GROUP)]
    AUTO_FOCUS = ""

    def __init__(self) -> None:
        self._view: GroupView | None = None
        self._is_telling = False
        """The bottom line says how far something is."""
        self._shown: tuple[GroupColumn, ...] = ()
        """The columns that have room."""
        self._first = 1
        """The first of the columns after the one that always stands at the left."""
        super().__init__()

    def compose(self) -> ComposeResult:
        """Where we are, the columns, the keys."""
        yield Static("", markup=False, id="group-where")
        with Horizontal(id="group"):
            for number in range(MOST):
                yield _Column(f"column-{number}")
        yield KeyLine(self.COMMAND_ROWS)

    @property
    def columns(self) -> Sequence[GroupColumn]:
        """Who stands side by side."""
        return () if self._view is None else self._view.columns

    def known_end(self) -> int | None:
        """Where the run ends, if that is known."""
        return None if self._view is None else self._view.end

    def show(self, view: GroupView) -> None:
        """Take over a new moment."""
        self._view = view
        if self._is_telling:
            self.query_one(KeyLine).notice = ""
            self._is_telling = False
        self._draw()

    def notice(self, message: Failed | Remarked) -> None:
        """Say one line in place of the keys, and leave it there."""
        self._is_telling = False
        super().notice(message)

    def progress(self, message: Progressed) -> None:
        """Say how far the search for divergences is."""
        limit = "" if message.limit is None else f" of at most {grouped(message.limit)}"
        self.notice(Remarked(f"{message.what}: {grouped(message.done)}{limit} instructions … esc stops"))
        self._is_telling = True

    def on_mount(self) -> None:
        """Draw what came before the widgets were there."""
        self.call_after_refresh(self._draw)

    def on_resize(self) -> None:
        """Fit the columns into the new size."""
        self.call_after_refresh(self._draw)

    @on(_Column.Resized)
    def _column_resized(self) -> None:
        self._fill()

    def action_stop(self) -> None:
        """Stop a run; with nothing running, leave."""
        if self.in_motion or self.is_busy:
            self.ringviz.engine.cancel()
        else:
            self.action_leave()

    def action_leave(self) -> None:
        """Back to the one guest."""
        self.ringviz.wants_group = False
        self.ringviz.engine.cancel()
        self.ringviz.engine.submit(CloseGroup())
        self.dismiss()

    def action_divergence(self) -> None:
        """To where a guest is next told something else than on bare metal."""
        self._ask(NextDivergence())

    def action_along(self, by: int) -> None:
        """Move along the columns that have no room."""
        if self._view is not None:
            room = columns_with_room(self.size.width)
            self._first = max(1, min(self._first + by, len(self._view.columns) - room + 1))
            self._draw()

    def action_choose(self) -> None:
        """Ask for other techniques; for an edited guest beside the original, for one that both run under."""
        if self._view is None:
            return
        if self._view.is_edit:
            self._choose_for_both(self._view.columns[0].technique_id)
            return

        def open_others(chosen: tuple[str, ...] | None) -> None:
            if chosen is not None:
                self._first = 1
                self._ask(OpenGroup(chosen))

        present = tuple(column.technique_id for column in self._view.columns)
        self.app.push_screen(GroupDialog(self.ringviz.techniques, present), open_others)

    def _choose_for_both(self, present: str) -> None:
        def run(technique: str | None) -> None:
            if technique is not None and self.ringviz.editor is not None:
                self.ringviz.editor.run_beside(technique)

        self.app.push_screen(TechniqueDialog(self.ringviz.techniques, present), run)

    def action_explain(self) -> None:
        """What this screen is, the signs and the keys."""
        is_edit = self._view is not None and self._view.is_edit
        self.app.push_screen(HelpScreen(self.COMMAND_ROWS, (_TITLE, _EDIT_EXPLANATION if is_edit else _EXPLANATION)))

    def _draw(self) -> None:
        view = self._view
        if view is None or not self.is_mounted:
            return
        room = min(columns_with_room(self.size.width), len(view.columns))
        self._first = max(1, min(self._first, len(view.columns) - room + 1))
        shown = (view.columns[0], *view.columns[self._first : self._first + room - 1])
        self.query_one("#group-where", Static).update(where_line(view, shown, self.size.width))
        for number in range(MOST):
            box = self.query_one(f"#column-{number}", _Column)
            box.display = number < len(shown)
        self._shown = shown
        # A column that is about to become wider, because others go, tells when it has.
        self._fill()

    def _fill(self) -> None:
        view, shown = self._view, self._shown
        if view is None:
            return
        for number, column in enumerate(shown):
            box = self.query_one(f"#column-{number}", _Column)
            set_title(box, Content.assemble((column.title, "bold"), (f" · {printable(column.cpu)}", "$dim")))
            width, height = box.content_size
            if width > 0 and height > 0:
                box.show(column_lines(view, column, width, height))


def where_line(view: GroupView, shown: Sequence[GroupColumn], width: int) -> Content:
    """Give guest and place; what has just gone wrong, or else what the bars are, and which columns are out of view."""
    end = "" if view.end is None else f" of {grouped(view.end)}"
    head = Content.assemble(
        (f" {printable(view.scenario_id)}", "bold $primary"), (f" · step {grouped(view.position)}{end}", "bold")
    )
    hidden = [column.technique_id for column in view.columns if column not in shown]
    if hidden:
        head += Content.assemble((f" · ←→ {', '.join(hidden)}", "$secondary"))
    if view.divergence:
        head += Content.assemble((f" · {DIFFERS} {printable(view.divergence)}", "bold $kind-silent"))
    else:
        head += Content.assemble((f" · {legend(view.columns)}", "$dim"))
    return Content("\n").join(line.rstrip() for line in head.wrap(max(1, width - 1))[:2])


class GroupDialog(ModalScreen[tuple[str, ...] | None]):
    """Choose who stands side by side; gives the ids, bare metal first, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "dismiss(None)", "cancel", show=False),
        Binding("space", "mark", "choose", show=False, priority=True),
    ]

    def __init__(self, techniques: Sequence[TechniqueChoice], present: Sequence[str]) -> None:
        self._techniques = techniques
        self._chosen = list(present)
        super().__init__(classes="dialog")

    def compose(self) -> ComposeResult:
        """Give the list, with those that are chosen ticked."""
        with Vertical(classes="box") as box:
            box.border_title = Content(f"Side by side: {FEWEST} to {MOST} of them")
            yield OptionList(*(Option(self._prompt(t), id=t.id) for t in self._techniques), markup=False)
            yield Static("space chooses or leaves out · enter opens · esc cancels", markup=False, classes="hint")

    def action_mark(self) -> None:
        """Choose the highlighted technique, or leave it out."""
        options = self.query_one(OptionList)
        if options.highlighted is None:
            return
        technique = self._techniques[options.highlighted]
        if technique.id in self._chosen:
            self._chosen.remove(technique.id)
        elif len(self._chosen) < MOST:
            self._chosen.append(technique.id)
        else:
            self.query_one(".hint", Static).update(Content(f"{MOST} is the most: leave one out first."))
        options.replace_option_prompt_at_index(options.highlighted, self._prompt(technique))

    @on(OptionList.OptionSelected)
    def _opened(self) -> None:
        if len(self._chosen) < FEWEST:
            self.query_one(".hint", Static).update(Content("One alone has nobody beside it: choose a second."))
            return
        # Bare metal is what the others are compared with.
        self.dismiss(tuple(sorted(self._chosen, key=lambda technique: technique != "native")))

    def _prompt(self, technique: TechniqueChoice) -> Content:
        mark, style = ("■ ", "bold") if technique.id in self._chosen else ("□ ", "")
        return Content.assemble((f"{mark}{technique.title}", style), (f"  {technique.id}", "$dim"))
