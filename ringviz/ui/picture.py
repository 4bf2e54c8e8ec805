"""The app's screens as SVG pictures, drawn by the app itself without a terminal."""

import asyncio
import html
import os
import re
from collections import Counter

from textual.app import App

from ringviz.engine.view import Snapshot
from ringviz.ui.app import RingvizApp
from ringviz.ui.exhibit import exhibit
from ringviz.ui.requests import Settled
from ringviz.ui.screens.explore import ExploreScreen
from ringviz.ui.themes import DARK

NORMAL = (120, 40)
SMALL = (80, 24)
LARGE = (200, 60)

_SETTLING_SECONDS = 10


def render_picture(snapshot: Snapshot, size: tuple[int, int] = NORMAL, theme: str = DARK.name) -> str:
    """Give the explore screen for one snapshot as SVG text; the same snapshot gives the same text.

    Args:
        snapshot: the moment.
        size: columns and rows.
        theme: name of a theme.
    """
    return asyncio.run(draw_picture(snapshot, size, theme))


async def draw_picture(snapshot: Snapshot, size: tuple[int, int] = NORMAL, theme: str = DARK.name) -> str:
    """As `render_picture`, for callers that already run an event loop."""
    # A picture is the same on every machine, whatever its terminal is set to.
    os.environ.pop("NO_COLOR", None)
    app = RingvizApp(snapshot.scenario_id, snapshot.technique_id, laboratory=exhibit(snapshot))
    app.theme = theme
    app.animation_level = "none"
    settled = asyncio.Event()

    def notice(message: object) -> None:
        if isinstance(message, Settled):
            settled.set()

    async with app.run_test(size=size, message_hook=notice) as pilot:
        await asyncio.wait_for(settled.wait(), _SETTLING_SECONDS)
        await pilot.pause()
        unfocus(app)
        await pilot.pause()
        return svg_of(app, f"ringviz · {snapshot.scenario_id} · {snapshot.technique_title}")


def unfocus(app: App[None]) -> None:
    """Take the focus from every panel: in a picture, no frame should look chosen."""
    if isinstance(app.screen, ExploreScreen) and app.screen.maximized is None:
        app.screen.set_focus(None)


def svg_of(app: App[None], title: str) -> str:
    """Give the screen as it is now, in as few bytes as a picture of letters needs."""
    return _slim(_with_places_for_spaces(app.export_screenshot(title=title)))


_TEXT = re.compile(r'(<text [^>]*?\bx=")([0-9.]+)(" y="[^"]*" textLength=")([0-9.]+)("[^>]*>)((?:&#160;)+)([^<]+)<')


def _with_places_for_spaces(svg: str) -> str:
    """Begin each text at its first visible character.

    Not every program that draws SVG keeps spaces at the beginning of a text; all of them keep its place.
    """

    def moved(match: re.Match[str]) -> str:
        head, x, middle, length, tail, spaces, text = match.groups()
        count = spaces.count("&#160;")
        cells = count + len(html.unescape(text))
        step = float(length) / cells * count
        return f"{head}{float(x) + step:g}{middle}{float(length) - step:g}{tail}{text}<"

    return _TEXT.sub(moved, svg)


_UNIQUE = re.compile(r"terminal-\d+-")
_LINE_CLIP = re.compile(r'<clipPath id="[^"]*line-\d+">.*?</clipPath>\s*', re.DOTALL)
_CLIPPED = re.compile(r' clip-path="url\(#[^"]*line-\d+\)"')
_FONT_FACE = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)
_FONT = (
    "font-family: Fira Code, monospace;\n        font-size: 20px;",
    "font-family: DejaVu Sans Mono, monospace;\n        font-size: 20.266px;",
)
"""Rich's, and ours: of this size its letters are as wide as a cell, also for programs that do not stretch text."""
_BLANK = re.compile(r"<text [^>]*>(?:&#160;|\s)*</text>")
_FILLED = re.compile(
    r'<rect fill="(#[0-9a-f]+)" x="[^"]*" y="[^"]*" width="[^"]*" height="[^"]*" [^>]*crispEdges[^>]*/>'
)


def _slim(svg: str) -> str:
    """Leave out what no picture needs.

    Fonts from elsewhere: a picture is complete in itself. Ids that differ from picture to picture, a clipping path for
    every line, and a rectangle for every stretch of background: the commonest colour is drawn once, below all others.
    """
    svg = _CLIPPED.sub("", _LINE_CLIP.sub("", _UNIQUE.sub("t-", svg)))
    svg = _FONT_FACE.sub("", _BLANK.sub("", svg)).replace(*_FONT)
    colours = Counter(_FILLED.findall(svg))
    if not colours:
        return svg
    paper = colours.most_common(1)[0][0]
    first = _FILLED.search(svg)
    assert first is not None
    below = f'<rect fill="{paper}" x="0" y="0" width="100%" height="100%"/>'
    head, rest = svg[: first.start()], svg[first.start() :]
    return head + below + _FILLED.sub(lambda match: "" if match[1] == paper else match[0], rest)
