"""A second host for a demonstration: a process of its own that waits for one machine, and lets it run on there."""

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ringviz.errors import MigrationError
from ringviz.record.machines.host_file import HostDefinition, open_host
from ringviz.record.machines.leaving import Peer
from ringviz.record.machines.room import Room
from ringviz.record.machines.store import FOLDER_VARIABLE

_PATIENCE_S = 60
_LONGER = 8
"""Ours: it runs for so many times as long as the first one, so that a guest that ends is seen to end."""


class OtherHost:
    """The process, and what it has said."""

    def __init__(self, definition: HostDefinition, folder: Path) -> None:
        """Start it with a host like the first one, in an empty folder.

        Raises:
            MigrationError: it does not come up.
        """
        self._definition, self._shared = definition, folder / "shared"
        room = Room(folder / "machines", lambda: 0)
        room.set_host(definition.cpu, definition.memory_mib, definition.scheduler)
        room.close()
        command = ["vm", "receive", "--shared", str(self._shared), "--for", str(_LONGER * definition.cycles)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "ringviz", *command],
            env={**os.environ, FOLDER_VARIABLE: str(folder / "machines")},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        first = self._process.stdout.readline().strip()
        port = first.rpartition(" ")[2]
        if not port.isdigit():
            self.close()
            raise MigrationError(f"the other host does not come up: {first or 'it has said nothing'}")
        self._port = int(port)
        self.lines: list[str] = []
        """What it has said since."""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def peer(self) -> Peer:
        """Say how machines move there."""
        assert self._definition.other_host is not None
        return Peer(self._port, self._shared, self._definition.other_host)

    def over(self) -> list[str]:
        """Wait until it has nothing more to do, and give what it has said."""
        self._process.wait(_PATIENCE_S)
        self._reader.join(_PATIENCE_S)
        return self.lines

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append(line.rstrip())


@contextmanager
def opened_host(definition: HostDefinition) -> Iterator[tuple[Room, OtherHost | None]]:
    """Give a host with its machines on, and the other one if the file speaks of one; nothing of them is kept.

    Raises:
        RingvizError: there can be no such host; one line.
    """
    with tempfile.TemporaryDirectory(prefix="ringviz-", ignore_cleanup_errors=True) as folder:
        room = open_host(definition, Path(folder) / "here", lambda: 0)
        other = None
        try:
            other = None if definition.other_host is None else OtherHost(definition, Path(folder) / "there")
            yield room, other
        finally:
            room.close()
            if other is not None:
                other.close()
