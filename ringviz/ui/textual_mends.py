"""What Textual 8.2 does wrong under quick fingers, mended in one place; to go when Textual has mended it."""

from collections.abc import Callable
from contextlib import suppress

from textual import work
from textual.await_complete import AwaitComplete
from textual.command import CommandPalette
from textual.css.query import NoMatches
from textual.message import Message
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Button, Input, OptionList

_MARK = "_ringviz_has_mended"


def mend() -> None:
    """Mend all of it; once is enough, and more than once does no harm."""
    if hasattr(OptionList, _MARK):
        return
    _mend_paging()
    _mend_selecting()
    _mend_palette()
    _mend_dismissing()
    setattr(OptionList, _MARK, True)


def _mend_paging() -> None:
    """Let a list whose lines are not laid out yet ignore Page Up and Page Down: it looks up a line it has not counted.

    The command palette fills its list again with every letter, so a key behind a letter is enough to end the app.
    """
    OptionList.action_page_down = _ignored_if_not_laid_out(OptionList.action_page_down)  # type: ignore[method-assign]
    OptionList.action_page_up = _ignored_if_not_laid_out(OptionList.action_page_up)  # type: ignore[method-assign]


def _ignored_if_not_laid_out(action: Callable[[OptionList], None]) -> Callable[[OptionList], None]:
    def mended(self: OptionList) -> None:
        with suppress(KeyError):
            action(self)

    return mended


def _mend_selecting() -> None:
    """Let a click on a widget that has just been removed begin no selection of text: it asks for the parent."""
    selectable = Widget.__dict__["allow_select"].fget

    def allow_select(self: Widget) -> bool:
        return self.is_attached and bool(selectable(self))

    Widget.allow_select = property(allow_select)  # type: ignore[assignment, method-assign]


def _mend_palette() -> None:
    """Let the command palette do nothing once it is closed: it fills a list that is gone, and closes what is not it."""
    gather = CommandPalette._gather_commands.__wrapped__  # type: ignore[attr-defined]

    async def gather_while_open(self: CommandPalette, search_value: str) -> None:
        with suppress(NoMatches):
            await gather(self, search_value)

    async def dispatch_while_open(self: CommandPalette, message: Message) -> None:
        # Enter, twice: the second one would take away the screen below, and do the same once more.
        if self.is_current or not isinstance(message, (Input.Submitted, Button.Pressed)):
            await super(CommandPalette, self)._dispatch_message(message)

    mended = work(exclusive=True, group=CommandPalette._GATHER_COMMANDS_GROUP)(gather_while_open)
    CommandPalette._gather_commands = mended  # type: ignore[method-assign]
    CommandPalette._dispatch_message = dispatch_while_open  # type: ignore[method-assign, assignment]


def _mend_dismissing() -> None:
    """Let a screen that closes itself take away what stands over it, and do nothing the second time.

    Textual answers whoever has opened the screen, and takes away the topmost one, whichever that is: the screen that
    was meant stays, and ends the app when it is closed once more.
    """
    dismiss = Screen.dismiss

    def dismiss_itself(self: Screen[object], result: object = None) -> AwaitComplete:
        if self not in self.app.screen_stack:
            return AwaitComplete.nothing()  # type: ignore[no-any-return, no-untyped-call]
        while self.app.screen is not self:
            self.app.pop_screen()
        return dismiss(self, result)

    Screen.dismiss = dismiss_itself  # type: ignore[method-assign, assignment]
