"""Every lesson that ringviz ships can be followed to its end, and its quiz has answers."""

from __future__ import annotations

import pytest

from ringviz.lessons.check import lesson_problems
from ringviz.lessons.course import course_folder, list_lessons
from ringviz.lessons.lesson import Lesson

LESSONS = list_lessons()


def ids(lesson: Lesson) -> str:
    return lesson.id


@pytest.mark.parametrize("lesson", LESSONS, ids=ids)
def test_every_place_is_reached_every_figure_computed_and_every_question_answered(lesson: Lesson) -> None:
    assert list(lesson_problems(lesson, seeds=(0,))) == []


@pytest.mark.parametrize("lesson", LESSONS, ids=ids)
def test_every_lesson_is_whole(lesson: Lesson) -> None:
    assert lesson.quiz_path.is_file()
    assert 8 <= lesson.minutes <= 25
    assert 2 <= len(lesson.goals) <= 6
    assert sum(section.question is not None for section in lesson.sections) >= 2, "too few predictions"
    assert "minute" in lesson.teacher.lower()


def test_every_folder_of_the_course_is_a_lesson_and_no_two_have_the_same_place() -> None:
    folders = [path.name for path in course_folder().iterdir() if path.is_dir() and path.name != "__pycache__"]
    assert sorted(folders) == sorted(lesson.id for lesson in LESSONS)
    orders = [lesson.order for lesson in LESSONS]
    assert len(set(orders)) == len(orders)
