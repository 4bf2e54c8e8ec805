"""The machine room as an app of its own: one host, one screen."""

from pathlib import Path, PurePath
from typing import ClassVar

from textual.app import App

from ringviz.engine.automation.rules import Automation
from ringviz.record.machines.room import Room
from ringviz.ui.screens.machine_room import MachineRoomScreen
from ringviz.ui.themes import DARK, THEMES, VARIABLE_DEFAULTS

_STYLES = Path(__file__).parent / "styles"


class MachineRoomApp(App[None]):
    """A host at work; see `MachineRoomScreen`."""

    TITLE = "ringviz"
    CSS_PATH: ClassVar[list[str | PurePath]] = [_STYLES / "app.tcss", _STYLES / "machine_room.tcss"]

    def __init__(
        self, room: Room, automation: Automation | None = None, title: str = "", stop_at: int | None = None
    ) -> None:
        super().__init__()
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = DARK.name
        self.room = MachineRoomScreen(room, automation, title, stop_at)

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Our own colours, for themes that are not ours."""
        return VARIABLE_DEFAULTS

    def on_mount(self) -> None:
        """Show the screen; when it is left, the app is over."""
        self.push_screen(self.room, lambda _: self.exit())
