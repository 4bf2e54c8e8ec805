"""What every lecture has in common: how it stands with its audience, and keys that do not depend on what is shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from textual import events
from textual.app import ComposeResult
from textual.content import Content
from textual.screen import ModalScreen
from textual.timer import Timer
from textual.widgets import Static

from ringviz.errors import RingvizError
from ringviz.record.lecture_notes import LectureNotes, write_notes
from ringviz.record.pace import THINKING_SECONDS, beat_seconds
from ringviz.record.replay import Script, Spoken
from ringviz.ui.requests import Remarked
from ringviz.ui.screens.beat_heading import spoken_lines, title_lines
from ringviz.ui.screens.noticing import NoticingScreen

_SLOWEST, _FASTEST = 0.25, 8.0
_LEAVE_SECONDS = 2.0
"""A second press of the key to leave within this time is meant."""
_LEAST_SECONDS = 2.0
"""Ours: an answer stands at least so long."""


class PlayedBeat(Protocol):
    """A beat that was played, whatever plays it."""

    @property
    def number(self) -> int:
        """From 1."""

    @property
    def beat(self) -> Spoken:
        """What is said and asked."""

    @property
    def failures(self) -> tuple[str, ...]:
        """What is not as its author expected."""


class PresentingScreen(NoticingScreen):
    """Plays the beats of a script for an audience; what is seen below the heading is for those who know more.

    Args:
        script: its beats.
        speed: how many times as fast as it is written, when it goes on by itself.
        clock: seconds of the epoch.
    """

    _played: PlayedBeat | None

    def __init__(self, script: Script, speed: float, clock: Callable[[], float]) -> None:
        super().__init__()
        self._script = script
        self._speed = speed
        self._clock = clock
        self._began = clock()
        self._played = None
        self._is_answered = True
        self._shows_words = False
        self._timer: Timer | None = None
        self._asked_to_leave = 0.0
        self.stale = ""
        """What has changed since the script was recorded."""

    # ---- what each lecture has of its own ----------------------------------------------------------------------------

    def action_forward(self) -> None:
        """Give the answer to a question that is open; else the next beat."""
        raise NotImplementedError

    def _light(self) -> None:
        """Show the panel in the light, and what there is room for beside it."""
        raise NotImplementedError

    def _draw_stage(self) -> None:
        """Draw below the heading what does not draw itself."""

    def _status(self) -> str:
        """Say for the speaker where it stands."""
        raise NotImplementedError

    def _pause(self) -> tuple[float, Callable[[], object]] | None:
        """Say when it does what by itself, or nothing."""
        raise NotImplementedError

    def _left(self) -> None:
        """Go back to where one was."""
        raise NotImplementedError

    # ---- the presenter's keys ----------------------------------------------------------------------------------------

    def action_black(self) -> None:
        """Nothing to see, until any key."""
        self._tell_speaker("black")
        self.app.push_screen(BlackScreen(), lambda _: self._tell_speaker())

    def action_zoom(self) -> None:
        """The panel in the light alone, or with the others."""
        self.toggle_class("-alone")
        self._light()

    def action_words(self) -> None:
        """Show the audience, too, what is said."""
        self._shows_words = not self._shows_words
        self._draw()

    def action_faster(self, factor: float) -> None:
        """Another speed."""
        self._speed = max(_SLOWEST, min(_FASTEST, self._speed * factor))
        self.notice(Remarked(f"Speed {self._speed:g}."))
        self._wait()

    def action_leave(self) -> None:
        """Leave, if it is meant: the key has to be pressed twice."""
        now = self._clock()
        if now - self._asked_to_leave > _LEAVE_SECONDS:
            self._asked_to_leave = now
            self.notice(Remarked("q again leaves the lecture; any other key stays."))
            return
        self._stop_waiting()
        self._tell_speaker("left", is_over=True)
        self._left()

    # ---- the beat ----------------------------------------------------------------------------------------------------

    @property
    def _is_at_last_beat(self) -> bool:
        return self._played is not None and self._played.number >= len(self._script.beats)

    def _say_it_was_the_last(self) -> None:
        self.notice(Remarked("This was the last beat. ← goes back, q twice leaves."))
        self._tell_speaker()

    def _begin_beat(self, *, is_zoomed: bool) -> None:
        """Show a beat that has been taken over."""
        self.set_class(is_zoomed, "-alone")
        self._light()
        self._draw()
        self._wait()
        if self.stale and self._played is not None and self._played.number == 1:
            self.notice(Remarked(f"{self.stale}: the words may not be so."))

    def _draw(self) -> None:
        """Write the heading (the beat, a question and its answer, the words if they are wanted) and the notes."""
        if not self.is_mounted:
            return
        self.query_one("#heading", Static).update(Content("\n").join(self._heading(max(10, self.size.width - 4))))
        self._draw_stage()
        self._tell_speaker()

    def _heading(self, width: int) -> list[Content]:
        played = self._played
        if played is None:
            return title_lines(self._script.title, "", width, self.size.height)
        number = f"{played.number}/{len(self._script.beats)} "
        lines = title_lines(played.beat.title, number, width, self.size.height)
        return lines + spoken_lines(played.beat, width, is_answered=self._is_answered, shows_words=self._shows_words)

    def _wait(self) -> None:
        """Go on after a while, if it goes on by itself."""
        self._stop_waiting()
        pause = self._pause()
        if pause is not None:
            self._timer = self.set_timer(*pause)

    def _beat_pause(self) -> tuple[float, Callable[[], object]] | None:
        """Say how long a beat stands, with or without its answer, before the next."""
        if self._played is None:
            return None
        beat = self._played.beat
        seconds = beat_seconds(beat, self._speed)
        if beat.ask is not None and self._is_answered:
            seconds = max(_LEAST_SECONDS / self._speed, seconds - THINKING_SECONDS / self._speed)
        return seconds, self.action_forward

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.stop()
            self._timer = None

    def _problems(self) -> tuple[str, ...]:
        """What is not as the author expected; at the first beat also what has changed since."""
        if self._played is None:
            return ()
        stale = (f"{self.stale}; read it through first",) if self.stale and self._played.number == 1 else ()
        return (*stale, *self._played.failures)

    def _tell_speaker(self, what: str = "", *, is_over: bool = False) -> None:
        """Write the notes for the second terminal."""
        notes = LectureNotes.of_beat(
            self._script,
            0 if self._played is None else self._played.number,
            self._began,
            what or self._status(),
            is_answered=self._is_answered,
            problems=self._problems(),
            is_over=is_over,
        )
        try:
            write_notes(notes)
        except RingvizError as error:
            self.notice(Remarked(str(error)))


class BlackScreen(ModalScreen[None]):
    """Nothing at all; any key goes back to where one was, and does nothing else."""

    def compose(self) -> ComposeResult:
        """Black."""
        yield Static("", markup=False)

    def on_key(self, event: events.Key) -> None:
        """Light again."""
        event.stop()
        event.prevent_default()
        self.dismiss()

    def on_click(self) -> None:
        """Likewise."""
        self.dismiss()
