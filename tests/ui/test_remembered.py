"""Theme and last place, from one time to the next."""

from pathlib import Path

import pytest

from ringviz.ui.app import RingvizApp
from ringviz.ui.remembered import LastPlace, Remembered
from ringviz.ui.screens.explore import ExploreScreen
from ringviz.ui.themes import THEMES
from tests.ui.fake import FakeLaboratory


def test_what_is_kept_is_there_the_next_time(tmp_path: Path) -> None:
    path = tmp_path / "new" / "app.json"
    Remembered(path).keep(scenario="popf-hole", technique="vt-x", position=17, theme="ringviz-light")
    assert Remembered(path).last == LastPlace("popf-hole", "vt-x", 17, "ringviz-light")
    assert [file.name for file in path.parent.iterdir()] == ["app.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 2}', '{"schema": 1, "scenario": 5}'])
def test_a_damaged_file_is_set_aside_with_a_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "app.json"
    path.write_text(text, encoding="utf-8")
    kept = Remembered(path)
    assert kept.last == LastPlace()
    assert "was damaged; it is kept as app.damaged.json" in kept.trouble
    assert (tmp_path / "app.damaged.json").read_text(encoding="utf-8") == text
    kept.keep(position=3)
    assert Remembered(path).last.position == 3


def test_values_of_another_kind_are_damage_too(tmp_path: Path) -> None:
    path = tmp_path / "app.json"
    path.write_text(
        '{"schema": 1, "scenario": "x", "technique": "native", "position": "3", "theme": ""}', encoding="utf-8"
    )
    assert "damaged" in Remembered(path).trouble


async def test_the_theme_and_the_place_are_found_again(tmp_path: Path) -> None:
    path = tmp_path / "app.json"
    first = RingvizApp("popf-hole", "trap-emulate", laboratory=FakeLaboratory(), remembered=Remembered(path))
    async with first.run_test() as pilot:
        for _ in range(100):
            await pilot.pause(0.01)
            if first.explore.snapshot is not None:
                break
        await pilot.press("space", "space", "t", "t")
        await pilot.pause(0.3)
    assert Remembered(path).last == LastPlace("popf-hole", "trap-emulate", 2, "ringviz-contrast")
    second = RingvizApp(laboratory=FakeLaboratory(), remembered=Remembered(path))
    assert second.theme == "ringviz-contrast"
    async with second.run_test() as pilot:
        await pilot.pause()
        await pilot.press("r")
        for _ in range(100):
            await pilot.pause(0.01)
            if second.explore.snapshot is not None and second.explore.snapshot.position == 2:
                break
        assert isinstance(second.screen, ExploreScreen)
        assert second.explore.snapshot is not None
        assert (second.explore.snapshot.position, second.explore.snapshot.technique_id) == (2, "trap-emulate")


async def test_a_theme_that_is_gone_is_no_reason_not_to_begin(tmp_path: Path) -> None:
    kept = Remembered(tmp_path / "app.json")
    kept.keep(theme="long-gone")
    app = RingvizApp(laboratory=FakeLaboratory(), remembered=kept)
    assert app.theme == THEMES[0].name


def test_a_file_from_before_machines_were_kept_is_as_good_as_ever(tmp_path: Path) -> None:
    path = tmp_path / "app.json"
    path.write_text('{"schema": 1, "scenario": "x", "technique": "vt-x", "position": 3, "theme": ""}', encoding="utf-8")
    kept = Remembered(path)
    assert kept.last == LastPlace("x", "vt-x", 3)
    assert not kept.trouble


async def test_the_machine_is_found_again_and_another_technique_is_not_held_to_it(tmp_path: Path) -> None:
    kept = Remembered(tmp_path / "app.json")
    kept.keep(scenario="popf-hole", technique="vt-x", position=5, cpu="sandy", mmu="shadow", controls="+rdtsc -hlt")
    app = RingvizApp(laboratory=(world := FakeLaboratory()), remembered=kept)
    async with app.run_test() as pilot:
        await pilot.pause()
        await pilot.press("r")
        for _ in range(200):
            await pilot.pause(0.01)
            if app.explore.snapshot is not None and app.explore.snapshot.position == 5:
                break
        assert "swap vt-x on sandy with shadow +rdtsc -hlt" in world.session.calls
        assert app.explore.chosen_cpu == "sandy"
        assert app.opened.cpu is None


async def test_what_a_technique_would_choose_by_itself_is_not_remembered(tmp_path: Path) -> None:
    path = tmp_path / "app.json"
    app = RingvizApp("popf-hole", "vt-x", laboratory=FakeLaboratory(), remembered=Remembered(path))
    async with app.run_test() as pilot:
        for _ in range(200):
            await pilot.pause(0.01)
            if app.explore.snapshot is not None:
                break
    assert Remembered(path).last == LastPlace("popf-hole", "vt-x", 0)
