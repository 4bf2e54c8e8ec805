"""What is dear to make, and needed by several tests, is made once in a session, for all the processes that run it."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

_T = TypeVar("_T")

FOLDER_VARIABLE = "RINGVIZ_TESTS_SHARED"
"""The folder of this session, which `conftest` makes and takes away again: nothing outlives the code that made it."""


def once_a_session(name: str, make: Callable[[], _T]) -> _T:
    """Give what `make` gives, from whichever process of this session needed it first.

    Args:
        name: of the file in which it is kept.
        make: gives plain values, as JSON has them.
    """
    folder = Path(os.environ[FOLDER_VARIABLE])
    kept = folder / f"{name}.json"
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # whoever comes second waits for the first
        if not kept.exists():
            kept.write_text(json.dumps(make()), encoding="utf-8")
        value: _T = json.loads(kept.read_text(encoding="utf-8"))
        return value
