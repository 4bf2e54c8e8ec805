"""The machine room: rows and numbers of a host at work, and keys that change it."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from textual.binding import Binding
from textual.pilot import Pilot
from textual.widgets import Static

from ringviz.record.machines.host_file import find_host, host_ids, open_host
from ringviz.record.machines.life_cycle import Life
from ringviz.record.machines.room import Room
from ringviz.ui.app import RingvizApp
from ringviz.ui.machine_room import MachineRoomApp, OtherHostSeen
from ringviz.ui.screens.compare_group import SideBySideScreen
from ringviz.ui.screens.edit import EditScreen
from ringviz.ui.screens.explore import ExploreScreen
from ringviz.ui.screens.home import HomeScreen
from ringviz.ui.screens.host_lecture import HostLectureScreen
from ringviz.ui.screens.life import ConfirmDialog, LifeDialog
from ringviz.ui.screens.machine_room import MachineRoomScreen
from ringviz.ui.widgets.room import machine_lines
from ringviz.vmm.migration.source import Plan
from tests.guest.test_build import needs_nasm
from tests.record.machines.test_moving import OtherHost
from tests.ui.bench import SIZES
from tests.ui.grid import assert_lines_as_on_file


class Visit:
    """An open machine room."""

    def __init__(self, app: MachineRoomApp, pilot: Pilot[None]) -> None:
        self.app, self.pilot = app, pilot

    def lines(self) -> list[str]:
        strips = self.app.screen._compositor.render_strips()
        return ["".join(segment.text for segment in strip) for strip in strips]

    def text(self) -> str:
        return "\n".join(self.lines())

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                await asyncio.sleep(0.01)
        await self.pilot.pause()

    async def goes_to(self, clock: int) -> None:
        """One period after the other, until the host's clock has come so far."""

        def stands_at() -> int:
            return 0 if self.app.room.view is None else self.app.room.view.clock

        while stands_at() < clock:
            before = stands_at()
            await self.pilot.press("n")
            await self.until(lambda before=before: stands_at() > before and not self.app.room.goes_on)  # type: ignore[misc]

    async def sees(self, text: str) -> None:
        await self.until(lambda: text in self.text())


@asynccontextmanager
async def visit(
    room: Room, size: tuple[int, int], host: str = "noisy-neighbour", other: OtherHost | None = None
) -> AsyncIterator[Visit]:
    definition = find_host(host)
    seen = None if other is None else OtherHostSeen(other.peer(definition.other_host or Plan()), lambda: ["I have it"])
    app = MachineRoomApp(room, definition.automation, definition.title, other=seen, summary=definition.summary)
    async with app.run_test(size=size) as pilot:
        there = Visit(app, pilot)
        await there.until(lambda: app.room.view is not None)
        yield there
        app.room.host.end()


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return open_host(find_host("noisy-neighbour"), tmp_path, lambda: 0)


async def test_q_ends_an_app_that_has_begun_with_the_room(room: Room) -> None:
    async with visit(room, (80, 24)) as there:
        await there.pilot.press("q")
        await there.until(lambda: not there.app.is_running)


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


async def test_before_it_runs_a_room_says_what_it_shows_and_what_is_to_come(room: Room) -> None:
    async with visit(room, (120, 40)) as there:
        await there.sees("What this host shows")
        await there.sees("At 4,000,000 cycles: cap noisy 20 %")
        await there.sees("space lets it run")
        view = there.app.room.view
        assert view is not None
        row, other = (
            replace(row, share=50, share_before=before) for row, before in zip(view.rows, (20, 80), strict=True)
        )
        lines = [line.plain for line in machine_lines(replace(view, rows=(row, other)), 0, 115, has_legend=False)]
        assert ("50 %▲" in lines[1], "50 %▼" in lines[2]) == (True, True)
        await there.goes_to(4_500_000)
        await there.sees(" (order): cap noisy 20 %: done")
        assert "Still to come" not in there.text()
        assert "What this host shows" not in there.text()
    room.close()


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
        await there.pilot.press("left_square_bracket")
        await there.sees("refused: neighbour has no balloon")
        await there.pilot.press("p")
        await there.sees("paused")
        await there.pilot.press("p")
        await there.sees("resume neighbour: done")
        await there.pilot.press("o")
        await there.sees("What is in its memory is lost")
        await there.pilot.press("n", "o", "y")
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


