"""What one room tells another of a machine that is to move there: its definition, its snapshots, and its files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ringviz.errors import InputError, MigrationError
from ringviz.facts.vhd import SECTOR_BYTES
from ringviz.guest.disks import file_chain, is_vhd, open_disk
from ringviz.guest.disks.content import own_pieces, pieces
from ringviz.record.machines.definition import SCHEMA, Definition, check_name, make_definition
from ringviz.record.machines.kept import (
    Disks,
    Kept,
    Snapshot,
    understood_snapshots,
    written_snapshots,
)
from ringviz.record.machines.life_cycle import OPERATIONS
from ringviz.vmm.migration import plain

_NUMBER_BYTES, _PLACE_BYTES = 2, 10
"""In front of a piece of a file: number of the file, and first sector of an image or first byte of another."""
_PIECE_BYTES = 1 << 20
MOST_FILES = 1 << 8 * _NUMBER_BYTES


@dataclass(frozen=True, slots=True)
class OfferedFile:
    """One file that comes along."""

    name: str
    """At the source; by it snapshots speak of the file."""
    sectors: int | None
    """Of an image of a disk; None: it is no image, but what a machine was when it came."""
    parent: int | None = None
    """Number of the image below this one, which comes before it; None: there is none."""


@dataclass(frozen=True, slots=True)
class Offered:
    """A machine that is to come."""

    name: str
    definition: Definition
    record: str
    """Name of the record of where it is."""
    spent: Mapping[str, int]
    """Host cycles by state, over all runs."""
    disks: Disks
    """Names of the files that it was switched on with."""
    files: tuple[OfferedFile, ...]
    """All that its disks and snapshots need; parents come first."""
    snapshots: Mapping[str, Any]
    """As they are kept, with the names of files at the source."""

    def encode(self) -> bytes:
        """Give its bytes."""
        definition = {key: value for key, value in asdict(self.definition).items() if value is not None}
        text = json.dumps(definition | {"schema": SCHEMA, "controls": list(self.definition.controls)})
        spent = tuple(sorted(self.spent.items()))
        files = tuple((file.name, file.sectors, file.parent) for file in self.files)
        return plain.encode((self.name, text, self.record, spent, self.disks, files, json.dumps(self.snapshots)))

    def snapshots_with(self, names: Mapping[str, str]) -> dict[str, Snapshot]:
        """Give the snapshots with other names of files; whoever took them, it was at another host.

        Raises:
            MigrationError: they cannot be understood, or speak of files that are not there.
        """
        try:
            found = understood_snapshots(dict(self.snapshots), lambda name: names[name])
            for name, taken in found.items():
                check_name(name)
                if taken.state not in OPERATIONS["snapshot"].sources:
                    raise ValueError(f"{name} is {taken.state.value}")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise MigrationError(f"the snapshots that are offered cannot be understood: {error}") from None
        return {name: replace(taken, is_from_elsewhere=True) for name, taken in found.items()}


def make_offer(name: str, kept: Kept, record: str, spent: Mapping[str, int], folder: Path) -> Offered:
    """Say what is to move of a machine that is on.

    Without snapshots nobody needs to know of what images its disks consist, and each goes as one.

    Raises:
        DiskError: an image cannot be read.
    """
    assert kept.run is not None
    files: dict[str, OfferedFile] = {}
    needed = [disk for disk in kept.run.disks if disk is not None]
    if not kept.snapshots:
        for disk in needed:
            files[disk] = OfferedFile(disk, disk_size(folder / disk))
        return Offered(name, kept.definition, record, spent, kept.run.disks, tuple(files.values()), {})
    for taken in kept.snapshots.values():
        runs = () if taken.run is None else taken.run.disks
        needed += [disk for disk in (*taken.disks, *runs) if disk is not None]
        for file in () if taken.run is None else taken.run.files:
            files[file] = OfferedFile(file, None)
    for disk in dict.fromkeys(needed):
        below: int | None = None
        for path in reversed(file_chain(folder / disk)):
            if path.name not in files:
                files[path.name] = OfferedFile(path.name, disk_size(path), below)
            below = list(files).index(path.name)
    return Offered(
        name, kept.definition, record, spent, kept.run.disks, tuple(files.values()), written_snapshots(kept.snapshots)
    )


def read_offer(content: bytes) -> Offered:
    """Understand what another room says.

    Raises:
        RingvizError: it cannot be understood, or there can be no such machine; one line.
    """
    try:
        name, text, record, spent, (first, second), files, snapshots = plain.decode(content)
        values = json.loads(text)
        for disk in ("disk", "disk2"):
            values.pop(disk, None)  # where the other host has found them once; what is on them comes along
        # A path is one of the other host's; it is whole, so the folder does not matter.
        definition = make_definition(values, f"machine {name}", Path("/"))
        return Offered(
            check_name(name), definition, str(record), {str(key): int(value) for key, value in spent},
            (_name(first), _name(second)), _files(files), dict(json.loads(snapshots)),
        )  # fmt: skip
    except InputError:
        raise
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise MigrationError(f"what is offered cannot be understood: {error}") from None


def _files(values: tuple[tuple[str, int | None, int | None], ...]) -> tuple[OfferedFile, ...]:
    if len(values) > MOST_FILES:
        raise ValueError("more files than can be told apart")
    files: list[OfferedFile] = []
    for number, (name, sectors, parent) in enumerate(values):
        if not all(value is None or type(value) is int for value in (sectors, parent)) or not isinstance(name, str):
            raise ValueError(f"file {number} is not one")
        if parent is not None and (not 0 <= parent < number or files[parent].sectors is None or sectors is None):
            raise ValueError(f"file {number} has a parent that is none")
        files.append(OfferedFile(name, sectors, parent))
    return tuple(files)


def _name(value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise ValueError("the name of a disk is none")
    return value


def disk_size(path: Path) -> int:
    """Give a disk's size in sectors.

    Raises:
        DiskError: it cannot be read.
    """
    disk = open_disk(path)
    disk.close()
    return disk.sectors


def file_parts(offered: Offered, folder: Path) -> Iterator[bytes]:
    """Give what is in the files of a machine, in pieces for a frame each.

    Raises:
        RingvizError: one of them cannot be read.
    """
    chained = bool(offered.snapshots)
    for number, file in enumerate(offered.files):
        path = folder / file.name
        for place, data in own_pieces(path) if chained and is_vhd(path) else _contents(path):
            yield (
                number.to_bytes(_NUMBER_BYTES, "little") + place.to_bytes(_PLACE_BYTES - _NUMBER_BYTES, "little") + data
            )


def _contents(path: Path) -> Iterator[tuple[int, bytes]]:
    if is_vhd(path):
        yield from pieces(path)
        return
    try:
        with path.open("rb") as stream:
            while data := stream.read(_PIECE_BYTES):
                yield stream.tell() - len(data), data
    except OSError as error:
        raise MigrationError(f"{path.name}: cannot be read: {error.strerror}") from None


def read_part(content: bytes) -> tuple[int, int, bytes]:
    """Understand one piece: number of the file, where, and bytes.

    Raises:
        MigrationError: it is none.
    """
    number, place, data = content[:_NUMBER_BYTES], content[_NUMBER_BYTES:_PLACE_BYTES], content[_PLACE_BYTES:]
    if not data:
        raise MigrationError("a piece of a file cannot be understood")
    return int.from_bytes(number, "little"), int.from_bytes(place, "little"), data


def sectors_of(place: int, data: bytes) -> dict[int, bytes]:
    """Give a piece of an image as sectors by number.

    Raises:
        MigrationError: it is no whole number of them.
    """
    if len(data) % SECTOR_BYTES:
        raise MigrationError("a piece of a disk cannot be understood")
    return {place + at // SECTOR_BYTES: data[at : at + SECTOR_BYTES] for at in range(0, len(data), SECTOR_BYTES)}
