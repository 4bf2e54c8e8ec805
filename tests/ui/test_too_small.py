"""Where there is no room for anything, one sentence says so, and nothing is lost."""

import pytest

from ringviz.ui.screens.compare_group import SideBySideScreen
from ringviz.ui.screens.explore import ExploreScreen
from ringviz.ui.screens.home import HomeScreen
from ringviz.ui.screens.too_small import SMALLEST, TooSmallScreen
from ringviz.ui.widgets.events import EventsPanel
from tests.ui.bench import Bench, bench


async def resize(b: Bench, width: int, height: int) -> None:
    await b.pilot.resize_terminal(width, height)
    await b.settle()


@pytest.mark.parametrize("size", [(1, 1), (12, 4), (59, 60), (100, 17)])
async def test_it_says_what_is_wanted_and_keys_do_nothing_until_there_is_room(size: tuple[int, int]) -> None:
    async with bench() as b:
        b.laboratory.session.seek(42)
        await b.settle()
        panel = b.app.screen.query_one(EventsPanel)
        panel.focus()
        await b.press("up", "up")
        cursor = panel.cursor
        await resize(b, *size)
        assert isinstance(b.app.screen, TooSmallScreen)
        assert size[0] < 40 or f"{size[0]}×{size[1]} is too small: at least 60×18." in " ".join(b.text().split())
        await b.press("space", "q", "pagedown", "n")
        await resize(b, *SMALLEST)
        assert isinstance(b.app.screen, ExploreScreen)
        assert b.shown.snapshot.position == 42
        assert b.app.focused is panel
        assert panel.cursor == cursor


async def test_a_guest_that_comes_while_there_is_no_room_is_there_when_there_is() -> None:
    async with bench(scenario=None, size=(40, 10)) as b:
        assert isinstance(b.app.screen, TooSmallScreen)
        assert isinstance(b.app.front, HomeScreen)
        await resize(b, 80, 24)
        await b.pilot.press("enter", "enter")
        await resize(b, 40, 10)
        assert isinstance(b.app.front, ExploreScreen)
        await resize(b, 80, 24)
        assert isinstance(b.app.screen, ExploreScreen)
        b.app.wants_group = True
        await b.pilot.press("C")
        await b.pilot.resize_terminal(20, 8)
        await b.settle()
        assert isinstance(b.app.screen, TooSmallScreen)
        await resize(b, 120, 40)
        assert isinstance(b.app.screen, SideBySideScreen)
