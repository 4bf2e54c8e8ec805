"""A machine that comes from another host into a room: taken in, kept, and this room's when the record says so."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ringviz.engine.state_hash import guest_state_sha256
from ringviz.errors import InputError, MigrationError
from ringviz.guest.disks import VirtualDisk, open_disk
from ringviz.guest.disks.creating import create_disk
from ringviz.guest.scenario import Scenario
from ringviz.record.machines.arrived import write_arrived
from ringviz.record.machines.kept import POWER_ON, Disks, Kept, Move, Run
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

MOST_DISK_SECTORS = 1 << 28
"""Ours: 128 GiB, more than any guest here; a disk that claims more is none."""


class Arrival:
    """One machine that is expected, as a migration's destination asks about it."""

    def __init__(self, room: Room, shared: SharedFolder) -> None:
        self.name = ""
        """Of the machine, as soon as one is offered."""
        self._room, self._shared = room, shared
        self._offer: Offered
        self._disks: list[VirtualDisk | None] = [None, None]
        self._names: Disks = (None, None)
        self._scenario: Scenario

    def offered(self, content: bytes) -> None:
        """Hear which machine is to come; make its disks, empty."""
        self._offer = offer = read_offer(content)
        if offer.name in self._room.machines:
            raise InputError(f'a machine "{offer.name}" is there already')
        self._shared.record(offer.record)
        self.name = offer.name
        names: list[str | None] = [None, None]
        for number, sectors in enumerate(offer.disk_sectors):
            if sectors is None:
                continue
            if not 0 < sectors <= MOST_DISK_SECTORS:
                raise MigrationError(f"disk {number + 1} is said to have {sectors:,} sectors")
            path = self._room.new_file(".vhd")
            create_disk(path, "dynamic", sectors, uuid.uuid4().bytes, self._room.now())
            self._disks[number], names[number] = open_disk(path, is_writable=True), path.name
        self._names = (names[0], names[1])

    def take_disk(self, content: bytes) -> None:
        """Take in a piece of a disk."""
        number, sectors = read_part(content)
        disk = self._disks[number]
        if disk is None or max(sectors) >= disk.sectors:
            raise MigrationError(f"a piece of disk {number + 1} lies outside of it")
        disk.write(sectors)

    def expected(self) -> Expected:
        """Say what machine that makes on this host."""
        self._close_disks()
        kept = Kept(self._offer.definition, Life.MIGRATING, self._names, Run(POWER_ON, 0, "", self._names))
        self._scenario = self._room.scenario(kept)
        self._room.check_memory({**self._room.machines, self.name: kept}, self.name)
        definition = self._offer.definition
        setup = choose(definition.technique, definition.mmu, self._room.cpu, definition.controls)
        return Expected(self._scenario, definition.technique, setup, self._shared.record(self._offer.record))

    def keep(self, machine: VirtualMachine, memory: bytes, state: tuple[object, ...]) -> None:
        """Have the machine in the room, as one of which the record says whether it is here."""
        offer, room = self._offer, self._room
        file = room.new_file(".arrived")
        write_arrived(file, memory, state)
        digest = guest_state_sha256(machine.technique)
        room.let_come(
            self.name,
            Kept(
                offer.definition, Life.MIGRATING, self._names,
                Run(machine.place, 0, digest, self._names, arrived=file.name), spent=dict(offer.spent),
                console=machine.technique.machine.bus.console,
                move=Move(False, str(self._shared.path), offer.record, Life.RUNNING),
            ),
        )  # fmt: skip

    def close(self) -> None:
        """Let go of files."""
        self._close_disks()

    def _close_disks(self) -> None:
        for disk in self._disks:
            if disk is not None:
                disk.flush()
                disk.close()
        self._disks = [None, None]


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
        room.settle_moves()
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
