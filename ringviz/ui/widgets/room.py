"""A host's machines as lines of text: rows with their numbers, who had the CPU, who has which frame, what was done."""

from collections.abc import Iterator, Mapping
from itertools import groupby

from textual.content import Content

from ringviz.engine.host_view import GLYPHS, LEGEND
from ringviz.facts.host_memory import PAGE_STATES
from ringviz.record.machines.life_cycle import Life
from ringviz.record.machines.room_view import MemoryMap, RoomRow, RoomView
from ringviz.ui.widgets.panel import printable
from ringviz.vmm.host.records import State

_NUMBERS_CELLS = 65
"""What a row has beside the machine's name."""
_MEMORY_CELLS = 20
"""What memory and disk take, where there is room for them."""
_GUEST_CELLS, _TECHNIQUE_CELLS, _BALLOON_CELLS = 20, 19, 19
"""What guest, technique and pages take that are in a balloon or shared, where there is room for them too."""
_STATE_LOOKS = {"running": "bold $kind-gate", "ready": "$kind-exit", "parked": "$kind-trap", "paused": "$dim"}
_GANTT_LOOKS = {GLYPHS[State.READY]: "$kind-exit", GLYPHS[State.PARKED]: "$kind-trap", GLYPHS[State.PAUSED]: "$dim"}
_FRAME_LOOKS = {
    PAGE_STATES["shared"].glyph: "$kind-exit",
    PAGE_STATES["vmm"].glyph: "$kind-trap",
    PAGE_STATES["free"].glyph: "$dim",
}
"""Every sign says by itself what it is; the colour only lets one see it from afar."""
_NOTICED = 3
"""Points by which a share has to change from one period to the next for a sign beside it."""
_LOUD = 50
"""Per cent of stolen time from which on the number is not to be overlooked."""


_LIVES = {Life.MIGRATING: "moving", Life.SHUTTING_DOWN: "ending"}
"""What a machine is at that is between two lives; else what it is at on its host."""


def machine_lines(view: RoomView, selected: int, width: int, *, has_legend: bool) -> Iterator[Content]:
    """Give a head and a row for each machine, as much of each as the width has room for.

    Args:
    view: the host.
    selected: the row that is pointed at.
    width: cells.
    has_legend: say what the numbers are.
    """
    longest = max((len(row.name) for row in view.rows), default=0)
    width -= _NUMBERS_CELLS
    has_memory = width >= longest + _MEMORY_CELLS
    width -= _MEMORY_CELLS if has_memory else 0
    has_guest = width >= longest + _GUEST_CELLS
    width -= _GUEST_CELLS if has_guest else 0
    has_technique = width >= longest + _TECHNIQUE_CELLS
    width -= _TECHNIQUE_CELLS if has_technique else 0
    has_balloon = has_technique and width >= longest + _BALLOON_CELLS
    name = max(len("machine"), min(longest, width - (_BALLOON_CELLS if has_balloon else 0)))
    more = f"{'guest':<20}" if has_guest else ""
    more += f"{'technique':<19}" if has_technique else ""
    titles = f"  {'machine':<{name}}  {more}{'state':<9}{'where':<21}"
    titles += f"{'memory':>8}{'disk':>10}  " if has_memory else ""
    titles += f"{'balloon':>9}{'shared':>8}  " if has_balloon else ""
    titles += f"{'weight':>6}{'cap':>6}{'CPU':>6} {'ready':>6}{'exits':>6}"
    yield Content.assemble((titles, "bold"))
    for index, row in enumerate(view.rows):
        is_selected = index == selected
        more = f"{_clipped(printable(row.scenario), 19):<20}" if has_guest else ""
        more += f"{row.technique:<19}" if has_technique else ""
        exits = "-" if row.exits is None else f"{row.exits:,.0f}"
        cap = f"{row.cap_percent} %" if row.cap_percent else "-"
        sign = "▶" if is_selected else " "
        yield Content.assemble(
            (f"{sign} {_clipped(row.name, name):<{name}}  ", "bold $ring-lit" if is_selected else ""),
            more,
            (f"{_LIVES.get(row.life, row.state):<9}", _STATE_LOOKS.get(row.state, "")),
            f"{_clipped(row.where, 20):<21}{_memory(row) if has_memory else ''}",
            f"{_balloon(row) if has_balloon else ''}{row.weight:>6}{cap:>6}",
            f"{row.share:>4.0f} %",
            _trend(row),
            (f"{row.ready:>4.0f} %", "bold $kind-trap" if row.ready >= _LOUD else ""),
            f"{exits:>6}",
        )
    if not view.rows:
        yield Content("  no machine is on this host any more")
    if not has_legend or not view.rows:
        return
    yield Content.assemble(
        ("CPU, ready (stolen time): of the last period; exits: for each million cycles that it had the CPU", "$dim")
    )


