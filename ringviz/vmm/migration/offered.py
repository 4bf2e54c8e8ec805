"""A destination that hears over the link which machine is to come, and takes it if it can."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ringviz.guest.scenario import Scenario
from ringviz.vmm.host.virtual_machine import VirtualMachine
from ringviz.vmm.migration.decision import DecisionRecord
from ringviz.vmm.migration.destination import Destination, Stage
from ringviz.vmm.migration.stream import Frame, Kind
from ringviz.vmm.setup import Setup


@dataclass(frozen=True, slots=True)
class Expected:
    """A machine that may come."""

    scenario: Scenario
    technique: str
    setup: Setup
    record: DecisionRecord


class Reception(Protocol):
    """Whoever keeps machines at the destination. Each call can refuse with a `RingvizError`."""

    def offered(self, content: bytes) -> None:
        """Hear which machine is to come."""

    def take_disk(self, content: bytes) -> None:
        """Take in a piece of a disk."""

    def expected(self) -> Expected:
        """Say what machine that makes, now that all of its disks are here."""

    def keep(self, machine: VirtualMachine, memory: bytes, state: tuple[object, ...]) -> None:
        """Have the machine where a crash leaves it: from here on only the record says where it runs."""


class OpenDestination(Destination):
    """A machine that is not known yet; see `Destination`."""

    _after_greeting = Stage.OFFER

    def __init__(self, secret: bytes, nonce: bytes, reception: Reception) -> None:
        """Expect some machine.

        Args:
            secret: what both hosts know.
            nonce: 16 bytes that have never been used.
            reception: decides whether it may come.
        """
        self._begin(secret, nonce)
        self._reception = reception

    def _takes(self) -> dict[Kind, Callable[[Frame, bytes], bytes]]:
        return {**super()._takes(), Kind.OFFER: self._offered, Kind.DISK: self._disk}

    def _offered(self, frame: Frame, before: bytes) -> bytes:
        del before
        self._reception.offered(frame.content)
        self.stage = Stage.DISKS
        return self._sealer.seal(Kind.WELCOME)

    def _disk(self, frame: Frame, before: bytes) -> bytes:
        del before
        self._reception.take_disk(frame.content)
        return b""

    def _hello(self, frame: Frame, before: bytes) -> bytes:
        expected = self._reception.expected()
        self._expect(expected.scenario, expected.technique, expected.setup, expected.record)
        return super()._hello(frame, before)

    def _keep(self, machine: VirtualMachine) -> None:
        self._reception.keep(machine, bytes(self._memory), self._state)
