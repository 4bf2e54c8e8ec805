"""ELF files for the 32-bit x86, as far as a Multiboot loader reads them: the program headers.

Source: Tool Interface Standard, "Executable and Linking Format (ELF) Specification", version 1.2, book I, "ELF Header"
and "Program Header"; book III for the machine number.
"""

import struct
from dataclasses import dataclass

from ringviz.errors import ImageError

MAGIC = b"\x7fELF"
_CLASS_32, _LITTLE_ENDIAN, _MACHINE_386 = 1, 1, 3
_CLASS_AT, _DATA_AT = 4, 5
_LOADED = 1
"""Type PT_LOAD: a part that belongs into memory."""
_HEADER = struct.Struct("<16sHHIIIIIHHH")
_PROGRAM_HEADER = struct.Struct("<8I")


@dataclass(frozen=True, slots=True)
class Elf:
    """What is to be loaded, and where it begins."""

    segments: tuple[tuple[int, bytes], ...]
    """(physical address, bytes)"""
    zeroed: tuple[tuple[int, int], ...]
    """(physical address, number of bytes)"""
    entry: int
    """Physical address."""


def parse_elf(content: bytes) -> Elf:
    """Read the headers of an ELF file.

    Raises:
        ImageError: it is cut off, or not for a 32-bit x86.
    """
    if len(content) < _HEADER.size:
        raise ImageError(f"ELF header cut off after {len(content)} bytes, expected {_HEADER.size}")
    ident, _, machine, _, entry, table_at, _, _, _, entry_bytes, count = _HEADER.unpack_from(content)
    if ident[_CLASS_AT] != _CLASS_32 or ident[_DATA_AT] != _LITTLE_ENDIAN or machine != _MACHINE_386:
        kind = "64-bit ELF" if ident[_CLASS_AT] != _CLASS_32 else f"ELF for machine {machine}"
        raise ImageError(f"{kind}, expected one for the 32-bit x86 (class 1, little-endian, machine 3)")
    if entry_bytes < _PROGRAM_HEADER.size or table_at + entry_bytes * count > len(content):
        raise ImageError(f"ELF: {count} program headers at byte {table_at:,} do not lie in the file")
    segments: list[tuple[int, bytes]] = []
    zeroed: list[tuple[int, int]] = []
    physical_entry = entry
    for number in range(count):
        header = _PROGRAM_HEADER.unpack_from(content, table_at + entry_bytes * number)
        kind, offset, virtual, physical, in_file, in_memory, _, _ = header
        if kind != _LOADED or not in_memory:
            continue
        if offset + in_file > len(content) or in_file > in_memory:
            raise ImageError(f"ELF: program header {number} loads {in_file:,} bytes that are not in the file")
        if in_file:
            segments.append((physical, content[offset : offset + in_file]))
        if in_memory > in_file:
            zeroed.append((physical + in_file, in_memory - in_file))
        if virtual <= entry < virtual + in_memory:  # a kernel that is linked for addresses it has not turned on yet
            physical_entry = entry - virtual + physical
    if not segments:
        raise ImageError("ELF: no program header loads anything")
    if not any(start <= physical_entry < start + len(data) for start, data in segments):
        raise ImageError(f"ELF: entry 0x{entry:X}, expected within the loaded bytes")
    return Elf(tuple(segments), tuple(zeroed), physical_entry)
