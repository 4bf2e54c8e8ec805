"""`ringviz learn`: the course, and one lesson as plain text, a page at a time."""

import sys
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from ringviz.cli.exits import Exit, complain
from ringviz.cli.output import print_json, print_lines, strong, width_cells
from ringviz.cli.prose import prose
from ringviz.cli.run import has_terminal
from ringviz.cli.table import Column, table
from ringviz.errors import InputError
from ringviz.lessons.course import find_lesson, list_lessons
from ringviz.lessons.lesson import Lesson
from ringviz.lessons.progress import LessonProgress, Progress, answer_key
from ringviz.lessons.question import LETTERS, Question

if TYPE_CHECKING:
    from ringviz.lessons.follow import Follower, Page

_COLUMNS = (
    Column("", is_number=True),
    Column("Id"),
    Column("Minutes", is_number=True),
    Column("Done"),
    Column("What you learn", wraps=True),
)
_LEAVE = ("q", "quit", "exit")


def _lesson_ids(incomplete: str) -> list[str]:
    return [lesson.id for lesson in list_lessons(lambda _error: None) if lesson.id.startswith(incomplete)]


LessonArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[LESSON]", help="A lesson's id or number, or the path of its folder.", autocompletion=_lesson_ids
    ),
]
Seed = Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Another variant of the questions.")]


def learn(
    lesson: LessonArgument = None,
    seed: Seed = 0,
    again: Annotated[bool, typer.Option("--again", help="Begin at the first page.")] = False,
    plain: Annotated[
        bool, typer.Option("--plain", help="Plain text, a page at a time; so it is, too, where there is no terminal.")
    ] = False,
    teacher: Annotated[bool, typer.Option("--teacher", help="Print the notes for teachers.")] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Without a lesson: print the course and your progress as JSON.")
    ] = False,
) -> int:
    """List the lessons, or follow one of them beside its guest."""
    progress = Progress.load()
    if progress.complaint:
        complain(progress.complaint)
    if json and lesson is not None:
        raise InputError("--json goes without a lesson: it prints the whole course, and what has been done of it")
    if lesson is None:
        lessons = list_lessons(lambda error: complain(str(error)))
        if json:
            print_json({"schema": 1, "lessons": [_lesson_json(row, progress) for row in lessons]})
        else:
            print_lines(course(lessons, progress))
        return Exit.DONE
    found = find_lesson(lesson)
    if teacher:
        print_lines([strong(f"{found.title}: for the teacher"), "", *_prose(found.teacher)])
        return Exit.DONE
    if not plain and has_terminal():
        from ringviz.ui.app import run_app
        from ringviz.ui.requests import OpenLesson

        done = progress.of(found.id)
        page = 1 if again or done.is_read else done.page
        return run_app(lesson=OpenLesson(lesson, page, seed))
    return _follow(found, progress, seed, again)


def course(lessons: tuple[Lesson, ...], progress: Progress) -> Iterator[str]:
    """Give the lessons as a table, with what has been done of them."""
    rows = []
    for lesson in lessons:
        done = progress.lessons.get(lesson.id)
        word = "" if done is None else "passed" if done.is_passed else "read" if done.is_read else f"page {done.page}"
        what = f"{lesson.title}. {lesson.summary}" + (" (core)" if lesson.is_core else "")
        rows.append((str(lesson.order), lesson.id, str(lesson.minutes), word, what))
    yield strong("The course")
    yield from table(_COLUMNS, rows, width_cells())
    yield ""
    yield from textwrap.wrap(
        "ringviz learn ID opens a lesson, ringviz quiz ID asks what you have learned. Lessons marked (core) make a "
        "course of two weeks.",
        width_cells(),
    )


def _lesson_json(lesson: Lesson, progress: Progress) -> dict[str, object]:
    done = progress.lessons.get(lesson.id, LessonProgress())
    return {
        "id": lesson.id,
        "order": lesson.order,
        "title": lesson.title,
        "summary": lesson.summary,
        "minutes": lesson.minutes,
        "core": lesson.is_core,
        "pages": len(lesson.sections) + 3,
        "page": done.page,
        "read": done.is_read,
        "best_percent": done.best_percent,
        "passed": done.is_passed,
        "answers": done.answers,
    }


