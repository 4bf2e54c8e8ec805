"""A replay in the app: the explore screen with the beat's words above it. All keys of exploring still work."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content
from textual.timer import Timer

from ringviz.engine.group_size import FEWEST, MOST
from ringviz.record.pace import THINKING_SECONDS, beat_seconds
from ringviz.record.played import Played
from ringviz.record.replay import Beat, Replay
from ringviz.ui.commands import EXPLORE, REPLAY, Command, bindings
from ringviz.ui.panels import point_at
from ringviz.ui.requests import OpenGroup, Request, ToBeat
from ringviz.ui.screens.beat_group import ReplayGroupScreen
from ringviz.ui.screens.compare_group import SideBySideScreen
from ringviz.ui.screens.explore import ExploreScreen
from ringviz.ui.widgets.caption import Caption
from ringviz.ui.widgets.panel import printable


class ReplayScreen(ExploreScreen):
    """Plays the beats of a replay, by itself or key by key.

    Whoever moves the guest or changes the machine stops the replay from going on by itself; the next beat begins where
    the last one stood.

    Args:
        replay: the script.
        speed: how many times as fast as it is written.
    """

    COMMAND_ROWS: ClassVar[tuple[Command, ...]] = (*REPLAY, *EXPLORE)
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(REPLAY)]
    ALLOW_IN_MAXIMIZED_VIEW = ".-textual-system,Caption"
    """A zoomed panel leaves the words where they are."""

    def __init__(self, replay: Replay, speed: float = 1.0) -> None:
        super().__init__()
        self._replay = replay
        self._speed = speed
        self._played: Played | None = None
        self._is_answered = True
        self._is_playing = True
        self._timer: Timer | None = None
        self._is_comparing = False
        """The beat has asked for techniques side by side."""
        self.stale = ""
        """What has changed since the replay was recorded."""

    def compose(self) -> ComposeResult:
        """The words, and below them all panels."""
        yield Caption(printable(self._replay.title), markup=False)
        yield from super().compose()

    def show_beat(self, played: Played) -> None:
        """Take over a beat; its moment comes as a snapshot of its own."""
        self._played = played
        self._is_answered = played.beat.ask is None
        self.call_after_refresh(point_at, self, played.beat.focus, is_zoomed=played.beat.is_zoomed)
        self._say()
        self._wait()
        self._compare()

    def action_next_beat(self) -> None:
        """Give the answer to a question that is open; else go on to the next beat."""
        if not self._is_answered:
            self._is_answered = True
            self._say()
            self._wait()
            self._compare()
            return
        self._stop_waiting()
        self._turn(1)

    def action_previous_beat(self) -> None:
        """Back to the beat before; it no longer goes on by itself."""
        self._pause()
        self._turn(-1)

    def action_this_beat(self) -> None:
        """Back into the beat, wherever the guest was taken since."""
        self._turn(0)

    def action_autoplay(self) -> None:
        """Go on by itself, or no longer."""
        self._is_playing = not self._is_playing
        self._say()
        self._wait()

    def group_screen(self) -> SideBySideScreen:
        """Give the screen for techniques side by side: with the beat's words, if it is the beat that wants it."""
        return ReplayGroupScreen(self, lambda _width: self._words()) if self._is_comparing else SideBySideScreen()

    def action_group(self) -> None:
        """Side by side as the user wants it, not the beat."""
        self._is_comparing = False
        super().action_group()

    def _compare(self) -> None:
        """Put side by side what the beat wants so, once its question is answered; the next beat closes it."""
        wanted = self._played.beat.compare if self._played is not None else ()
        self._is_comparing = len(wanted) >= FEWEST and self._is_answered
        if self._is_comparing:
            self.ringviz.wants_group = True
            self.ringviz.engine.submit(OpenGroup(wanted[:MOST]))

    def _turn(self, by: int) -> None:
        self.ringviz.wants_group = False
        super()._ask(ToBeat(by))

    def _ask(self, request: Request) -> None:
        """Any move of the user's own: the replay waits."""
        self._pause()
        super()._ask(request)

    def _pause(self) -> None:
        self._stop_waiting()
        if self._is_playing:
            self._is_playing = False
            self._say()

    def _wait(self) -> None:
        """Go on after a while, if it goes on by itself."""
        self._stop_waiting()
        if self._played is None or not self._is_playing or self._played.number >= len(self._replay.beats):
            return
        seconds = beat_seconds(self._played.beat, self._speed)
        if self._played.beat.ask is not None:
            thinking = THINKING_SECONDS / self._speed
            seconds = max(2.0 / self._speed, seconds - thinking) if self._is_answered else seconds
        self._timer = self.set_timer(seconds, self.action_next_beat)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.stop()
            self._timer = None

    def _say(self) -> None:
        if self._played is not None:
            self.query_one(Caption).update(Content("\n").join(self._words()))

    def _words(self) -> list[Content]:
        """Give the caption, line by line."""
        assert self._played is not None
        played, total = self._played, len(self._replay.beats)
        beat = played.beat
        going = "goes on by itself" if self._is_playing and played.number < total else "waits"
        head = f"{played.number}/{total} {beat.title}"
        lines = [Content.assemble((printable(head), "bold $primary"), (f"  · {going}", "$text-muted"))]
        lines += [Content(printable(" ".join(text.split()))) for text in _paragraphs(beat, self._is_answered)]
        lines += [Content.assemble((f"× {printable(line)}", "bold $kind-violation")) for line in played.failures]
        if self.stale and played.number == 1:
            lines.append(Content.assemble((f"! {printable(self.stale)}: the words may not be so.", "bold $changed")))
        keys = "[.] answer" if not self._is_answered else "[.] next"
        lines.append(Content.assemble((f"{keys}  [,] before  [/] back into the beat  [;] by itself", "$text-muted")))
        return lines


def _paragraphs(beat: Beat, is_answered: bool) -> list[str]:
    """Give the words of a beat; an answer only once it is due."""
    words = [beat.say] if beat.say else []
    if beat.compare:
        words.append(f"Side by side: {', '.join(beat.compare[:MOST])} (c compares all)")
    if beat.ask is not None:
        words.append(f"? {beat.ask.text} {' / '.join(beat.ask.choices)}".rstrip())
        if is_answered and beat.ask.answer:
            words.append(f"→ {beat.ask.answer}")
        if is_answered and beat.ask.explain:
            words.append(beat.ask.explain)
    return words
