"""The machine room: the virtual machines of a host as rows, who had the CPU of late, and keys to change shares."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, ClassVar, cast

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static

from ringviz.engine.automation.rules import Deed
from ringviz.record.machines.host_run import BY_HAND
from ringviz.record.machines.life_cycle import OPERATIONS, Life
from ringviz.record.machines.room_view import RoomRow, RoomView
from ringviz.ui.host_thread import HostSaid, HostShown, HostThread, Nudge, OpenedHost, Visit, Visited
from ringviz.ui.screens.life import LOSES, ConfirmDialog, LifeDialog, life_lines, packed
from ringviz.ui.screens.room_help import RoomHelpScreen
from ringviz.ui.widgets.migration import migration_lines
from ringviz.ui.widgets.panel import printable
from ringviz.ui.widgets.room import audit_lines, come_lines, gantt_lines, machine_lines, map_lines, story_lines

if TYPE_CHECKING:
    from ringviz.ui.app import RingvizApp

_KEYS = (
    ("space", "run, hold"),
    ("n", "next period"),
    ("↑↓", "machine"),
    ("enter", "look in"),
    ("+ -", "weight"),
    ("> <", "cap"),
    ("] [", "memory"),
    ("l", "life"),
    ("x", "frames"),
    ("?", "explain"),
    ("q", "quit"),
)
_HELP_KEY = ("h", "slow it down")
_FRAME_CELLS = 5
_SCROLL_CELLS = 2
"""What a scroll bar takes, where there is one."""
_MAP_ROWS = 6
"""Lines of the picture of the host's memory."""
_ROOM_FOR_ALL_FROM = 30
"""Lines of height below which there is no room for legends; ? has them."""
_TWO_COLUMNS_FROM = 120
"""Cells of width from which on the migration stands beside the picture, and not above it."""


