"""The machine room: rows and numbers of a host at work, and keys that change it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.pilot import Pilot

from ringviz.record.machines.host_file import find_host, open_host
from ringviz.record.machines.room import Room
from ringviz.ui.machine_room import MachineRoomApp
from tests.ui.bench import SIZES


class Visit:
    """An open machine room."""

    def __init__(self, app: MachineRoomApp, pilot: Pilot[None]) -> None:
        self.app, self.pilot = app, pilot

    def text(self) -> str:
        strips = self.app.screen._compositor.render_strips()
        return "\n".join("".join(segment.text for segment in strip) for strip in strips)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                await asyncio.sleep(0.01)
        await self.pilot.pause()

    async def sees(self, text: str) -> None:
        await self.until(lambda: text in self.text())


@asynccontextmanager
async def visit(room: Room, size: tuple[int, int]) -> AsyncIterator[Visit]:
    definition = find_host("noisy-neighbour")
    app = MachineRoomApp(room, definition.automation, definition.title)
    async with app.run_test(size=size) as pilot:
        there = Visit(app, pilot)
        await there.until(lambda: app.room.view is not None)
        yield there
        app.room.host.end()


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return open_host(find_host("noisy-neighbour"), tmp_path, lambda: 0)


@pytest.mark.parametrize("size", SIZES)
async def test_a_row_for_each_machine_says_where_its_cpu_is(room: Room, size: tuple[int, int]) -> None:
    async with visit(room, size) as there:
        await there.pilot.press("n")
        await there.sees(" 74 %")
        await there.sees("exits")
        lines = there.text().splitlines()
        noisy = next(line for line in lines if "▶ noisy" in line)
        assert noisy.rstrip(" │").split()[-7:-1] == ["768", "-", "74", "%", "26", "%"]
        assert "VMX non-root, ring 0" in noisy
        assert ("timer-tour" in noisy) is (size[0] >= 120)
        assert any("neighbour │" in line and "·" in line for line in lines)


async def test_a_cap_put_on_by_key_shows_after_the_next_period_and_is_kept(room: Room) -> None:
    async with visit(room, (120, 40)) as there:
        await there.pilot.press(*["less_than_sign"] * 8, "n", "n")
        await there.sees("(by hand): cap noisy 20 %: done")
        await there.sees("2,0")
        view = there.app.room.view
        assert view is not None
        assert view.rows[0].share == pytest.approx(20, abs=2)
        assert view.rows[1].share == pytest.approx(80, abs=2)
    assert room.kept("noisy").definition.cap_percent == 20
    assert [entry.what for entry in room.audit][-1] == "cap noisy 20 %"
    assert room.clock >= 2_000_000
    room.close()


async def test_the_other_machine_is_paused_given_weight_and_switched_off(room: Room) -> None:
    async with visit(room, (80, 24)) as there:
        await there.pilot.press("down", "plus")
        await there.sees("weight neighbour 512: done")
        await there.pilot.press("p")
        await there.sees("paused")
        await there.pilot.press("p")
        await there.sees("resume neighbour: done")
        await there.pilot.press("o")
        await there.sees("stop neighbour: done")
        await there.pilot.press("p")
        await there.sees("refused: neighbour is stopped: pause is not possible")
    assert room.kept("neighbour").ended == "switched off"
    room.close()


async def test_it_runs_until_it_is_held(room: Room) -> None:
    async with visit(room, (80, 24)) as there:
        await there.pilot.press("space")
        await there.sees("the host runs")
        await there.pilot.press("space")
        await there.sees("the host is held")
        view = there.app.room.view
        await there.pilot.press("q")
        await there.until(lambda: not there.app.room.is_attached)
    assert view is not None
    assert room.clock >= view.clock
    room.close()
