"""A machine that comes from another host into a room: taken in, kept, and this room's when the record says so."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ringviz.engine.state_hash import guest_state_sha256
from ringviz.errors import InputError, MigrationError
from ringviz.guest.scenario import Scenario
from ringviz.record.machines.arrived import SUFFIX, write_arrived
from ringviz.record.machines.arriving_files import ArrivingFiles
from ringviz.record.machines.kept import POWER_ON, Disks, Kept, Move, Run, Snapshot
from ringviz.record.machines.life_cycle import Life
from ringviz.record.machines.offer import Offered, read_offer, read_part
from ringviz.record.machines.shared import SharedFolder
from ringviz.vmm.host.virtual_machine import VirtualMachine
from ringviz.vmm.migration import tcp
from ringviz.vmm.migration.decision import Decision
from ringviz.vmm.migration.offered import Expected, OpenDestination
from ringviz.vmm.migration.stream import NONCE_BYTES
from ringviz.vmm.registry import choose

if TYPE_CHECKING:
    from ringviz.record.machines.room import Room


class Arrival:
    """One machine that is expected, as a migration's destination asks about it."""

    def __init__(self, room: Room, shared: SharedFolder) -> None:
        self.name = ""
        """Of the machine, as soon as one is offered."""
        self._room, self._shared = room, shared
        self._offer: Offered
        self._files: ArrivingFiles | None = None
        self._names: Disks = (None, None)
        self._snapshots: dict[str, Snapshot] = {}
        self._scenario: Scenario

    def offered(self, content: bytes) -> None:
        """Hear which machine is to come."""
        self._offer = offer = read_offer(content)
        if offer.name in self._room.present:
            raise InputError(f'a machine "{offer.name}" is there already')
        self._shared.record(offer.record)
        self.name = offer.name
        self._files = ArrivingFiles(offer.files, self._room.file_to_come, self._room.now)

    def take_disk(self, content: bytes) -> None:
        """Take in a piece of a file."""
        assert self._files is not None
        self._files.write(*read_part(content))

    def expected(self) -> Expected:
        """Say what machine that makes on this host."""
        assert self._files is not None
        names, (first, second) = self._files.finish(), self._offer.disks
        try:
            self._names = (None if first is None else names[first], None if second is None else names[second])
        except KeyError as error:
            raise MigrationError(f"disk {error} is not among the files that have come") from None
        self._snapshots = self._offer.snapshots_with(names)
        kept = Kept(self._offer.definition, Life.MIGRATING, self._names, Run(POWER_ON, 0, "", self._names))
        self._scenario = self._room.scenario(kept)
        self._room.check_memory({**self._room.present, self.name: kept}, self.name)
        definition = self._offer.definition
        setup = choose(definition.technique, definition.mmu, self._room.cpu, definition.controls)
        return Expected(self._scenario, definition.technique, setup, self._shared.record(self._offer.record))

    def keep(self, machine: VirtualMachine, memory: bytes, state: tuple[object, ...]) -> None:
        """Have the machine in the room, as one of which the record says whether it is here."""
        offer, room = self._offer, self._room
        file = room.file_to_come(SUFFIX)
        write_arrived(file, memory, state)
        digest = guest_state_sha256(machine.technique)
        room.let_come(
            self.name,
            Kept(
                offer.definition, Life.MIGRATING, self._names,
                Run(machine.place, 0, digest, self._names, arrived=file.name), self._snapshots, spent=dict(offer.spent),
                console=machine.technique.machine.bus.console,
                move=Move(False, str(self._shared.path), offer.record, Life.RUNNING),
            ),
        )  # fmt: skip

    def close(self) -> None:
        """Let go of files; if the machine has not come, nobody needs them any more."""
        if self._files is not None:
            self._files.close()
        self._room.forget_files_to_come()


def receive(room: Room, shared: SharedFolder, port: int, on_port: Callable[[int], None]) -> str:
    """Wait for a machine from another host, and give its name.

    Args:
        room: where it is to be; nobody else has it open.
        shared: what both hosts see.
        port: where to listen; 0 for any that is free.
        on_port: told which it is.

    Raises:
        RingvizError: none has come; one line says why.
    """
    secret = shared.secret()
    arrival = Arrival(room, shared)
    destination = OpenDestination(secret, secrets.token_bytes(NONCE_BYTES), arrival)
    try:
        tcp.serve(destination, tcp.accept(port, on_port))
    finally:
        arrival.close()
        room.settle_move(arrival.name)
    if not destination.is_running:
        raise MigrationError(f"nothing has come: {destination.refusal}")
    return arrival.name


def resolved(kept: Kept) -> Kept | None:
    """Give a machine that was between two hosts as it is here now; None if it is at the other one.

    Whoever asks first, and finds nothing decided, decides that it stays where it was: the other host finds that.

    Raises:
        RingvizError: the record cannot be reached.
    """
    move = kept.move
    assert move is not None
    has_moved = SharedFolder(Path(move.shared)).record(move.record).decide(Decision.STAYS) is Decision.MOVED
    if has_moved is move.is_leaving:
        return None
    return replace(kept, state=move.state, move=None)
