"""Multiboot 1 images, ELF or with address fields in the header, and the information structure a loader owes them.

Source: Multiboot Specification 0.6.96, "OS image format", "Machine state", "Boot information format".
"""

import struct
from dataclasses import dataclass

from ringviz.errors import ImageError
from ringviz.guest.elf import MAGIC, parse_elf
from ringviz.guest.layout import Layout

HEADER_MAGIC = 0x1BADB002
BOOT_MAGIC = 0x2BADB002
"""EAX at the entry: "a Multiboot loader was here"."""
SEARCH_BYTES = 8192
"""The header lies wholly within so many first bytes, at a multiple of 4."""

FLAG_PAGE_ALIGN_MODULES = 1 << 0
FLAG_MEMORY_INFO = 1 << 1
FLAG_VIDEO_MODE = 1 << 2
FLAG_ADDRESSES = 1 << 16
_REQUIRED_FLAGS = 0xFFFF
"""A loader must refuse an image that sets one of these and that it does not understand."""
_UNDERSTOOD_FLAGS = FLAG_PAGE_ALIGN_MODULES | FLAG_MEMORY_INFO

INFO_ADDRESS = 0x9FC00
"""Where the information structure lies: the last KiB below 640 KiB, above what `mem_lower` gives away,
so a guest that uses all memory it was told of does not overwrite it."""
INFO_HAS_MEMORY = 1 << 0
INFO_HAS_MAP = 1 << 6
_MAP_AT = 44
"""Offset of mmap_length and mmap_addr."""
_MAP_ENTRY_BYTES = 20
"""What an entry says of its size: without that field itself."""
_AVAILABLE, _RESERVED = 1, 2
INFO_BYTES = 116
"""The longest form of the structure in version 0.6.96, up to the framebuffer fields."""

_HEADER = struct.Struct("<8I")


@dataclass(frozen=True, slots=True)
class MultibootHeader:
    """The header; without address fields they are 0, and the file must be an ELF file."""

    offset: int
    """Where it was found, in bytes from the start of the file."""
    flags: int
    header_addr: int
    """The physical address of the header itself: it ties file offsets to addresses."""
    load_addr: int
    load_end_addr: int
    """0: load the whole file."""
    bss_end_addr: int
    """0: no memory to clear."""
    entry_addr: int


def lay_out(content: bytes, memory_mib: int) -> Layout:
    """Lay out a Multiboot image and its information structure.

    Raises:
        ImageError: no header, or one whose addresses do not fit together or to the file.
    """
    header = parse_header(content)
    registers = (("eax", BOOT_MAGIC), ("ebx", INFO_ADDRESS))
    if not header.flags & FLAG_ADDRESSES:
        elf = parse_elf(content)
        information = (INFO_ADDRESS, boot_information(memory_mib, with_map=True))
        return Layout((*elf.segments, information), elf.zeroed, elf.entry, registers)
    start_offset = header.offset - (header.header_addr - header.load_addr)
    if header.load_addr > header.header_addr:
        raise ImageError(
            f"load_addr 0x{header.load_addr:X} expected to be at or below header_addr 0x{header.header_addr:X}"
        )
    if start_offset < 0:
        raise ImageError(
            f"header found at byte {header.offset} of the file, expected {header.header_addr - header.load_addr} bytes"
            " before it, by header_addr and load_addr"
        )
    load_end = header.load_end_addr or header.load_addr + len(content) - start_offset
    _check_addresses(header, load_end)
    wanted = load_end - header.load_addr
    data = content[start_offset : start_offset + wanted]
    if len(data) < wanted:
        raise ImageError(f"truncated: {len(content):,} bytes, expected {start_offset + wanted:,} by load_end_addr")
    zeroed = ((load_end, header.bss_end_addr - load_end),) if header.bss_end_addr > load_end else ()
    return Layout(
        segments=((header.load_addr, data), (INFO_ADDRESS, boot_information(memory_mib))),
        zeroed=zeroed,
        entry=header.entry_addr,
        registers=registers,
    )


