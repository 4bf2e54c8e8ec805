"""The lecture of a host: its machines, one panel in the light below them, and the keys of a presenter."""

import time
from collections.abc import Callable, Iterator
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from ringviz.record.machines.host_lecture import HOST_PANELS, HostLecture
from ringviz.record.machines.host_player import HostPlayed, Opening
from ringviz.record.machines.room_view import RoomView
from ringviz.ui.commands import HOST_LECTURE, Command, bindings
from ringviz.ui.host_lecture_thread import HostBeatShown, HostBusy, HostLectureThread
from ringviz.ui.host_thread import HostSaid, HostShown
from ringviz.ui.requests import Remarked
from ringviz.ui.screens.help import HelpScreen
from ringviz.ui.screens.life import life_lines
from ringviz.ui.screens.presenting import PresentingScreen
from ringviz.ui.widgets.keyline import KeyLine
from ringviz.ui.widgets.migration import migration_lines
from ringviz.ui.widgets.room import audit_lines, gantt_lines, machine_lines, map_lines

_FRAME_CELLS = 4
_MAP_ROWS = 6
_SHORT = 30
"""Rows of the screen below which there is no room for legends."""
_SMALL = ("audit", "life")
"""Panels that leave room for who had the CPU."""
_TITLES = {
    "machines": "The machines",
    "gantt": "Who had the CPU",
    "migration": "Migration",
    "memory": "The host's memory",
    "audit": "What was done",
    "life": "Life of a machine",
}
_EXPLANATION = (
    "A lecture shows the beats of a script to an audience. Space, →, enter or page down (a presenter's remote) goes "
    "on: it gives the answer to a question first. ← or page up goes back; for that the host runs anew from its start, "
    "which gives the same host and takes a moment. b makes the screen black until any key. s puts the next panel into "
    "the light, z gives it the whole screen, o shows the words that are otherwise only in the speaker's notes. a lets "
    "the lecture go on by itself; + and - change the speed. Every other key does nothing. "
    "ringviz notes, on another terminal, shows what to say and what comes next."
)


