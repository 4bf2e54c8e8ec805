"""How far a long command has come: a bar on stderr, if that is a terminal, and nothing at all in a pipe."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[str, int, int | None], None]
"""Told what is being done, how many instructions of it are, and how many it can be at most, if that is known."""


@contextmanager
def shown() -> Iterator[Progress]:
    """Give the function to report progress to; the bar is gone when the work is done."""
    if not sys.stderr.isatty():
        yield _ignore
        return
    from rich.console import Console
    from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    # Guest and scenario names are shown as they are: markup off.
    what_column = TextColumn("{task.description}", markup=False)
    count_column = TextColumn("{task.completed:,} instructions", markup=False)
    with Bars(
        what_column, BarColumn(), count_column, TimeElapsedColumn(), console=Console(stderr=True), transient=True
    ) as bars:
        tasks: dict[str, TaskID] = {}

        def report(what: str, done: int, limit: int | None) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what)
            bars.update(tasks[what], completed=done, total=limit)

        yield report


def _ignore(what: str, done: int, limit: int | None) -> None:
    """Say nothing."""
