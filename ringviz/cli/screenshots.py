"""`ringviz screenshots`: makes the pictures of the documentation, never by hand."""

from pathlib import Path
from typing import Annotated

import typer

from ringviz.cli.exits import Exit


def screenshots(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to put them.")] = Path("screenshots"),
) -> int:
    """Make the pictures of the documentation."""
    from ringviz.ui.picture import make_screenshots

    make_screenshots(folder)
    return Exit.DONE