def _follow(lesson: Lesson, progress: Progress, seed: int, again: bool) -> int:
    """Go through a lesson on standard input and output."""
    from ringviz.lessons.follow import Follower, Role

    done = progress.of(lesson.id)
    follower = Follower(lesson, seed)
    number = 1 if again or done.is_read else min(done.page, follower.count)
    print_lines(
        [strong(lesson.title), "", *_prose(lesson.summary), "", f"About {lesson.minutes} minutes. You learn to:"]
    )
    print_lines([*_prose("\n".join(f"- {goal}" for goal in lesson.goals)), ""])
    while number <= follower.count:
        follower.open(number)
        page = follower.page()
        print_lines(_page(follower, page, is_moved=page.role not in (Role.READ_NEXT, Role.MISCONCEPTION)))
        if page.question is not None:
            given = _asked(page.question)
            if given is None:
                break
            if given:
                done.answers[answer_key(page.question.id, seed)] = given
            print_lines([*_judged(page.question, given), *_after("", _prose(page.reveal))])
        number += 1
        done.page = min(number, follower.count)
        done.is_read = done.is_read or number > follower.count
        progress.save()
        if (
            number <= follower.count
            and page.question is None
            and _line("Enter for the next page, q to leave: ") is None
        ):
            break
    if number <= follower.count:
        print_lines(["", f"Page {number} of {follower.count} is kept; ringviz learn {lesson.id} goes on there."])
    else:
        print_lines([f"The end. ringviz quiz {lesson.id} asks what you have learned."])
    return Exit.DONE


def _page(follower: "Follower", page: "Page", *, is_moved: bool) -> Iterator[str]:
    from ringviz.lessons.looked_at import WITHOUT_CODE, looked_at
    from ringviz.lessons.situation import listing, situation

    title = ": ".join(dict.fromkeys(part for part in (page.role.value, page.title) if part))
    yield ""
    yield strong(f"{page.number} of {page.of}. {title}")
    yield ""
    yield from _prose(page.text)
    if page.host:
        yield ""
        yield from (f"| {line}".rstrip() for line in page.host)
    elif is_moved:
        yield ""
        for line in situation(follower.session):
            yield from textwrap.wrap(line, width_cells(), initial_indent="| ", subsequent_indent="| ")
        for line in looked_at(follower.session, page.look, width_cells() - 2):
            yield f"| {line}"
        is_guess = page.question is not None and page.question.is_guess
        if is_guess or page.look not in WITHOUT_CODE:
            for line in listing(follower.session, has_verdicts=not is_guess):
                yield f"|   {line}"[: width_cells()]
    if page.question is not None:
        yield ""
        yield from asked(page.question)


def asked(question: Question) -> Iterator[str]:
    """Give a question with its options, as text."""
    yield from textwrap.wrap(f"? {question.text}", width_cells(), subsequent_indent="  ")
    for i, item in enumerate(question.items):
        yield f"  {i + 1}. {item}"
    for letter, option in zip(LETTERS, question.options, strict=False):
        yield from textwrap.wrap(f"  {letter}) {option}", width_cells(), subsequent_indent="     ")


def _asked(question: Question) -> str | None:
    """Read an answer; "" if the learner would rather see it, None if they leave."""
    while True:
        given = _line(f"Your answer ({question.how}; Enter shows it, q leaves): ")
        if given is None or not given:
            return given
        if question.normalized(given) is not None:
            return given
        print_lines([f"Expected {question.how}."])


def _after(line: str, lines: list[str]) -> list[str]:
    """Put a line before others, if there are any."""
    return [line, *lines] if lines else []


def _judged(question: Question, given: str) -> Iterator[str]:
    word = "The answer" if not given else "Right" if question.is_right(given) else "Not so; the answer"
    yield from textwrap.wrap(f"{word}: {question.solution}", width_cells(), subsequent_indent="  ")
    yield from textwrap.wrap(question.explain, width_cells())


def _line(prompt: str) -> str | None:
    """Read one line; None at the end of the input, or if it asks to leave."""
    sys.stdout.write(prompt)
    sys.stdout.flush()
    line = sys.stdin.readline()
    if not sys.stdin.isatty():
        sys.stdout.write("\n")
    return None if not line or line.strip().lower() in _LEAVE else line.strip()


def _prose(markdown: str) -> list[str]:
    return prose(markdown, width_cells())
