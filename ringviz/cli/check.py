"""`ringviz check`: says whether scenario folders, lesson folders and replays are what they must be."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from ringviz.cli.exits import Exit, complain
from ringviz.cli.output import print_lines
from ringviz.errors import RingvizError
from ringviz.guest.image import load_image
from ringviz.guest.scenario import SCENARIO_FILE, load_scenario, shown_path
from ringviz.lessons.read import LESSON_FILE, read_lesson
from ringviz.record.replay import REPLAY_SUFFIX
from ringviz.record.replay_check import check_replay
from ringviz.record.replay_file import load_replay, replays_in


def check(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH...", help="Scenario or lesson folders, folders of them, or replays."),
    ],
) -> int:
    """Validate scenario folders, lesson folders and replays.

    Looks at the scenario file, at the image in the layout that it claims, and at the folder's replays: that their
    machines can be built and that the guest has the symbols they go to. `ringviz replay --headless` plays them.
    A lesson is gone through with its guest: every place has to be reached, every figure computed, every question
    answered, and so has its quiz.
    """
    is_good = True
    for folder in (folder for path in paths for folder in folders_of(path)):
        problem = problem_of(folder) or problem_of_lesson(folder)
        if problem:
            complain(problem)
            is_good = False
        else:
            print_lines([f"{shown_path(folder.resolve())}: good"])
    return Exit.DONE if is_good else Exit.BAD_INPUT


def folders_of(path: Path) -> Iterator[Path]:
    """Give the folders that a path stands for: itself, or those directly in it if it is none itself."""
    inner = []
    if path.is_dir() and not _is_one(path):
        inner = sorted(folder for folder in path.iterdir() if _is_one(folder))
    yield from inner or [path]


def _is_one(folder: Path) -> bool:
    return any((folder / name).is_file() for name in (SCENARIO_FILE, LESSON_FILE))


def problem_of(folder: Path) -> str:
    """Give the first thing that is wrong with a scenario folder as one line, or nothing."""
    if not (folder / SCENARIO_FILE).is_file() and (folder / LESSON_FILE).is_file():
        return ""
    try:
        if folder.name.endswith(REPLAY_SUFFIX):
            check_replay(load_replay(folder))
            return ""
        load_image(load_scenario(folder))
        for path in replays_in(folder):
            check_replay(load_replay(path))
    except RingvizError as error:
        return str(error)
    return ""


def problem_of_lesson(folder: Path) -> str:
    """Give the first thing that is wrong with a lesson and its quiz as one line, or nothing."""
    if not (folder / LESSON_FILE).is_file():
        return ""
    from ringviz.lessons.follow import check_lesson

    try:
        check_lesson(read_lesson(folder))
    except RingvizError as error:
        return str(error)
    return ""
