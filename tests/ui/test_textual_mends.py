"""What Textual does wrong, and no longer does here."""

import pytest
from textual import events
from textual.app import App, ComposeResult
from textual.command import CommandPalette, DiscoveryHit
from textual.screen import Screen
from textual.widgets import Input, OptionList, Static

from ringviz.ui.app import RingvizApp
from ringviz.ui.textual_mends import mend
from tests.ui.bench import bench
from tests.ui.fake import FakeLaboratory


class ListApp(App[None]):
    CSS = "OptionList { display: none; }"

    def compose(self) -> ComposeResult:
        yield OptionList("one", "two", "three")


@pytest.mark.parametrize("action", ["page_down", "page_up"])
async def test_page_keys_in_a_list_that_is_not_laid_out_yet_are_no_error(action: str) -> None:
    mend()
    mend()
    app = ListApp()
    async with app.run_test() as pilot:
        options = app.query_one(OptionList)
        options.highlighted = 1
        await options.run_action(action)
        assert options.highlighted == 1
        options.display = True
        await pilot.pause()
        await options.run_action(action)
        assert options.highlighted == {"page_down": 2, "page_up": 0}[action]


async def test_a_widget_that_has_been_removed_has_no_text_to_select() -> None:
    mend()
    app = ListApp()
    async with app.run_test() as pilot:
        options = app.query_one(OptionList)
        label = Static("words")
        await app.screen.mount(label)
        assert label.allow_select
        assert options.is_attached
        await label.remove()
        await pilot.pause()
        assert not label.allow_select


async def test_a_key_that_comes_when_the_app_is_closing_is_no_error() -> None:
    app = RingvizApp(laboratory=FakeLaboratory())
    async with app.run_test() as pilot:
        await pilot.press("q")
    assert not app.screen_stack
    await app.on_event(events.Key("a", "a"))


async def test_a_command_palette_that_has_closed_looks_for_nothing() -> None:
    async with bench() as b:
        await b.pilot.press("ctrl+p")
        palette = b.app.screen
        assert isinstance(palette, CommandPalette)
        await b.pilot.press("escape")
        await b.until(lambda: not palette.is_attached)
        await CommandPalette._gather_commands.__wrapped__(palette, "step")  # type: ignore[attr-defined]


async def test_enter_twice_in_the_command_palette_is_one_command_and_closes_one_screen() -> None:
    async with bench() as b:
        screens = len(b.app.screen_stack)
        await b.pilot.press("ctrl+p")
        palette = b.app.screen
        assert isinstance(palette, CommandPalette)
        asked = []
        palette._list_visible = False
        palette._selected_command = DiscoveryHit("it", lambda: asked.append("it"))
        line = palette.query_one(Input)
        for _ in range(2):
            palette.post_message(Input.Submitted(line, "it"))
        await b.until(lambda: not palette.is_attached)
        await b.settle()
        assert asked == ["it"]
        assert len(b.app.screen_stack) == screens


async def test_a_screen_that_closes_itself_takes_what_is_over_it_along_and_does_so_once() -> None:
    mend()
    app = ListApp()
    async with app.run_test() as pilot:
        first = app.screen
        below, above = Screen[None](), Screen[None]()
        answers: list[object] = []
        await app.push_screen(below, answers.append)
        await app.push_screen(above)
        below.dismiss()
        assert app.screen is first
        below.dismiss()
        await pilot.pause()
        assert app.screen_stack == [first]
        assert answers == [None]
