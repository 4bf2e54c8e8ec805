"""The page map: who has which frame of a host's memory, and what has become of every page of its guests.

It shows `HostPages` as they were at one moment: whoever has the host gives them, `show` draws them. A letter stands for
a machine's own frames, signs for the others; colour says nothing that they do not.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from textual.content import Content
from textual.widget import Widget

from ringviz.engine.frame_map import HostPages, frame_cells, guest_cells
from ringviz.facts.host_memory import PAGE_STATES, RECLAIM_STATES
from ringviz.ui.widgets.panel import printable

_MOST_ROWS = 6
"""Lines of the picture of all frames."""
_NAME_CELLS = 10
_LOOKS = {"V": "$kind-exit", "=": "bold $kind-gate", ".": "$dim", "o": "$kind-io", "s": "bold $kind-trap"}
_STATE_LOOKS = {"high": "", "soft": "bold $kind-io", "hard": "bold $kind-trap", "low": "bold $kind-violation"}
_SHORT = {
    "vmm": "a VMM's",
    "private": "a guest's own",
    "shared": "shared",
    "ballooned": "balloon",
    "swapped": "swapped",
    "untouched": "never used",
    "free": "free",
}


class FrameMapPanel(Widget):
    """The map of one host."""

    DEFAULT_CSS = "FrameMapPanel { height: auto; width: 1fr; }"

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.pages: HostPages | None = None

    def show(self, pages: HostPages) -> None:
        """Draw a host's memory as it is now."""
        if pages != self.pages:
            self.pages = pages
            self.refresh(layout=True)

    def render(self) -> Content:
        """Give all lines, as wide as there is room."""
        if self.pages is None:
            return Content("")
        return Content("\n").join(frame_map_lines(self.pages, max(20, self.size.width)))

    def get_content_height(self, container: object, viewport: object, width: int) -> int:
        """Give the number of lines."""
        del container, viewport
        return 0 if self.pages is None else len(list(frame_map_lines(self.pages, max(20, width))))


def frame_map_lines(pages: HostPages, width: int) -> Iterator[Content]:
    """Give the lines of the map: the host's state, its frames, each guest's pages and numbers, and what is what."""
    state = RECLAIM_STATES[pages.state]
    percent = 100 * pages.free // max(1, pages.frames)
    head = f"Memory: {pages.frames:,} frames, {pages.free:,} free ({percent} %): "
    rest = f" · saved by sharing {pages.saved_by_sharing:,} · swap file {pages.swap_pages:,}"
    yield _fit([(head, "bold"), (state.id, _STATE_LOOKS[state.id]), (rest, "")], width)
    cells = min(pages.frames, _MOST_ROWS * width)
    picture = frame_cells(pages, cells)
    for start in range(0, len(picture), width):
        yield _coloured(picture[start : start + width])
    for guest in pages.guests:
        target = "" if guest.target is None else f", to have {guest.target:,}"
        active = "" if guest.active_percent is None else f", uses {guest.active_percent:.0f} %"
        name = printable(guest.machine)
        numbers = (
            f"{guest.private:,} own, {guest.shared:,} shared, {guest.ballooned:,} in the balloon, "
            f"{guest.swapped:,} swapped{target}{active}"
        )
        yield _fit([(f"{guest.letter} {name:<{_NAME_CELLS}} ", "bold"), (numbers, "")], width)
        yield Content("  ") + _coloured(guest_cells(guest, max(1, width - 2)).rstrip())
    yield from _legend(pages, cells, width)


def _legend(pages: HostPages, cells: int, width: int) -> Iterator[Content]:
    each = f"one sign: {pages.frames / max(1, cells):,.3g} frames"
    own = "letter" if pages.guests else ""
    parts = [each]
    for row in PAGE_STATES.values():
        sign = f"{row.glyph}, {own}" if row.id == "private" and own else row.glyph if row.glyph.strip() else "blank"
        parts.append(f"{sign} {_SHORT[row.id]}")
    line = ""
    for part in parts:
        if line and len(line) + 3 + len(part) > width:
            yield Content.assemble((line, "$dim"))
            line = part
        else:
            line = f"{line} · {part}" if line else part
    yield Content.assemble((line, "$dim"))


def _coloured(picture: str) -> Content:
    parts = [("".join(row), _LOOKS.get(glyph, "$kind-guest")) for glyph, row in groupby(picture)]
    return Content.assemble(*parts) if parts else Content("")


def _fit(parts: list[tuple[str, str]], width: int) -> Content:
    """Put parts in a line, and cut off what does not fit."""
    fitting, left = [], width
    for text, look in parts:
        short = text if len(text) <= left else f"{text[: max(0, left - 1)]}…" if left > 0 else ""
        fitting.append((short, look))
        left -= len(short)
    return Content.assemble(*fitting)