@pytest.mark.parametrize("size", SIZES)
async def test_without_colour_it_has_the_same_letters(
    tmp_path: Path, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    for name in ("colour", "none"):
        if name == "none":
            monkeypatch.setenv("NO_COLOR", "1")
        (tmp_path / name).mkdir()
        room = open_host(find_host("noisy-neighbour"), tmp_path / name, lambda: 0)
        async with visit(room, size) as there:
            await there.pilot.press("n")
            await there.sees("exits")
            room_lines = there.lines()
            await there.pilot.press("l")
            await there.until(lambda there=there: isinstance(there.app.screen, LifeDialog))  # type: ignore[misc]
            life_lines = there.lines()
            await there.pilot.press("escape", "r")
            await there.until(lambda there=there: isinstance(there.app.screen, ConfirmDialog))  # type: ignore[misc]
            seen.append((room_lines, life_lines, there.lines()))
            assert there.app.no_color is (name == "none")
        room.close()
    assert seen[0] == seen[1]
    assert len({"\n".join(lines) for lines in seen[0]}) == 3


@pytest.mark.parametrize("size", SIZES)
async def test_a_migration_is_shown_round_by_round(tmp_path: Path, size: tuple[int, int]) -> None:
    other, room = OtherHost(tmp_path), open_host(find_host("migration-writer"), tmp_path / "here", lambda: 0)
    async with visit(room, size, "migration-writer", other) as there:
        await there.goes_to(4_500_000)
        assert_lines_as_on_file(there.lines(), "machine-room", size)
    room.close()
    other.over()
    assert "link was lost" in other.refusal


async def test_a_machine_is_moved_by_key_and_helped(tmp_path: Path) -> None:
    other, room = OtherHost(tmp_path), open_host(find_host("migration-quiet"), tmp_path / "here", lambda: 0)
    async with visit(room, (120, 40), "migration-quiet", other) as there:
        await there.pilot.press("m")
        await there.sees("[migrating]")
        await there.pilot.press("h")
        await there.sees("auto-converge quiet: done")
        await there.pilot.press("space")
        await there.sees("it is there")
        await there.sees("It stood still for")
        await there.sees("The other host: I have it")
        there.app.room.host.submit("hold")
    room.close()
    assert not room.machines
    assert other.over().kept("quiet").state is Life.RUNNING


async def test_enter_shows_a_machines_guest_where_it_stands_and_escape_comes_back(room: Room) -> None:
    async with visit(room, (120, 40)) as there:
        await there.pilot.press("n", "enter")
        await there.until(lambda: isinstance(there.app.screen, ExploreScreen))
        explore = there.app.explore
        await there.until(lambda: explore.snapshot is not None and explore.snapshot.position > 0)
        assert explore.snapshot is not None
        assert explore.snapshot.technique_id == "vt-x"
        shown = explore.snapshot.position
        await there.until(lambda: not explore.is_busy and not explore.in_motion)
        await there.pilot.press("escape")
        await there.until(lambda: there.app.screen is there.app.room)
        await there.sees("the host is held")
    stands = room.kept("noisy").run
    assert stands is not None
    assert stands.place.retired == shown
    room.close()


@needs_nasm
async def test_the_guest_of_a_machine_is_edited_as_a_copy_beside_it(room: Room) -> None:
    async with visit(room, (120, 40)) as there:
        await there.pilot.press("n", "enter")
        await there.until(lambda: isinstance(there.app.screen, ExploreScreen))
        explore = there.app.explore
        await there.until(lambda: explore.snapshot is not None and explore.snapshot.position > 0)
        await there.until(lambda: not explore.is_busy and not explore.in_motion)
        before = room.kept("noisy").definition
        await there.pilot.press("e")
        await there.until(lambda: isinstance(there.app.screen, EditScreen))
        await there.sees("This is a copy")
        await there.pilot.press("f9")
        await there.until(lambda: isinstance(there.app.screen, SideBySideScreen))
        await there.sees("Your edit")
        await there.pilot.press("q")
        await there.until(lambda: isinstance(there.app.screen, EditScreen))
        await there.pilot.press("escape")
        await there.until(lambda: there.app.screen is explore)
        await there.pilot.press("escape")
        await there.until(lambda: there.app.screen is there.app.room)
        assert room.kept("noisy").definition == before


async def test_the_life_of_a_machine_is_shown_with_where_it_is(room: Room) -> None:
    async with visit(room, (80, 24)) as there:
        await there.sees("Life of noisy:")
        await there.sees("p pause → paused  r reset → running  d shutdown → shutting-down")
        await there.pilot.press("p", "l")
        await there.sees("▲ here")
        assert any("p   resume" in line and "running" in line for line in there.lines())
        await there.pilot.press("escape", "s")
        await there.sees("snapshot noisy: done")
        await there.pilot.press("c")
        await there.sees("noisy-2")
    assert list(room.kept("noisy").snapshots) == ["order-1"]
    assert room.kept("noisy-2").state is Life.PAUSED
    room.close()


@pytest.mark.parametrize("size", SIZES)
async def test_help_explains_every_key_and_column_and_the_last_line_is_whole(room: Room, size: tuple[int, int]) -> None:
    async with visit(room, size) as there:
        assert "q quit" in there.lines()[-1]
        await there.pilot.press("question_mark")
        await there.sees("What stands in a row")
        help_ = there.app.screen.query_one(Static)
        words = str(help_.content)
        keys = {key for binding in MachineRoomScreen.BINDINGS if isinstance(binding, Binding)
                for key in binding.key.split(",") if len(key) == 1 and key not in "kj"}  # fmt: skip
        assert [key for key in sorted(keys) if not re.search(rf"^  .*\b{key}\b.{{0,6}} ", words, re.MULTILINE)] == []
        await there.pilot.press("escape")
        await there.sees("What this host shows")
    room.close()


async def test_memory_is_taken_and_given_by_key(tmp_path: Path) -> None:
    room = open_host(find_host("overcommit"), tmp_path, lambda: 0)
    async with visit(room, (120, 40), "overcommit") as there:
        await there.pilot.press("left_square_bracket")
        await there.sees("balloon reader to 3 MiB: done")
        await there.pilot.press("right_square_bracket")
        await there.sees("balloon reader empty: done")
    assert room.kept("reader").definition.memory_max_mib is None
    room.close()


async def test_from_the_home_screen_into_a_room_a_machine_a_lecture_and_home_again() -> None:
    app = RingvizApp()
    async with app.run_test(size=(120, 40)) as pilot:

        async def until(condition: Callable[[], bool]) -> None:
            async with asyncio.timeout(20):
                while not condition():
                    await asyncio.sleep(0.01)
            await pilot.pause()

        to_noisy = ["down"] * host_ids().index("noisy-neighbour")
        await pilot.press("h", *to_noisy, "enter")
        await until(lambda: app.machine_room is not None and app.machine_room.view is not None)
        assert app.screen is app.machine_room
        await pilot.press("enter")
        await until(lambda: isinstance(app.screen, ExploreScreen) and app.explore.snapshot is not None)
        assert app.explore.snapshot is not None
        assert app.explore.snapshot.scenario_id == "timer-tour"
        await until(lambda: not app.explore.is_busy and not app.explore.in_motion)
        await pilot.press("q")
        await until(lambda: app.screen is app.machine_room)
        await pilot.press("q")
        await until(lambda: isinstance(app.screen, HomeScreen))
        assert not app.remembered.last.scenario
        await pilot.press("h", *to_noisy, "p")
        await until(lambda: isinstance(app.screen, HostLectureScreen))
        await pilot.press("q", "q")
        await until(lambda: isinstance(app.screen, HomeScreen))
