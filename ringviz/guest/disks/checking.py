"""What is wrong with a disk image, and what is worth knowing about it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from ringviz.errors import DiskError
from ringviz.facts.vhd import (
    CREATORS,
    EPOCH,
    FOOTER_BYTES,
    FOOTER_COOKIE,
    HEADER_BYTES,
    NO_BLOCK,
    SECTOR_BYTES,
    VHD_TYPES,
    DiskType,
)
from ringviz.guest.disks.blocks import BlockDisk, has_bit
from ringviz.guest.disks.differences import named_parent
from ringviz.guest.disks.opening import find_footer, is_vhd, open_disk
from ringviz.guest.disks.records import Footer, decode_footer, decode_header
from ringviz.guest.disks.store import FileStore, Store


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing about an image."""

    is_error: bool
    """The disk cannot be used, or does not hold what it should; else the format is not kept to, and nothing is lost."""
    text: str


@dataclass(frozen=True, slots=True)
class DiskInfo:
    """What an image says of itself; what its format does not have is empty or None."""

    kind: str
    sectors: int
    file_bytes: int
    creator: str = ""
    created: int | None = None
    """Seconds since 1970."""
    geometry: tuple[int, int, int] | None = None
    unique_id: str = ""
    block_bytes: int | None = None
    blocks: int | None = None
    allocated_blocks: int | None = None
    own_sectors: int | None = None
    """Differencing: sectors that it holds itself."""
    parent: str = ""


def describe_disk(path: Path) -> DiskInfo:
    """Say what an image is; its parent need not be there.

    Raises:
        DiskError: it cannot be opened; one line.
    """
    if not is_vhd(path):
        disk = open_disk(path)
        sectors = disk.sectors
        disk.close()
        return DiskInfo("raw", sectors, path.stat().st_size)
    store = FileStore(path, is_writable=False)
    try:
        return _describe(store, path)
    except DiskError as error:
        raise DiskError(f"{path.name}: {error}") from None
    finally:
        store.close()


def _describe(store: Store, path: Path) -> DiskInfo:
    footer = find_footer(store)
    code = footer.creator_application
    creator = CREATORS[code].name if code in CREATORS else code.decode("latin-1").strip("\0 ")
    geometry = (footer.cylinders, footer.heads, footer.sectors_per_track)
    sectors, kind = footer.current_size // SECTOR_BYTES, VHD_TYPES[footer.disk_type].name
    info = DiskInfo(kind, sectors, store.size, creator, footer.time_stamp + EPOCH, geometry, footer.unique_id.hex())
    if footer.disk_type == DiskType.FIXED:
        return info
    header = decode_header(store.read(footer.data_offset, HEADER_BYTES))
    disk = BlockDisk(store, footer, header, None)
    placed = [number for number, entry in enumerate(disk.table) if entry != NO_BLOCK]
    is_child = footer.disk_type == DiskType.DIFFERENCING
    own = sum(int.from_bytes(disk.bitmap(number), "big").bit_count() for number in placed) if is_child else None
    return DiskInfo(
        info.kind, info.sectors, info.file_bytes, info.creator, info.created, info.geometry, info.unique_id,
        header.block_size, disk.blocks, len(placed), own, named_parent(store, header, path).name if is_child else "",
    )  # fmt: skip


def check_disk(path: Path) -> tuple[Finding, ...]:
    """Look an image over, and give what is wrong with it.

    Raises:
        DiskError: the file cannot be read.
    """
    findings: list[Finding] = []
    if is_vhd(path):
        store = FileStore(path, is_writable=False)
        try:
            findings += _check(store)
        except DiskError as error:
            findings.append(Finding(True, str(error)))
        finally:
            store.close()
    if not any(finding.is_error for finding in findings):
        try:
            open_disk(path).close()
        except DiskError as error:
            findings.append(Finding(True, str(error).removeprefix(f"{path.name}: ")))
    return tuple(findings)


def _check(store: Store) -> list[Finding]:
    footer = find_footer(store)
    findings = _check_footers(store, footer)
    if footer.geometry.sectors != footer.current_size // SECTOR_BYTES:
        reach = footer.geometry.sectors
        findings.append(Finding(False, f"the geometry reaches {reach:,} sectors of {footer.current_size // 512:,}"))
    if footer.disk_type == DiskType.FIXED:
        if store.size != footer.current_size + FOOTER_BYTES:
            text = f"the file has {store.size:,} bytes, a fixed disk and its footer {footer.current_size + 512:,}"
            findings.append(Finding(store.size < footer.current_size, text))
        return findings
    header = decode_header(store.read(footer.data_offset, HEADER_BYTES))
    return findings + _check_blocks(BlockDisk(store, footer, header, None))


def _check_footers(store: Store, footer: Footer) -> list[Finding]:
    findings = []
    places = [("at the end", store.size - FOOTER_BYTES)]
    if footer.disk_type != DiskType.FIXED:
        places.append(("at the beginning", 0))
    for where, offset in places:
        data = store.read(max(0, offset), FOOTER_BYTES)
        if not data.startswith(FOOTER_COOKIE):
            findings.append(Finding(False, f"the footer {where} is missing; the next write puts it back"))
            continue
        try:
            if decode_footer(data) != footer:
                findings.append(Finding(False, f"the footer {where} is another one"))
        except DiskError as error:
            findings.append(Finding(False, f"{where}: {error}; the next write puts it right"))
    return findings


def _check_blocks(disk: BlockDisk) -> list[Finding]:
    findings = []
    room, table = disk.block_room, disk.table
    first_free = -(-(disk.header.table_offset + 4 * len(table)) // SECTOR_BYTES)
    placed = sorted((entry, number) for number, entry in enumerate(table) if entry != NO_BLOCK)
    for (entry, number), (following, other) in pairwise(placed):
        if entry + room > following:
            findings.append(Finding(True, f"blocks {number:,} and {other:,} overlap"))
    if placed and placed[0][0] < first_free:
        findings.append(Finding(True, f"block {placed[0][1]:,} lies in the headers or the block allocation table"))
    unreached = disk.store.size - FOOTER_BYTES - disk.end_of_blocks
    if unreached > 0:
        findings.append(Finding(False, f"{unreached:,} bytes between the last block and the footer belong to no block"))
    if disk.footer.disk_type == DiskType.DYNAMIC:
        findings += _check_clear_sectors(disk, [number for _, number in placed])
    return findings


def _check_clear_sectors(disk: BlockDisk, placed: list[int]) -> list[Finding]:
    """Look for sectors that should be zero by their bitmap, and are not."""
    findings = []
    for number in placed:
        bitmap = disk.bitmap(number)
        clear = [i for i in range(disk.sectors_per_block) if not has_bit(bitmap, i)]
        base = (disk.table[number] + disk.bitmap_sectors) * SECTOR_BYTES
        count = sum(any(disk.store.read(base + i * SECTOR_BYTES, SECTOR_BYTES)) for i in clear)
        if count:
            findings.append(Finding(False, f"block {number:,} holds data in {count:,} sectors marked as never written"))
    return findings
