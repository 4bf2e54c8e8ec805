"""Who has the machine when the link fails: a record that can be written once, and that both sides can reach.

No exchange of messages over a link that can fail at any moment lets both ends know the same. So they do not have to:
where the machine runs is decided by a record beside the link, as real hosts have it on the storage that both need for
the disks. It is written once, by whoever comes first. The source writes `MOVED` when the destination says that it has
everything; either side writes `STAYS` when it gives up. The machine runs at the destination if the record says
`MOVED`, else at the source: at exactly one of them, whatever was lost, and whoever asks.
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import Protocol

from ringviz.errors import MigrationError


class Decision(Enum):
    """What can be decided."""

    MOVED = "moved"
    STAYS = "stays"


class DecisionRecord(Protocol):
    """A place for one decision."""

    def decide(self, decision: Decision) -> Decision:
        """Write a decision unless there is one, and give the one that stands."""


class MemoryRecord:
    """A record within this process."""

    def __init__(self) -> None:
        self.standing: Decision | None = None
        """What was decided."""

    def decide(self, decision: Decision) -> Decision:
        """Write a decision unless there is one, and give the one that stands."""
        if self.standing is None:
            self.standing = decision
        return self.standing


class FileRecord:
    """A record that is a file in a folder which both sides see.

    A file with the decision in it is given its name by one system call, which fails if the name is taken: nobody ever
    sees half a decision, and a power cut leaves a whole one or none.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def decide(self, decision: Decision) -> Decision:
        """Write a decision unless there is one, and give the one that stands.

        Raises:
            MigrationError: the record cannot be written or read.
        """
        draft = self._path.with_name(f"{self._path.name}.{decision.value}.{secrets.token_hex(8)}")
        try:
            with draft.open("w", encoding="ascii") as stream:
                stream.write(decision.value)
                stream.flush()
                os.fsync(stream.fileno())
            with suppress(FileExistsError):
                os.link(draft, self._path)
            draft.unlink()
            return Decision(self._path.read_text(encoding="ascii"))
        except (OSError, ValueError) as error:
            raise MigrationError(
                f"{self._path.name}: the record of who has the machine is of no use: {error}"
            ) from None