class HostLectureScreen(PresentingScreen):
    """Plays a host's lecture for an audience.

    Args:
        lecture: the script.
        speed: how many times as fast as it is written, when it goes on by itself.
        opening: gives the host; the one that the lecture names if not given.
        is_by_itself: it begins by going on by itself.
        clock: seconds of the epoch.
    """

    COMMAND_ROWS: ClassVar[tuple[Command, ...]] = HOST_LECTURE
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(HOST_LECTURE)]
    AUTO_FOCUS = ""
    _played: HostPlayed | None

    def __init__(
        self,
        lecture: HostLecture,
        speed: float = 1.0,
        opening: Opening | None = None,
        *,
        is_by_itself: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(lecture, speed, clock)
        self._goes_on = is_by_itself
        self.spotlight = "machines"
        """The panel in the light."""
        self.view: RoomView | None = None
        self.is_busy = False
        """The host runs on to a beat."""
        self.selected = ""
        """The machine that is pointed at."""
        self.host = HostLectureThread(lecture, self._post, opening)

    def compose(self) -> ComposeResult:
        """Give a heading, the machines, one more panel, the keys."""
        yield Static("", markup=False, id="heading")
        with Vertical(id="host-stage"):
            for name in HOST_PANELS:
                with VerticalScroll(classes="host-panel", id=f"panel-{name}", can_focus=False) as panel:
                    panel.border_title = Content(_TITLES[name])
                    yield Static("", markup=False, id=f"lines-{name}")
        yield KeyLine(HOST_LECTURE)

    def on_mount(self) -> None:
        """Let the host begin, and show the first beat."""
        self._light()
        self._draw()
        self.notice(Remarked("The host is switched on …"))
        self.host.start()
        self.on_resize()
        self.is_busy = True
        self.host.move("next")

    def on_unmount(self) -> None:
        """Be done with the host, whatever way the lecture is left."""
        self.host.end()

    def on_resize(self) -> None:
        """Have the pictures as wide as the screen."""
        self._light()
        names = 0 if self.view is None else max((len(row.name) for row in self.view.rows), default=0)
        self.host.cells = max(20, self._width - names - 3)
        self.host.map_cells = _MAP_ROWS * max(20, self._width) if self.spotlight == "memory" else 0
        self.host.submit("picture")
        self.call_after_refresh(self._draw)

    # ---- what comes --------------------------------------------------------------------------------------------------

    def _post(self, message: Message) -> None:
        self.post_message(message)

    @on(HostShown)
    def _shown(self, message: HostShown) -> None:
        is_first = self.view is None
        self.view = message.view
        if is_first:
            self.on_resize()
        self._draw_panels()

    @on(HostBusy)
    def _busy(self, message: HostBusy) -> None:
        self.is_busy = True
        if message.is_going_back:
            self.notice(Remarked("The host runs anew from its start, to the beat before …"))
        self._tell_speaker()

    @on(HostBeatShown)
    def _beat_shown(self, message: HostBeatShown) -> None:
        played = message.played
        self.is_busy = False
        self._played = played
        self._is_answered = played.beat.ask is None
        self.clear_notice()
        self.selected = played.beat.machine or self.selected
        if played.beat.focus:
            self._spot(played.beat.focus)
        self._begin_beat(is_zoomed=played.beat.is_zoomed)

    @on(HostSaid)
    def _said(self, message: HostSaid) -> None:
        self.is_busy = False
        line = self.query_one(KeyLine)
        line.is_failure, line.notice = message.is_failure, message.text

    # ---- the presenter's keys ----------------------------------------------------------------------------------------

    def action_forward(self) -> None:
        """Give the answer to a question that is open; else the next beat."""
        if not self._is_answered:
            self._is_answered = True
            self._draw()
            self._wait()
            return
        self._stop_waiting()
        if self._is_at_last_beat:
            self._goes_on = False
            self._say_it_was_the_last()
            return
        self.clear_notice()
        self.host.move("next")

    def action_backward(self) -> None:
        """The beat before; it no longer goes on by itself."""
        self._go_back("back")

    def action_again(self) -> None:
        """Back to where this beat stands."""
        self._go_back("again")

    def _go_back(self, move: str) -> None:
        self._goes_on = False
        self._stop_waiting()
        if self._played is not None and (self._played.number > 1 or move == "again"):
            self.host.move("again" if move == "again" else "back")

    def action_spotlight(self, by: int) -> None:
        """Another panel into the light."""
        names = [name for name in HOST_PANELS if name != "migration" or self._has_migration]
        at = names.index(self.spotlight) if self.spotlight in names else 0
        self._spot(names[(at + by) % len(names)])
        self._light()

    def action_autoplay(self) -> None:
        """Go on by itself, or no longer."""
        self._goes_on = not self._goes_on
        words = "It goes on by itself, beat by beat." if self._goes_on else "It waits for a key."
        self.notice(Remarked(f"{words} Speed {self._speed:g}."))
        self._tell_speaker()
        self._wait()

    def action_explain(self) -> None:
        """The keys; the place stays."""
        self.app.push_screen(HelpScreen(HOST_LECTURE, ("A lecture", _EXPLANATION)))

    def _left(self) -> None:
        self.dismiss()

    # ---- inside ------------------------------------------------------------------------------------------------------

    @property
    def _width(self) -> int:
        return max(20, self.size.width - _FRAME_CELLS)

    @property
    def _has_migration(self) -> bool:
        return self.view is not None and self.view.migration is not None

    def _spot(self, panel: str) -> None:
        if panel != self.spotlight:
            self.spotlight = panel
            self.on_resize()  # the picture of the memory is only drawn while it is looked at

    def _light(self) -> None:
        """Show the machines and the panel in the light; where that is the machines, who had the CPU."""
        lit = self.spotlight
        is_alone = self.has_class("-alone")
        has_room = lit == "machines" or (lit in _SMALL and self.size.height >= _SHORT)
        beside = ("machines", "gantt") if has_room else ("machines",)
        for name in HOST_PANELS:
            panel = self.query_one(f"#panel-{name}")
            panel.display = name == lit or (not is_alone and name in beside)
            panel.set_class(name == lit, "-lit")
            panel.set_class(name != lit, "-dimmed")
            panel.set_class(name == "machines" and not (is_alone and lit == name), "-rows")

    def _draw_stage(self) -> None:
        self._draw_panels()

    def _draw_panels(self) -> None:
        view = self.view
        if view is None or not self.is_mounted:
            return
        for name, lines in self._panels(view):
            self.query_one(f"#lines-{name}", Static).update(Content("\n").join(lines))
        panel = self.query_one("#panel-machines")
        panel.border_subtitle = Content(f"{view.cpu}, scheduler {view.scheduler} · {view.clock:,} cycles, modelled")

    def _panels(self, view: RoomView) -> Iterator[tuple[str, Iterator[Content]]]:
        width = self._width
        names = [row.name for row in view.rows]
        selected = names.index(self.selected) if self.selected in names else 0
        has_legend = self.size.height >= _SHORT
        yield "machines", machine_lines(view, selected, width, has_legend=has_legend)
        yield "gantt", gantt_lines(view, has_legend=has_legend)
        if view.migration is not None:
            there = self.host.there() if view.migration.outcome is not None else ()
            yield "migration", migration_lines(view.migration, width, there, is_short=not has_legend, has_keys=False)
        if view.memory is not None:
            yield "memory", map_lines(view.memory, width)
        yield "audit", audit_lines(view)
        if names:
            yield "life", life_lines(view.rows[selected], has_peer=view.has_peer, width=width)

    def _pause(self) -> tuple[float, Callable[[], object]] | None:
        return self._beat_pause() if self._goes_on else None

    def _status(self) -> str:
        where = "" if self.view is None else f"{self.view.clock:,} cycles of the host"
        going = ", by itself" if self._goes_on else ""
        return f"{where}{', running on' if self.is_busy else going}"
