"""Guest images: from a file in a scenario folder to bytes at physical addresses.

One function for all formats; each format has a file of its own that knows nothing of the others.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise
from typing import NamedTuple

from ringviz.errors import ImageError
from ringviz.guest import bootsector, firmware, flat, long_start, multiboot
from ringviz.guest.bootsector import SECTOR_BYTES
from ringviz.guest.disks import first_sector
from ringviz.guest.layout import Layout
from ringviz.guest.mp_tables import mp_tables
from ringviz.guest.scenario import GuestSpec, ImageFormat, Scenario, Variant, shown_path


class Segment(NamedTuple):
    """Bytes and the physical address they belong at."""

    address: int
    data: bytes


class StartState(StrEnum):
    """The mode of the CPU at the entry."""

    MULTIBOOT = "multiboot"
    """32-bit protected mode, flat 4 GiB segments, paging off, A20 on, IF = 0, as Multiboot defines it."""
    REAL = "real"
    PROTECTED = "protected"
    """As MULTIBOOT, with all general registers 0."""
    LONG = "long"
    """64-bit mode on the page tables of `long_start`, all general registers 0."""


@dataclass(frozen=True, slots=True)
class Image:
    """A guest, ready to be put into memory."""

    segments: tuple[Segment, ...]
    """What to write, in this order; segments do not overlap and lie in guest memory."""
    zeroed: tuple[tuple[int, int], ...]
    """Ranges (address, bytes) that must read as zero at the start."""
    entry: int
    """Physical address of the first instruction."""
    start: StartState
    registers: tuple[tuple[str, int], ...]
    """General registers that do not start as 0."""
    ports: tuple[tuple[int, int], ...] = ()
    """(port, byte): what firmware has written to devices before the guest begins."""
    interrupts_on: bool = False
    """IF is 1 at the entry."""


def load_image(scenario: Scenario, variant: Variant = Variant.ORIGINAL) -> Image:
    """Read one of the scenario's images and lay it out in guest memory.

    Raises:
        ImageError: truncated, oversized, or not of the format it claims; one line that begins with the file.
    """
    content = read_image_file(scenario, variant)
    try:
        image = parse_image(content, scenario.guest)
    except ImageError as error:
        raise ImageError(f"{shown_path(scenario.files(variant).image)}: {error}") from None
    return _with_firmware(image, scenario) if scenario.guest.format is ImageFormat.BOOTSECTOR else image


def _with_firmware(image: Image, scenario: Scenario) -> Image:
    """Put the boot sector where a PC's firmware has been."""
    sectors = [0 if disk is None else disk.size_bytes // SECTOR_BYTES for disk in scenario.disks]
    before = tuple(Segment(address, data) for address, data in firmware.firmware(sectors))
    return replace(
        image,
        segments=(*before, *image.segments),
        registers=(*image.registers, ("esp", firmware.STACK_TOP)),
        ports=firmware.PORTS,
        interrupts_on=True,
    )


def with_mp_tables(image: Image, form: ImageFormat, signature: int, features: int) -> Image:
    """Let a guest find what firmware says of the processor and its APICs; a flat image has had no firmware.

    Multiboot leaves a kernel what was in memory before, so that it also finds where base memory ends.

    Args:
        image: the guest.
        form: of its file.
        signature: CPUID leaf 1, EAX.
        features: CPUID leaf 1, EDX.
    """
    if form is ImageFormat.FLAT:
        return image
    found = [Segment(address, data) for address, data in mp_tables(signature, features)]
    if form is ImageFormat.MULTIBOOT:
        taken = [(part.address, part.address + len(part.data)) for part in image.segments]
        taken += [(address, address + size) for address, size in image.zeroed]
        found += [
            Segment(address, data)
            for address, data in firmware.base_memory()
            if not any(begin < address + len(data) and address < end for begin, end in taken)
        ]
    return replace(image, segments=(*image.segments, *found))


def read_image_file(scenario: Scenario, variant: Variant = Variant.ORIGINAL) -> bytes:
    """Return the image file's bytes, after a look at its size: a guest larger than its memory is not even read.

    Of a disk image only its boot sector is the guest's to begin with.

    Raises:
        ImageError: it cannot be read, is empty, or larger than the guest's memory.
    """
    path = scenario.files(variant).image
    where = shown_path(path)
    memory_bytes = scenario.guest.memory_bytes
    try:
        if scenario.guest.format is ImageFormat.BOOTSECTOR:
            content = first_sector(path)
        else:
            size = path.stat().st_size
            if size > memory_bytes:
                raise ImageError(
                    f"{where}: {size:,} bytes, expected no more than the guest's memory of {memory_bytes:,}"
                )
            content = path.read_bytes()
    except OSError as error:
        raise ImageError(f"{where}: cannot be read: {error.strerror}") from None
    if not content:
        raise ImageError(f"{where}: empty, expected a guest")
    return content


def parse_image(content: bytes, guest: GuestSpec) -> Image:
    """Lay out the bytes of an image file as the `[guest]` table says.

    Raises:
        ImageError: one line about the first thing that is wrong.
    """
    layout, start = _PARSERS[guest.format](content, guest)
    _check_fits(layout, guest)
    return Image(
        segments=tuple(Segment(address, data) for address, data in layout.segments),
        zeroed=layout.zeroed,
        entry=layout.entry,
        start=start,
        registers=layout.registers,
    )


def _multiboot(content: bytes, guest: GuestSpec) -> tuple[Layout, StartState]:
    return multiboot.lay_out(content, guest.memory_mib), StartState.MULTIBOOT


def _bootsector(content: bytes, guest: GuestSpec) -> tuple[Layout, StartState]:
    return bootsector.lay_out(content), StartState.REAL


def _flat(content: bytes, guest: GuestSpec) -> tuple[Layout, StartState]:
    assert guest.load is not None, "scenario.py has checked this"
    assert guest.entry is not None, "scenario.py has checked this"
    start = StartState(str(guest.start))
    layout = flat.lay_out(content, guest.load, guest.entry, is_real_mode=start is StartState.REAL)
    if start is StartState.LONG:
        layout = replace(layout, segments=(*layout.segments, (long_start.ADDRESS, long_start.page_tables())))
    return layout, start


_PARSERS: dict[ImageFormat, Callable[[bytes, GuestSpec], tuple[Layout, StartState]]] = {
    ImageFormat.MULTIBOOT: _multiboot,
    ImageFormat.BOOTSECTOR: _bootsector,
    ImageFormat.FLAT: _flat,
}


# Video memory, option ROMs and firmware: a PC has no RAM there.
HOLE_START = 0xA0000
HOLE_END = 0x100000


def _check_fits(layout: Layout, guest: GuestSpec) -> None:
    ranges = [(address, address + len(data)) for address, data in layout.segments]
    ranges += [(address, address + size) for address, size in layout.zeroed]
    for begin, end in ranges:
        if end > guest.memory_bytes:
            raise ImageError(
                f"reaches from 0x{begin:X} to 0x{end:X}, expected to end within the guest's memory"
                f" of {guest.memory_mib} MiB (0x{guest.memory_bytes:X})"
            )
        if begin < HOLE_END and end > HOLE_START:
            raise ImageError(
                f"reaches from 0x{begin:X} to 0x{end:X}, where a PC has video memory and firmware,"
                f" expected to stay out of 0x{HOLE_START:X} to 0x{HOLE_END:X}"
            )
    ranges.sort()
    for (begin, end), (next_begin, _) in pairwise(ranges):
        if next_begin < end:
            raise ImageError(f"two parts overlap at 0x{next_begin:X}: one reaches from 0x{begin:X} to 0x{end:X}")
