"""The thread that plays a host's lecture: keys are answered while the host runs; it goes back by running anew."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from textual.message import Message

from ringviz.errors import RingvizError
from ringviz.record.machines.host_lecture import HostLecture
from ringviz.record.machines.host_player import HostPlayed, HostPlayer, Opening, playing
from ringviz.record.machines.host_run import HostRun
from ringviz.record.machines.room_view import room_view
from ringviz.ui.host_thread import GANTT_PERIODS, Command, HostSaid, HostShown, HostThread

_MOMENT_S = 0.2
"""Ours: what happens on the way to a beat is shown so often, for one that is nearer than the eye would be lost."""
_PERIOD_S = 0.25
"""Ours: each accounting period on the way stands for so long, unless a key is waiting."""

Move = Literal["next", "back", "again"]


@dataclass
class HostBeatShown(Message):
    """A beat that was played; the picture of its host has come before it."""

    played: HostPlayed


@dataclass
class HostBusy(Message):
    """The host runs on to a beat, or anew to one before."""

    is_going_back: bool


class HostLectureThread(HostThread):
    """A lecture at work: moves go in, pictures and beats come out."""

    def __init__(self, lecture: HostLecture, post: Callable[[Message], object], opening: Opening | None = None) -> None:
        """Be ready.

        Args:
            lecture: what to play.
            post: takes messages, from the thread.
            opening: gives the host; the one that the lecture names if not given.
        """
        super().__init__(None, post)
        self._lecture, self._make = lecture, opening
        self._moves: list[Move] = []
        self._is_ending = False
        self._next_show = 0.0
        self._period = 0

    def move(self, move: Move) -> None:
        """Have a beat played as soon as the one that is played now is reached."""
        self._moves.append(move)
        self.submit("picture")

    def end(self) -> None:
        """Be done with the host; at once, wherever it is."""
        self._is_ending = True
        super().end()

    def _work(self) -> None:
        try:
            with playing(self._lecture, self._make) as player:
                self.there = lambda: player.there
                self._show_host(player.run)
                self._play(player)
        except RingvizError as error:
            self._post(HostSaid(str(error), is_failure=True))
        except Exception as error:  # the thread has nobody else to tell
            self._post(HostSaid(f"internal error: {type(error).__name__}: {error}", is_failure=True))

    def _play(self, player: HostPlayer) -> None:
        while True:
            command: Command = self._commands.get()
            if command == "end" or self._is_ending:
                return
            if self._moves:
                self._go(player, self._moves.pop(0))
            self._show_host(player.run)
            self._served += 1

    def _go(self, player: HostPlayer, move: Move) -> None:
        number = player.number + {"next": 1, "back": -1, "again": 0}[move]
        if not 1 <= number <= len(self._lecture.beats):
            return
        is_back = number <= player.number
        self._post(HostBusy(is_back))
        self._period = len(player.run.host.periods)
        played = player.go_to(number, None if is_back else self._watch, lambda: self._is_ending)
        if played is not None:
            self._show_host(player.run)
            self._post(HostBeatShown(played))

    def _watch(self, run: HostRun) -> None:
        """Show what happens on the way, slowly enough to be seen; whoever presses a key is not kept waiting."""
        if self._moves or self._is_ending:
            return
        now = time.monotonic()
        if len(run.host.periods) > self._period or now >= self._next_show:
            rests = len(run.host.periods) > self._period
            self._period = len(run.host.periods)
            self._next_show = now + _MOMENT_S
            self._show_host(run, is_running=True)
            while rests and time.monotonic() < now + _PERIOD_S and not (self._moves or self._is_ending):
                time.sleep(0.01)

    def _show_host(self, run: HostRun, *, is_running: bool = False) -> None:
        self._post(HostShown(room_view(run, self.cells, GANTT_PERIODS, self.map_cells), is_running))
