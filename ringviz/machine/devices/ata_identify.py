"""The page of 256 words by which a drive says what it is.

Source: ATA/ATAPI-6 (T13 1410D), "IDENTIFY DEVICE information"; word 48, by which drivers ask whether the data port
takes 32 bits at once, is of ATA-1.
"""

from collections.abc import Iterator

from ringviz.machine.devices.ata_geometry import Geometry

MODEL = "RINGVIZ HARDDISK"
FIRMWARE = "1.0"

MOST_MULTIPLE_SECTORS = 16
"""The largest block of READ and WRITE MULTIPLE; ringviz's choice, as QEMU has it."""

_MOST_28_BIT = 0x0FFF_FFFF
_IS_FIXED = 0x0040
_HAS_LBA, _HAS_IORDY = 0x0200, 0x0800
_SHALL_BE_01 = 0x4000
"""Bits 15:14 of a word that says something, so that neither zeros nor ones can be taken for it."""
_PIO_MODE_2 = 0x0200
_PIO_MODES_3_AND_4 = 0x0003
_CYCLE_NS = 120
_ATA_4_TO_6 = 0x0070
_POWER, _WRITE_CACHE, _LOOK_AHEAD = 0x0008, 0x0020, 0x0040
_LBA_48, _FLUSH, _FLUSH_EXT = 0x0400, 0x1000, 0x2000
_SIGNATURE = 0xA5


def identify_page(
    sectors: int,
    serial: str,
    default: Geometry,
    current: Geometry,
    *,
    multiple: int,
    has_write_cache: bool,
    has_look_ahead: bool,
) -> bytes:
    """Give the 512 bytes that IDENTIFY DEVICE transfers.

    Args:
        sectors: size of the drive.
        serial: at most 20 characters.
        default: the translation at power-on.
        current: the translation in use.
        multiple: sectors a block for READ and WRITE MULTIPLE; 0 while they are disabled.
        has_write_cache: it is on.
        has_look_ahead: it is on.
    """
    enabled = _POWER | (_WRITE_CACHE if has_write_cache else 0) | (_LOOK_AHEAD if has_look_ahead else 0)
    words = {
        0: _IS_FIXED,
        **dict(zip((1, 3, 6), default, strict=True)),
        **dict(_text(10, serial, 10)),
        **dict(_text(23, FIRMWARE, 4)),
        **dict(_text(27, MODEL, 20)),
        47: 0x8000 | MOST_MULTIPLE_SECTORS,
        48: 1,
        49: _HAS_LBA | _HAS_IORDY,
        50: _SHALL_BE_01,
        51: _PIO_MODE_2,
        53: 0x0003,  # words 54 to 58 and 64 to 70 are valid
        **dict(zip((54, 55, 56), current, strict=True)),
        **dict(_number(57, current.capacity, 2)),
        59: 0x0100 | multiple if multiple else 0,
        **dict(_number(60, min(sectors, _MOST_28_BIT), 2)),
        64: _PIO_MODES_3_AND_4,
        67: _CYCLE_NS,
        68: _CYCLE_NS,
        80: _ATA_4_TO_6,
        82: _POWER | _WRITE_CACHE | _LOOK_AHEAD,
        83: _SHALL_BE_01 | _LBA_48 | _FLUSH | _FLUSH_EXT,
        84: _SHALL_BE_01,
        85: enabled,
        86: _LBA_48 | _FLUSH | _FLUSH_EXT,
        87: _SHALL_BE_01,
        **dict(_number(100, sectors, 4)),
    }
    page = b"".join(words.get(index, 0).to_bytes(2, "little") for index in range(255)) + bytes((_SIGNATURE,))
    return page + bytes((-sum(page) & 0xFF,))


def _number(first: int, value: int, words: int) -> Iterator[tuple[int, int]]:
    """Spread a number over words, the lowest first."""
    return ((first + index, value >> 16 * index & 0xFFFF) for index in range(words))


def _text(first: int, text: str, words: int) -> Iterator[tuple[int, int]]:
    """Spread a text over words, padded with spaces, the earlier character of each two in the high byte."""
    padded = text.ljust(2 * words).encode("ascii")
    return ((first + index, padded[2 * index] << 8 | padded[2 * index + 1]) for index in range(words))
