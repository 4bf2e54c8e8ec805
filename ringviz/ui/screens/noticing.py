"""Screens with a line of keys, in whose place something can be said."""

from textual.screen import Screen

from ringviz.ui.requests import Failed, Remarked
from ringviz.ui.widgets.keyline import KeyLine


class NoticingScreen(Screen[None]):
    """Has a key line, which also gives notice."""

    def notice(self, message: Failed | Remarked) -> None:
        """Say one line in place of the keys."""
        line = self.query_one(KeyLine)
        line.is_failure = isinstance(message, Failed)
        line.notice = message.text

    def clear_notice(self) -> None:
        """Show the keys again."""
        self.query_one(KeyLine).notice = ""
