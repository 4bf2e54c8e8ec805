"""Hosts in lessons: moments that can be told and measured, and what is wrong with a page about one."""

from pathlib import Path

import pytest

from ringviz.errors import InputError, LessonError
from ringviz.guest.scenario import find_scenario
from ringviz.lessons.check import lesson_problems
from ringviz.lessons.course import find_lesson
from ringviz.lessons.figures import Figures
from ringviz.lessons.follow import Follower
from ringviz.lessons.host_told import told_host
from ringviz.lessons.read import read_lesson


def test_a_moment_is_told_in_lines_with_what_was_measured() -> None:
    lines = told_host("noisy-neighbour", "6")
    neighbour = next(line.split() for line in lines if line.startswith("neighbour  "))
    assert neighbour[1:5] == ["80", "%", "20", "%"]
    assert any("cap noisy 20 %: done" in line for line in lines)
    assert max(len(line) for line in lines if "│" in line) <= 36
    figures = Figures(find_scenario("timer-tour"))
    assert figures.value("host noisy-neighbour 6 share.neighbour") == 80
    assert figures.value("host noisy-neighbour 0 cap.noisy") == 0
    assert figures.fill("{{host noisy-neighbour 3 state.noisy}}") == "running"


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("host nosy-neighbour 3 share.noisy", 'did you mean "noisy-neighbour"'),
        ("host noisy-neighbour 99 share.noisy", "expected a number of periods, 0 to 9, or end"),
        ("host noisy-neighbour 3 share.nobody", 'has no "share.nobody" then'),
        ("host noisy-neighbour 3", "is no figure"),
    ],
)
def test_a_figure_that_cannot_be_is_one_line(name: str, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        Figures(find_scenario("timer-tour")).value(name)


def test_a_page_shows_its_host_and_says_what_is_wrong_with_it(tmp_path: Path) -> None:
    lesson = find_lesson("several-machines")
    follower = Follower(lesson)
    follower.open(2)
    assert follower.page().look == "host"
    assert follower.page().host == told_host("noisy-neighbour", "3")
    text = lesson.path.read_text(encoding="utf-8")
    path = tmp_path / "lesson.md"
    for old, new, complaint in (
        ('after = "3"', 'look = "code"', "expected host, after, and no other look"),
        ('host = "noisy-neighbour"\nafter = "3"', 'look = "host"', "expected the keys host and after, too"),
    ):
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
        with pytest.raises(LessonError, match=complaint):
            read_lesson(path)
    path.write_text(text.replace('after = "3"', 'after = "77"', 1), encoding="utf-8")
    assert any('after "77": expected a number of periods' in line for line in lesson_problems(read_lesson(path), (0,)))
