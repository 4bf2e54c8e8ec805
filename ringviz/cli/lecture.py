"""`ringviz lecture`: a scripted replay, held in front of an audience."""

from typing import Annotated

import typer

from ringviz.cli.run import has_terminal
from ringviz.errors import InputError
from ringviz.lessons.lectures import find_replay


def lecture(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE", help="A *.replay.toml file; or the id of a scenario, lesson or host, for its lecture."
        ),
    ],
    speed: Annotated[
        float,
        typer.Option("--speed", metavar="N", min=0.1, max=10.0, help="When it goes on by itself: so much faster."),
    ] = 1.0,
) -> int:
    """Hold a lecture: large, with a presenter's keys only; `ringviz notes` shows the speaker's notes elsewhere."""
    from ringviz.record.machines.host_lecture_file import is_host_lecture, load_host_lecture
    from ringviz.record.replay_file import load_replay

    path = find_replay(file)
    if is_host_lecture(path):
        from ringviz.cli.host_replay import open_lecture

        return open_lecture(load_host_lecture(path), speed)
    script = load_replay(path)
    if not has_terminal():
        raise InputError("a lecture needs a terminal; without one use `ringviz replay --headless`")
    from ringviz.ui.app import run_app

    return run_app(replay=script, speed=speed, is_lecture=True)
