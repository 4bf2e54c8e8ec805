"""Text grids on file: what a screen looks like, letter by letter."""

import os
from pathlib import Path

from tests.ui.bench import Bench

GRIDS = Path(__file__).parent / "grids"


def assert_as_on_file(b: Bench, name: str, size: tuple[int, int]) -> None:
    """Compare the screen with the one on file; see `assert_lines_as_on_file`."""
    assert_lines_as_on_file(b.grid(), name, size)


def assert_lines_as_on_file(shown: list[str], name: str, size: tuple[int, int]) -> None:
    """Compare lines of a screen with those on file.

    To accept a new look on purpose, run with RINGVIZ_ACCEPT_GRIDS=1 and read the diff.
    """
    lines = [line.rstrip() for line in shown]
    path = GRIDS / f"{name}-{size[0]}x{size[1]}.txt"
    if os.environ.get("RINGVIZ_ACCEPT_GRIDS"):
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert lines == path.read_text(encoding="utf-8").splitlines()
