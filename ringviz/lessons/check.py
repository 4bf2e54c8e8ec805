"""What is wrong with a lesson: found by going through it as a learner would, with its guest, and through its quiz."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ringviz.errors import LessonError, RingvizError
from ringviz.guest.scenario import shown_path
from ringviz.lessons.asked import Asked
from ringviz.lessons.figures import figures_in
from ringviz.lessons.follow import Follower
from ringviz.lessons.host_told import moment_of
from ringviz.lessons.lesson import Lesson, Quiz, Section
from ringviz.lessons.make import Maker
from ringviz.lessons.read import TEACHER, read_quiz

SEEDS = (0, 1, 2)
"""Variants of the questions that are made to see whether they can be."""


def lesson_problems(lesson: Lesson, seeds: Sequence[int] = SEEDS) -> Iterator[str]:
    """Tell all that is wrong: places never reached, figures that cannot be, answers that the run contradicts.

    Args:
        lesson: the lesson.
        seeds: variants of the questions to be made.

    Yields:
        One line each: file and line, section or question, what is wrong and what was expected.
    """
    try:
        follower = Follower(lesson)
    except RingvizError as error:
        yield f"{shown_path(lesson.path.resolve())}: {error}"
        return
    for number in range(1, follower.count + 1):
        yield from _problems_of_page(follower, number, seeds)
    teacher = Section(TEACHER, None, lesson.teacher, None, "")
    if figures_in(lesson.teacher):
        yield f"{_place(lesson, teacher)}: figures are filled in on the pages only; expected none here"
    if lesson.quiz_path.is_file():
        yield from _problems_of_quiz(follower, seeds)


def _problems_of_page(follower: Follower, number: int, seeds: Sequence[int]) -> Iterator[str]:
    lesson, section = follower.lesson, follower.section(number)
    place = _place(lesson, section)
    try:
        follower.open(number)
    except RingvizError as error:
        if section.move is not None:  # else it has been told of the page that said so
            yield str(error)
    else:
        if section.move is not None and section.move.look == "vmm" and _has_no_side(follower):
            technique = follower.session.technique.id
            yield f'{place}: go: look: found "vmm", but {technique} keeps nothing beside the guest\'s code'
    move = section.move
    if move is not None and move.host is not None:
        try:
            moment_of(move.host, move.after)
        except RingvizError as error:
            yield f"{place}: go: {error}"
    for name in (*figures_in(section.text), *figures_in(section.reveal)):
        try:
            follower.figures.value(name)
        except RingvizError as error:
            yield f"{place}: {{{{{name}}}}}: {error}"
    if section.question is not None:
        yield from _problems_of_question(follower, section.question, lesson.path, seeds)


def _has_no_side(follower: Follower) -> bool:
    return follower.session.snapshot(lambda: True).side is None


def _problems_of_quiz(follower: Follower, seeds: Sequence[int]) -> Iterator[str]:
    lesson = follower.lesson
    try:
        quiz: Quiz = read_quiz(lesson.quiz_path)
    except LessonError as error:
        yield str(error)
        return
    own = {question.id for question in lesson.questions}
    where = shown_path(quiz.path.resolve())
    for asked in quiz.questions:
        if asked.id in own:
            yield f"{where}: question {asked.id}: expected an id of its own, a question of the lesson has it"
        yield from _problems_of_question(follower, asked, quiz.path, seeds)


def _problems_of_question(follower: Follower, asked: Asked, path: Path, seeds: Sequence[int]) -> Iterator[str]:
    where = shown_path(path.resolve())
    for seed in seeds:
        maker = Maker(follower.lesson.scenario, seed, follower.figures, where)
        try:
            question = maker.make(asked)
        except RingvizError as error:
            yield str(error)
            return
        if not question.is_right(question.answer):
            yield f"{where}: question {asked.id}: its own answer is not taken; expected {question.how}"


def _place(lesson: Lesson, section: Section) -> str:
    line = f":{section.line}" if section.line else ""
    return f"{shown_path(lesson.path.resolve())}{line}: section “{section.title}”"
