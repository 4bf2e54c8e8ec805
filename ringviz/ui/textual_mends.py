"""What Textual 8.2 does wrong under quick fingers, mended in one place; to go when Textual has mended it."""

from collections.abc import Callable
from contextlib import suppress

from textual.widgets import OptionList


def mend() -> None:
    """Let a list whose lines are not laid out yet ignore Page Up and Page Down: it looks up a line it has not counted.

    The command palette fills its list again with every letter, so a key behind a letter is enough to end the app.
    """
    OptionList.action_page_down = _ignored_if_not_laid_out(OptionList.action_page_down)  # type: ignore[method-assign]
    OptionList.action_page_up = _ignored_if_not_laid_out(OptionList.action_page_up)  # type: ignore[method-assign]


def _ignored_if_not_laid_out(action: Callable[[OptionList], None]) -> Callable[[OptionList], None]:
    if hasattr(action, "_is_mended"):
        return action

    def mended(self: OptionList) -> None:
        with suppress(KeyError):
            action(self)

    mended._is_mended = True  # type: ignore[attr-defined]
    return mended