class MachineRoomScreen(Screen[None]):
    """A host at work.

    Args:
        opening: gives the host, and is done with it when the screen is left.
        title: what it is called, if it is a demonstration.
        summary: what it shows then.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "leave", "quit", show=False),
        Binding("space", "run", "run, hold", show=False),
        Binding("n", "step", "next period", show=False),
        Binding("up,k", "select(-1)", "up", show=False),
        Binding("down,j", "select(1)", "down", show=False),
        Binding("pagedown", "scroll(1)", "more", show=False),
        Binding("pageup", "scroll(-1)", "less", show=False),
        Binding("plus,equals_sign", "weight(1)", "more weight", show=False),
        Binding("minus", "weight(-1)", "less weight", show=False),
        Binding("greater_than_sign,full_stop", "cap(1)", "higher cap", show=False),
        Binding("less_than_sign,comma", "cap(-1)", "lower cap", show=False),
        Binding("right_square_bracket", "allot(1)", "more memory", show=False),
        Binding("left_square_bracket", "allot(-1)", "less memory", show=False),
        Binding("p", "pause", "pause, resume", show=False),
        Binding("o", "power", "on, off", show=False),
        Binding("r", "operate('reset')", "reset", show=False),
        Binding("d", "operate('shutdown')", "shut down", show=False),
        Binding("s", "operate('snapshot')", "snapshot", show=False),
        Binding("v", "operate('revert')", "revert", show=False),
        Binding("c", "operate('clone')", "clone", show=False),
        Binding("D", "operate('destroy')", "destroy", show=False),
        Binding("m", "move", "move, stay", show=False),
        Binding("h", "help_it", "auto-converge", show=False),
        Binding("l", "life", "life", show=False),
        Binding("x", "memory", "memory", show=False),
        Binding("enter", "visit", "look in", show=False),
        Binding("question_mark,f1", "explain", "explain", show=False),
        Binding("t", "app.theme_switch", "theme", show=False),
    ]

    def __init__(self, opening: AbstractContextManager[OpenedHost], title: str = "", summary: str = "") -> None:
        super().__init__()
        self._summary = summary
        self.host = HostThread(opening, self.post_message)
        self.view: RoomView | None = None
        self.goes_on = False
        self.selected = 0
        self.has_map = False
        """The picture of the host's memory is shown."""
        self._heading = title

    def compose(self) -> ComposeResult:
        """Head, rows, Gantt picture, what the host has done, keys."""
        with Vertical(id="room") as page:
            page.border_title = Content("Machine room")
            yield Static(self._heading, markup=False, id="room-heading")
            yield Static("", markup=False, id="head")
            with VerticalScroll(id="rows", can_focus=False):
                yield Static("", markup=False, id="machines")
                yield Static("", markup=False, id="life")
                with Horizontal(id="below"):
                    with Vertical(id="first"):
                        yield Static("", markup=False, id="migration")
                        yield Static("", markup=False, id="pages")
                    with Vertical(id="second"):
                        yield Static("", markup=False, id="gantt")
                        yield Static("", markup=False, id="audit")
                        yield Static("", markup=False, id="come")
        yield Static("", markup=False, id="said")
        yield Static("", markup=False, id="keys")

    def on_mount(self) -> None:
        """Let the host begin."""
        self.query_one("#room-heading").display = bool(self._heading)
        self._say("The host is switched on …", "$dim")
        self.host.start()

    def on_unmount(self) -> None:
        """Whatever way it is left, the other host is not left behind."""
        self.host.end()

    def on_resize(self) -> None:
        """Have the picture as wide as its column."""
        names = 0 if self.view is None else max((len(row.name) for row in self.view.rows), default=0)
        self.host.cells = max(20, self._second_cells - names - 3)
        if self.has_map:
            self.host.map_cells = _MAP_ROWS * max(20, self._first_cells)
        self.host.submit("picture")

    @property
    def _has_two_columns(self) -> bool:
        has_first = self.view is not None and self.view.migration is not None
        return (has_first or self.has_map) and self.size.width >= _TWO_COLUMNS_FROM

    @property
    def _first_cells(self) -> int:
        width = self.size.width - _FRAME_CELLS
        return width // 2 - 1 if self._has_two_columns else width

    @property
    def _second_cells(self) -> int:
        width = self.size.width - _FRAME_CELLS
        return width - width // 2 - 1 if self._has_two_columns else width

    @on(HostShown)
    def _shown(self, message: HostShown) -> None:
        before = None if self.view is None else (self._second_cells, self._names)
        told = 0 if self.view is None else len(self.view.audit)
        if self.view is None:
            self._say("", "")
        if len(message.view.audit) > told and BY_HAND not in message.view.audit[-1]:
            self._say(message.view.audit[-1], "bold $kind-exit")  # what is done by key is answered anyway
        self.view, self.goes_on = message.view, message.is_running
        self.selected = max(0, min(self.selected, len(self.view.rows) - 1))
        if before != (self._second_cells, self._names):
            self.on_resize()
        self._draw()

    @property
    def _names(self) -> int:
        return 0 if self.view is None else max((len(row.name) for row in self.view.rows), default=0)

    @on(HostSaid)
    def _said(self, message: HostSaid) -> None:
        look = "bold $kind-violation" if message.is_failure else "bold $kind-gate"
        self._say(message.text, look)

    def _say(self, text: str, look: str) -> None:
        self.query_one("#said", Static).update(Content.assemble((printable(text), look)))

    @on(Visited)
    def _visited(self, message: Visited) -> None:
        if self.is_attached:
            cast("RingvizApp", self.app).visit(message)

    # ---- keys --------------------------------------------------------------------------------------------------------

    def action_leave(self) -> None:
        """Have the run kept, and go."""
        self.host.end()
        self.dismiss()

    def action_run(self) -> None:
        """Run or hold."""
        self.host.submit("hold" if self.goes_on else "run")

    def action_step(self) -> None:
        """One accounting period."""
        self.host.submit("step")

    def action_select(self, by: int) -> None:
        """Another machine."""
        if self.view is not None and self.view.rows:
            self.selected = (self.selected + by) % len(self.view.rows)
            self._draw()
            rows = self.query_one("#rows", VerticalScroll)
            if not 0 <= self.selected + 1 - rows.scroll_y < rows.size.height:
                rows.scroll_to(y=self.selected, animate=False)

    def action_scroll(self, by: int) -> None:
        """Scroll the page."""
        rows = self.query_one("#rows", VerticalScroll)
        rows.scroll_relative(y=by * max(1, rows.size.height - 1), animate=False)

    def action_weight(self, by: int) -> None:
        """Twice the weight, or half of it."""
        self._nudge("weight", by)

    def action_cap(self, by: int) -> None:
        """A cap that is higher or lower by a tenth of the CPU."""
        self._nudge("cap", by)

    def action_allot(self, by: int) -> None:
        """A MiB of memory more or less: its balloon has the rest."""
        self._nudge("balloon", by)

    def _nudge(self, action: str, by: int) -> None:
        row = self._row()
        if row is not None:
            self.host.submit(Nudge(action, row.name, by))

    def action_pause(self) -> None:
        """Pause or resume the machine."""
        row = self._row()
        if row is not None:
            self.action_operate("resume" if row.life is Life.PAUSED else "pause")

    def action_power(self) -> None:
        """Switch the machine on or off."""
        row = self._row()
        if row is not None:
            self.action_operate("start" if row.life is Life.STOPPED else "stop")

    def action_move(self) -> None:
        """Begin to move the machine to the other host, or call that off."""
        row = self._row()
        if row is not None:
            self.action_operate("stay" if row.life is Life.MIGRATING else "migrate")

    def action_help_it(self) -> None:
        """Slow the machine down that moves."""
        migration = None if self.view is None else self.view.migration
        if migration is not None and migration.outcome is None:
            self.host.submit(Deed("auto-converge", migration.machine))

    def action_operate(self, operation: str) -> None:
        """Do something with the machine; where that would take something away, ask before."""
        row = self._row()
        if row is None:
            return
        deed = Deed(operation, row.name)
        if operation not in LOSES or row.life not in OPERATIONS[operation].sources:
            self.host.submit(deed)
            return

        def answered(is_meant: bool | None) -> None:
            if is_meant:
                self.host.submit(deed)

        self.app.push_screen(ConfirmDialog(operation, row.name), answered)

    def action_life(self) -> None:
        """Show the whole life of a machine."""
        row = self._row()
        if row is not None:
            self.app.push_screen(LifeDialog(row.name, row.life))

    def action_memory(self) -> None:
        """Show who has which frame of the host's memory, or not."""
        self.has_map = not self.has_map
        if not self.has_map:
            self.host.map_cells = 0
        self.on_resize()

    def action_explain(self) -> None:
        """What stands here, and the keys."""
        self.app.push_screen(RoomHelpScreen())

    def action_visit(self) -> None:
        """Look at the machine's guest on its own."""
        row = self._row()
        if row is not None:
            self.host.submit(Visit(row.name))

    def _row(self) -> RoomRow | None:
        return None if self.view is None or not self.view.rows else self.view.rows[self.selected]

    # ---- drawing -----------------------------------------------------------------------------------------------------

    def _draw(self) -> None:
        view = self.view
        if view is None:
            return
        doing = "runs" if self.goes_on else "is idle" if view.is_over else "is held"
        head = f"{view.cpu}, scheduler {view.scheduler} · {view.clock:,} cycles, modelled · the host {doing}"
        self.query_one("#head", Static).update(Content.assemble((head, "bold $primary")))
        is_short_of_room = self.size.height < _ROOM_FOR_ALL_FROM
        rows = machine_lines(view, self.selected, self.size.width - _FRAME_CELLS, has_legend=not is_short_of_room)
        self.query_one("#machines", Static).update(Content("\n").join(rows))
        self.query_one("#life", Static).update(Content("\n").join(self._life_lines(view)))
        first = self.query_one("#first")
        first.display = view.migration is not None or view.memory is not None
        first.set_class(self._has_two_columns, "-column")
        self.query_one("#second").set_class(self._has_two_columns, "-column")
        self.query_one("#below").set_class(self._has_two_columns, "-columns")
        if view.migration is not None:
            there = [printable(line) for line in self.host.there()] if view.migration.outcome is not None else []
            lines = migration_lines(view.migration, self._first_cells, there, is_short=is_short_of_room)
            self.query_one("#migration", Static).update(Content("\n").join(lines))
        self.query_one("#migration").display = view.migration is not None
        pages = self.query_one("#pages", Static)
        pages.display = view.memory is not None
        if view.memory is not None:
            pages.update(Content("\n").join(map_lines(view.memory, self._first_cells)))
        is_moving = view.migration is not None and view.migration.outcome is None
        keys = self.query_one("#keys", Static)
        keys.update(_key_line(self.size.width - 2, is_moving=is_moving))
        # Who had the CPU is nobody before anything has run; then there is room to say what is to come.
        picture = gantt_lines(view, has_legend=not is_short_of_room) if view.clock else story_lines(self._summary)
        self.query_one("#gantt", Static).update(Content("\n").join(picture))
        self.query_one("#come", Static).update(Content("\n").join(come_lines(view)))
        self.query_one("#gantt").set_class(first.display and not self._has_two_columns, "-below")
        self.query_one("#audit").display = bool(view.audit)
        self.query_one("#come").display = bool(view.to_come)
        self.query_one("#audit", Static).update(Content("\n").join(audit_lines(view)))

    def _life_lines(self, view: RoomView) -> Iterator[Content]:
        row = self._row()
        if row is not None:
            yield from life_lines(row, has_peer=view.has_peer, width=self.size.width - _FRAME_CELLS - _SCROLL_CELLS)
            if view.migration is not None and self.size.height < _ROOM_FOR_ALL_FROM:
                return
            balloon = "no balloon" if row.ballooned_pages is None else f"{row.ballooned_pages:,} pages in its balloon"
            disk = "no disk" if row.written_bytes is None else f"{row.written_bytes:,} bytes written to disk"
            text = f"Memory: {row.memory_mib} MiB, {balloon}, {row.shared_pages:,} pages shared; {disk}"
            yield Content.assemble((text, "$dim"))


def _key_line(width: int, *, is_moving: bool = False) -> Content:
    """Give the keys as other screens write them; the one that slows a machine down first, where one moves."""
    keys = (_HELP_KEY, *_KEYS) if is_moving else _KEYS
    parts = (Content.assemble((face, "bold $primary"), f" {title}") for face, title in keys)
    return Content("\n").join(packed(parts, width))
