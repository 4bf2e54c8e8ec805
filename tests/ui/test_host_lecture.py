"""The lecture of a host on the screen: a presenter's keys, and the notes for the speaker."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.pilot import Pilot

from ringviz.record.lecture_notes import LectureNotes, read_notes
from ringviz.record.machines.host_lecture_file import load_host_lecture
from ringviz.ui.commands import HOST_LECTURE, LECTURE
from ringviz.ui.host_lecture import HostLectureApp
from ringviz.ui.screens.presenting import BlackScreen
from tests.ui.bench import SIZES

SCRIPT = """schema = 1
host = "noisy-neighbour"
title = "T"
own_orders = false

[[beat]]
title = "Question"
say = "These are the words."
focus = "machines"
ask = "Who?"
choices = ["noisy", "neighbour"]
answer = "noisy"
expect = { clock = 0 }

[[beat]]
title = "Capped"
tell = { machine = "noisy", do = "cap", value = 20 }
go = { by = 100_000 }
focus = "audit"
machine = "neighbour"
expect = { "cap.noisy" = 30 }
"""


class Held:
    """A lecture that is held."""

    def __init__(self, app: HostLectureApp, pilot: Pilot[None]) -> None:
        self.app, self.pilot, self.screen = app, pilot, app.lecture

    def lines(self) -> list[str]:
        strips = self.app.screen._compositor.render_strips()
        return ["".join(segment.text for segment in strip) for strip in strips]

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                await asyncio.sleep(0.01)
        await self.pilot.pause()

    async def sees(self, text: str) -> None:
        await self.until(lambda: text in "\n".join(self.lines()))

    def notes(self) -> LectureNotes:
        notes = read_notes()
        assert notes is not None
        return notes


@asynccontextmanager
async def held(folder: Path, size: tuple[int, int]) -> AsyncIterator[Held]:
    path = folder / "own.replay.toml"
    path.write_text(SCRIPT, encoding="utf-8")
    app = HostLectureApp(load_host_lecture(path))
    async with app.run_test(size=size) as pilot:
        there = Held(app, pilot)
        await there.until(lambda: there.screen.view is not None and not there.screen.is_busy)
        yield there


@pytest.mark.parametrize("size", SIZES)
async def test_a_beat_asks_answers_changes_the_host_and_is_gone_back_from(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    async with held(tmp_path, size) as there:
        await there.sees("? Who?")
        assert not any("→ noisy" in line for line in there.lines())
        assert there.notes().say == "These are the words."
        await there.pilot.press("space")
        await there.sees("→ noisy")
        assert there.notes().is_answered
        await there.pilot.press("space")
        await there.sees("(by hand): cap noisy 20 %: done")
        await there.until(lambda: there.notes().number == 2 and not there.screen.is_busy)
        assert [line for line in there.notes().problems if "cap.noisy: expected 30, found 20" in line]
        assert any("▶ neighbour" in line for line in there.lines())
        assert "space next" in there.lines()[-1]
        await there.pilot.press("left")
        await there.until(lambda: there.notes().number == 1 and not there.screen.is_busy)
        await there.sees("? Who?")
        view = there.screen.view
        assert view is not None
        assert (view.clock, view.rows[0].cap_percent) == (0, 0)


async def test_a_presenter_blackens_spotlights_zooms_and_leaves_with_the_second_press(tmp_path: Path) -> None:
    async with held(tmp_path, (120, 40)) as there:
        await there.pilot.press("b")
        await there.until(lambda: isinstance(there.app.screen, BlackScreen))
        await there.pilot.press("x")
        await there.sees("? Who?")
        await there.pilot.press("s", "s", "s")  # who had the CPU, the memory, what was done
        assert there.screen.spotlight == "audit"
        await there.pilot.press("o", "z")
        await there.sees("These are the words.")
        assert not there.screen.query_one("#panel-machines").display
        await there.pilot.press("q")
        await there.sees("q again leaves")
        await there.pilot.press("q")
        await there.until(lambda: not there.app.is_running)
    assert there.notes().is_over


def test_its_keys_are_those_of_other_lectures_but_for_comparing() -> None:
    assert {command.id for command in LECTURE} - {command.id for command in HOST_LECTURE} == {"compare"}
