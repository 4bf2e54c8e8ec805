"""The exit port at 0xF4: writing v ends the run with exit code (v << 1) | 1, like QEMU's isa-debug-exit.

The code is odd, so it is never 0: a guest that ends itself this way is told apart from a machine that was switched off.
The port spans four addresses (QEMU's `iosize=4`), so that an `out` of 1, 2 or 4 bytes arrives whole. A host's process
status keeps only the low 8 bits of what QEMU exits with; here the code is whole.

Whoever runs the machine can ask through the same port: it reads 0, and 1 once the guest has been asked to shut down. A
guest that looks there can put its things in order and end its run; one that does not is switched off some time later.
QEMU's port always reads 0.
"""

from ringviz.machine.bus import State


class ExitPort:
    """The guest's way to end the run; the first write counts, as there is nothing after it."""

    name = "exit"
    ports = (range(0xF4, 0xF8),)
    access_bytes = 4

    def __init__(self) -> None:
        self._exit_code: int | None = None
        self._is_asked = False

    @property
    def exit_code(self) -> int | None:
        """The code the guest ended the run with; None while it has not."""
        return self._exit_code

    def read(self, offset: int, size: int, now: int) -> int:
        """Give 0, or 1 if the guest is asked to shut down."""
        return int(self._is_asked) if offset == 0 else 0

    def ask_to_shut_down(self) -> None:
        """Let the guest know that it is to end its run."""
        self._is_asked = True

    def write(self, offset: int, size: int, value: int, now: int) -> None:
        """End the run."""
        if self._exit_code is None:
            self._exit_code = value << 1 | 1

    def save(self) -> State:
        """Give the exit code, if any, and behind it that the guest has been asked, if it has."""
        return (self._exit_code, True) if self._is_asked else (self._exit_code,)

    def restore(self, state: State) -> None:
        """Go back to having ended the run, or not, as it was."""
        self._exit_code, self._is_asked = state[0], len(state) > 1
