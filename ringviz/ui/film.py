"""The app's screen at a row of moments, as a terminal would show it: for recordings."""

import asyncio
import io
import os
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass

from rich.console import Console
from textual.pilot import Pilot

from ringviz.engine.view import Snapshot
from ringviz.export.cast import CastFrame
from ringviz.ui.app import RingvizApp
from ringviz.ui.exhibit import exhibit
from ringviz.ui.panels import point_at
from ringviz.ui.requests import Settled, Shown

CAPTION_ROWS = 6
"""Rows below the screen for what is said."""
_INDENT = "  "


@dataclass(frozen=True, slots=True)
class Scene:
    """One moment of a recording."""

    snapshot: Snapshot
    seconds: float
    caption: str = ""
    """What is said; a line break stays one."""
    focus: str = ""
    is_zoomed: bool = False


def filmed(scenes: Iterable[Scene], size: tuple[int, int]) -> list[CastFrame]:
    """Draw each scene with the app itself; the caption stands below it.

    Args:
        scenes: taken one at a time, so that a session may move from one to the next.
        size: of the whole, captions included.
    """
    return asyncio.run(_drawn(scenes, size))


async def _drawn(scenes: Iterable[Scene], size: tuple[int, int]) -> list[CastFrame]:
    # A recording is the same on every machine, whatever its terminal is set to.
    os.environ.pop("NO_COLOR", None)
    width, height = size[0], size[1] - CAPTION_ROWS
    console = Console(width=width, height=height, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    iterator = iter(scenes)
    first = next(iterator, None)
    frames: list[CastFrame] = []
    if first is None:
        return frames
    app = RingvizApp(first.snapshot.scenario_id, first.snapshot.technique_id, laboratory=exhibit(first.snapshot))
    settled = asyncio.Event()

    def notice(message: object) -> None:
        if isinstance(message, Settled):
            settled.set()

    async with app.run_test(size=(width, height), message_hook=notice) as pilot:
        await asyncio.wait_for(settled.wait(), timeout=10)
        scene: Scene | None = first
        while scene is not None:
            rows = (*await _rows(app, pilot, scene, console), *_caption(scene.caption, width))
            frames.append(CastFrame(rows, scene.seconds))
            scene = next(iterator, None)
    return frames


async def _rows(app: RingvizApp, pilot: Pilot[None], scene: Scene, console: Console) -> list[str]:
    """Show a scene, and read the screen."""
    app.explore.show(Shown(scene.snapshot, in_motion=False))
    point_at(app.explore, scene.focus, is_zoomed=scene.is_zoomed)
    await pilot.pause()
    await pilot.pause()
    strips = app.screen._compositor.render_strips()
    return [strip.render(console) for strip in strips]


def _caption(text: str, width: int) -> list[str]:
    """Give the rows below the screen; what does not fit is left off with a sign."""
    rows = [
        row
        for line in text.split("\n")
        for row in (textwrap.wrap(line, width - 2 * len(_INDENT)) if line.strip() else [""])
    ]
    room = CAPTION_ROWS - 1
    if len(rows) > room:
        rows = [*rows[: room - 1], f"{rows[room - 1]} …"]
    return ["", *(_INDENT + row for row in rows), *[""] * (room - len(rows))]
