"""`ringviz check`: says whether a scenario folder is what it must be."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from ringviz.cli.exits import Exit, complain
from ringviz.cli.output import print_lines
from ringviz.errors import RingvizError
from ringviz.guest.image import load_image
from ringviz.guest.scenario import SCENARIO_FILE, load_scenario, shown_path


def check(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Scenario folders, or folders of them.")],
) -> int:
    """Validate scenario folders.

    Looks at the scenario file, and at the image in the layout that it claims.
    """
    is_good = True
    for folder in (folder for path in paths for folder in folders_of(path)):
        problem = problem_of(folder)
        if problem:
            complain(problem)
            is_good = False
        else:
            print_lines([f"{shown_path(folder.resolve())}: good"])
    return Exit.DONE if is_good else Exit.BAD_INPUT


def folders_of(path: Path) -> Iterator[Path]:
    """Give the scenario folders that a path stands for: itself, or those directly in it if it is not one itself."""
    inner = []
    if path.is_dir() and not (path / SCENARIO_FILE).exists():
        inner = sorted(folder for folder in path.iterdir() if (folder / SCENARIO_FILE).is_file())
    yield from inner or [path]


def problem_of(folder: Path) -> str:
    """Give the first thing that is wrong with a scenario folder as one line, or nothing."""
    try:
        load_image(load_scenario(folder))
    except RingvizError as error:
        return str(error)
    return ""
