"""The rings panel: who sits where, where the CPU is now, and the last crossing."""

import re
from collections.abc import Hashable, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import groupby, pairwise

from textual import events
from textual.content import Content
from textual.reactive import reactive
from textual.timer import Timer

from ringviz.engine.view import Crossing, RingsView, Seat, Snapshot
from ringviz.ui.glyphs import BELIEVED, REAL, ring_name
from ringviz.ui.widgets.boxes import nested_boxes
from ringviz.ui.widgets.crossing import SECONDS, Frame, frames
from ringviz.ui.widgets.discs import Discs, has_room, lay_out
from ringviz.ui.widgets.panel import Panel, keyed, printable

_LIT = "bold $ring-lit"
_ROOMY = 17
"""From this height on, what the picture teaches stands beneath it."""
_MOST_WORDS = 3
"""Where the CPU is, where the guest believes it is, the last crossing. With two modes, the first two are one."""

PLACE, BELIEF, CROSSING, LESSON = "place", "belief", "crossing", "lesson"
"""Lines beneath the picture that can be pointed at."""

_Cell = tuple[str, str]
"""One character and its style."""


class RingsPanel(Panel):
    """The rings as a picture."""

    TITLE = "Who runs where"
    EXPLANATION = (
        "Each disc is a privilege ring of the x86: 0 may do everything, 3 is for applications. The bright disc, "
        f"marked {REAL}, is where the CPU really is. {BELIEVED} marks the ring the guest believes it is in, if "
        "that is another: a guest kernel that was built for ring 0 may really sit in ring 1, with the VMM in ring "
        "0. Under AMD-V and VT-x a disc below ring 0 appears. It is called ring −1 in conversation, but is no "
        "ring: it is a mode of the CPU (host mode, VMX root) with rings of its own. A step that crosses rings is "
        "shown in motion, but not where animations are off (TEXTUAL_ANIMATIONS=none). Under full emulation no "
        "disc belongs to the guest: its CPU is data of a program in ring 3. Arrows show the last crossing, "
        "through the VMM if it took part. ↓ and ↑ point at the rings and at the lines beneath them; ? then explains "
        "what is pointed at."
    )

    part: reactive[int | None] = reactive(None, repaint=False)
    """Which part of the last event is shown; None for the whole."""

    _frames: tuple[Frame, ...] = ()
    """What is left of a crossing in motion."""
    _motion: Timer | None = None

    def watch_part(self) -> None:
        """Light the ring in which this part happens."""
        self._halt()
        super().watch_snapshot(self.snapshot)

    def watch_snapshot(self, snapshot: Snapshot | None) -> None:
        """Show the new moment; if it has just crossed rings, the way there first."""
        before, self._shown_last = self._shown_last, snapshot
        self._halt()
        if snapshot is not None and before is not None and self._is_worth_a_motion(before, snapshot):
            assert snapshot.rings.crossing is not None
            self._frames = frames(_path(snapshot.rings.crossing))
            self._motion = self.set_interval(SECONDS, self._go_on)
        super().watch_snapshot(snapshot)

    _shown_last: Snapshot | None = None

    def _is_worth_a_motion(self, before: Snapshot, now: Snapshot) -> bool:
        """One step forward in which rings were crossed, seen by somebody who wants to see motion."""
        is_next = now.position == before.position + 1 and now.technique_id == before.technique_id
        is_wanted = self.app.animation_level != "none" and self.part is None
        return is_next and is_wanted and now.has_crossed and now.rings.crossing is not None and not now.rings.is_data

    def _go_on(self) -> None:
        self._frames = self._frames[1:]
        if not self._frames:
            self._halt()
        super().watch_snapshot(self.snapshot)

    def _halt(self) -> None:
        self._frames = ()
        if self._motion is not None:
            self._motion.stop()
            self._motion = None

    def pointable(self) -> list[Hashable]:
        """Give the rings, outermost first, as they follow each other in the picture, and the lines beneath it."""
        seats = () if self.snapshot is None else self.snapshot.rings.seats
        return [*(seat.ring for seat in reversed(seats)), *super().pointable()]

    def watch_pointed(self) -> None:
        """Draw the picture anew: a ring has no line of its own."""
        super().watch_snapshot(self.snapshot)
        self.refresh()

    def on_click(self, event: events.Click) -> None:
        """Point at the ring, or the line, that is clicked."""
        offset = event.get_content_offset(self)
        if offset is None or self.snapshot is None:
            return
        if offset.y >= self._picture_height:
            return  # a line, for which every panel knows what to do
        event.prevent_default()
        width = self.content_size.width
        if self._has_discs:
            discs = lay_out(self.snapshot.rings.seats, width, self._picture_height)
            self.pointed = discs.ring_at(offset.x, 2 * offset.y)
        else:
            seats = tuple(reversed(self.snapshot.rings.seats))
            self.pointed = seats[min(offset.y, len(seats) - 1)].ring

    _picture_height = 0
    """Lines that the picture takes."""
    _has_discs = False

    def lines(self, snapshot: Snapshot, width: int, height: int) -> Sequence[Content]:
        """Discs where there is room and colour, else nested boxes; below, the same in words."""
        rings = snapshot.rings
        frame = self._frames[0] if self._frames else None
        lit = rings.real
        if frame is not None:
            lit = frame.lit
        elif self.part is not None and self.part < len(snapshot.micro):
            lit = snapshot.micro[self.part].ring
        words = _words(rings, width)
        if self.part is not None and self.part < len(snapshot.micro):
            # The picture shows where the CPU is in this part, not where the whole event has led.
            forms = [f"{REAL} in this part: ring {ring_name(lit)}", f"{REAL} now: ring {ring_name(lit)}"]
            words[0] = keyed(_longest(forms, _LIT, width), PLACE)
        if height >= _ROOMY:
            # Always as many lines, so that the picture does not change its size from step to step.
            words += [Content("")] * ((2 if rings.real_mode else _MOST_WORDS) - len(words))
            lesson = Content.assemble((printable(rings.lesson), "italic $dim")).truncate(width, ellipsis=True)
            words.append(keyed(lesson, LESSON))
        self._picture_height = room = height - len(words)
        self._has_discs = has_room(rings.seats, width, room) and not self.app.no_color
        pointed = self.pointed if isinstance(self.pointed, int) else None
        if self._has_discs:
            return [*_picture(replace(rings, real=lit), width, room, frame, pointed), *words]
        return [*_boxes(replace(rings, real=lit), width, room, pointed), *words]


