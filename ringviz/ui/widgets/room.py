"""A host's machines as lines of text: rows with their numbers, who had the CPU, who has which frame, what was done."""

from collections.abc import Iterator

from textual.content import Content

from ringviz.engine.host_view import LEGEND
from ringviz.record.machines.life_cycle import Life
from ringviz.record.machines.room_view import MemoryMap, RoomRow, RoomView
from ringviz.ui.host_thread import GANTT_PERIODS
from ringviz.ui.widgets.panel import printable

_NUMBERS_CELLS = 65
"""What a row has beside the machine's name."""
_MEMORY_CELLS = 20
"""What memory and disk take, where there is room for them."""
_GUEST_CELLS, _TECHNIQUE_CELLS, _BALLOON_CELLS = 20, 19, 17
"""What guest, technique and pages take that are in a balloon or shared, where there is room for them too."""
_STATE_LOOKS = {"running": "bold $kind-gate", "ready": "$kind-exit", "parked": "$kind-trap", "paused": "$dim"}
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
    titles += f"{'balloon':>9}{'shared':>8}" if has_balloon else ""
    titles += f"{'weight':>6}{'cap':>6}{'CPU':>6}{'ready':>6}{'exits':>7}"
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
            (f"{row.ready:>4.0f} %", "bold $kind-trap" if row.ready >= _LOUD else ""),
            f"{exits:>7}",
        )
    if not has_legend:
        return
    yield Content.assemble(
        ("CPU, ready (stolen time): of the last period; exits: for each million cycles that it had the CPU", "$dim")
    )


def _memory(row: RoomRow) -> str:
    disk = "-" if row.written_bytes is None else f"+{row.written_bytes / 1024:,.1f} K"
    return f"{row.memory_mib:>4} MiB{disk:>10}  "


def _balloon(row: RoomRow) -> str:
    balloon = "-" if row.ballooned_pages is None else f"{row.ballooned_pages:,}"
    return f"{balloon:>9}{row.shared_pages:>8,}"


def map_lines(shown: MemoryMap, width: int) -> Iterator[Content]:
    """Draw who has which frame of the host's memory."""
    yield Content.assemble(("Who has which frame of the memory", "bold"))
    yield Content(shown.head)
    for start in range(0, len(shown.picture), width):
        yield Content.assemble((shown.picture[start : start + width], "$kind-gate"))
    yield Content.assemble((shown.legend, "$dim"))


def _clipped(text: str, cells: int) -> str:
    return text if len(text) <= cells else f"{text[: cells - 1]}…"


def gantt_lines(view: RoomView) -> Iterator[Content]:
    """Draw who had the CPU of late."""
    longest = max((len(name) for name, _ in view.gantt), default=0)
    head = f"Who had the CPU in the last {GANTT_PERIODS} periods: {view.gantt_from:,} to {view.clock:,} cycles"
    yield Content.assemble((head, "bold"))
    for name, picture in view.gantt:
        yield Content.assemble(f"{name:<{longest}} │", (picture, "$kind-gate"), "│")
    yield Content.assemble((LEGEND, "$dim"))


def audit_lines(view: RoomView) -> Iterator[Content]:
    """Tell what the host was told, or has done by itself, the latest first."""
    if view.audit:
        yield Content.assemble(("What the host was told, or has done by itself, the latest first", "bold"))
        yield from (Content(printable(line)) for line in reversed(view.audit))