def parse_header(content: bytes) -> MultibootHeader:
    """Find and read the header.

    Raises:
        ImageError: none within the first 8192 bytes, or one that cannot be used.
    """
    problem = f"no Multiboot header (0x{HEADER_MAGIC:08X}) at a multiple of 4 in the first {SEARCH_BYTES:,} bytes"
    searched = content[:SEARCH_BYTES]
    for offset in range(0, len(searched) - 11, 4):
        magic, flags, checksum = struct.unpack_from("<3I", searched, offset)
        if magic != HEADER_MAGIC:
            continue
        # The magic number may occur by chance; only with the right checksum is it a header.
        if (magic + flags + checksum) & 0xFFFFFFFF:
            expected = -(magic + flags) & 0xFFFFFFFF
            problem = f"Multiboot header at byte {offset}: checksum 0x{checksum:08X}, expected 0x{expected:08X}"
            continue
        return _read_header(searched, offset, flags)
    raise ImageError(problem)


def boot_information(memory_mib: int, *, with_map: bool = False) -> bytes:
    """Return the structure that EBX points to: how much memory there is, and nothing else.

    Lower memory ends at 639 KiB, as on a PC whose firmware keeps the last KiB; upper memory begins at 1 MiB.

    Args:
        memory_mib: size of the guest's memory.
        with_map: the memory map as well; it lies right behind the structure.
    """
    lower_kib = INFO_ADDRESS >> 10
    upper_kib = (memory_mib - 1) << 10
    flags = INFO_HAS_MEMORY | (INFO_HAS_MAP if with_map else 0)
    information = bytearray(struct.pack("<3I", flags, lower_kib, upper_kib).ljust(INFO_BYTES, b"\0"))
    if not with_map:
        return bytes(information)
    entries = b"".join(
        struct.pack("<IQQI", _MAP_ENTRY_BYTES, start, end - start, kind)
        for start, end, kind in (
            (0, INFO_ADDRESS, _AVAILABLE),
            (INFO_ADDRESS, 0xA0000, _RESERVED),
            (0xF0000, 0x100000, _RESERVED),
            (0x100000, memory_mib << 20, _AVAILABLE),
        )
    )
    struct.pack_into("<2I", information, _MAP_AT, len(entries), INFO_ADDRESS + INFO_BYTES)
    return bytes(information) + entries


def _read_header(searched: bytes, offset: int, flags: int) -> MultibootHeader:
    where = f"Multiboot header at byte {offset}"
    unknown = flags & _REQUIRED_FLAGS & ~_UNDERSTOOD_FLAGS
    if unknown:
        raise ImageError(f"{where}: asks for features 0x{unknown:X} in flags, expected none but bits 0 and 1")
    if not flags & FLAG_ADDRESSES:
        if not searched.startswith(MAGIC):
            raise ImageError(f"{where}: flags 0x{flags:X}, expected bit 16 (the address fields) or an ELF file")
        return MultibootHeader(offset, flags, 0, 0, 0, 0, 0)
    if offset + _HEADER.size > len(searched):
        raise ImageError(f"{where}: cut off after {len(searched) - offset} bytes, expected {_HEADER.size}")
    return MultibootHeader(offset, flags, *_HEADER.unpack_from(searched, offset)[3:])


def _check_addresses(header: MultibootHeader, load_end: int) -> None:
    if load_end < header.header_addr + _HEADER.size:
        raise ImageError(
            f"load_end_addr 0x{load_end:X}, expected at least the end of the header at 0x{header.header_addr:X}"
        )
    if header.bss_end_addr and header.bss_end_addr < load_end:
        raise ImageError(f"bss_end_addr 0x{header.bss_end_addr:X}, expected 0 or at least 0x{load_end:X}")
    if not header.load_addr <= header.entry_addr < load_end:
        raise ImageError(
            f"entry_addr 0x{header.entry_addr:X}, expected within the loaded bytes"
            f" 0x{header.load_addr:X} to 0x{load_end:X}"
        )