def _label(rings: RingsView, seat: Seat, pointed: int | None) -> str:
    text = _plain_label(rings, seat)
    return f"[{text}]" if seat.ring == pointed else text


def _plain_label(rings: RingsView, seat: Seat) -> str:
    is_believed = seat.ring == rings.believed and not rings.is_data
    mark = REAL if seat.ring == rings.real else BELIEVED if is_believed else ""
    text = f"{ring_name(seat.ring)} {printable(seat.resident)}".rstrip()
    return f"{mark} {text}" if mark else text


def _words(rings: RingsView, width: int) -> list[Content]:
    """Give the panel's message as one to three lines of text, each in the longest form that fits."""
    *places, crossing = (*_places(rings, width), _crossing(rings, width))
    keys = (PLACE, BELIEF)
    lines = [keyed(line, key) for line, key in zip(places, keys, strict=False)]
    return lines if crossing is None else [*lines, keyed(crossing, CROSSING)]


def _places(rings: RingsView, width: int) -> list[Content]:
    """Say where the CPU is, and where the guest believes to be."""
    real, believed = ring_name(rings.real), ring_name(rings.believed)
    mode = f" of {rings.real_mode}" if rings.real_mode else ""
    lines: list[Content]
    if rings.is_data:
        lines = _words_about_data(real, believed, width)
    elif rings.real == rings.believed:
        lines = [
            _longest(
                [
                    f"{REAL} the CPU is in ring {real}{mode}",
                    f"{REAL} ring {real}{mode}",
                    f"{REAL} ring {real} {rings.real_mode}",
                    # The manual's short form, where even that is too long.
                    f"{REAL} ring {real} {rings.real_mode.removeprefix('VMX ')}",
                ],
                _LIT,
                width,
            )
        ]
    else:
        shorter = [f"{REAL} ring {real}{mode}"] if mode else []
        forms = [f"{REAL} really in ring {real}{mode}", *shorter, f"{REAL} really ring {real}"]
        really = _longest(forms, _LIT, width)
        believes = _longest(
            [f"{BELIEVED} guest thinks ring {believed}", f"{BELIEVED} believed {believed}"], "$changed", width
        )
        both = Content("  ").join([really, believes])
        lines = [both] if both.cell_length <= width else [really, believes]
    return lines


