"""The bottom line: the keys, or one line about what went wrong."""

from collections.abc import Sequence
from dataclasses import replace

from textual import events
from textual.content import Content
from textual.reactive import reactive
from textual.style import Style
from textual.widget import Widget

from ringviz.ui.commands import Command, fitting
from ringviz.ui.own_keys import OwnKeys
from ringviz.ui.widgets.panel import printable, wrapped

_MOST_LINES = 3


class KeyLine(Widget):
    """The commands that fit, by rank; a notice takes their place until the next command."""

    notice: reactive[str] = reactive("", layout=True)
    is_failure: reactive[bool] = reactive(False)

    def __init__(self, commands: Sequence[Command]) -> None:
        self._commands = commands
        super().__init__()

    def render(self) -> Content:
        """Keys or notice."""
        width = self.content_size.width
        if self.notice:
            sign, colour = ("×", "$kind-violation") if self.is_failure else ("·", "$changed")
            text = Content.assemble((f"{sign} {printable(self.notice)}", f"bold {colour}"))
            return Content("\n").join(wrapped(text, width, _MOST_LINES))
        parts = []
        own: OwnKeys = getattr(self.app, "own_keys", OwnKeys())
        # A key of one's own may be written longer than the one in its place.
        commands = [replace(command, face=own.face(command)) for command in self._commands]
        for command in fitting(commands, width):
            # Not "@click": Textual would draw it as a link, underlined.
            meta = Style.from_meta({"command": command.action})
            parts.append(Content.assemble((command.face, "bold $primary"), f" {command.title}  ").stylize(meta))
        return Content("").join(parts)

    async def on_click(self, event: events.Click) -> None:
        """Run a clicked command as if its key had been pressed."""
        action = event.style.meta.get("command")
        if action is not None:
            await self.screen.run_action(action)
