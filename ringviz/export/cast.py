"""Recordings of a terminal in asciicast v2, which asciinema plays: a head, then one line for each time it changes.

Times are those of the script, never of a clock, so that the same run gives the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_CLEAR = "\x1b[?25l\x1b[H\x1b[2J"
"""Cursor off, home, and an empty screen."""


@dataclass(frozen=True, slots=True)
class CastFrame:
    """What a terminal shows for some time."""

    lines: tuple[str, ...]
    """Rows of the terminal, colours as escape sequences."""
    seconds: float


def cast_of(frames: Iterable[CastFrame], size: tuple[int, int], title: str) -> Iterator[str]:
    """Give a recording, line by line.

    Args:
        frames: in order.
        size: columns and rows.
        title: of the recording.
    """
    yield _json({"version": 2, "width": size[0], "height": size[1], "title": title}) + "\n"
    clock = 0.0
    shown = ""
    for frame in frames:
        shown = _CLEAR + "\r\n".join(frame.lines)
        yield _json([round(clock, 3), "o", shown]) + "\n"
        clock += frame.seconds
    if shown:
        # Without another event a player would end on the last frame at once.
        yield _json([round(clock, 3), "o", "\x1b[0m\x1b[?25h"]) + "\n"


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
