"""What a flat image that starts in 64-bit mode finds: page tables that map the first gigabyte to itself.

64-bit mode has no way to run without page tables, so whoever starts a program in it owes it some. These are the
smallest: one table of each of the levels 4, 3 and 2, with pages of 2 MiB, for the kernel alone.
"""

import struct

ADDRESS = 0x9C000
"""Where they lie: three pages below 640 KiB, out of the way of the Multiboot information structure too."""
_PAGE = 0x1000
_PRESENT_WRITABLE = 3
_LARGE = 1 << 7


def page_tables() -> bytes:
    """Give the three tables as they lie in memory; CR3 holds the address of the first."""
    to_next = [struct.pack("<Q", ADDRESS + _PAGE * number | _PRESENT_WRITABLE).ljust(_PAGE, b"\0") for number in (1, 2)]
    return b"".join(to_next) + struct.pack("<512Q", *(index << 21 | _LARGE | _PRESENT_WRITABLE for index in range(512)))
