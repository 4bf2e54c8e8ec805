"""A terminal of our own to run a command on, as a reader of the README does; POSIX only."""

import fcntl
import os
import pty
import re
import select
import struct
import termios
import time
from pathlib import Path

ESCAPES = re.compile(r"\x1b(\[[0-9;?<>=]*[ -/]*[@-~]|[PX^_\]].*?(\x07|\x1b\\)|[()].|[^\[PX^_\]()])", re.DOTALL)
"""Control sequences, control strings and two-character escapes."""


class Terminal:
    """A shell command on a terminal of 120 by 40."""

    def __init__(self, command: str, folder: Path, lines: int = 40, columns: int = 120) -> None:
        self._process, self._screen = pty.fork()
        if self._process == 0:
            os.chdir(folder)
            os.execvp("sh", ["sh", "-c", command])
        fcntl.ioctl(self._screen, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self._raw = b""

    @property
    def written(self) -> str:
        """All that was ever written to the screen."""
        return self._raw.decode("utf-8", "replace")

    @property
    def shown(self) -> str:
        """The same without escape sequences."""
        return ESCAPES.sub("", self.written)

    def read_until(self, words: str, limit_s: float) -> bool:
        """Wait for words on the screen; False if the command ends, or the time, before they come."""
        deadline = time.monotonic() + limit_s
        while words not in self.shown:
            if not self._read(deadline - time.monotonic()):
                return False
        return True

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._screen, keys.encode())

    def exit_code(self, limit_s: float) -> int:
        """Wait for the end and give the exit code; what has not ended in time is killed, and its code is negative."""
        deadline = time.monotonic() + limit_s
        while self._read(deadline - time.monotonic()):
            pass
        if time.monotonic() >= deadline:
            os.killpg(self._process, 9)
        _, status = os.waitpid(self._process, 0)
        os.close(self._screen)
        return os.waitstatus_to_exitcode(status)

    def _read(self, limit_s: float) -> bool:
        """Take in what the command shows next; False if it has ended or the time has."""
        ready, _, _ = select.select([self._screen], [], [], max(limit_s, 0))
        if not ready:
            return False
        try:
            chunk = os.read(self._screen, 65536)
        except OSError:  # so Linux reports that the other side has ended
            return False
        self._raw += chunk
        return bool(chunk)
