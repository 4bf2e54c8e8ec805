"""What an image file is that comes without a scenario: a Multiboot kernel, a boot sector, a whole disk, or nothing.

A PC's firmware asks for no more than the two bytes at the end of the first sector; a Multiboot loader looks for its
header. A file that has both is a disk: boot loaders that Multiboot could start lie at the beginning of many.
"""

from dataclasses import dataclass
from pathlib import Path

from ringviz.errors import DiskError, ImageError
from ringviz.guest import elf, multiboot
from ringviz.guest.bootsector import SECTOR_BYTES, SIGNATURE
from ringviz.guest.disks import first_sector, is_vhd


@dataclass(frozen=True, slots=True)
class Recognized:
    """What a file is."""

    format: str
    """As in `scenario.toml`."""
    title: str


def recognize(path: Path) -> Recognized:
    """Look at the beginning of a file.

    Raises:
        ImageError: it cannot be booted; one line without the file's name.
        OSError: it cannot be read.
    """
    if is_vhd(path):
        return _recognize_vhd(path)
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(multiboot.SEARCH_BYTES)
    if not head:
        raise ImageError("empty, expected a Multiboot kernel, a boot sector or a disk image")
    if not head.startswith(elf.MAGIC) and head[SECTOR_BYTES - 2 : SECTOR_BYTES] == SIGNATURE:
        return Recognized("bootsector", "a boot sector" if size == SECTOR_BYTES else "a disk image")
    try:
        header = multiboot.parse_header(head)
    except ImageError as error:
        if head.startswith(elf.MAGIC):
            raise ImageError(f"an ELF file, but {error}") from None
        if b"\x02\xb0\xad\x1b" in head:
            raise
        raise ImageError(
            "neither a Multiboot kernel (no header in the first 8,192 bytes) nor a boot sector or disk image"
            " (the first 512 bytes do not end in 55 AA)"
        ) from None
    has_addresses = bool(header.flags & multiboot.FLAG_ADDRESSES)
    return Recognized("multiboot", "a Multiboot kernel" if has_addresses else "a Multiboot kernel (ELF)")


def _recognize_vhd(path: Path) -> Recognized:
    """Look at the first sector of a virtual hard disk."""
    try:
        head = first_sector(path)
    except DiskError as error:
        raise ImageError(str(error).removeprefix(f"{path.name}: ")) from None
    if not head.endswith(SIGNATURE):
        raise ImageError("a virtual hard disk without boot sector (its first 512 bytes do not end in 55 AA)")
    return Recognized("bootsector", "a virtual hard disk")
