"""The link between two processes: TCP on the loopback interface of this computer, and nothing beyond it."""

from __future__ import annotations

import socket
from collections.abc import Callable

from ringviz.errors import MigrationError
from ringviz.vmm.migration.destination import Destination, Stage
from ringviz.vmm.migration.source import LinkLostError

LOOPBACK = "127.0.0.1"
PATIENCE_S = 60.0
"""A side that hears nothing for so long takes the link for lost."""
CHUNK_BYTES = 65_536
"""As much is taken from the link at a time."""


class SocketWire:
    """The source's end."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._socket.settimeout(PATIENCE_S)

    def send(self, data: bytes) -> None:
        """Send bytes.

        Raises:
            LinkLostError: the connection is gone; whatever of them may have arrived.
        """
        try:
            self._socket.sendall(data)
        except OSError:
            raise LinkLostError from None

    def receive(self, size_bytes: int) -> bytes:
        """Wait for that many bytes.

        Raises:
            LinkLostError: the connection is gone, or they are too long in coming.
        """
        data = b""
        while len(data) < size_bytes:
            try:
                more = self._socket.recv(size_bytes - len(data))
            except OSError:
                raise LinkLostError from None
            if not more:
                raise LinkLostError
            data += more
        return data


def connect(port: int) -> socket.socket:
    """Reach the destination that listens at a port.

    Raises:
        MigrationError: nobody does.
    """
    try:
        return socket.create_connection((LOOPBACK, port), PATIENCE_S)
    except OSError as error:
        raise MigrationError(f"port {port}: no destination answers: {error.strerror or error}") from None


def listen(port: int) -> socket.socket:
    """Give a socket at which sources are let in.

    Args:
        port: where; 0 for any that is free.

    Raises:
        MigrationError: the port is taken.
    """
    try:
        return socket.create_server((LOOPBACK, port), backlog=1)
    except OSError as error:
        raise MigrationError(f"port {port}: cannot be listened at: {error.strerror or error}") from None


def accept(port: int, on_port: Callable[[int], None]) -> socket.socket:
    """Wait for a source.

    Args:
        port: where; 0 for any that is free.
        on_port: told which it is, as soon as a source can reach it.

    Raises:
        MigrationError: the port is taken, or none comes.
    """
    try:
        with listen(port) as server:
            server.settimeout(PATIENCE_S)
            on_port(server.getsockname()[1])
            return server.accept()[0]
    except TimeoutError:
        raise MigrationError(f"port {port}: no source has come within {PATIENCE_S:.0f} seconds") from None
    except OSError as error:
        raise MigrationError(f"port {port}: cannot be listened at: {error.strerror or error}") from None


def serve(destination: Destination, connection: socket.socket) -> None:
    """Take a machine in, until it is here or will not come; then `destination` says which."""
    connection.settimeout(PATIENCE_S)
    with connection:
        try:
            connection.sendall(destination.greeting())
            while destination.stage not in (Stage.RUNNING, Stage.OVER):
                data = connection.recv(CHUNK_BYTES)
                if not data:
                    break
                connection.sendall(destination.receive(data))
        except OSError:
            pass  # lost: what that means is settled below
    destination.link_lost()
