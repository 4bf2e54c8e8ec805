"""`ringviz screenshots`: makes the pictures of the documentation, never by hand."""

from pathlib import Path
from typing import Annotated

import typer

from ringviz.cli.exits import Exit

CHARTS = ("forkwait", "compile-like")
"""Scenarios whose slowdown against year is drawn."""


def screenshots(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to put them.")] = Path("screenshots"),
) -> int:
    """Make the pictures of the documentation."""
    from ringviz.ui.picture import make_screenshots

    make_screenshots(folder)
    make_charts(folder)
    return Exit.DONE


def make_charts(folder: Path) -> None:
    """Draw slowdown against year."""
    from ringviz.engine.generations import over_generations
    from ringviz.export.chart_svg import draw_svg
    from ringviz.guest.scenario import find_scenario

    for name in CHARTS:
        scenario = find_scenario(name)
        picture = draw_svg(over_generations(scenario), scenario.title)
        (folder / f"chart-{name}.svg").write_text(picture, encoding="utf-8", newline="\n")
