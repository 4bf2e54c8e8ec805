"""Help: the focused panel in words, the signs, the keys."""

from collections.abc import Iterable, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from ringviz.ui.commands import Command
from ringviz.ui.glyphs import BELIEVED, DIFFERS, KIND_LOOKS, MARK_LOOKS, REAL, VERDICT_LOOKS, Look
from ringviz.ui.own_keys import OwnKeys


class HelpScreen(ModalScreen[None]):
    """One page of text over the screen."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,question_mark,q,f1", "dismiss", "close", show=False)]

    def __init__(self, commands: Sequence[Command], panel: tuple[str, str] | None = None) -> None:
        self._commands = commands
        self._panel = panel
        super().__init__(classes="dialog")

    def compose(self) -> ComposeResult:
        """Give the page."""
        with VerticalScroll(classes="box page") as box:
            box.border_title = Content("Explain")
            box.border_subtitle = Content("esc closes · ↑↓ scroll · another panel: tab to it first")
            yield Static(help_text(self._commands, self._panel, getattr(self.app, "own_keys", None)))

    def on_mount(self) -> None:
        """Arrow keys scroll the page."""
        self.query_one(VerticalScroll).focus()


def help_text(commands: Sequence[Command], panel: tuple[str, str] | None, own: OwnKeys | None = None) -> Content:
    """Give the whole page as text, with the user's own keys where there are some."""
    own = own or OwnKeys()
    parts: list[tuple[str, str]] = []
    if panel is not None:
        title, explanation = panel
        parts += [(f"{title}\n", "bold $primary"), (f"{explanation}\n\n", "")]
    parts.append(("Keys\n", "bold $primary"))
    for command in commands:
        parts += [(f"  {own.face(command):<6}", "bold"), (f" {command.help}\n", "")]
    parts.append(("  tab    Next panel.   ctrl+p  All commands by name.\n\n", ""))
    parts += _signs("What will happen to an instruction", VERDICT_LOOKS.values())
    parts += _signs("What has happened", KIND_LOOKS.values())
    parts += _signs("The VMM's side, beside the guest's code", MARK_LOOKS.values())
    parts.append(("Rings and registers\n", "bold $primary"))
    for sign, meaning in (
        (REAL, "where the CPU really is; in the code, the instruction that runs next"),
        (BELIEVED, "the ring the guest believes it is in, where that is another"),
        (DIFFERS, "the guest's belief and the truth are not the same"),
    ):
        parts += [(f"  {sign} ", "bold"), (f"{meaning}\n", "")]
    return Content.assemble(*parts)


def _signs(heading: str, looks: Iterable[Look]) -> list[tuple[str, str]]:
    parts = [(f"{heading}\n", "bold $primary")]
    for look in looks:
        if look.word:
            parts += [(f"  {look.glyph} {look.word:<10}", f"bold {look.colour}"), (f"{look.meaning}\n", "")]
    return [*parts, ("\n", "")]
