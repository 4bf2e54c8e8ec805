"""Techniques side by side because a beat of a replay wants them so; the next beat closes the screen again."""

from collections.abc import Callable, Sequence
from typing import ClassVar, Protocol

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content

from ringviz.ui.commands import GROUP, LECTURE_GROUP, REPLAY, Command, bindings
from ringviz.ui.screens.compare_group import SideBySideScreen
from ringviz.ui.widgets.caption import Caption


class Player(Protocol):
    """The screen that plays the replay: it stands below, and turns the beats."""

    def action_next_beat(self) -> None:
        """On to the next beat."""

    def action_previous_beat(self) -> None:
        """Back to the beat before."""

    def action_this_beat(self) -> None:
        """Back into the beat."""

    def action_autoplay(self) -> None:
        """By itself, or no longer."""


class Presenter(Protocol):
    """The screen that holds the lecture: it stands below."""

    def action_forward(self) -> None:
        """On to the next beat."""

    def action_backward(self) -> None:
        """Back to the beat before."""

    def action_black(self) -> None:
        """Nothing to see."""


class ReplayGroupScreen(SideBySideScreen):
    """Side by side within a replay: what is said stands above, and its keys turn the beats.

    Args:
        player: the screen below.
        words: what is said, in lines for a width.
    """

    COMMAND_ROWS: ClassVar[tuple[Command, ...]] = (*REPLAY, *GROUP)
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(REPLAY)]

    def __init__(self, player: Player, words: Callable[[int], Sequence[Content]]) -> None:
        self._player = player
        self._words = words
        super().__init__()

    def compose(self) -> ComposeResult:
        """The words, and below them the columns."""
        yield Caption(Content("\n").join(self._words(self.app.size.width - 2)), markup=False)
        yield from super().compose()

    def action_next_beat(self) -> None:
        """On to the next beat; that closes this."""
        self._player.action_next_beat()

    def action_previous_beat(self) -> None:
        """Back to the beat before; that closes this."""
        self._player.action_previous_beat()

    def action_this_beat(self) -> None:
        """Back to where the beat stands."""
        self._player.action_this_beat()

    def action_autoplay(self) -> None:
        """Let the replay go on by itself, or wait."""
        self._player.action_autoplay()


class LectureGroupScreen(SideBySideScreen, inherit_bindings=False):
    """Side by side within a lecture: a presenter's keys, and no others.

    Args:
        presenter: the screen below.
        words: the heading, in lines for a width.
    """

    COMMAND_ROWS: ClassVar[tuple[Command, ...]] = LECTURE_GROUP
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(LECTURE_GROUP)]

    def __init__(self, presenter: Presenter, words: Callable[[int], Sequence[Content]]) -> None:
        self._presenter = presenter
        self._words = words
        super().__init__()

    def compose(self) -> ComposeResult:
        """The heading, and below it the columns."""
        yield Caption(Content("\n").join(self._words(self.app.size.width - 2)), markup=False)
        yield from super().compose()

    def action_forward(self) -> None:
        """On to the next beat; that closes this."""
        self._presenter.action_forward()

    def action_backward(self) -> None:
        """Back to the beat before; that closes this."""
        self._presenter.action_backward()

    def action_black(self) -> None:
        """Nothing to see, until any key."""
        self._presenter.action_black()
