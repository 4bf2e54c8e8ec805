"""Events part by part, and the crossing in motion."""

import asyncio
from dataclasses import replace

import pytest

from ringviz.ui.requests import Shown
from ringviz.ui.screens.explore import ExploreScreen
from ringviz.ui.widgets.card import CardPanel
from ringviz.ui.widgets.crossing import frames
from ringviz.ui.widgets.rings import RingsPanel
from tests.ui.bench import SIZES, Bench, bench, content_lines
from tests.ui.fake import make_snapshot


def explore(b: Bench) -> ExploreScreen:
    assert isinstance(b.app.screen, ExploreScreen)
    return b.app.screen


def card(b: Bench) -> str:
    return "\n".join(content_lines(b.app.screen.query_one(CardPanel)))


@pytest.mark.parametrize("size", SIZES)
async def test_with_micro_steps_on_space_and_b_stop_at_every_part(size: tuple[int, int]) -> None:
    async with bench(size=size) as b:
        await b.press("u", "n")
        assert "part 1 of 3" in b.text()
        assert "CPU, ring 1: cli at 00100046" in card(b)
        await b.press("space")
        assert b.shown.snapshot.position == 4
        assert "CPU, ring 0: entry 0Dh of the real IDT [FFC04000]" in card(b)
        rings = "\n".join(content_lines(b.app.screen.query_one(RingsPanel)))
        assert "► 0 VMM" in rings
        assert "ring 0" in rings
        await b.press("space", "space")
        assert b.shown.snapshot.position == 5
        assert explore(b).part is None
        await b.press("b")
        assert explore(b).part == 2
        await b.press("b", "b", "b")
        assert b.shown.snapshot.position == 3


async def test_without_them_an_event_is_one_step_and_the_switch_acts_at_once() -> None:
    async with bench() as b:
        await b.press("n")
        assert "resume at" in card(b)
        await b.press("u")
        assert explore(b).part == 0
        await b.press("u")
        assert "resume at" in card(b)
        await b.press("space")
        assert b.shown.snapshot.position == 5


def test_a_crossing_lights_one_ring_after_the_other() -> None:
    lit = [frame.lit for frame in frames((1, 0, 1))]
    assert [ring for n, ring in enumerate(lit) if not n or ring != lit[n - 1]] == [1, 0, 1]
    assert [frame.lit for frame in frames((3, 3))] == []
    assert frames((3, 0))[-1].lit == 0


async def test_a_crossing_moves_for_a_moment_and_not_at_all_where_animations_are_off() -> None:
    async with bench() as b:
        panel = b.app.screen.query_one(RingsPanel)
        for level, moves in (("none", False), ("full", True)):
            b.app.animation_level = level  # type: ignore[assignment]
            crossed = replace(make_snapshot("trap-emulate", 42), has_crossed=True)
            explore(b).show(Shown(make_snapshot("trap-emulate", 41), in_motion=False))
            explore(b).show(Shown(crossed, in_motion=False))
            assert bool(panel._frames) == moves
            async with asyncio.timeout(5):
                while panel._frames:
                    await asyncio.sleep(0.01)
            assert panel._motion is None
            assert "► 1 guest OS" in "\n".join(line.plain for line in panel.lines(crossed, 36, 17))
