"""`ringviz disk`: makes, shows, checks and copies disk images, raw and VHD."""

import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from ringviz.cli.exits import Exit
from ringviz.cli.options import Json
from ringviz.cli.output import print_json, print_lines
from ringviz.errors import DiskError, InputError
from ringviz.facts.vhd import SECTOR_BYTES
from ringviz.guest.disk import MAX_DISK_MIB
from ringviz.guest.disks import is_vhd
from ringviz.guest.disks.checking import DiskInfo, check_disk, describe_disk
from ringviz.guest.disks.creating import KINDS, convert_disk, create_disk, reconnect_disk, snapshot_disk

SCHEMA = 1
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}

disk = typer.Typer(
    rich_markup_mode=None,
    help="Make, show, check and copy disk images: raw, and VHD as fixed, dynamic or differencing disk.",
)

Image = Annotated[Path, typer.Argument(metavar="FILE", help="A disk image; a VHD has a name that ends in .vhd.")]
Target = Annotated[Path, typer.Argument(metavar="NEW", help="The image to make; there must be no such file yet.")]
Kind = Annotated[
    str | None,
    typer.Option("--kind", metavar="KIND", help="raw, fixed or dynamic; dynamic for a .vhd, raw for anything else."),
]


@disk.command()
def create(
    new: Target,
    size: Annotated[str, typer.Option("--size", metavar="N", help="Size in bytes, or with K, M or G behind it.")],
    kind: Kind = None,
) -> int:
    """Make an empty disk; a VHD is rounded up to whole cylinders."""
    sectors = _sectors(size)
    made = create_disk(new, _kind(new, kind), sectors, uuid.uuid4().bytes, int(time.time()))
    print_lines([f"{new}: {_size(made)}"])
    return Exit.DONE


@disk.command()
def info(file: Image, json: Json = False) -> int:
    """Show what an image is."""
    found = describe_disk(file)
    if json:
        print_json(_info_json(found))
    else:
        print_lines(_info_lines(found))
    return Exit.DONE


@disk.command()
def check(file: Image) -> int:
    """Look an image over; exit code 1 if the disk is damaged."""
    findings = check_disk(file)
    print_lines(f"{'damaged' if finding.is_error else 'note'}: {finding.text}" for finding in findings)
    is_damaged = any(finding.is_error for finding in findings)
    print_lines([f"{file}: {'damaged' if is_damaged else 'good'}"])
    return Exit.FAILED if is_damaged else Exit.DONE


@disk.command()
def convert(file: Image, new: Target, kind: Kind = None) -> int:
    """Copy a disk, as a guest sees it, into an image of another kind; a snapshot comes out whole."""
    made = convert_disk(file, new, _kind(new, kind), uuid.uuid4().bytes, int(time.time()))
    print_lines([f"{new}: {_size(made)}"])
    return Exit.DONE


@disk.command()
def snapshot(file: Image, new: Target) -> int:
    """Make a differencing disk on top of a VHD, which is not to be written to any more."""
    snapshot_disk(file, new, uuid.uuid4().bytes, int(time.time()))
    print_lines([f"{new}: differs from {file.name} in nothing yet"])
    return Exit.DONE


@disk.command()
def reconnect(file: Image) -> int:
    """Vouch that the parent of a differencing disk, though written to or copied since, still has its content."""
    reconnect_disk(file)
    print_lines([f"{file}: reconnected"])
    return Exit.DONE


def _kind(new: Path, kind: str | None) -> str:
    if kind is None:
        return "dynamic" if is_vhd(new) else "raw"
    if kind not in KINDS:
        raise InputError(f'--kind: found "{kind}", expected one of {", ".join(KINDS)}')
    return kind


def _sectors(size: str) -> int:
    digits, unit = (size[:-1], size[-1:].upper()) if size[-1:].isalpha() else (size, "")
    if not (digits.isascii() and digits.isdigit()) or unit not in _UNITS:
        raise InputError(f'--size: found "{size}", expected a number of bytes, or one with K, M or G behind it')
    size_bytes = int(digits) * _UNITS[unit]
    if size_bytes == 0 or size_bytes % SECTOR_BYTES:
        raise DiskError(f"--size: found {size_bytes:,} bytes, expected whole sectors of 512 bytes, at least one")
    if size_bytes > MAX_DISK_MIB << 20:
        raise DiskError(f"--size: found {size_bytes:,} bytes, expected no more than {MAX_DISK_MIB:,} MiB")
    return size_bytes // SECTOR_BYTES


def _size(sectors: int) -> str:
    return f"{sectors:,} sectors, {sectors * SECTOR_BYTES / (1 << 20):,.1f} MiB"


def _info_lines(found: DiskInfo) -> Iterator[str]:
    yield f"Kind: {found.kind}"
    yield f"Size: {_size(found.sectors)}"
    yield f"File: {found.file_bytes:,} bytes"
    if found.geometry is not None:
        cylinders, heads, per_track = found.geometry
        yield f"Geometry: {cylinders:,} cylinders, {heads} heads, {per_track} sectors a track"
    if found.created is not None:
        when = datetime.fromtimestamp(found.created, UTC)
        yield f"Created: {when:%Y-%m-%d %H:%M:%S} UTC by {found.creator or 'nobody'}"
        yield f"Unique ID: {uuid.UUID(hex=found.unique_id)}"
    if found.blocks is not None:
        yield f"Blocks: {found.allocated_blocks:,} of {found.blocks:,} have a place in the file"
    if found.own_sectors is not None:
        yield f"Differs in: {found.own_sectors:,} sectors, from {found.parent}"


def _info_json(found: DiskInfo) -> dict[str, object]:
    return {
        "schema": SCHEMA,
        "kind": found.kind,
        "sectors": found.sectors,
        "file_bytes": found.file_bytes,
        "creator": found.creator or None,
        "created": found.created,
        "geometry": None if found.geometry is None else list(found.geometry),
        "unique_id": found.unique_id or None,
        "block_bytes": found.block_bytes,
        "blocks": found.blocks,
        "allocated_blocks": found.allocated_blocks,
        "own_sectors": found.own_sectors,
        "parent": found.parent or None,
    }
