"""A process that dies at its n-th step that lasts, as kill -9 would have it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from ringviz.guest.disks import store
from ringviz.record.machines.room import Room


def killed_at(step: int, open_room: Callable[[], Room], operation: Callable[[Room], object]) -> bool:
    """Do an operation in a process that dies, without a chance to clean up, before its n-th step that a disk sees.

    Returns:
        It has come to its end before that.
    """
    child = os.fork()
    if child == 0:
        left = [step]

        def counted(what: Callable[..., object]) -> Callable[..., object]:
            def call(*arguments: object, **more: object) -> object:
                left[0] -= 1
                if not left[0]:
                    os._exit(9)
                return what(*arguments, **more)

            return call

        os.replace, os.fsync = counted(os.replace), counted(os.fsync)  # type: ignore[assignment]
        os.rename = counted(os.rename)  # type: ignore[assignment]
        store.FileStore.write = counted(store.FileStore.write)  # type: ignore[method-assign,assignment]
        Path.unlink = counted(Path.unlink)  # type: ignore[method-assign,assignment]
        try:
            operation(open_room())
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
