"""What comes of a hypercall that is not refused: an answer, or the wish to be called again for the rest."""

from __future__ import annotations

from dataclasses import dataclass

from ringviz.vmm.paravirt.guest_entry import Frame


@dataclass(frozen=True, slots=True)
class Answer:
    """What comes of a hypercall that was carried out."""

    text: str
    """What was done, in a few words."""
    value: int = 0
    """For EAX."""
    frame: Frame | None = None
    """Where to go on, if not behind the INT."""
    blocks: bool = False
    """The guest waits for an event."""
    ends: bool = False
    """The guest has ended itself."""
    entries: int = 0
    """Calls that a multicall bundled."""
    requests: int = 0
    """Requests of a list that were carried out."""
    is_attempt: bool = False
    """Somewhere in it the guest reached for what is not its own, and was refused."""


class Continuation(Exception):  # noqa: N818 - control flow, not an error
    """A long hypercall gives way: INT 82h is taken again with these arguments."""

    def __init__(self, arguments: tuple[int, ...], text: str, *, requests: int = 0) -> None:
        super().__init__(text)
        self.arguments = arguments
        self.requests = requests
        """Requests of a list that were carried out this time."""
