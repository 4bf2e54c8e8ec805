"""What the screens share on which a guest can be moved along its run."""

from typing import TYPE_CHECKING, cast

from textual.reactive import var

from ringviz.ui.requests import Back, NextEvent, PreviousEvent, Request, Run, Seek, Step
from ringviz.ui.screens.noticing import NoticingScreen

if TYPE_CHECKING:
    from ringviz.ui.app import RingvizApp


class MovingScreen(NoticingScreen):
    """Turns the keys of moving into requests."""

    # The screen itself shows neither; were they to repaint it, every panel would be drawn anew at each step.
    in_motion: var[bool] = var(False)
    is_busy: var[bool] = var(False)

    @property
    def ringviz(self) -> "RingvizApp":
        """The app, by its own type."""
        return cast("RingvizApp", self.app)

    def known_end(self) -> int | None:
        """Where the run ends, if that is known."""
        raise NotImplementedError

    def _ask(self, request: Request) -> None:
        self.clear_notice()
        self.ringviz.engine.submit(request)

    def action_step(self) -> None:
        """One instruction forward."""
        self._ask(Step())

    def action_back(self) -> None:
        """One instruction back."""
        self._ask(Back())

    def action_next_event(self) -> None:
        """To the next event."""
        self._ask(NextEvent())

    def action_previous_event(self) -> None:
        """To the event before."""
        self._ask(PreviousEvent())

    def action_run(self) -> None:
        """To the end."""
        self._ask(Run())

    def action_start(self) -> None:
        """To the first instruction."""
        self._ask(Seek(0))

    def action_end(self) -> None:
        """To the end: at once if it is known where that is."""
        end = self.known_end()
        self._ask(Run() if end is None else Seek(end))
