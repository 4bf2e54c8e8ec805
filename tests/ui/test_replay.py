"""A replay in the app: played key by key, left and returned to, and by itself."""

from collections.abc import Callable
from pathlib import Path

from textual.pilot import Pilot

from ringviz.record.replay import Beat, Machine, Question, Replay, ToEvent, Wanted
from ringviz.ui.app import RingvizApp
from ringviz.ui.commands import EXPLORE, REPLAY
from ringviz.ui.screens.replay import Caption, ReplayScreen
from ringviz.ui.widgets.rings import RingsPanel

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
