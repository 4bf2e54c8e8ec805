"""Lecture mode: beats on a large screen, with the keys of a presenter and no others."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.reactive import var
from textual.widgets import Static

from ringviz.engine.group_size import FEWEST, MOST
from ringviz.engine.view import Snapshot
from ringviz.record.played import Played
from ringviz.record.replay import Replay
from ringviz.ui.commands import LECTURE, Command, bindings
from ringviz.ui.glyphs import grouped
from ringviz.ui.requests import NextEvent, OpenGroup, Remarked, Shown, ToBeat
from ringviz.ui.screens.beat_group import LectureGroupScreen
from ringviz.ui.screens.compare_group import choose_techniques
from ringviz.ui.screens.help import HelpScreen
from ringviz.ui.screens.moving import MovingScreen
from ringviz.ui.screens.presenting import PresentingScreen
from ringviz.ui.screens.spoilers import without_verdicts
from ringviz.ui.widgets.card import CardPanel
from ringviz.ui.widgets.code import CodePanel
from ringviz.ui.widgets.console import ConsolePanel
from ringviz.ui.widgets.events import EventsPanel
from ringviz.ui.widgets.keyline import KeyLine
from ringviz.ui.widgets.overhead import OverheadPanel
from ringviz.ui.widgets.panel import Panel, printable, wrapped
from ringviz.ui.widgets.rings import RingsPanel
from ringviz.ui.widgets.side import SidePanel
from ringviz.ui.widgets.tail import TailView
from ringviz.ui.widgets.timeline import TimelinePanel
from ringviz.ui.widgets.twice import TwicePanel

if TYPE_CHECKING:
    pass

_PANELS: dict[str, type[Panel] | type[TailView]] = {
    "rings": RingsPanel,
    "code": CodePanel,
    "cpu": TwicePanel,
    "vmm": SidePanel,
    "card": CardPanel,
    "events": EventsPanel,
    "console": ConsolePanel,
    "overhead": OverheadPanel,
    "timeline": TimelinePanel,
}
"""By the names that replays use."""
TRAP_SECONDS = 2.5
"""Ours: how long each trap stands when the lecture goes on from trap to trap; long enough to read its card."""
_EXPLANATION = (
    "A lecture shows the beats of a replay to an audience. Space, →, enter or page down (a presenter's remote) goes "
    "on: it gives the answer to a question first. ← or page up goes back. b makes the screen black until any key. s "
    "puts the next panel into the light, z gives it the whole screen, o shows the words that are otherwise only in the "
    "speaker's notes. a lets the lecture go on by itself, again from trap to trap, again no longer; + and - change the "
    "speed. c puts techniques side by side. Every other key does nothing. "
    "ringviz notes, on another terminal, shows what to say and what comes next."
)


class LectureScreen(PresentingScreen, MovingScreen):
    """Plays the beats of a replay for an audience.

    Args:
        replay: the script.
        speed: how many times as fast as it is written, when it goes on by itself.
        clock: seconds of the epoch.
    """

    COMMAND_ROWS: ClassVar[tuple[Command, ...]] = LECTURE
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(LECTURE)]
    AUTO_FOCUS = ""

    snapshot: var[Snapshot | None] = var(None)
    spotlight: var[str] = var("rings")
    """The panel in the light."""
    _played: Played | None

    def __init__(self, replay: Replay, speed: float = 1.0, clock: Callable[[], float] = time.time) -> None:
        super().__init__(replay, speed, clock)
        self._going = ""
        """How it goes on by itself: `beats`, `traps`, or not."""
        self._moment: Snapshot | None = None
        """The guest as it stands, with all that is known of it."""

    def compose(self) -> ComposeResult:
        """A heading, the panel in the light with the rings beside it, what just happened, the keys."""
        yield Static("", markup=False, id="heading")
        with Horizontal(id="stage"):
            for name, panel in _PANELS.items():
                if name != "card":
                    widget = panel().data_bind(LectureScreen.snapshot)
                    widget.add_class("on-stage", f"stage-{name}")
                    widget.can_focus = False
                    yield widget
        card = CardPanel().data_bind(LectureScreen.snapshot)
        card.can_focus = False
        yield card
        yield KeyLine(LECTURE)

    def on_mount(self) -> None:
        """Light the first panel."""
        self._light()
        self._draw()

    # ---- what comes --------------------------------------------------------------------------------------------------

    def show_beat(self, played: Played) -> None:
        """Take over a beat; its moment comes as a snapshot of its own."""
        self._played = played
        self._is_answered = played.beat.ask is None
        self.query_one(KeyLine).notice = ""
        self._show_moment()
        if played.beat.focus:
            self.spotlight = played.beat.focus
        self._begin_beat(is_zoomed=played.beat.is_zoomed)
        self._compare()

    def show(self, shown: Shown) -> None:
        """Take over a new moment."""
        self.in_motion = shown.in_motion
        self._moment = shown.snapshot
        self._show_moment()
        self._light()
        if not shown.in_motion:
            self._tell_speaker()
            if self._going == "traps":
                self._wait()

    def _show_moment(self) -> None:
        """Let the panels show the guest; what becomes of the next instruction only once the question is answered."""
        is_kept = self._moment is not None and not self._is_answered
        self.snapshot = without_verdicts(self._moment) if is_kept and self._moment is not None else self._moment

    def known_end(self) -> int | None:
        """Where the run ends, if that is known."""
        return self.snapshot.timeline.end if self.snapshot is not None else None

    def on_resize(self) -> None:
        """Fit the heading into the new width."""
        self.call_after_refresh(self._draw)

    # ---- the presenter's keys ----------------------------------------------------------------------------------------

    def action_forward(self) -> None:
        """Give the answer to a question that is open; else the next beat."""
        if not self._is_answered:
            self._is_answered = True
            self._show_moment()
            self._draw()
            self._wait()
            self._compare()
            return
        self._stop_waiting()
        self.ringviz.wants_group = False
        if self._is_at_last_beat:
            self._going = ""
            self._say_it_was_the_last()
            return
        self._ask(ToBeat(1))

    def action_backward(self) -> None:
        """The beat before; it no longer goes on by itself."""
        self._going = ""
        self._stop_waiting()
        self.ringviz.wants_group = False
        self._ask(ToBeat(-1))

    def action_again(self) -> None:
        """Back to where this beat stands."""
        self._going = ""
        self._stop_waiting()
        self._ask(ToBeat(0))

    def action_spotlight(self, by: int) -> None:
        """Another panel into the light."""
        names = [name for name in _PANELS if name != "vmm" or self._has_side]
        at = names.index(self.spotlight) if self.spotlight in names else 0
        self.spotlight = names[(at + by) % len(names)]
        self._light()

    def action_compare(self) -> None:
        """Techniques side by side: those that the beat names, or bare metal and the present one."""
        if self.snapshot is None:
            return
        self._going = ""
        self._stop_waiting()
        wanted = self._played.beat.compare if self._played is not None else ()
        known = [technique.id for technique in self.ringviz.techniques]
        techniques = wanted[:MOST] if len(wanted) >= FEWEST else choose_techniques(self.snapshot.technique_id, known, 0)
        self.ringviz.wants_group = True
        self._ask(OpenGroup(techniques))

    def group_screen(self) -> LectureGroupScreen:
        """Give the screen for techniques side by side."""
        return LectureGroupScreen(self, self._short_heading)

    def _short_heading(self, width: int) -> list[Content]:
        """Give the beat's number and title; the words only if the audience sees them anyway."""
        if self._played is None:
            return []
        number = f"{self._played.number}/{len(self._script.beats)} "
        lines = [Content.assemble((number, "$dim"), (printable(self._played.beat.title), "bold $primary"))]
        if self._shows_words and self._played.beat.say:
            lines += wrapped(Content(printable(" ".join(self._played.beat.say.split()))), width, 4)
        return lines

    def _compare(self) -> None:
        """Put side by side what the beat wants so, once its question is answered; the next beat closes it."""
        wanted = self._played.beat.compare if self._played is not None else ()
        if len(wanted) >= FEWEST and self._is_answered:
            self.ringviz.wants_group = True
            self.ringviz.engine.submit(OpenGroup(wanted[:MOST]))

    def action_autoplay(self) -> None:
        """Go on by itself, beat by beat; then from trap to trap; then no longer."""
        self._going = {"": "beats", "beats": "traps", "traps": ""}[self._going]
        words = {
            "beats": "It goes on by itself, beat by beat.",
            "traps": "It goes on from trap to trap, with a pause at each.",
            "": "It waits for a key.",
        }
        self.notice(Remarked(f"{words[self._going]} Speed {self._speed:g}."))
        self._tell_speaker()
        self._wait()

    def action_explain(self) -> None:
        """The keys; the place stays."""
        self.app.push_screen(HelpScreen(LECTURE, ("A lecture", _EXPLANATION)))

    def _left(self) -> None:
        self.ringviz.engine.cancel()
        self.ringviz.leave_lecture()

    # ---- inside ------------------------------------------------------------------------------------------------------

    @property
    def _has_side(self) -> bool:
        return self.snapshot is not None and self.snapshot.side is not None

    def _light(self) -> None:
        """Show the panel in the light, the rings beside it where there is room, and what just happened below."""
        lit = self.spotlight if self.spotlight != "vmm" or self._has_side else "code"
        is_alone = self.has_class("-alone")
        is_narrow = self.has_class("-narrow")
        stage = "code" if lit in ("card", "rings") and not (lit == "rings" and (is_alone or is_narrow)) else lit
        for panel in self.query(".on-stage"):
            name = next(name for name in _PANELS if panel.has_class(f"stage-{name}"))
            beside = name == "rings" and not is_alone and not is_narrow
            panel.display = (beside or name == stage) and not (is_alone and lit == "card")
            panel.set_class(name == lit, "-lit")
            panel.set_class(name != lit, "-dimmed")
        card = self.query_one(CardPanel)
        card.display = not is_alone or lit == "card"
        card.set_class(lit == "card", "-lit")
        card.set_class(lit != "card", "-dimmed")
        card.set_class(is_alone and lit == "card", "-whole")

    def _pause(self) -> tuple[float, Callable[[], object]] | None:
        if self._going != "traps":
            return self._beat_pause() if self._going else None
        is_over = self.snapshot is not None and bool(self.snapshot.outcome)
        if self._played is None or is_over:
            return None
        return TRAP_SECONDS / self._speed, lambda: self._ask(NextEvent())

    def _status(self) -> str:
        shot = self.snapshot
        where = "" if shot is None else f"step {grouped(shot.position)} under {shot.technique_id}"
        return where + {"beats": ", by itself", "traps": ", from trap to trap"}.get(self._going, "")
