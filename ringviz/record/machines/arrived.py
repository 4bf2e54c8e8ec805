"""What a machine was when it came from another host, as a file: its memory, and everything else as plain values."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ringviz.errors import InputError, MigrationError
from ringviz.guest.disks.creating import sync_folder
from ringviz.guest.scenario import Scenario
from ringviz.machine.memory import PAGE
from ringviz.vmm.host.virtual_machine import Make
from ringviz.vmm.migration import plain
from ringviz.vmm.migration.machine_state import arrived
from ringviz.vmm.setup import Setup
from ringviz.vmm.technique import Technique

SUFFIX = ".arrived"
_ZERO = bytes(PAGE)


def write_arrived(path: Path, memory: bytes, state: Sequence[object]) -> None:
    """Write the file; it is whole, and on the disk, when this returns.

    Raises:
        MigrationError: it cannot be written.
    """
    pages = tuple(
        (at // PAGE, memory[at : at + PAGE])
        for at in range(0, len(memory), PAGE)
        if memory[at : at + PAGE] != _ZERO
    )  # fmt: skip
    try:
        with path.open("wb") as stream:
            stream.write(plain.encode((len(memory), pages, tuple(state))))
            stream.flush()
            os.fsync(stream.fileno())
        sync_folder(path.parent)
    except OSError as error:
        raise MigrationError(f"{path.name}: cannot be written: {error.strerror}") from None


def maker(path: Path) -> Make:
    """Give what makes a machine that stands where it stood when it came."""

    def make(scenario: Scenario, technique: str, setup: Setup) -> Technique:
        memory, state = _read(path)
        if len(memory) != scenario.guest.memory_bytes:
            found, expected = len(memory), scenario.guest.memory_bytes
            raise InputError(f"{path.name}: found {found:,} bytes of memory, expected {expected:,}")
        return arrived(scenario, technique, setup, memory, state)

    return make


def _read(path: Path) -> tuple[bytes, Sequence[object]]:
    try:
        size, pages, state = plain.decode(path.read_bytes())
        memory = bytearray(size)
        for number, content in pages:
            memory[number * PAGE : (number + 1) * PAGE] = content
    except (OSError, ValueError, TypeError, MemoryError) as error:
        raise InputError(f"{path.name}: cannot be read: {error}") from None
    return bytes(memory), state