def _crossing(rings: RingsView, width: int) -> Content | None:
    if rings.crossing is None:
        return None
    path = crossing_path(rings.crossing)
    tight = path.replace(" ", "")
    label = printable(rings.crossing.label)
    forms = [f"last crossing {path}  {label}", f"crossed {path}  {label}", f"{tight} {label}"]
    return _longest(forms, "$foreground", width)


def crossing_path(crossing: Crossing) -> str:
    """Give the rings passed on the way: `1 → 0 → 1`."""
    return " → ".join(ring_name(ring) for ring in _path(crossing))


def _words_about_data(real: str, believed: str, width: int) -> list[Content]:
    """Give where the CPU is, and that the guest's ring is no ring of the CPU."""
    return [
        _longest([f"{REAL} the CPU runs a program, ring {real}", f"{REAL} CPU in ring {real}"], _LIT, width),
        _longest([f"{BELIEVED} the guest's ring {believed} is only data", f"{BELIEVED} ring {believed} is data",
                  f"{BELIEVED} {believed} is data"], "$changed", width),
    ]  # fmt: skip


def _longest(forms: Sequence[str], style: str, width: int) -> Content:
    text = next((form for form in forms if len(form) <= width), forms[-1])
    return Content.assemble((text, style)).truncate(width, ellipsis=True)


def _path(crossing: Crossing) -> list[int]:
    """Give the rings passed on the way; the VMM's only if the crossing did not begin or end there anyway."""
    if crossing.via is None or (
        crossing.via in (crossing.source, crossing.target) and crossing.source != crossing.target
    ):
        return [crossing.source, crossing.target]
    return [crossing.source, crossing.via, crossing.target]


def _boxes(rings: RingsView, width: int, height: int, pointed: int | None) -> list[Content]:
    def style(ring: int) -> str:
        return _LIT if ring == rings.real else "$foreground"

    def label(seat: Seat) -> str:
        text = _label(rings, seat, pointed)
        in_full = f"{text}, {rings.vmm_mode}" if seat.ring < 0 and rings.vmm_mode else text
        # It stands in the innermost box: its walls and two cells of line are not for text.
        return in_full if len(in_full) + 4 <= width - 2 * len(rings.seats) else text

    return nested_boxes(rings.seats, rings.real, label, style, width, height)


@lru_cache(maxsize=64)
def _picture(
    rings: RingsView, width: int, height: int, frame: Frame | None = None, pointed: int | None = None
) -> tuple[Content, ...]:
    # Thousands of pixels, and most steps cross no ring: worth remembering.
    discs = lay_out(rings.seats, width, height)
    grid = [[_pixel_pair(discs, rings.real, x, y) for x in range(width)] for y in range(height)]
    for disc in discs.discs:
        text = _label(rings, disc.seat, pointed)
        row = discs.label_row(disc)
        weight = "bold reverse" if disc.seat.ring == pointed else "bold"
        _write(grid, row, int(discs.centre_x - len(text) / 2), text, weight, rings, discs, disc.seat.ring)
    inner, outer = discs.discs[-1], discs.discs[0]
    if rings.is_data:
        text = f"{BELIEVED} guest's ring {ring_name(rings.believed)}: data"
        _write(grid, discs.lower_row(outer), int(discs.centre_x - len(text) / 2), text, "", rings, discs)
    elif rings.vmm_mode and inner.outer >= len(rings.vmm_mode) / 2:
        row = discs.lower_row(inner)
        _write(grid, row, int(discs.centre_x - len(rings.vmm_mode) / 2), rings.vmm_mode, "", rings, discs)
    if rings.crossing is not None:
        _draw_crossing(grid, rings, rings.crossing, discs, frame)
    return tuple(_line(row) for row in grid)