def _trend(row: RoomRow) -> tuple[str, str]:
    """Say whether a share has changed since the period before, so that one notices."""
    change = 0 if row.share_before is None else row.share - row.share_before
    if abs(change) < _NOTICED:
        return " ", ""
    return ("▲", "bold $kind-gate") if change > 0 else ("▼", "bold $kind-trap")


def _memory(row: RoomRow) -> str:
    disk = "-" if row.written_bytes is None else f"+{row.written_bytes / 1024:,.1f} K"
    return f"{row.memory_mib:>4} MiB{disk:>10}  "


def _balloon(row: RoomRow) -> str:
    balloon = "-" if row.ballooned_pages is None else f"{row.ballooned_pages:,}"
    return f"{balloon:>9}{row.shared_pages:>8,}  "


def map_lines(shown: MemoryMap, width: int) -> Iterator[Content]:
    """Draw who has which frame of the host's memory."""
    yield Content.assemble(("Who has which frame of the memory", "bold"))
    yield Content(shown.head)
    for start in range(0, len(shown.picture), width):
        yield Content.assemble(*_coloured(shown.picture[start : start + width], _FRAME_LOOKS))
    yield Content.assemble((shown.legend, "$dim"))


def _coloured(picture: str, looks: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Give a picture in stretches of one look; signs that have none of their own are a machine's."""
    for look, stretch in groupby(picture, lambda sign: looks.get(sign, "$kind-gate")):
        yield "".join(stretch), look


def _clipped(text: str, cells: int) -> str:
    return text if len(text) <= cells else f"{text[: cells - 1]}…"


def gantt_lines(view: RoomView, *, has_legend: bool = True) -> Iterator[Content]:
    """Draw who had the CPU of late; nothing if no machine is there."""
    if not view.gantt:
        return
    longest = max((len(name) for name, _ in view.gantt), default=0)
    head = f"Who had the CPU from {view.gantt_from:,} to {view.clock:,} cycles"
    yield Content.assemble((head, "bold"))
    for name, picture in view.gantt:
        yield Content.assemble(f"{name:<{longest}} │", *_coloured(picture, _GANTT_LOOKS), "│")
    if has_legend:
        yield Content.assemble((LEGEND, "$dim"))


def audit_lines(view: RoomView) -> Iterator[Content]:
    """Tell what the host was told, or has done by itself, the latest first."""
    if view.audit:
        yield Content.assemble(("What the host was told or did, the latest first", "bold"))
        yield from (Content(printable(line)) for line in reversed(view.audit))


def come_lines(view: RoomView) -> Iterator[Content]:
    """Tell what is still to be done at set times, and by which rules."""
    if view.to_come:
        yield Content.assemble(("Still to come, and rules in force", "bold"))
        yield from (Content.assemble((printable(line), "$dim")) for line in view.to_come)


def story_lines(summary: str) -> Iterator[Content]:
    """Say what a host shows before it has run, and how to let it run."""
    if summary:
        yield Content.assemble(("What this host shows", "bold"))
        yield Content(printable(summary))
    yield Content.assemble(
        ("space", "bold $primary"), " lets it run, ", ("n", "bold $primary"),
        " runs it for one accounting period. Whatever you change by key holds at once.",
    )  # fmt: skip
