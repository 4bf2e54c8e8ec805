"""Understanding on demand: what is on the screen, why the next instruction traps, every word; with a search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from ringviz.ui.commands import Command
from ringviz.ui.screens.help import help_text
from ringviz.ui.subject import Subject
from ringviz.ui.subjects import all_subjects, found, paragraph, why_subject
from ringviz.ui.widgets.panel import printable

if TYPE_CHECKING:
    from ringviz.engine.derivation import Derivation

KEYS_AND_SIGNS = "Keys and signs"
_WAITING = Subject("Why does it trap?", "", "…")


class ExplainScreen(ModalScreen[None]):
    """A list of subjects, a line to search them, and the paragraph on the highlighted one.

    Args:
        here: what the focused panel has; first in the list.
        commands: whose keys are explained.
        is_why: open at why the next instruction traps.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,f1", "dismiss", "close", show=False, priority=True),
        Binding("up", "move(-1)", "up", show=False, priority=True),
        Binding("down", "move(1)", "down", show=False, priority=True),
        Binding("pageup", "scroll(-1)", "less", show=False, priority=True),
        Binding("pagedown", "scroll(1)", "more", show=False, priority=True),
    ]
    AUTO_FOCUS = "#search"

    def __init__(self, here: Sequence[Subject], commands: Sequence[Command], *, is_why: bool = False) -> None:
        self._here = tuple(here)
        self._commands = commands
        self._why = _WAITING if here else None
        self._wants_why = is_why
        self._rest = all_subjects()
        self._shown: list[Subject] = []
        super().__init__(classes="dialog")

    def compose(self) -> ComposeResult:
        """Search and list on the left, the paragraph on the right."""
        with Horizontal(id="explain", classes="box") as box:
            box.border_title = Content("Explain")
            box.border_subtitle = Content("type to search · ↑↓ choose · pgup pgdn scroll · esc closes")
            with Vertical(id="subjects"):
                field = Input(placeholder="search", id="search")
                field.cursor_blink = False
                yield field
                yield OptionList(id="list", markup=False)
            with VerticalScroll(id="paragraph", can_focus=False):
                yield Static("", markup=False, id="said")

    def on_mount(self) -> None:
        """Show everything."""
        self._list("")
        if self._wants_why:
            self._go_to_why()

    def show_why(self, derivation: Derivation | None) -> None:
        """Take over the derivation for the next instruction."""
        options = self.query_one("#list", OptionList)
        at = options.highlighted
        self._why = why_subject(derivation)
        self._list(self.query_one("#search", Input).value)
        options.highlighted = at
        self._say()
        if self._wants_why:
            self._go_to_why()

    def action_move(self, by: int) -> None:
        """Highlight another subject."""
        options = self.query_one("#list", OptionList)
        if options.option_count:
            self._wants_why = False
            options.highlighted = max(0, min((options.highlighted or 0) + by, options.option_count - 1))

    def action_scroll(self, by: int) -> None:
        """Scroll the paragraph."""
        view = self.query_one("#paragraph", VerticalScroll)
        view.scroll_relative(y=by * max(1, view.size.height - 2), animate=False)

    def _go_to_why(self) -> None:
        if self._why in self._shown:
            self.query_one("#list", OptionList).highlighted = self._shown.index(self._why)

    @on(Input.Changed, "#search")
    def _searched(self, event: Input.Changed) -> None:
        self._list(event.value)

    @on(OptionList.OptionHighlighted)
    def _highlighted(self) -> None:
        self._say()

    def _say(self) -> None:
        """Show the paragraph on the highlighted subject."""
        index = self.query_one("#list", OptionList).highlighted
        if index is None or index >= len(self._shown):
            return
        subject = self._shown[index]
        is_keys = subject.title == KEYS_AND_SIGNS
        text = help_text(self._commands, None, getattr(self.app, "own_keys", None)) if is_keys else paragraph(subject)
        self.query_one("#said", Static).update(text)
        self.query_one("#paragraph", VerticalScroll).scroll_home(animate=False)

    def _list(self, words: str) -> None:
        keys = Subject(KEYS_AND_SIGNS, "", "key keys sign signs glyph")
        why = () if self._why is None else (self._why,)
        self._shown = found([*self._here[:1], *why, *self._here[1:], keys, *self._rest], words)
        options = self.query_one("#list", OptionList)
        options.clear_options()
        options.add_options(Option(Content(printable(subject.title))) for subject in self._shown)
        options.highlighted = 0 if self._shown else None
        self._say()
        if not self._shown:
            self.query_one("#said", Static).update(Content("Nothing here has that name."))
