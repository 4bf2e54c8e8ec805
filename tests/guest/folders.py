"""Scenario folders made for one test, and a Multiboot image that is right in every field."""

import struct
from pathlib import Path

TOML = """\
schema = 1
title = "A title"
summary = "A summary."
level = "beginner"
[guest]
source = "guest.asm"
image = "guest.bin"
format = "multiboot"
memory_mib = 16
[limits]
instructions = 1_000
"""

LOAD = 0x100000


def multiboot_image(
    *,
    header_offset: int = 16,
    size: int = 256,
    magic: int = 0x1BADB002,
    flags: int = 1 << 16,
    checksum: int | None = None,
    header_addr: int | None = None,
    load_addr: int = LOAD,
    load_end_addr: int = 0,
    bss_end_addr: int = 0,
    entry_addr: int = LOAD,
) -> bytes:
    """A file of `size` bytes that counts up, with a header in it."""
    content = bytearray(index & 0x7F for index in range(size))
    if checksum is None:
        checksum = -(magic + flags) & 0xFFFFFFFF
    if header_addr is None:
        header_addr = load_addr + header_offset
    header = struct.pack("<8I", magic, flags, checksum, header_addr, load_addr, load_end_addr, bss_end_addr, entry_addr)
    content[header_offset : header_offset + 32] = header
    return bytes(content[:size])


def make_folder(parent: Path, toml: str = TOML, image: bytes | None = None, name: str = "made") -> Path:
    folder = parent / name
    folder.mkdir()
    (folder / "scenario.toml").write_text(toml, encoding="utf-8")
    (folder / "guest.asm").write_text("hlt\n", encoding="utf-8")
    (folder / "guest.bin").write_bytes(multiboot_image() if image is None else image)
    return folder
