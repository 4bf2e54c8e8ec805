"""The firmware of a PC as a boot sector finds it: interrupt services in ROM, their vectors and data, devices set up.

What a PC's firmware does between power-on and the boot sector is done here at once, and not run: the vector table and
the data area are written, the interrupt controllers, the timer and the screen are as it leaves them. The services
themselves are guest code, `bios/bios.asm`, and run as such. No guest can change them in a PC; this machine has plain
memory there.

Source: IBM Personal System/2 and Personal Computer BIOS Interface Technical Reference, "Data areas and ROM tables",
"Interrupts"; which vectors stay zero, what the stack is, and that interrupts are on: SeaBIOS.
"""

import struct
from collections.abc import Sequence
from functools import cache
from importlib import resources

from ringviz.errors import ImageError

ROM_SEGMENT, ROM_OFFSET, ROM_BYTES = 0xF000, 0xE000, 0x2000
ROM_ADDRESS = (ROM_SEGMENT << 4) + ROM_OFFSET
_ENTRIES_AT = 0x1FC0
"""Offset in the ROM of the table that says where its services begin."""
_ENTRY_NAMES = (
    "nothing", "first_irq", "second_irq", "timer", "key_pressed", "clock_irq", "disk_irq",
    "video", "equipment", "memory_size", "disk", "system", "keyboard", "no_boot", "boot", "clock",
)  # fmt: skip
_VECTORS = {
    0x08: "timer", 0x09: "key_pressed", **dict.fromkeys(range(0x0A, 0x10), "first_irq"),
    0x10: "video", 0x11: "equipment", 0x12: "memory_size", 0x13: "disk", 0x15: "system", 0x16: "keyboard",
    0x18: "no_boot", 0x19: "boot", 0x1A: "clock",
    0x70: "clock_irq", **dict.fromkeys(range(0x71, 0x78), "second_irq"), 0x76: "disk_irq",
}  # fmt: skip
_EMPTY_VECTORS = (0x1D, 0x1E, 0x1F, 0x41, 0x43, 0x46, *range(0x60, 0x67), *range(0x78, 0x100))
"""Pointers to tables that this firmware does not have, vectors for programs, and those nobody uses."""

VECTORS_ADDRESS, DATA_ADDRESS, DATA_BYTES = 0x000, 0x400, 0x100
EBDA_ADDRESS, EBDA_BYTES = 0x9FC00, 0x400
"""The extended data area: the last KiB below 640 KiB."""
_DISK_SECTORS = 0x10
"""Offset in it: one number of sectors for each of two disks; ours."""
MOST_SECTORS = 1 << 28
"""What a block number of 28 bits reaches."""
TEXT_ADDRESS, TEXT_CELLS = 0xB8000, 80 * 25
_BLANK = b" \x07"
STACK_TOP = 0x7000

_EBDA_AT, _BASE_MEMORY_AT = 0x0E, 0x13
"""Offsets in the data area: the segment of its extension; KiB of memory below that."""
_BUFFER, _BUFFER_END = 0x1E, 0x3E
_EQUIPMENT = 0x0222
"""A numeric coprocessor, a colour display with 80 columns, one serial port."""

PORTS: tuple[tuple[int, int], ...] = (
    (0x43, 0x34), (0x40, 0x00), (0x40, 0x00),
    (0x20, 0x11), (0x21, 0x08), (0x21, 0x04), (0x21, 0x01),
    (0xA0, 0x11), (0xA1, 0x70), (0xA1, 0x02), (0xA1, 0x01),
    (0x21, 0xF8), (0xA1, 0xBF),
)  # fmt: skip
"""What it has written to ports: 8254 counter 0 at 65,536 clocks a tick, 18.2 ticks a second; 8259A pair at vectors 08h
and 70h, requests 0 (timer), 1 (keyboard), 2 (the second 8259A) and 14 (disk) let through. In this order no tick waits
at the boot sector's first instruction."""


@cache
def rom() -> bytes:
    """The services, as they were assembled when ringviz was made."""
    content = (resources.files("ringviz.guest") / "bios" / "bios.bin").read_bytes()
    if len(content) != ROM_BYTES:
        raise ImageError(f"bios.bin: {len(content):,} bytes, expected {ROM_BYTES:,}; ringviz is not installed whole")
    return content


def entries() -> dict[str, int]:
    """Offset in segment F000h of each service."""
    return dict(zip(_ENTRY_NAMES, struct.unpack_from(f"<{len(_ENTRY_NAMES)}H", rom(), _ENTRIES_AT), strict=True))


def firmware(disk_sectors: Sequence[int]) -> tuple[tuple[int, bytes], ...]:
    """Give what lies in memory when the boot sector begins.

    Args:
        disk_sectors: size of each disk, 0 where there is none.

    Returns:
        (physical address, bytes) for the vector table, the two data areas, the screen and the ROM.
    """
    return (
        (VECTORS_ADDRESS, _vector_table()),
        (DATA_ADDRESS, _data_area(sum(size > 0 for size in disk_sectors))),
        (EBDA_ADDRESS, _extended_data_area(disk_sectors)),
        (TEXT_ADDRESS, _BLANK * TEXT_CELLS),
        (ROM_ADDRESS, rom()),
    )


def base_memory() -> tuple[tuple[int, bytes], ...]:
    """Give (physical address, bytes) of the two words of the data area that say where base memory ends."""
    area = _data_area(0)
    return tuple((DATA_ADDRESS + at, area[at : at + 2]) for at in (_EBDA_AT, _BASE_MEMORY_AT))


def _vector_table() -> bytes:
    offsets = entries()
    table = bytearray()
    for vector in range(256):
        if vector in _EMPTY_VECTORS:
            table += bytes(4)
        else:
            table += struct.pack("<2H", offsets[_VECTORS.get(vector, "nothing")], ROM_SEGMENT)
    return bytes(table)


def _data_area(disks: int) -> bytes:
    area = bytearray(DATA_BYTES)
    for offset, form, value in (
        (0x00, "<H", 0x3F8),  # first serial port
        (_EBDA_AT, "<H", EBDA_ADDRESS >> 4),
        (0x10, "<H", _EQUIPMENT),
        (_BASE_MEMORY_AT, "<H", EBDA_ADDRESS >> 10),
        (0x1A, "<H", _BUFFER),  # keys: where the next one is taken, and put
        (0x1C, "<H", _BUFFER),
        (0x49, "<B", 3),  # video mode
        (0x4A, "<H", 80),
        (0x4C, "<H", 0x1000),  # bytes of a page of text
        (0x60, "<H", 0x0607),  # cursor: scan lines 6 and 7 of 8
        (0x63, "<H", 0x3D4),
        (0x65, "<B", 0x29),
        (0x66, "<B", 0x30),
        (0x75, "<B", disks),
        (0x80, "<H", _BUFFER),
        (0x82, "<H", _BUFFER_END),
        (0x84, "<B", 24),  # last row
        (0x85, "<H", 16),  # scan lines of a character
        (0x87, "<B", 0x60),
        (0x88, "<B", 0xF9),
        (0x89, "<B", 0x51),
        (0x96, "<B", 0x10),  # the keyboard has 101 keys
    ):
        struct.pack_into(form, area, offset, value)
    return bytes(area)


def _extended_data_area(disk_sectors: Sequence[int]) -> bytes:
    area = bytearray(EBDA_BYTES)
    area[0] = EBDA_BYTES >> 10
    for number, size in enumerate(disk_sectors):
        struct.pack_into("<I", area, _DISK_SECTORS + 4 * number, min(size, MOST_SECTORS))
    return bytes(area)
