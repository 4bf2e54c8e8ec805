"""A machine of a host at work that moves to another host, step by step, as the host's clock goes on."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ringviz.record.machines.kept import Kept, Move
from ringviz.record.machines.offer import file_parts, make_offer
from ringviz.record.machines.shared import SharedFolder
from ringviz.vmm.host.host import Host
from ringviz.vmm.host.shares import Share
from ringviz.vmm.migration import tcp
from ringviz.vmm.migration.hosted import HostedGuest
from ringviz.vmm.migration.rounds import Round
from ringviz.vmm.migration.source import Offer, Outcome, Plan, Progress, Source
from ringviz.vmm.migration.stream import NONCE_BYTES

if TYPE_CHECKING:
    from ringviz.record.machines.room import Room

HOTTEST = 12
"""Pages told as the hottest ones."""


@dataclass(frozen=True, slots=True)
class Peer:
    """The other host, and how machines are to move there."""

    port: int
    shared: Path
    """Folder that both see."""
    plan: Plan = field(default_factory=Plan)


@dataclass(frozen=True, slots=True)
class MigrationView:
    """A migration at one moment, or when it is over."""

    machine: str
    rounds: tuple[Round, ...]
    progress: Progress
    """Of the round that goes on."""
    memory_pages: int
    mbit: int
    rules: str
    sent_bytes: int
    hot_pages: tuple[tuple[int, int], ...]
    """Pages written to in the most rounds, and in how many."""
    has_help: bool
    throttle_percent: int
    is_at_rest: bool
    """The guest stands still for the last round."""
    outcome: Outcome | None
    """None while it goes on."""


class Leaving:
    """One migration."""

    def __init__(self, room: Room, host: Host, name: str, kept: Kept, peer: Peer) -> None:
        """Reach the other host and begin.

        Raises:
            RingvizError: it cannot be reached, or such a machine cannot move; nothing has changed then.
        """
        self.outcome: Outcome | None = None
        """What came of it, when it is over."""
        self.due_at = host.clock
        """Clock of the host at which the next step is due."""
        self._name, self._host, self._plan = name, host, peer.plan
        self._guest = HostedGuest(host, name)
        shared = SharedFolder(peer.shared)
        record = shared.new_record()
        offered = make_offer(name, kept, record, room.spent(host, name, kept), room.folder)
        secret = shared.secret()
        self._connection: socket.socket = tcp.connect(peer.port)
        try:
            self._source = Source(
                self._guest, peer.plan, secret, secrets.token_bytes(NONCE_BYTES), shared.record(record),
                tcp.SocketWire(self._connection), Offer(offered.encode(), tuple(file_parts(offered, room.folder))),
            )  # fmt: skip
            self.move = Move(True, str(shared.path), record, kept.state)
            # From here on whoever finds the room looks at the record to know whether the machine is in it.
            room.let_leave(name, self.move)
        except BaseException:
            self._connection.close()
            raise
        self._steps: Generator[int, None, Outcome] = self._source.steps()
        self.go_on()

    @property
    def has_ended(self) -> bool:
        """The guest's run is over, so there is nothing to wait for."""
        return self._guest.has_ended

    def go_on(self) -> None:
        """Do the step that is due; afterwards another one is, or there is an outcome."""
        try:
            cycles = next(self._steps)
        except StopIteration as end:
            self.outcome = end.value
            self._connection.close()
            return
        # The link does not wait for turns that are finished late; but the last round begins when the guest has stopped.
        self.due_at = (self._host.clock if self._guest.is_at_rest else self.due_at) + cycles

    def call_off(self) -> None:
        """Let the machine stay; nothing if it is over."""
        if self.outcome is None:
            self._steps.close()
            with suppress(OSError):
                self._connection.close()

    def set_share(self, share: Share) -> None:
        """Let the machine have another share of the CPU."""
        self._guest.set_share(share)

    def help(self) -> bool:
        """Slow the guest down from now on if it writes faster than the link carries; tell whether that is new."""
        is_new = not self._source.has_help
        self._source.has_help = True
        return is_new

    def view(self) -> MigrationView:
        """Take a picture."""
        source = self._source
        return MigrationView(
            self._name, source.rounds, source.progress, self._guest.memory_pages, self._plan.mbit, self._plan.rules,
            source.sent_bytes, tuple(source.dirtied.most_common(HOTTEST)), source.has_help,
            self._guest.throttle_percent, self._guest.is_at_rest, self.outcome,
        )  # fmt: skip
