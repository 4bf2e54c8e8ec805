"""A replay in the app: played key by key, left and returned to, and by itself."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from textual.pilot import Pilot

from ringviz.record.made_with import MadeWith
from ringviz.record.replay import Beat, Machine, Question, Replay, ToEvent, Wanted
from ringviz.ui.app import RingvizApp
from ringviz.ui.commands import EXPLORE, REPLAY
from ringviz.ui.screens.beat_group import ReplayGroupScreen
from ringviz.ui.screens.replay import ReplayScreen
from ringviz.ui.widgets.caption import Caption
from ringviz.ui.widgets.rings import RingsPanel
from tests.ui.bench import SIZES
from tests.ui.grid import assert_lines_as_on_file

BEATS = (
    Beat("The start", say="Nothing has run. [ebx] is no markup.", focus="rings"),
    Beat("A trap", go=ToEvent("trap"), ask=Question("Who hears of it?", ("VMM", "nobody"), "VMM"), is_zoomed=False),
    Beat("Elsewhere", Machine("vt-x"), focus="card", is_zoomed=True, expect=(Wanted("ring", "==", 1),)),
)


def _replay(*beats: Beat) -> Replay:
    return Replay(Path("a.replay.toml"), "a.replay.toml", "T", "hello-serial", Machine("trap-emulate"), beats)


async def _until(pilot: Pilot[None], holds: Callable[[], bool]) -> None:
    for _ in range(600):
        if holds():
            return
        await pilot.pause(0.02)
    raise AssertionError("it did not come to that")


@pytest.mark.parametrize("size", SIZES)
async def test_the_screen_is_as_on_file(size: tuple[int, int]) -> None:
    app = RingvizApp(replay=_replay(*BEATS))
    app.animation_level = "none"
    async with app.run_test(size=size) as pilot:
        await _until(pilot, lambda: "The start" in _caption(app))
        await pilot.press("right")
        await _until(pilot, lambda: "A trap" in _caption(app))
        await pilot.pause()
        rows = app.screen._compositor.render_strips()
        assert_lines_as_on_file(["".join(part.text for part in row) for row in rows], "replay", size)


def _caption(app: RingvizApp) -> str:
    return str(app.explore.query_one(Caption).render())


def _position(app: RingvizApp) -> int:
    return -1 if app.explore.snapshot is None else app.explore.snapshot.position


def test_its_keys_are_none_of_those_of_exploring() -> None:
    def keys(commands: object) -> set[str]:
        return {key for command in commands for key in command.keys.split(",")}  # type: ignore[attr-defined]

    assert not keys(REPLAY) & keys(EXPLORE)


async def test_beats_are_turned_by_key_and_the_guest_may_be_moved_in_between() -> None:
    app = RingvizApp(replay=_replay(*BEATS), speed=0.01)
    async with app.run_test(size=(120, 40)) as pilot:
        await _until(pilot, lambda: "1/3 The start" in _caption(app) and _position(app) == 0)
        assert isinstance(app.screen, ReplayScreen)
        assert "[ebx] is no markup." in _caption(app)
        assert "goes on by itself" in _caption(app)
        await _until(pilot, lambda: isinstance(app.focused, RingsPanel))
        await pilot.press("full_stop")
        await _until(pilot, lambda: "2/3 A trap" in _caption(app) and _position(app) == 3)
        assert "→ VMM" not in _caption(app)
        await pilot.press("full_stop")
        await _until(pilot, lambda: "→ VMM" in _caption(app))
        assert "2/3" in _caption(app)
        await pilot.press("space", "space")
        await _until(pilot, lambda: _position(app) == 5)
        assert "waits" in _caption(app)
        await pilot.press("slash")
        await _until(pilot, lambda: _position(app) == 3)
        await pilot.press("space", "full_stop", "full_stop")
        await _until(pilot, lambda: "3/3 Elsewhere" in _caption(app))
        await _until(pilot, lambda: app.explore.snapshot is not None and app.explore.snapshot.technique_id == "vt-x")
        assert _position(app) == 3
        assert "× step 3: ring: expected 1, found 0" in _caption(app)
        await _until(pilot, lambda: app.screen.maximized is not None)
        assert app.explore.query_one(Caption).is_attached
        await pilot.press("comma")
        await _until(pilot, lambda: "2/3 A trap" in _caption(app) and app.screen.maximized is None)


async def test_it_goes_on_by_itself_to_the_last_beat() -> None:
    app = RingvizApp(replay=_replay(*BEATS[:2], Beat("The end")), speed=100)
    async with app.run_test(size=(80, 24)) as pilot:
        await _until(pilot, lambda: "3/3 The end" in _caption(app))


async def test_a_replay_that_cannot_be_opened_ends_the_app_with_one_line() -> None:
    replay = Replay(Path("a"), "a", "T", "hello-serial", Machine("vt-x", cpu="k8"), BEATS)
    app = RingvizApp(replay=replay)
    async with app.run_test() as pilot:
        await _until(pilot, lambda: bool(app.failure))
    assert app.failure.startswith("a: ")
    assert app.return_code == 2


async def test_what_is_shown_can_be_noted() -> None:
    noted: list[tuple[int, bool]] = []

    def note(sitting: object, is_step: bool) -> None:
        noted.append((sitting.position, is_step))  # type: ignore[attr-defined]

    app = RingvizApp("hello-serial", "trap-emulate", noted=note)
    async with app.run_test() as pilot:
        await _until(pilot, lambda: (0, False) in noted)
        await pilot.press("space")
        await _until(pilot, lambda: (1, True) in noted)
        await pilot.press("n")
        await _until(pilot, lambda: (3, False) in noted)


async def test_a_beat_that_compares_opens_the_techniques_side_by_side_until_the_next() -> None:
    beats = (
        Beat("Two worlds", say="Look at both.", go=ToEvent("trap"), compare=("native", "vt-x")),
        Beat("Back in one", ask=Question("Which?", ("this", "that"), "this"), compare=("native", "trap-emulate")),
        Beat("The end"),
    )
    app = RingvizApp(replay=_replay(*beats), speed=0.01)
    async with app.run_test(size=(120, 40)) as pilot:
        await _until(pilot, lambda: isinstance(app.screen, ReplayGroupScreen))
        group = app.screen
        assert isinstance(group, ReplayGroupScreen)
        await _until(pilot, lambda: bool(group.query(Caption)))
        assert "Look at both." in str(group.query_one(Caption).render())
        await _until(pilot, lambda: [column.technique_id for column in group.columns] == ["native", "vt-x"])
        await pilot.press("full_stop")
        await _until(pilot, lambda: "2/3 Back in one" in _caption(app) and isinstance(app.screen, ReplayScreen))
        await pilot.press("full_stop")  # only with the answer may one compare
        await _until(pilot, lambda: isinstance(app.screen, ReplayGroupScreen) and app.screen is not group)
        await pilot.press("q")
        await _until(pilot, lambda: isinstance(app.screen, ReplayScreen))
        assert "2/3" in _caption(app)
        await pilot.press("slash")
        await _until(pilot, lambda: "2/3" in _caption(app) and not app.explore.is_busy)
        await pilot.press("full_stop", "full_stop")
        await _until(pilot, lambda: "3/3 The end" in _caption(app) and isinstance(app.screen, ReplayScreen))


async def test_a_stale_replay_says_so_when_it_is_opened() -> None:
    old = replace(_replay(*BEATS), made_with=MadeWith("0" * 16, "0" * 16, "0" * 16))
    app = RingvizApp(replay=old, speed=0.01)
    words = "Since it was recorded, the guest's image, ringviz and the CPU's profile changed"
    async with app.run_test(size=(120, 40)) as pilot:
        await _until(pilot, lambda: "1/3" in _caption(app) and words in _caption(app))
        await pilot.press("full_stop")
        await _until(pilot, lambda: "2/3" in _caption(app))
        assert words not in _caption(app)
