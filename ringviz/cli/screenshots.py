"""`ringviz screenshots`: makes the pictures of the documentation, never by hand."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from ringviz.cli.exits import Exit
from ringviz.errors import InputError

CHARTS = ("forkwait", "compile-like")
"""Scenarios whose slowdown against year is drawn."""
_DRAWS_PNG, _SHRINKS_PNG = "rsvg-convert", "pngquant"
_COLOURS = "32"
"""Of a PNG; letters on few backgrounds need no more."""


def screenshots(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to put them.")] = Path("screenshots"),
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="NAME", help="This one; can be given more than once.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Make none; draw each anew and fail if one on file is stale.")
    ] = False,
) -> int:
    """Make the pictures of the documentation.

    A few are kept as PNG, too; these are drawn if rsvg-convert is there, and made small if pngquant is.
    """
    from ringviz.ui.gallery import SHOTS, make_screenshots, stale, write_digests

    chosen = [shot for shot in SHOTS if not only or shot.name in only]
    unknown = sorted(set(only or ()) - {shot.name for shot in SHOTS})
    if unknown:
        raise InputError(f"--only: no picture {unknown[0]}; choose one of {', '.join(shot.name for shot in SHOTS)}")
    if check:
        wrong = stale(folder, chosen)
        for line in wrong:
            print(line)
        return Exit.FAILED if wrong else Exit.DONE
    for path in make_screenshots(folder, chosen):
        _say(str(path))
    if not only:
        make_charts(folder)
    write_digests(folder)
    for path in _make_pngs(folder, [shot.name for shot in chosen if shot.has_png]):
        _say(str(path))
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


def _make_pngs(folder: Path, names: list[str]) -> Iterator[Path]:
    """Draw some of the pictures as PNG; none, and one line, if what draws them is not there."""
    if names and shutil.which(_DRAWS_PNG) is None:
        _say(f"no PNG drawn: {_DRAWS_PNG} is not there (Debian: apt install librsvg2-bin pngquant)")
        return
    for name in names:
        path = folder / f"{name}.png"
        subprocess.run([_DRAWS_PNG, folder / f"{name}.svg", "-o", path], check=True)
        if shutil.which(_SHRINKS_PNG) is not None:
            subprocess.run([_SHRINKS_PNG, "--force", "--strip", "--nofs", "-o", path, _COLOURS, path], check=True)
        yield path


def _say(line: str) -> None:
    """Tell how far it is, on a terminal."""
    if sys.stderr.isatty():
        print(line, file=sys.stderr)
