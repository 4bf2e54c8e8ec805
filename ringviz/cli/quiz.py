"""`ringviz quiz`: asks what a lesson has taught, on the terminal or for a course server."""

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from ringviz.cli.exits import Exit, complain
from ringviz.cli.learn import Seed, asked
from ringviz.cli.options import Json
from ringviz.cli.output import print_json, print_lines, strong, width_cells
from ringviz.errors import InputError
from ringviz.lessons.course import find_lesson
from ringviz.lessons.grade import Grade, grade, grade_json, make_quiz, quiz_json, read_answers
from ringviz.lessons.lesson import Lesson
from ringviz.lessons.progress import Progress, answer_key
from ringviz.lessons.question import Question
from ringviz.lessons.read import read_quiz


def quiz(
    lesson: Annotated[str, typer.Argument(metavar="LESSON", help="A lesson's id or number, or its path.")],
    answers: Annotated[
        Path | None,
        typer.Option("--answers", metavar="FILE", help="Answers by id of the question, JSON or TOML: grade them."),
    ] = None,
    seed: Seed = 0,
    json: Json = False,
) -> int:
    """Ask a lesson's quiz, or grade a file of answers."""
    found = find_lesson(lesson)
    if not found.quiz_path.is_file():
        raise InputError(f"{found.id} has no quiz")
    file = read_quiz(found.quiz_path)
    questions = make_quiz(found, file, seed)
    if answers is None and json:
        print_json(quiz_json(questions, found, file, seed))
        return Exit.DONE
    given = read_answers(answers) if answers is not None else _ask(questions)
    result = grade(found, file, questions, given, seed)
    if json:
        print_json(grade_json(result))
    else:
        print_lines(report(found, result))
    if answers is None:
        _keep(found, result)
    return Exit.DONE if result.is_passed else Exit.FAILED


def report(lesson: Lesson, result: Grade) -> Iterator[str]:
    """Give the grade, and for every wrong answer the right one and why."""
    for answer in result.answers:
        word = "right" if answer.is_right else "not answered" if answer.given is None else "wrong"
        yield f"{answer.question.id}: {word}"
        if not answer.is_right:
            yield from textwrap.wrap(
                f"The answer: {answer.question.solution}", width_cells(), initial_indent="  ", subsequent_indent="  "
            )
        yield from textwrap.wrap(answer.question.explain, width_cells(), initial_indent="  ", subsequent_indent="  ")
    verdict = "passed" if result.is_passed else "not passed"
    yield ""
    yield strong(
        f"{lesson.title}: {result.right} of {len(result.answers)} right, {result.percent} %: {verdict} "
        f"(from {result.pass_percent} % on)"
    )


def _ask(questions: tuple[Question, ...]) -> dict[str, str]:
    """Ask one question after the other; what is left out is not answered."""
    given: dict[str, str] = {}
    for number, question in enumerate(questions, 1):
        print_lines(["", strong(f"Question {number} of {len(questions)}"), *asked(question)])
        while True:
            sys.stdout.write(f"Your answer ({question.how}; Enter leaves it out): ")
            sys.stdout.flush()
            line = sys.stdin.readline()
            if not line:
                print_lines([""])
                return given
            if not line.strip():
                break
            if question.normalized(line) is not None:
                given[question.id] = line.strip()
                break
            print_lines([f"Expected {question.how}."])
    return given


def _keep(lesson: Lesson, result: Grade) -> None:
    progress = Progress.load()
    if progress.complaint:
        complain(progress.complaint)
    done = progress.of(lesson.id)
    done.best_percent = max(result.percent, done.best_percent or 0)
    done.is_passed = done.is_passed or result.is_passed
    given = {answer_key(row.question.id, result.seed): row.given for row in result.answers if row.given is not None}
    done.answers.update(given)
    progress.save()
