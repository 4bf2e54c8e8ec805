"""The memory and page-walk panels."""

from dataclasses import replace

import pytest
from textual.content import Content

from ringviz.engine.looks import Looks, WalkLook
from ringviz.engine.memory_look import MemoryMode
from ringviz.engine.session import Session
from ringviz.guest.scenario import find_scenario
from ringviz.ui.screens.explore import ExploreScreen
from ringviz.ui.widgets.events import EventsPanel
from ringviz.ui.widgets.memory import MemoryPanel
from ringviz.ui.widgets.walk import WalkPanel
from tests.ui.bench import SIZES, Bench, bench, content_lines
from tests.ui.fake import make_snapshot


def seen(b: Bench) -> str:
    return "\n".join(content_lines(b.app.screen.query_one(MemoryPanel)))


@pytest.mark.parametrize("size", SIZES)
async def test_memory_takes_the_place_of_the_events_and_tells_what_the_step_wrote(size: tuple[int, int]) -> None:
    async with bench(size=size) as b:
        await b.press("x")
        assert b.app.screen.query_one(MemoryPanel).has_focus
        text = seen(b)
        assert "0010ffc0 c0 c1 c2 c3" in text
        assert "wc4wc5wc6wc7" in text
        assert "w 0010ffc4 00000000 → 00000202" in text
        await b.press("x")
        assert b.app.screen.query_one(EventsPanel).region.height != 0
        assert b.shown.snapshot.memory is None


async def test_arrows_change_the_view_and_the_real_table_stands_with_the_guests() -> None:
    async with bench() as b:
        await b.press("x", "right")
        assert "►w0010FFC4 00000000" in seen(b)
        await b.press("right")
        assert "► 0008 CS ring 0 code, execute/read" in seen(b)
        assert "≠ ring 1 code, execute/read" in seen(b)
        await b.press("left", "left", "left")
        assert b.shown.snapshot.memory is not None
        assert b.shown.snapshot.memory.look.mode is MemoryMode.PAGES


async def test_an_address_stays_and_enter_follows_the_accesses_again() -> None:
    async with bench() as b:
        await b.press("a")
        await b.press(*"2000", "enter")
        assert "00002000 00 01 02" in seen(b)
        await b.press("down")
        assert b.shown.snapshot.memory is not None
        assert b.shown.snapshot.memory.look.base == 0x2010
        await b.press("enter")
        assert "wc4wc5wc6wc7" in seen(b)


async def test_one_key_gives_the_memory_the_whole_screen_and_one_takes_it_back() -> None:
    async with bench(size=(80, 24)) as b:
        await b.press("x", "z")
        panel = b.app.screen.query_one(MemoryPanel)
        assert panel.region.size == (80, 24)
        await b.press("space")
        assert b.app.screen.maximized is panel
        await b.press("z")
        assert panel.region.height < 8


async def test_a_walk_in_two_dimensions_is_drawn_as_a_grid_of_numbered_reads() -> None:
    session = Session(find_scenario("teachos64"), "amd-v", "nested")
    session.seek(9000)
    shown = session.snapshot(looks=Looks(walk=WalkLook("eip")))
    assert shown.walk is not None
    assert shown.walk.references == 24
    async with bench(size=(120, 40)) as b:
        screen = b.app.screen
        assert isinstance(screen, ExploreScreen)
        screen.snapshot = replace(make_snapshot("amd-v", 4), walk=shown.walk)
        panel = screen.query_one(WalkPanel)
        lines = [line.plain for line in panel.lines(screen.snapshot, 100, 20) if isinstance(line, Content)]
    text = "\n".join(lines)
    for number in range(1, 25):
        assert f"{number} P" in text, number
    assert "4 guest + 5 translations × 4 nested = 24" in text
    assert text.count("►") >= 9
