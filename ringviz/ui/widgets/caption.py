"""The words of a beat, above what is shown."""

from textual.widgets import Static


class Caption(Static):
    """What the present beat says, asks, and how one goes on."""
