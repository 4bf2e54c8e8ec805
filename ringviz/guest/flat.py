"""Flat images: bytes without a header; `scenario.toml` says where they go and where they begin."""

from ringviz.errors import ImageError
from ringviz.guest.layout import Layout

REAL_MODE_END = 0x100000
"""CS * 16 + IP with IP below 64 KiB: what real mode can surely begin at."""


def lay_out(content: bytes, load: int, entry: int, is_real_mode: bool) -> Layout:
    """Lay out a flat image.

    Raises:
        ImageError: the entry is not in the image, or out of the reach of real mode.
    """
    end = load + len(content)
    if not load <= entry < end:
        raise ImageError(f"guest.entry 0x{entry:X}, expected within the image 0x{load:X} to 0x{end:X}")
    if is_real_mode and entry >= REAL_MODE_END:
        raise ImageError(f"guest.entry 0x{entry:X}, expected below 0x{REAL_MODE_END:X} for a start in real mode")
    return Layout(((load, content),), (), entry)
