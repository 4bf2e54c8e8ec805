"""The home screen, and opening from the command line."""

import pytest
from textual.widgets import OptionList

from ringviz.ui.app import RingvizApp
from ringviz.ui.screens.explore import ExploreScreen
from ringviz.ui.screens.home import HomeScreen
from tests.ui.bench import SIZES, bench
from tests.ui.fake import SCENARIOS, TECHNIQUES, FakeLaboratory


@pytest.mark.parametrize("size", SIZES)
async def test_it_lists_every_scenario_and_technique_as_it_is_written(size: tuple[int, int]) -> None:
    async with bench(scenario=None, size=size) as b:
        text = b.text()
        # Where it is short, one is told about at a time; but all are named.
        for scenario in SCENARIOS[:8]:
            assert scenario.title in text
            assert (scenario.summary in text) == (size[1] > 24 or scenario is SCENARIOS[0])
        if size[1] != 40:
            assert all(scenario.title in text for scenario in SCENARIOS)
        await b.pilot.press("down")
        await b.pilot.pause()
        assert SCENARIOS[1].summary in b.text()
        assert SCENARIOS[1].level in b.text()
        for technique in TECHNIQUES:
            assert technique.title[:25] in text


@pytest.mark.parametrize("size", SIZES)
async def test_the_highlighted_technique_is_told_about(size: tuple[int, int]) -> None:
    async with bench(scenario=None, size=size) as b:
        await b.pilot.press("tab", "down", "down")
        await b.pilot.pause()
        assert "classic" in b.text()
        assert "ring 0, guest kernel in ring 1" in b.text()


async def test_choosing_both_opens_the_explore_screen() -> None:
    async with bench(scenario=None) as b:
        assert "enter opens popf-hole under Bare metal" in b.text()
        await b.press("down", "right", "down", "left")
        assert "enter opens rings-tour under Full emulation" in b.text()
        await b.press("tab", "up", "tab", "enter")
        assert b.laboratory.opened == [("rings-tour", "native", None, None)]
        assert isinstance(b.app.screen, ExploreScreen)
        assert "Bare metal" in b.text()


async def test_a_pair_that_does_not_go_together_is_refused_in_one_line() -> None:
    async with bench(scenario=None) as b:
        await b.press("down", "tab", "end", "enter")
        assert isinstance(b.app.screen, HomeScreen)
        assert "× rings-tour does not go with amd-v: [a reason]" in b.text()


async def test_a_wrong_scenario_on_the_command_line_ends_the_app_with_code_2() -> None:
    app = RingvizApp("nonsense", laboratory=FakeLaboratory())
    async with app.run_test() as pilot:
        for _ in range(100):
            await pilot.pause(0.01)
            if app.failure:
                break
    assert app.return_code == 2
    assert app.failure == 'no scenario "nonsense"; choose one of popf-hole, rings-tour'


async def test_a_word_finds_a_guest_by_its_name_first_and_enter_takes_it() -> None:
    async with bench(scenario=None) as b:
        scenarios = b.app.screen.query_one("#scenarios", OptionList)
        await b.press("slash", *"tour")
        assert SCENARIOS[scenarios.highlighted or 0].id == "rings-tour"
        await b.press("tab", "down")
        assert b.app.focused is b.app.screen.query_one("#techniques")
        await b.press("slash", *"tour", "enter")
        assert b.laboratory.opened == [("rings-tour", "emulation", None, None)]


async def test_a_word_that_nothing_has_says_so_and_escape_leaves_the_list_as_it_was() -> None:
    async with bench(scenario=None) as b:
        scenarios = b.app.screen.query_one("#scenarios", OptionList)
        await b.press("down", "slash", *"zyx")
        assert "No guest has “zyx”" in b.text()
        await b.press("escape")
        assert b.app.focused is scenarios
        assert scenarios.highlighted == 1
        assert "/ find" in b.text()
