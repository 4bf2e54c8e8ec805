"""The exit port at 0xF4: writing v ends the run with exit code (v << 1) | 1, like QEMU's isa-debug-exit.

The code is odd, so it is never 0: a guest that ends itself this way is told apart from a machine that was switched off.
The port spans four addresses (QEMU's `iosize=4`), so that an `out` of 1, 2 or 4 bytes arrives whole. A host's process
status keeps only the low 8 bits of what QEMU exits with; here the code is whole.
"""

from ringviz.machine.bus import State


class ExitPort:
    """The guest's way to end the run; the first write counts, as there is nothing after it."""

    name = "exit"
    ports = (range(0xF4, 0xF8),)
    access_bytes = 4

    def __init__(self) -> None:
        self._exit_code: int | None = None

    @property
    def exit_code(self) -> int | None:
        """The code the guest ended the run with; None while it has not."""
        return self._exit_code

    def read(self, offset: int, size: int, now: int) -> int:
        """Give 0, as QEMU does."""
        return 0

    def write(self, offset: int, size: int, value: int, now: int) -> None:
        """End the run."""
        if self._exit_code is None:
            self._exit_code = value << 1 | 1

    def save(self) -> State:
        """Give the exit code, if any."""
        return (self._exit_code,)

    def restore(self, state: State) -> None:
        """Go back to having ended the run, or not, as it was."""
        (self._exit_code,) = state
