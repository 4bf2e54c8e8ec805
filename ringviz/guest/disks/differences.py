"""How a differencing disk knows its parent: by unique ID, by time stamp, and by where the file is.

Source: VHD paper, "Identification of the Parent Hard Disk Image", "Modification of Parent Hard Disk Image".
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ringviz.facts.vhd import PLATFORM_CODES, SECTOR_BYTES
from ringviz.guest.disks.records import DynamicHeader, Locator
from ringviz.guest.disks.store import Store
from ringviz.guest.schema import clipped

_RELATIVE = b"W2ru"
_LONGEST_LOCATOR_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Parent:
    """The parent that an image names."""

    name: str
    """File name, as the image has it."""
    unique_id: bytes
    time_stamp: int
    """When it was last written to, in seconds since 2000."""
    paths: tuple[Path, ...]
    """Where it may be, the likeliest first."""


def named_parent(store: Store, header: DynamicHeader, child: Path) -> Parent:
    """Give the parent that a differencing disk names."""
    name = header.parent_name.decode("utf-16-be", "replace").split("\0", 1)[0]
    relative: list[Path] = []
    absolute: list[Path] = []
    for locator in header.locators:
        platform = PLATFORM_CODES.get(locator.platform_code)
        if platform is None:
            continue
        length = min(locator.data_length, _LONGEST_LOCATOR_BYTES)
        text = store.read(locator.data_offset, length).decode(platform.encoding, "replace").split("\0", 1)[0]
        if platform.is_relative:
            relative.append(child.parent / text.replace("\\", "/"))
        elif "://" in text:
            absolute.append(Path(unquote(urlsplit(text).path)))
        else:
            absolute.append(Path(text))
    beside = [child.parent / name] if name and "/" not in name and "\\" not in name else []
    paths = [path for path in (*relative, *absolute, *beside) if path.name.isprintable()]
    return Parent(clipped(name), header.parent_unique_id, header.parent_time_stamp, tuple(dict.fromkeys(paths)))


def locator_for(child: Path, parent: Path, offset: int) -> tuple[Locator, bytes]:
    """Give the entry that says where a parent is, relative to its child, and what is to be written at `offset`."""
    way = os.path.relpath(parent.resolve(), child.resolve().parent).replace(os.sep, "\\")
    text = way if way.startswith("..") else f".\\{way}"
    data = text.encode("utf-16-le", "surrogatepass")
    room = -(-len(data) // SECTOR_BYTES) * SECTOR_BYTES
    # The room in bytes: so Windows counts it, though the paper says sectors.
    return Locator(_RELATIVE, room, len(data), 0, offset), data.ljust(room, b"\0")
