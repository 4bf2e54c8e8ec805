"""The debug console at port 0xE9, as Bochs and QEMU have it: every byte written is printed, with nothing to set up."""

from ringviz.machine.bus import State
from ringviz.machine.devices.transcript import Transcript

PRESENT = 0xE9
"""What the port reads as: its own number, by which a guest finds out that the console is there."""


class DebugConsole:
    """One write-only byte of output."""

    name = "debug-console"
    ports = (range(0xE9, 0xEA),)
    access_bytes = 1

    def __init__(self) -> None:
        self._transcript = Transcript()

    @property
    def printed(self) -> bytes:
        """Everything the guest wrote so far."""
        return self._transcript.text

    def read(self, offset: int, size: int, now: int) -> int:
        """Give the sign that a console is here."""
        return PRESENT

    def write(self, offset: int, size: int, value: int, now: int) -> None:
        """Print one byte."""
        self._transcript = self._transcript.plus(value)

    def save(self) -> State:
        """Give what was printed."""
        return self._transcript

    def restore(self, state: State) -> None:
        """Go back to having printed just this."""
        self._transcript = Transcript(*state)
