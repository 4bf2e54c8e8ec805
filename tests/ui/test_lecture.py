"""Lecture mode: a presenter's keys, an audience's screen, a speaker's notes."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from textual.pilot import Pilot

from ringviz.record.lecture_notes import LectureNotes, read_notes
from ringviz.record.made_with import MadeWith
from ringviz.record.replay import Beat, Machine, Question, Replay, ToEvent
from ringviz.ui.app import RingvizApp
from ringviz.ui.commands import LECTURE
from ringviz.ui.screens.beat_group import LectureGroupScreen
from ringviz.ui.screens.compare_group import SideBySideScreen
from ringviz.ui.screens.lecture import LectureScreen
from ringviz.ui.screens.presenting import BlackScreen
from ringviz.ui.widgets.big import CELLS, ROWS, big
from ringviz.ui.widgets.code import CodePanel
from ringviz.ui.widgets.rings import RingsPanel
from ringviz.ui.widgets.twice import TwicePanel
from tests.ui.bench import SIZES
from tests.ui.grid import assert_lines_as_on_file

BEATS = (
    Beat("The start", say="Nothing has run. [ebx] is no markup.", focus="rings"),
    Beat("A trap", go=ToEvent("trap"), ask=Question("Who hears of it?", ("VMM", "nobody"), "VMM"), focus="code"),
    Beat("Elsewhere", Machine("vt-x"), focus="cpu", is_zoomed=True, say="The last words."),
)
REPLAY = Replay(Path("a.replay.toml"), "a.replay.toml", "T", "hello-serial", Machine("trap-emulate"), BEATS)


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RINGVIZ_STATE", str(tmp_path))


def lecture() -> tuple[RingvizApp, LectureScreen]:
    app = RingvizApp(replay=REPLAY, is_lecture=True)
    assert app._lecture is not None
    return app, app._lecture


def notes() -> LectureNotes:
    found = read_notes()
    assert found is not None
    return found


async def until(pilot: Pilot[None], holds: Callable[[], bool]) -> None:
    for _ in range(600):
        if holds():
            return
        await pilot.pause(0.02)
    raise AssertionError("it did not come to that")


def text(app: RingvizApp) -> str:
    return "\n".join("".join(part.text for part in row) for row in app.screen._compositor.render_strips())


def at(number: int, position: int | None = None) -> Callable[[], bool]:
    """The speaker's notes say that beat `number` stands, and its guest with it."""

    def holds() -> bool:
        found = read_notes()
        is_there = position is None or (found is not None and f"step {position} " in found.status)
        return found is not None and found.number == number and is_there

    return holds


async def test_a_lecture_from_the_first_key_to_the_last() -> None:
    app, screen = lecture()
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, at(1, 0))
        assert screen.query_one(RingsPanel).has_class("-lit")
        assert "[ebx] is no markup" not in text(app)  # the words are the speaker's
        assert notes().say == "Nothing has run. [ebx] is no markup."
        assert notes().next_beat == "A trap"
        await pilot.press("space")
        await until(pilot, at(2, 3))
        assert "Who hears of it?" in text(app)
        assert "  → VMM  " not in text(app)
        assert not notes().is_answered
        assert screen.snapshot is not None
        assert {row.verdict.value for row in screen.snapshot.code} == {""}
        await pilot.press("right")
        await until(pilot, lambda: notes().is_answered)
        assert "  → VMM  " in text(app)
        assert {row.verdict.value for row in screen.snapshot.code} != {""}
        await pilot.press("pagedown")
        await until(pilot, at(3))
        assert screen.query_one(TwicePanel).display
        assert not screen.query_one(CodePanel).display
        await pilot.press("space")
        assert "last beat" in text(app)
        await pilot.press("left")
        await until(pilot, at(2, 3))
        await pilot.press("q", "x", "space")
        assert app.screen is screen
        await pilot.press("q", "q")
        await until(pilot, lambda: notes().is_over)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("has_colour", [True, False])
