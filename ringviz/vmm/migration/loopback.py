"""A link within one process: what is sent arrives at once, until it is cut after so many bytes, of either direction."""

from __future__ import annotations

from ringviz.vmm.migration.destination import Destination
from ringviz.vmm.migration.source import LinkLostError


class Loopback:
    """The wire from a source to a destination object."""

    def __init__(self, destination: Destination, cut_after: int | None = None) -> None:
        """Connect them.

        Args:
            destination: the other end.
            cut_after: bytes in both directions together that still arrive; None for a link that holds.
        """
        self.carried = 0
        """Bytes that have arrived, in both directions together."""
        self.sent = bytearray()
        """What went to the destination."""
        self._destination = destination
        self._cut_after = cut_after
        self._back = bytearray()
        self._is_cut = False
        self._carry_back(destination.greeting())

    def send(self, data: bytes) -> None:
        """Send bytes.

        Raises:
            LinkLostError: the link is cut, before or within them.
        """
        if self._is_cut:
            raise LinkLostError
        arriving = self._arriving(data)
        self.sent += arriving
        self._carry_back(self._destination.receive(arriving))
        if len(arriving) < len(data):
            raise LinkLostError

    def receive(self, size_bytes: int) -> bytes:
        """Take bytes that have come back.

        Raises:
            LinkLostError: there are not as many, and no more will come.
        """
        if len(self._back) < size_bytes:
            self._is_cut = True
            raise LinkLostError
        data = bytes(self._back[:size_bytes])
        del self._back[:size_bytes]
        return data

    def _carry_back(self, data: bytes) -> None:
        self._back += self._arriving(data)

    def _arriving(self, data: bytes) -> bytes:
        room = len(data) if self._cut_after is None else max(0, self._cut_after - self.carried)
        if room < len(data):
            self._is_cut = True
        self.carried += min(room, len(data))
        return data[:room]
