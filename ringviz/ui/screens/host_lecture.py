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
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import Static

from ringviz.errors import RingvizError
from ringviz.record.lecture_notes import LectureNotes, write_notes
from ringviz.record.machines.host_lecture import HOST_PANELS, HostLecture
from ringviz.record.machines.host_player import HostPlayed, Opening
from ringviz.record.machines.room_view import RoomView
from ringviz.record.pace import THINKING_SECONDS, beat_seconds
from ringviz.ui.commands import HOST_LECTURE, Command, bindings
from ringviz.ui.host_lecture_thread import HostBeatShown, HostBusy, HostLectureThread
from ringviz.ui.host_thread import HostSaid, HostShown
from ringviz.ui.requests import Failed, Remarked
from ringviz.ui.screens.beat_heading import spoken_lines, title_lines
from ringviz.ui.screens.help import HelpScreen
from ringviz.ui.screens.lecture import BlackScreen
from ringviz.ui.screens.life import life_lines
from ringviz.ui.widgets.keyline import KeyLine
from ringviz.ui.widgets.migration import migration_lines
from ringviz.ui.widgets.room import audit_lines, gantt_lines, machine_lines, map_lines

_FRAME_CELLS = 4
_MAP_ROWS = 6
_SHORT = 30
"""Rows of the screen below which there is no room for legends."""
_SLOWEST, _FASTEST = 0.25, 8.0
_LEAVE_SECONDS = 2.0
"""A second press of the key to leave within this time is meant."""
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


class HostLectureScreen(Screen[None]):
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

    def __init__(
        self,
        lecture: HostLecture,
        speed: float = 1.0,
        opening: Opening | None = None,
        *,
        is_by_itself: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__()
        self._lecture = lecture
        self._speed = speed
        self._clock = clock
        self._began = clock()
        self._played: HostPlayed | None = None
        self._is_answered = True
        self._goes_on = is_by_itself
        self._shows_words = False
        self._timer: Timer | None = None
        self._asked_to_leave = 0.0
        self.spotlight = "machines"
        """The panel in the light."""
        self.stale = ""
        """What has changed since the lecture was stamped."""
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

    def notice(self, message: Failed | Remarked) -> None:
        """Say one line in place of the keys."""
        line = self.query_one(KeyLine)
        line.is_failure = isinstance(message, Failed)
        line.notice = message.text

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
        self.query_one(KeyLine).notice = ""
        self.selected = played.beat.machine or self.selected
        if played.beat.focus:
            self._spot(played.beat.focus)
        self.set_class(played.beat.is_zoomed, "-alone")
        self._light()
        self._draw()
        self._wait()
        if self.stale and played.number == 1:
            self.notice(Remarked(f"{self.stale}: the words may not be so."))

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
        if self._played is not None and self._played.number >= len(self._lecture.beats):
            self._goes_on = False
            self.notice(Remarked("This was the last beat. ← goes back, q twice leaves."))
            self._tell_speaker()
            return
        self.query_one(KeyLine).notice = ""
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

    def action_black(self) -> None:
        """Nothing to see, until any key."""
        self._tell_speaker("black")
        self.app.push_screen(BlackScreen(), lambda _: self._tell_speaker())

    def action_zoom(self) -> None:
        """The panel in the light alone, or with the machines."""
        self.toggle_class("-alone")
        self._light()

    def action_spotlight(self, by: int) -> None:
        """Another panel into the light."""
        names = [name for name in HOST_PANELS if name != "migration" or self._has_migration]
        at = names.index(self.spotlight) if self.spotlight in names else 0
        self._spot(names[(at + by) % len(names)])
        self._light()

    def action_words(self) -> None:
        """Show the audience, too, what is said."""
        self._shows_words = not self._shows_words
        self._draw()

    def action_autoplay(self) -> None:
        """Go on by itself, or no longer."""
        self._goes_on = not self._goes_on
        words = "It goes on by itself, beat by beat." if self._goes_on else "It waits for a key."
        self.notice(Remarked(f"{words} Speed {self._speed:g}."))
        self._tell_speaker()
        self._wait()

    def action_faster(self, factor: float) -> None:
        """Another speed."""
        self._speed = max(_SLOWEST, min(_FASTEST, self._speed * factor))
        self.notice(Remarked(f"Speed {self._speed:g}."))
        self._wait()

    def action_explain(self) -> None:
        """The keys; the place stays."""
        self.app.push_screen(HelpScreen(HOST_LECTURE, ("A lecture", _EXPLANATION)))

    def action_leave(self) -> None:
        """Leave, if it is meant: the key has to be pressed twice."""
        now = self._clock()
        if now - self._asked_to_leave > _LEAVE_SECONDS:
            self._asked_to_leave = now
            self.notice(Remarked("q again leaves the lecture; any other key stays."))
            return
        self._stop_waiting()
        self._tell_speaker("left", is_over=True)
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

    def _draw(self) -> None:
        """Write the heading, the panels and the speaker's notes."""
        if not self.is_mounted:
            return
        self.query_one("#heading", Static).update(Content("\n").join(self._heading(max(10, self.size.width - 4))))
        self._draw_panels()
        self._tell_speaker()

    def _heading(self, width: int) -> list[Content]:
        played = self._played
        if played is None:
            return title_lines(self._lecture.title, "", width, self.size.height)
        number = f"{played.number}/{len(self._lecture.beats)} "
        lines = title_lines(played.beat.title, number, width, self.size.height)
        return lines + spoken_lines(
            played.beat, width, is_answered=self._is_answered, shows_words=self._shows_words
        )  # fmt: skip

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

    def _wait(self) -> None:
        """Go on after a while, if it goes on by itself."""
        self._stop_waiting()
        played = self._played
        if not self._goes_on or played is None:
            return
        seconds = beat_seconds(played.beat, self._speed)
        if played.beat.ask is not None and self._is_answered:
            seconds = max(2.0 / self._speed, seconds - THINKING_SECONDS / self._speed)
        self._timer = self.set_timer(seconds, self.action_forward)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.stop()
            self._timer = None

    def _tell_speaker(self, what: str = "", *, is_over: bool = False) -> None:
        """Write the notes for the second terminal."""
        played = self._played
        where = "" if self.view is None else f"{self.view.clock:,} cycles of the host"
        going = ", by itself" if self._goes_on else ""
        stale = (f"{self.stale}; read it through first",) if self.stale and played and played.number == 1 else ()
        notes = LectureNotes.of_beat(
            self._lecture,
            0 if played is None else played.number,
            self._began,
            what or f"{where}{', running on' if self.is_busy else going}",
            is_answered=self._is_answered,
            problems=() if played is None else (*stale, *played.failures),
            is_over=is_over,
        )
        try:
            write_notes(notes)
        except RingvizError as error:
            self.notice(Remarked(str(error)))
