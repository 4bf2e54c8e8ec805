"""Where ringviz keeps what it remembers of a person: progress in lessons, bookmarks."""

import os
from pathlib import Path

from platformdirs import user_state_path

STATE_VARIABLE = "RINGVIZ_STATE"
"""Environment variable: the folder, in place of the platform's own."""


def state_folder() -> Path:
    """Give the folder; it need not exist."""
    own = os.environ.get(STATE_VARIABLE)
    return Path(own) if own else user_state_path("ringviz")
