"""The structures of a VHD, between bytes and fields: footer, dynamic disk header, parent locators."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from ringviz.errors import DiskError
from ringviz.facts import vhd
from ringviz.facts.vhd import DiskGeometry, DiskType, VhdField


@dataclass(frozen=True, slots=True)
class Footer:
    """The hard disk footer, which every VHD ends with."""

    cookie: bytes
    features: int
    format_version: int
    data_offset: int
    time_stamp: int
    creator_application: bytes
    creator_version: int
    creator_host_os: bytes
    original_size: int
    current_size: int
    cylinders: int
    heads: int
    sectors_per_track: int
    disk_type: int
    checksum: int
    unique_id: bytes
    saved_state: int

    @property
    def geometry(self) -> DiskGeometry:
        """The geometry that it names."""
        return DiskGeometry(self.cylinders, self.heads, self.sectors_per_track)

    def encode(self) -> bytes:
        """Give the 512 bytes, with the checksum that they ought to have."""
        return _with_checksum(_encode(vhd.FOOTER_FIELDS, asdict(self), vhd.FOOTER_BYTES), vhd.FOOTER_FIELDS)


@dataclass(frozen=True, slots=True)
class DynamicHeader:
    """The dynamic disk header."""

    cookie: bytes
    data_offset: int
    table_offset: int
    header_version: int
    max_table_entries: int
    block_size: int
    checksum: int
    parent_unique_id: bytes
    parent_time_stamp: int
    reserved: int
    parent_name: bytes
    parent_locators: bytes

    @property
    def locators(self) -> tuple[Locator, ...]:
        """The parent locators that are in use."""
        pieces = range(0, len(self.parent_locators), vhd.LOCATOR_BYTES)
        every = (decode_locator(self.parent_locators[at : at + vhd.LOCATOR_BYTES]) for at in pieces)
        return tuple(locator for locator in every if any(locator.platform_code))

    def encode(self) -> bytes:
        """Give the 1,024 bytes, with the checksum that they ought to have."""
        return _with_checksum(_encode(vhd.HEADER_FIELDS, asdict(self), vhd.HEADER_BYTES), vhd.HEADER_FIELDS)


@dataclass(frozen=True, slots=True)
class Locator:
    """One parent locator entry."""

    platform_code: bytes
    data_space: int
    data_length: int
    reserved: int
    data_offset: int

    def encode(self) -> bytes:
        """Give the 24 bytes."""
        return _encode(vhd.LOCATOR_FIELDS, asdict(self), vhd.LOCATOR_BYTES)


def decode_footer(data: bytes) -> Footer:
    """Understand a footer of 512 or 511 bytes.

    Raises:
        DiskError: it is none, or damaged; without the file's name.
    """
    padded = data.ljust(vhd.FOOTER_BYTES, b"\0")
    if not data.startswith(vhd.FOOTER_COOKIE):
        raise DiskError("no hard disk footer (conectix) where one is expected")
    _check_checksum(padded, vhd.FOOTER_FIELDS, "the footer")
    footer = Footer(**_decode(vhd.FOOTER_FIELDS, padded))
    if footer.format_version >> 16 != vhd.FORMAT_VERSION >> 16:
        raise DiskError(f"format version {footer.format_version:08X}h, expected {vhd.FORMAT_VERSION:08X}h")
    if footer.disk_type not in vhd.VHD_TYPES:
        known = ", ".join(f"{row.number} ({row.name})" for row in vhd.VHD_TYPES.values())
        raise DiskError(f"disk type {footer.disk_type}, expected one of {known}")
    if footer.current_size == 0 or footer.current_size % vhd.SECTOR_BYTES:
        raise DiskError(f"a disk of {footer.current_size:,} bytes, expected whole sectors of 512 bytes, at least one")
    return footer


def decode_header(data: bytes) -> DynamicHeader:
    """Understand a dynamic disk header.

    Raises:
        DiskError: it is none, or damaged; without the file's name.
    """
    if len(data) < vhd.HEADER_BYTES or not data.startswith(vhd.HEADER_COOKIE):
        raise DiskError("no dynamic disk header (cxsparse) where the footer says that one is")
    _check_checksum(data, vhd.HEADER_FIELDS, "the dynamic disk header")
    header = DynamicHeader(**_decode(vhd.HEADER_FIELDS, data))
    if header.header_version >> 16 != vhd.FORMAT_VERSION >> 16:
        raise DiskError(f"header version {header.header_version:08X}h, expected {vhd.FORMAT_VERSION:08X}h")
    sectors = header.block_size // vhd.SECTOR_BYTES
    if sectors == 0 or header.block_size % vhd.SECTOR_BYTES or sectors & (sectors - 1):
        raise DiskError(f"blocks of {header.block_size:,} bytes, expected a power of two of sectors")
    return header


def decode_locator(data: bytes) -> Locator:
    """Understand one entry of the parent locators."""
    return Locator(**_decode(vhd.LOCATOR_FIELDS, data))


def new_footer(kind: DiskType, sectors: int, unique_id: bytes, created: int) -> Footer:
    """Give the footer of a new image of ours.

    Args:
        kind: disk type.
        sectors: size of the disk.
        unique_id: 16 bytes that no other image has.
        created: seconds since 1970.
    """
    geometry = vhd.geometry_of(sectors)
    size = sectors * vhd.SECTOR_BYTES
    return Footer(
        vhd.FOOTER_COOKIE,
        vhd.RESERVED_FEATURE,
        vhd.FORMAT_VERSION,
        vhd.NO_OFFSET if kind is DiskType.FIXED else vhd.FOOTER_BYTES,
        time_stamp(created),
        vhd.OWN_CREATOR,
        vhd.FORMAT_VERSION,
        b"Wi2k",  # the other choice is Macintosh, and programs know how to read what Windows writes
        size,
        size,
        geometry.cylinders,
        geometry.heads,
        geometry.sectors_per_track,
        int(kind),
        0,
        unique_id,
        0,
    )


def new_header(table_offset: int, entries: int, block_bytes: int) -> DynamicHeader:
    """Give the dynamic disk header of a new image that has no parent."""
    return DynamicHeader(
        vhd.HEADER_COOKIE,
        vhd.NO_OFFSET,
        table_offset,
        vhd.FORMAT_VERSION,
        entries,
        block_bytes,
        0,
        bytes(16),
        0,
        0,
        bytes(512),
        bytes(vhd.LOCATORS * vhd.LOCATOR_BYTES),
    )


def with_parent(
    header: DynamicHeader, unique_id: bytes, stamp: int, name: str, locators: tuple[Locator, ...]
) -> DynamicHeader:
    """Give a header that names a parent."""
    encoded = name.encode("utf-16-be", "surrogatepass")[:510]
    room = vhd.LOCATORS * vhd.LOCATOR_BYTES
    return replace(
        header,
        parent_unique_id=unique_id,
        parent_time_stamp=stamp,
        parent_name=encoded.ljust(512, b"\0"),
        parent_locators=b"".join(locator.encode() for locator in locators).ljust(room, b"\0"),
    )


def time_stamp(seconds: int) -> int:
    """Give a time in seconds since 1970 as the format counts it."""
    return max(0, seconds - vhd.EPOCH) & 0xFFFF_FFFF


def _decode(fields: Mapping[str, VhdField], data: bytes) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for field in fields.values():
        raw = data[field.offset : field.offset + field.size_bytes]
        values[field.name] = int.from_bytes(raw, "big") if field.kind == "number" else raw
    return values


def _encode(fields: Mapping[str, VhdField], values: Mapping[str, object], size: int) -> bytes:
    data = bytearray(size)
    for field in fields.values():
        value = values[field.name]
        raw = value.to_bytes(field.size_bytes, "big") if isinstance(value, int) else value
        if not isinstance(raw, bytes) or len(raw) != field.size_bytes:
            raise ValueError(f"{field.name} has {field.size_bytes} bytes")
        data[field.offset : field.offset + field.size_bytes] = raw
    return bytes(data)


def _sum(data: bytes, fields: Mapping[str, VhdField]) -> int:
    """Source: VHD paper, "Checksum Calculation"."""
    at = fields["checksum"].offset
    return ~(sum(data) - sum(data[at : at + 4])) & 0xFFFF_FFFF


def _with_checksum(data: bytes, fields: Mapping[str, VhdField]) -> bytes:
    at = fields["checksum"].offset
    return data[:at] + _sum(data, fields).to_bytes(4, "big") + data[at + 4 :]


def _check_checksum(data: bytes, fields: Mapping[str, VhdField], what: str) -> None:
    at = fields["checksum"].offset
    found, expected = int.from_bytes(data[at : at + 4], "big"), _sum(data, fields)
    if found != expected:
        raise DiskError(f"{what} is damaged: checksum {found:08X}h, expected {expected:08X}h")
