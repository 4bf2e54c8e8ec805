"""Lessons beside a running guest."""

from pathlib import Path

import pytest

from ringviz.lessons.progress import Progress
from ringviz.ui.app import RingvizApp
from ringviz.ui.requests import OpenLesson
from ringviz.ui.screens.explore import ExploreScreen
from ringviz.ui.screens.lesson import LessonScreen
from ringviz.ui.screens.lessons import LessonsScreen
from ringviz.ui.screens.spoilers import without_verdicts
from ringviz.ui.widgets.code import CodePanel
from ringviz.ui.widgets.rings import RingsPanel
from ringviz.ui.widgets.twice import TwicePanel
from tests.ui.bench import SIZES, bench
from tests.ui.fake import FakeLaboratory, make_snapshot
from tests.ui.grid import assert_as_on_file


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RINGVIZ_STATE", str(tmp_path))


@pytest.mark.parametrize("size", SIZES)
async def test_text_and_guest_stand_side_by_side_at_the_place_that_the_text_speaks_of(size: tuple[int, int]) -> None:
    async with bench(size=size, scenario=None, lesson=OpenLesson("holes")) as b:
        text = b.text()
        for part in ("The hole in x86", "page 1 of 3", "A kernel looks at itself", "mov eax,", "• another thing"):
            assert part in text, part
        assert "popf   ; [not markup]" in text
        assert "**" not in text
        assert "`" not in text
        assert b.shown.snapshot.position == 8
        assert b.app.screen.query_one(RingsPanel).display
        assert not b.app.screen.query_one(CodePanel).display


@pytest.mark.parametrize("size", SIZES)
async def test_the_screen_is_the_one_on_file(size: tuple[int, int]) -> None:
    async with bench(size=size, scenario=None, lesson=OpenLesson("holes", 2)) as b:
        await b.press("a", "a", "enter")
        assert_as_on_file(b, "lesson", size)


@pytest.mark.parametrize("size", SIZES)
async def test_a_question_is_answered_before_the_page_is_turned(size: tuple[int, int]) -> None:
    async with bench(size=size, scenario=None, lesson=OpenLesson("holes", 2)) as b:
        assert b.app.screen.query_one(TwicePanel).display
        assert "What does POPF do in [ring 1]?" in " ".join(b.text().split())
        assert "That is the hole" not in b.text()
        await b.press("enter", "x", "enter")
        assert "Expected one letter from a to c." in b.text()
        await b.press("backspace", "a", "enter")
        assert "You said a; the answer" in b.text()
        await b.press("a", "c", "enter")
        assert "Right" in b.text()
        assert "That is the hole." in b.text()
        await b.press("enter")
        assert "page 3 of 3" in b.text()
        await b.press("enter")
        assert "ringviz quiz holes" in b.text()
    done = Progress.load().of("holes")
    assert (done.page, done.is_read, done.answers) == (3, True, {"q-popf": "c"})


def test_what_will_become_of_an_instruction_can_be_kept_from_somebody_who_guesses() -> None:
    moment = make_snapshot("trap-emulate", 42)
    assert {row.verdict.value for row in moment.code} > {"traps", "silent"}
    kept = without_verdicts(moment)
    assert {(row.verdict.value, row.note) for row in kept.code} == {("", "")}
    assert [row.address for row in kept.code] == [row.address for row in moment.code]


async def test_an_empty_answer_shows_the_right_one_and_is_not_kept() -> None:
    async with bench(scenario=None, lesson=OpenLesson("holes", 2)) as b:
        await b.press("a", "enter")
        assert "· The answer: c) Nothing, and nobody is told" in b.text()
    assert Progress.load().of("holes").answers == {}


async def test_a_letter_in_the_answer_moves_nothing_and_escape_gives_the_keys_back() -> None:
    async with bench(scenario=None, lesson=OpenLesson("holes", 2)) as b:
        await b.press("a", "b", "escape")
        assert b.shown.snapshot.position == 50
        await b.press("b")
        assert b.shown.snapshot.position == 49
        await b.press("l")
        assert b.shown.snapshot.position == 50


async def test_the_guest_is_ones_own_to_move_and_everything_about_it_is_one_key_away() -> None:
    async with bench(scenario=None, lesson=OpenLesson("holes")) as b:
        await b.press("space", "e")
        assert isinstance(b.app.screen, ExploreScreen)
        assert b.shown.snapshot.position == 9
        await b.press("space", "q")
        assert isinstance(b.app.screen, LessonScreen)
        assert "page 1 of 3" in b.text()
        assert b.shown.snapshot.position == 10


async def test_another_panel_takes_the_place_and_can_be_zoomed() -> None:
    async with bench(scenario=None, lesson=OpenLesson("holes")) as b:
        await b.press("o")
        assert not b.app.screen.query_one(RingsPanel).display
        await b.press("z")
        assert b.app.screen.maximized is not None
        await b.press("escape")
        assert b.app.screen.maximized is None


async def test_from_home_to_the_list_of_lessons_and_back_in_where_one_was() -> None:
    async with bench(scenario=None) as b:
        await b.press("l")
        assert isinstance(b.app.screen, LessonsScreen)
        assert "Instructions that say [nothing]." in b.text()
        await b.press("enter", "right")
        assert "page 2 of 3" in b.text()
        await b.press("q")
        assert "page 2 of 3" in b.text()
        await b.press("home", "enter")
        assert isinstance(b.app.screen, LessonScreen)
        assert "page 2 of 3" in b.text()
        await b.press("q", "q")
        assert not isinstance(b.app.screen, LessonsScreen)


async def test_an_unknown_lesson_on_the_command_line_ends_the_app_with_one_line() -> None:
    app = RingvizApp(laboratory=FakeLaboratory(), lesson=OpenLesson("nowhere"))
    async with app.run_test() as pilot:
        for _ in range(100):
            await pilot.pause(0.01)
            if app.failure:
                break
    assert app.return_code == 2
    assert app.failure.startswith('lesson "nowhere" unknown')


async def test_progress_that_cannot_be_read_is_said_and_kept(tmp_path: Path) -> None:
    (tmp_path / "progress.json").write_text("{", encoding="utf-8")
    async with bench(scenario=None) as b:
        await b.press("l")
        assert "it is kept as progress.damaged.json" in b.text()
        assert (tmp_path / "progress.damaged.json").exists()
