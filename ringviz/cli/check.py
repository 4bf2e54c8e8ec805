"""`ringviz check`: says what is wrong with scenarios, lessons, replays and CPU profiles, a line for each mistake."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from ringviz.cli.exits import Exit, complain
from ringviz.cli.output import print_lines
from ringviz.errors import RingvizError
from ringviz.guest.image import load_image
from ringviz.guest.scenario import SCENARIO_FILE, Variant, load_scenario, shown_path
from ringviz.guest.symbols import load_source_map
from ringviz.lessons.read import LESSON_FILE, QUIZ_FILE, read_lesson
from ringviz.record.replay import REPLAY_SUFFIX
from ringviz.record.replay_file import load_replay, replays_in


def check(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH...", help="Scenario or lesson folders, folders of them, replays, or CPU profiles."
        ),
    ],
    quick: Annotated[
        bool, typer.Option("--quick", help="Run nothing: only what can be told from the files themselves.")
    ] = False,
) -> int:
    """Validate scenario folders, lesson folders, replays and CPU profiles.

    Looks at the scenario file and at the image in the layout that it claims. Plays the replays: every place has to be
    reached, every expectation met. Goes through the lessons with their guests: every place reached, every figure
    computed, every question answered, those of the quiz too. A line for each mistake.
    """
    is_good = True
    for path in (each for given in paths for each in folders_of(given)):
        problems = list(dict.fromkeys(problems_of(path, is_quick=quick)))
        for problem in problems:
            complain(problem)
        is_good = is_good and not problems
        if not problems:
            print_lines([f"{shown_path(path.resolve())}: good"])
    return Exit.DONE if is_good else Exit.BAD_INPUT


def folders_of(path: Path) -> Iterator[Path]:
    """Give the folders that a path stands for: itself, or those directly in it if it is none itself."""
    inner = []
    if path.is_dir() and not _is_one(path):
        inner = sorted(folder for folder in path.iterdir() if _is_one(folder))
    yield from inner or [path]


def problems_of(path: Path, *, is_quick: bool = False) -> Iterator[str]:
    """Tell what is wrong with a folder or file, a line each.

    Args:
        path: a scenario's or lesson's folder, a replay, a profile.
        is_quick: run nothing.
    """
    if path.name.endswith(REPLAY_SUFFIX):
        yield from _of_replay(path, is_quick=is_quick)
    elif path.suffix == ".toml" and path.name not in (SCENARIO_FILE, QUIZ_FILE):
        yield from _told(lambda: _of_profile(path))
    else:
        folder = path.parent if path.name in (SCENARIO_FILE, LESSON_FILE, QUIZ_FILE) else path
        has_lesson = (folder / LESSON_FILE).is_file()
        told: list[str] = []
        if (folder / SCENARIO_FILE).is_file() or not has_lesson:
            told = list(_told(lambda: _of_scenario(folder)))
            yield from told
        for replay in replays_in(folder) if not told else ():  # what plays a broken scenario only says so again
            yield from _of_replay(replay, is_quick=is_quick)
        if has_lesson:
            yield from _told(lambda: _of_lesson(folder, is_quick=is_quick))


def _is_one(folder: Path) -> bool:
    return any((folder / name).is_file() for name in (SCENARIO_FILE, LESSON_FILE))


def _told(look: Callable[[], Iterator[str]]) -> Iterator[str]:
    """Give what a look tells; what it raises is told too, and ends it."""
    try:
        yield from look()
    except RingvizError as error:
        yield str(error)


def _of_scenario(folder: Path) -> Iterator[str]:
    scenario = load_scenario(folder)
    for variant in scenario.variants:
        load_image(scenario, variant)
    markers = {symbol.name.rpartition(".")[2] for symbol in load_source_map(scenario, Variant.ORIGINAL).symbols}
    for marker, _registers in scenario.leftovers:
        if marker not in markers:
            where = shown_path(folder.resolve() / SCENARIO_FILE)
            yield f"{where}: leftovers.{marker}: expected a label of {scenario.guest.source}"


def _of_replay(path: Path, *, is_quick: bool) -> Iterator[str]:
    from ringviz.record.machines.host_check import host_lecture_problems
    from ringviz.record.machines.host_lecture_file import is_host_lecture
    from ringviz.record.replay_check import played_problems, replay_problems

    def look() -> Iterator[str]:
        if is_host_lecture(path):
            yield from host_lecture_problems(path, is_quick=is_quick)
            return
        script = load_replay(path)
        told = list(replay_problems(script))
        yield from told
        if not told and not is_quick:
            yield from played_problems(script)

    return _told(look)


def _of_lesson(folder: Path, *, is_quick: bool) -> Iterator[str]:
    lesson = read_lesson(folder)
    if not is_quick:
        from ringviz.lessons.check import lesson_problems

        yield from lesson_problems(lesson)


def _of_profile(path: Path) -> Iterator[str]:
    from ringviz.machine.profile_file import load_profile

    load_profile(str(path))
    yield from ()
