"""The VHD file format as Microsoft published it: footer, dynamic disk header, parent locators, disk types.

All numbers in a VHD are big-endian. Microsoft's paper leaves one thing open, the order of bits in a bitmap; there
every program that was looked at begins with the most significant bit of the first byte.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

from ringviz.facts.source import Source, by
from ringviz.facts.sources import VHD_SPEC

_FOOTER = VHD_SPEC.at("Hard Disk Footer Format")
_HEADER = VHD_SPEC.at("Dynamic Disk Header Format")
_TYPES = VHD_SPEC.at("Hard Disk Footer Format: Disk Type")
_HOSTS = VHD_SPEC.at("Hard Disk Footer Format: Creator Host OS")
_CREATORS = VHD_SPEC.at("Hard Disk Footer Format: Creator Application")
_PLATFORMS = VHD_SPEC.at("Dynamic Disk Header Format: Parent Locator Entries")

SECTOR_BYTES = 512
FOOTER_BYTES = 512
HEADER_BYTES = 1024
OLD_FOOTER_BYTES = 511
"""Before Virtual PC 2004 the footer was one byte shorter; the byte it lacks is a reserved zero."""
FOOTER_COOKIE = b"conectix"
HEADER_COOKIE = b"cxsparse"
FORMAT_VERSION = 0x0001_0000
RESERVED_FEATURE = 2
"""This bit of the features must always be set."""
NO_OFFSET = 0xFFFF_FFFF_FFFF_FFFF
"""No next structure. The paper prints 32 ones, in a field of 64 bits: programs write 64 ones and accept both."""
NO_BLOCK = 0xFFFF_FFFF
"""Entry of the block allocation table for a block that has no place in the file."""
DEFAULT_BLOCK_BYTES = 0x0020_0000
LOCATORS = 8
LOCATOR_BYTES = 24
EPOCH = 946_684_800
"""Time stamps count seconds from here: 1 January 2000 UTC, in seconds since 1970."""


@dataclass(frozen=True, slots=True)
class VhdField:
    """One field of a structure."""

    offset: int
    size_bytes: int
    name: str
    kind: Literal["number", "bytes"]
    title: str
    source: Source


def _fields(source: Source, *rows: tuple[int, str, Literal["number", "bytes"], str]) -> Mapping[str, VhdField]:
    """Give fields that follow each other without a gap, from their sizes."""
    fields, offset = [], 0
    for size_bytes, name, kind, title in rows:
        fields.append(VhdField(offset, size_bytes, name, kind, title, source))
        offset += size_bytes
    return by("name", *fields)


FOOTER_FIELDS: Mapping[str, VhdField] = _fields(
    _FOOTER,
    (8, "cookie", "bytes", "Says that this is a hard disk image: conectix"),
    (4, "features", "number", "Bit 0: temporary disk; bit 1: always 1"),
    (4, "format_version", "number", "Version of the format, major and minor"),
    (8, "data_offset", "number", "Where the dynamic disk header lies in the file"),
    (4, "time_stamp", "number", "When the image was created, in seconds since 2000"),
    (4, "creator_application", "bytes", "Which program created it"),
    (4, "creator_version", "number", "And which version of that"),
    (4, "creator_host_os", "bytes", "On which operating system"),
    (8, "original_size", "number", "Size of the disk when it was created, in bytes"),
    (8, "current_size", "number", "Size of the disk as the guest sees it, in bytes"),
    (2, "cylinders", "number", "Geometry: cylinders"),
    (1, "heads", "number", "Geometry: heads"),
    (1, "sectors_per_track", "number", "Geometry: sectors of a track"),
    (4, "disk_type", "number", "Fixed, dynamic or differencing"),
    (4, "checksum", "number", "One's complement of the sum of all other bytes"),
    (16, "unique_id", "bytes", "By this a differencing disk knows its parent"),
    (1, "saved_state", "number", "1: the machine that uses it is in a saved state"),
)
"""The rest of the 512 bytes is reserved and zero."""

HEADER_FIELDS: Mapping[str, VhdField] = _fields(
    _HEADER,
    (8, "cookie", "bytes", "Says that this is a dynamic disk header: cxsparse"),
    (8, "data_offset", "number", "Next structure; there is none"),
    (8, "table_offset", "number", "Where the block allocation table lies in the file"),
    (4, "header_version", "number", "Version of the header, major and minor"),
    (4, "max_table_entries", "number", "How many blocks the disk has"),
    (4, "block_size", "number", "Data bytes of a block, without its bitmap"),
    (4, "checksum", "number", "One's complement of the sum of all other bytes"),
    (16, "parent_unique_id", "bytes", "Unique ID of the parent's footer"),
    (4, "parent_time_stamp", "number", "When the parent was last written to, in seconds since 2000"),
    (4, "reserved", "number", "0"),
    (512, "parent_name", "bytes", "File name of the parent, UTF-16"),
    (LOCATORS * LOCATOR_BYTES, "parent_locators", "bytes", "Where the parent is, for up to eight platforms"),
)
"""The rest of the 1,024 bytes is reserved and zero."""

LOCATOR_FIELDS: Mapping[str, VhdField] = _fields(
    _PLATFORMS,
    (4, "platform_code", "bytes", "How the locator is written"),
    (4, "data_space", "number", "Room that it has in the file"),
    (4, "data_length", "number", "Bytes of it"),
    (4, "reserved", "number", "0"),
    (8, "data_offset", "number", "Where it lies in the file"),
)


class DiskType(IntEnum):
    """The disk types that are in use."""

    FIXED = 2
    DYNAMIC = 3
    DIFFERENCING = 4


@dataclass(frozen=True, slots=True)
class VhdType:
    """One disk type."""

    number: int
    name: str
    title: str
    source: Source = _TYPES


VHD_TYPES: Mapping[int, VhdType] = by(
    "number",
    VhdType(DiskType.FIXED, "fixed", "All sectors lie in the file, in their order, and the footer follows them"),
    VhdType(DiskType.DYNAMIC, "dynamic", "Blocks get a place in the file when they are first written to"),
    VhdType(DiskType.DIFFERENCING, "differencing", "Holds only sectors that differ from those of a parent"),
)


@dataclass(frozen=True, slots=True)
class PlatformCode:
    """One way to write where a parent is."""

    code: bytes
    encoding: Literal["utf-16-le", "utf-8"]
    is_relative: bool
    title: str
    source: Source = _PLATFORMS


PLATFORM_CODES: Mapping[bytes, PlatformCode] = by(
    "code",
    PlatformCode(b"W2ru", "utf-16-le", True, "Path on Windows, relative to the differencing disk"),
    PlatformCode(b"W2ku", "utf-16-le", False, "Absolute path on Windows"),
    PlatformCode(b"MacX", "utf-8", False, "File URL"),
)
"""Those that can be followed; the others are older, or of no use outside the system that wrote them."""


@dataclass(frozen=True, slots=True)
class HostOs:
    """One operating system that an image can have been created on."""

    code: bytes
    name: str
    source: Source = _HOSTS


HOST_SYSTEMS: Mapping[bytes, HostOs] = by("code", HostOs(b"Wi2k", "Windows"), HostOs(b"Mac ", "Macintosh"))

OWN_CREATOR = b"rvz "


@dataclass(frozen=True, slots=True)
class Creator:
    """One program by the name that it leaves in the images it creates."""

    code: bytes
    name: str
    source: Source = _CREATORS


CREATORS: Mapping[bytes, Creator] = by(
    "code",
    Creator(b"vpc ", "Virtual PC"),
    Creator(b"vs  ", "Virtual Server"),
    Creator(OWN_CREATOR, "ringviz", Source.ringviz("other programs should use a name of their own, says the paper")),
)


@dataclass(frozen=True, slots=True)
class DiskGeometry:
    """Cylinders, heads, and sectors of a track."""

    cylinders: int
    heads: int
    sectors_per_track: int

    @property
    def sectors(self) -> int:
        """How many sectors they make up."""
        return self.cylinders * self.heads * self.sectors_per_track


_MOST_CYLINDERS, _MOST_HEADS = 65_535, 16
_FEW_CYLINDERS = 1_024


def geometry_of(sectors: int) -> DiskGeometry:
    """Give the geometry of a disk of so many sectors; it reaches as many sectors, or somewhat fewer.

    Source: VHD paper, "CHS Calculation".
    """
    sectors = min(sectors, _MOST_CYLINDERS * _MOST_HEADS * 255)
    if sectors >= _MOST_CYLINDERS * _MOST_HEADS * 63:
        return DiskGeometry(sectors // 255 // _MOST_HEADS, _MOST_HEADS, 255)
    per_track = 17
    tracks = sectors // per_track
    heads = max(4, (tracks + _FEW_CYLINDERS - 1) // _FEW_CYLINDERS)
    if tracks >= heads * _FEW_CYLINDERS or heads > _MOST_HEADS:
        per_track, heads = 31, _MOST_HEADS
        tracks = sectors // per_track
    if tracks >= heads * _FEW_CYLINDERS:
        per_track, heads = 63, _MOST_HEADS
        tracks = sectors // per_track
    return DiskGeometry(tracks // heads, heads, per_track)


def whole_geometry_sectors(sectors: int) -> int:
    """Give the smallest size, no smaller than the one asked for, that its geometry reaches whole.

    Some programs take a disk's size from its geometry, others from the size in its footer; there they agree.
    """
    asked = max(1, sectors)
    candidate = asked
    while geometry_of(candidate).sectors < asked:
        candidate += 1
    return geometry_of(candidate).sectors
