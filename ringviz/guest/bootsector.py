"""Boot sectors: 512 bytes that a PC's firmware loads and jumps to in real mode."""

from ringviz.errors import ImageError
from ringviz.guest.layout import Layout

SECTOR_BYTES = 512
SIGNATURE = b"\x55\xaa"
LOAD_ADDRESS = 0x7C00
FIRST_HARD_DISK = 0x80
"""DL at the entry: the drive that the sector came from, by the firmware's numbering."""


def lay_out(content: bytes) -> Layout:
    """Lay out a boot sector.

    Raises:
        ImageError: not 512 bytes, or without the signature at the end.
    """
    if len(content) != SECTOR_BYTES:
        raise ImageError(f"{len(content):,} bytes, expected a boot sector of {SECTOR_BYTES}")
    if content[-2:] != SIGNATURE:
        raise ImageError(f"ends in {content[-2:].hex(' ').upper()}, expected the boot signature 55 AA")
    return Layout(((LOAD_ADDRESS, content),), (), LOAD_ADDRESS, (("edx", FIRST_HARD_DISK),))
