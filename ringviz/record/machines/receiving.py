"""A port at which machines may come from another host while this one is at work.

The link is looked at between two moments of the host, and what has arrived by then is taken in. So the other host waits
a little for answers, and nothing of a machine of this one happens earlier or later for it.
"""

from __future__ import annotations

import secrets
import select
import socket
import time
from typing import TYPE_CHECKING

from ringviz.record.machines.arrival import Arrival
from ringviz.record.machines.shared import SharedFolder
from ringviz.vmm.migration import tcp
from ringviz.vmm.migration.destination import Stage
from ringviz.vmm.migration.offered import OpenDestination
from ringviz.vmm.migration.stream import NONCE_BYTES

if TYPE_CHECKING:
    from ringviz.record.machines.room import Room


class Receiving:
    """The port, and the one machine that is on its way."""

    def __init__(self, room: Room, shared: SharedFolder, port: int) -> None:
        """Begin to listen.

        Args:
            room: where machines are to be; somebody else runs its host.
            shared: what both hosts see; the secret is made if there is none.
            port: where to listen; 0 for any that is free.

        Raises:
            MigrationError: the port is taken, or the folder cannot be shared.
        """
        shared.make()
        self._room, self._shared = room, shared
        self._server = tcp.listen(port)
        self.port: int = self._server.getsockname()[1]
        self._connection: socket.socket | None = None
        self._heard_at = 0.0
        self._arrival: Arrival
        self._destination: OpenDestination
        self.refusal = ""
        """Why the last machine has not come."""
        self.has_come = False
        """At least one has."""

    def wait(self, seconds: float) -> bool:
        """Wait until something comes over the link, or a host connects; tell whether something has."""
        watched = self._server if self._connection is None else self._connection
        return bool(select.select([watched], [], [], seconds)[0])

    def look(self) -> str:
        """Take in what has arrived; give the name of a machine that is here now, or has turned out not to come.

        Empty: there is nothing to tell. `refusal` says whether it has come.
        """
        if self._connection is None and not self._accept():
            return ""
        assert self._connection is not None
        try:
            while self._destination.stage not in (Stage.RUNNING, Stage.OVER):
                if not select.select([self._connection], [], [], 0)[0]:
                    if time.monotonic() - self._heard_at < tcp.PATIENCE_S:
                        return ""
                    break
                data = self._connection.recv(tcp.CHUNK_BYTES)
                if not data:
                    break
                self._heard_at = time.monotonic()
                self._connection.sendall(self._destination.receive(data))
        except OSError:
            pass  # lost: what that means is settled below
        return self._settle()

    def end(self) -> str:
        """Listen no more; a machine that was on its way is here by now, or stays where it was: see `look`."""
        self._server.close()
        return "" if self._connection is None else self._settle()

    def close(self) -> None:
        """Listen no more, though no run has come to its end."""
        self._server.close()
        if self._connection is not None:
            self._connection.close()

    def _accept(self) -> bool:
        if not select.select([self._server], [], [], 0)[0]:
            return False
        try:
            self._connection = self._server.accept()[0]
            self._connection.settimeout(tcp.PATIENCE_S)
            self._arrival = Arrival(self._room, self._shared)
            self._destination = OpenDestination(
                self._shared.secret(), secrets.token_bytes(NONCE_BYTES), self._arrival
            )  # fmt: skip
            self._heard_at = time.monotonic()
            self._connection.sendall(self._destination.greeting())
        except OSError:  # gone before it was let in
            if self._connection is not None:
                self._connection.close()
            self._connection = None
            return False
        return True

    def _settle(self) -> str:
        """Close the link, and find out what became of the machine."""
        assert self._connection is not None
        self._connection.close()
        self._connection = None
        self._destination.link_lost()
        self._arrival.close()
        name = self._arrival.name
        if name:
            self._room.settle_move(name)
        self.has_come |= self._destination.is_running
        self.refusal = "" if self._destination.is_running else self._destination.refusal
        return name or "a machine"
