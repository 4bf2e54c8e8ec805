"""What one room tells another of a machine that is to move there: its definition, and its disks as they were."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from ringviz.errors import InputError, MigrationError
from ringviz.facts.vhd import SECTOR_BYTES
from ringviz.guest.disks import open_disk
from ringviz.guest.disks.content import pieces
from ringviz.record.machines.definition import SCHEMA, Definition, check_name, make_definition
from ringviz.vmm.migration import plain

_PLACE_BYTES = 9
"""In front of a piece of a disk: number of the disk, and first sector."""


@dataclass(frozen=True, slots=True)
class Offered:
    """A machine that is to come."""

    name: str
    definition: Definition
    record: str
    """Name of the record of where it is."""
    spent: Mapping[str, int]
    """Host cycles by state, over all runs."""
    disk_sectors: tuple[int | None, int | None]

    def encode(self) -> bytes:
        """Give its bytes."""
        definition = {key: value for key, value in asdict(self.definition).items() if value is not None}
        text = json.dumps(definition | {"schema": SCHEMA, "controls": list(self.definition.controls)})
        spent = tuple(sorted(self.spent.items()))
        return plain.encode((self.name, text, self.record, spent, self.disk_sectors))


def read_offer(content: bytes) -> Offered:
    """Understand what another room says.

    Raises:
        RingvizError: it cannot be understood, or there can be no such machine; one line.
    """
    try:
        name, text, record, spent, (first, second) = plain.decode(content)
        values = json.loads(text)
        for disk in ("disk", "disk2"):
            values.pop(disk, None)  # where the other host has found them once; what is on them comes along
        # A path is one of the other host's; it is whole, so the folder does not matter.
        definition = make_definition(values, f"machine {name}", Path("/"))
        return Offered(
            check_name(name), definition, str(record), {str(key): int(value) for key, value in spent},
            (_sectors(first), _sectors(second)),
        )  # fmt: skip
    except InputError:
        raise
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise MigrationError(f"what is offered cannot be understood: {error}") from None


def _sectors(value: object) -> int | None:
    if value is not None and not isinstance(value, int):
        raise ValueError("the size of a disk is no number")
    return value


def disk_size(path: Path | None) -> int | None:
    """Give a disk's size in sectors.

    Raises:
        DiskError: it cannot be read.
    """
    if path is None:
        return None
    disk = open_disk(path)
    disk.close()
    return disk.sectors


def disk_parts(paths: tuple[Path | None, Path | None]) -> Iterator[bytes]:
    """Give what is on the disks of a machine, in pieces for a frame each.

    Raises:
        DiskError: one of them cannot be read.
    """
    for number, path in enumerate(paths):
        if path is not None:
            for first, data in pieces(path):
                yield number.to_bytes(1, "little") + first.to_bytes(_PLACE_BYTES - 1, "little") + data


def read_part(content: bytes) -> tuple[int, dict[int, bytes]]:
    """Understand one piece: number of the disk, and its sectors.

    Raises:
        MigrationError: it is none.
    """
    data = content[_PLACE_BYTES:]
    if not data or len(data) % SECTOR_BYTES or content[0] > 1:
        raise MigrationError("a piece of a disk cannot be understood")
    first = int.from_bytes(content[1:_PLACE_BYTES], "little")
    return content[0], {
        first + at // SECTOR_BYTES: data[at : at + SECTOR_BYTES] for at in range(0, len(data), SECTOR_BYTES)
    }