def _line(cells: list[_Cell]) -> Content:
    """Join neighbours of one style: fewer pieces to draw when the CPU crosses rings."""
    runs = groupby(cells, key=lambda cell: cell[1])
    return Content.assemble(*(("".join(character for character, _ in run), style) for style, run in runs))


def _ground(ring: int | None, real: int) -> str:
    """Give the colour variable a ring is filled with; outside it is the screen's own."""
    if ring is None:
        return "$background"
    if ring == real:
        return "$ring-lit"
    return "$ring-host" if ring < 0 else f"$ring-{ring}"


def _pixel_pair(discs: Discs, real: int, x: int, y: int) -> _Cell:
    top, bottom = discs.ring_at(x, 2 * y), discs.ring_at(x, 2 * y + 1)
    if top == bottom:
        return " ", f"on {_ground(top, real)}"
    return "▀", f"{_ground(top, real)} on {_ground(bottom, real)}"


def _write(
    grid: list[list[_Cell]],
    row: int,
    x: int,
    text: str,
    weight: str,
    rings: RingsView,
    discs: Discs,
    ring: int | None = None,
) -> None:
    """Put text over the picture, on one ground: that of `ring`, or of what lies beneath its middle."""
    if not 0 <= row < len(grid):
        return
    # A name that reaches over its band's edge is easier to read on one ground.
    if ring is None:
        middle = min(max(x + len(text) // 2, 0), discs.width - 1)
        ring = discs.ring_at(middle, 2 * row + 1)
    ink = "$ring-lit-text" if ring == rings.real else "$ring-text" if ring is not None else "$foreground"
    for offset, character in enumerate(text):
        if 0 <= x + offset < discs.width:
            grid[row][x + offset] = (character, f"{weight} {ink} on {_ground(ring, rings.real)}")


def _draw_crossing(
    grid: list[list[_Cell]], rings: RingsView, crossing: Crossing, discs: Discs, frame: Frame | None
) -> None:
    """Draw arrows right of the centre, where the bands lie side by side: one leg, or two if it went through the VMM.

    Of a crossing in motion there is only what lies behind already.
    """
    # Below the names that stand in the innermost disc.
    row = int(discs.centre_y) // 2 + (2 if rings.vmm_mode else 1)
    leg = 0
    for source, target in pairwise(_path(crossing)):
        start, end = discs.column_right_of_centre(source), discs.column_right_of_centre(target)
        if start != end and (frame is None or leg <= frame.leg):
            if frame is not None and leg == frame.leg:
                end = start + round((end - start) * frame.share)
            if start != end:
                _draw_leg(grid, row, start, end, rings, discs)
            row += 1
            leg += 1
    # The whole reason stands in the words below; over the picture its first part is enough.
    text = re.split("[:,]", printable(crossing.label))[0]
    _write(grid, row, min(int(discs.centre_x) + 2, discs.width - len(text)), text, "bold", rings, discs)


def _draw_leg(grid: list[list[_Cell]], row: int, start: int, end: int, rings: RingsView, discs: Discs) -> None:
    if not 0 <= row < len(grid):
        return
    low, high = min(start, end), max(start, end)
    for x in range(max(0, low), min(discs.width - 1, high) + 1):
        mark = "●" if x == start else ("►" if end > start else "◄") if x == end else "━"
        ring = discs.ring_at(x, 2 * row + 1)
        ink = "$ring-lit-text" if ring == rings.real else "$crossing"
        grid[row][x] = (mark, f"bold {ink} on {_ground(ring, rings.real)}")