async def test_its_screens_are_as_on_file(
    has_colour: bool, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_colour:
        monkeypatch.setenv("NO_COLOR", "1")
    app, screen = lecture()
    # Whatever the clock says.
    monkeypatch.setattr(screen, "_clock", lambda: 0.0)
    screen._began = 0.0
    async with app.run_test(size=size) as pilot:
        await until(pilot, at(1, 0))
        await pilot.press("right")
        await until(pilot, at(2, 3))
        await pilot.pause()
        name = "lecture" if has_colour else "lecture-no-colour"
        assert_lines_as_on_file(text(app).split("\n"), f"{name}-question", size)
        await pilot.press("right")
        await until(pilot, lambda: notes().is_answered)
        await pilot.pause()
        assert_lines_as_on_file(text(app).split("\n"), f"{name}-answer", size)
        await pilot.press("right")
        await until(pilot, at(3))
        await pilot.pause()
        assert_lines_as_on_file(text(app).split("\n"), f"{name}-zoomed", size)


async def test_a_wrong_key_loses_nothing_and_black_is_lifted_by_any() -> None:
    app, screen = lecture()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, at(1, 0))
        known = {key for command in LECTURE for key in command.keys.split(",")}
        before = screen.spotlight, notes()
        for key in ("n", "p", "r", "m", "C", "k", "g", "G", "x", "w", "v", "5", "escape", "up", "down", "f5", "i"):
            assert key not in known
            await pilot.press(key)
        await pilot.pause()
        assert app.screen is screen
        assert (screen.spotlight, notes()) == before
        await pilot.press("b")
        assert isinstance(app.screen, BlackScreen)
        assert not text(app).strip()
        assert notes().status == "black"
        await pilot.press("space")
        assert app.screen is screen
        assert notes().number == 1
        await pilot.resize_terminal(200, 60)
        await pilot.pause()
        assert notes().number == 1


async def test_spotlight_zoom_and_words() -> None:
    app, screen = lecture()
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, at(1, 0))
        await pilot.press("s")
        assert screen.query_one(CodePanel).has_class("-lit")
        assert screen.query_one(RingsPanel).has_class("-dimmed")
        await pilot.press("z")
        assert not screen.query_one(RingsPanel).display
        await pilot.press("z", "S", "o")
        assert screen.query_one(RingsPanel).has_class("-lit")
        assert "[ebx] is no markup." in text(app)


async def test_techniques_stand_side_by_side_and_the_lecture_is_where_it_was_afterwards() -> None:
    app, screen = lecture()
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, at(1, 0))
        await pilot.press("c")
        await until(pilot, lambda: isinstance(app.screen, SideBySideScreen))
        await pilot.press("q")
        await until(pilot, lambda: app.screen is screen)
        await pilot.press("space")
        await until(pilot, at(2, 3))


async def test_it_goes_on_by_itself_from_trap_to_trap_and_stops_when_asked() -> None:
    app, screen = lecture()
    screen._speed = 8.0
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, at(1, 0))
        await pilot.press("a", "a")
        assert "from trap to trap" in notes().status
        await until(pilot, lambda: screen.snapshot is not None and len(screen.snapshot.events) >= 2)
        await pilot.press("home")
        await until(pilot, at(1, 0))
        assert "trap to trap" not in notes().status


def test_big_type_has_all_letters_and_knows_its_width() -> None:
    lines = big("popf, 80h: why?", 80, "bold")
    assert lines is not None
    assert len(lines) == ROWS
    assert {len(line.plain) for line in lines} == {len("popf, 80h: why?") * CELLS - 1}
    assert big("a" * 21, 80, "bold") is None
    assert big("日本", 80, "bold") is None
    drawn = {tuple(line.plain for line in big(letter, 9, "") or ()) for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ123456789"}
    assert len(drawn) == 35  # no two letters look the same


async def test_a_beat_that_compares_opens_the_comparison_and_a_remote_goes_on_from_it() -> None:
    beats = (Beat("Two worlds", compare=("native", "vt-x")), Beat("Back in one"))
    old = MadeWith("0" * 16, "0" * 16, "0" * 16)
    app = RingvizApp(replay=replace(REPLAY, beats=beats, made_with=old), is_lecture=True)
    screen = app._lecture
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: isinstance(app.screen, LectureGroupScreen) and "Two worlds" in text(app))
        assert "Since it was recorded, the guest's image" in notes().problems[0]
        for key in ("n", "g", "m", "5"):
            await pilot.press(key)
        assert isinstance(app.screen, LectureGroupScreen)
        await pilot.press("b")
        assert isinstance(app.screen, BlackScreen)
        await pilot.press("space")
        await pilot.press("pagedown")
        await until(pilot, lambda: app.screen is screen and notes().number == 2)
        await pilot.press("pageup")
        await until(pilot, lambda: isinstance(app.screen, LectureGroupScreen))
        await pilot.press("c")
        await until(pilot, lambda: app.screen is screen)
        assert notes().number == 1
