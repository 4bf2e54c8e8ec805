"""The panels of the explore screen by the names that replays use, and how to put one into the light."""

from collections.abc import Mapping
from types import MappingProxyType

from textual.widget import Widget

from ringviz.ui.screens.explore import ExploreScreen
from ringviz.ui.widgets.card import CardPanel
from ringviz.ui.widgets.code import CodePanel
from ringviz.ui.widgets.console import ConsolePanel
from ringviz.ui.widgets.events import EventsPanel
from ringviz.ui.widgets.overhead import OverheadPanel
from ringviz.ui.widgets.rings import RingsPanel
from ringviz.ui.widgets.side import SidePanel
from ringviz.ui.widgets.timeline import TimelinePanel
from ringviz.ui.widgets.twice import TwicePanel

PANEL_WIDGETS: Mapping[str, type[Widget]] = MappingProxyType(
    {
        "rings": RingsPanel,
        "code": CodePanel,
        "vmm": SidePanel,
        "cpu": TwicePanel,
        "card": CardPanel,
        "events": EventsPanel,
        "console": ConsolePanel,
        "overhead": OverheadPanel,
        "timeline": TimelinePanel,
    }
)
"""By name of `ringviz.record.replay.PANELS`."""


def point_at(screen: ExploreScreen, name: str, *, is_zoomed: bool = False) -> None:
    """Focus a panel, and show it alone if asked; an empty name points at nothing and shows all."""
    if screen.maximized is not None:
        screen.minimize()
    screen.set_class(name == "console", "-console")
    screen.set_class(name == "vmm" and screen.has_class("-has-side"), "-side")
    if not name:
        screen.set_focus(None)
        return
    panel = screen.query_one(PANEL_WIDGETS[name])
    if panel.display:
        screen.set_focus(panel if panel.focusable else None)
        if is_zoomed:
            screen.maximize(panel, container=False)
