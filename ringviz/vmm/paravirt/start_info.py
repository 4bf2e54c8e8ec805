"""What a domain finds in memory when it starts, beside its kernel: how large it is, which frames it has, page tables.

Order behind the kernel, as Xen's domain builder has it: the list of machine frames, the start_info page, the bootstrap
page tables, the bootstrap stack. The tables map the guest's first pages to themselves, in whole blocks of 4 MiB and
with at least 512 KiB to spare; more the guest maps by itself. They are read-only, and everything else is writable.

Xen's builder lets ring 3 in nowhere. Here it may go everywhere but to the hypervisor, as on a machine without paging:
the kernels that are recompiled here run without paging on bare metal, and have no pages to open to their programs.

Source: Xen public header, "Start-of-day memory layout" and `struct start_info`; Xen 3.0 tools, `xc_linux_build`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from ringviz.errors import UnsupportedError
from ringviz.facts.hypercalls import StartInfo
from ringviz.guest.image import Image
from ringviz.machine.memory import PAGE, PAGE_SHIFT
from ringviz.machine.paging import ACCESSED, DIRTY, RW, US, P
from ringviz.vmm.paravirt import layout
from ringviz.vmm.paravirt.frames import Frames

MAGIC = b"xen-3.0-x86_32"
_BLOCK = 0x40_0000
"""What one page table maps."""
_TO_SPARE = 0x8_0000
_ENTRIES = 1024
_OF_PAGES, _OF_TABLES = P | US | ACCESSED, P | RW | US | ACCESSED | DIRTY


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """Pages that the domain builder fills, and what it leaves in registers."""

    writes: tuple[tuple[int, bytes], ...]
    """(guest address, bytes)"""
    start_info: int
    """Goes to ESI."""
    page_tables: int
    """Where the page directory lies, with its tables behind it."""
    stack_top: int
    """Goes to ESP."""


def build_bootstrap(scenario_id: str, image: Image, frames: Frames) -> Bootstrap:
    """Lay out what follows the kernel.

    Raises:
        UnsupportedError: the guest's memory has no room for it.
    """
    ends = [segment.address + len(segment.data) for segment in image.segments]
    ends += [address + size for address, size in image.zeroed]
    frame_list = (max(ends) + PAGE - 1) // PAGE * PAGE
    start_info = frame_list + (4 * frames.pages + PAGE - 1) // PAGE * PAGE
    page_tables = start_info + PAGE
    tables = _tables_needed(page_tables)
    stack_top = page_tables + (1 + tables + 1) * PAGE
    if stack_top > frames.pages * PAGE:
        raise UnsupportedError(
            f"{scenario_id}: paravirt has no room behind the kernel for the list of frames, the start_info page and the"
            " page tables; the guest needs more memory"
        )
    page = bytearray(PAGE)
    page[: len(MAGIC)] = MAGIC
    for offset, value in (
        (StartInfo.NR_PAGES, frames.pages),
        (StartInfo.SHARED_INFO, layout.SHARED_INFO),
        (StartInfo.PT_BASE, page_tables),
        (StartInfo.NR_PT_FRAMES, 1 + tables),
        (StartInfo.MFN_LIST, frame_list),
    ):
        page[offset : offset + 4] = value.to_bytes(4, "little")
    numbers = [frames.frame_of(number) for number in range(frames.pages)]
    writes = (
        (frame_list, struct.pack(f"<{len(numbers)}I", *numbers)),
        (start_info, bytes(page)),
        (page_tables, _first_tables(page_tables >> PAGE_SHIFT, tables, frames)),
    )
    return Bootstrap(writes, start_info, page_tables, stack_top)


def _tables_needed(page_tables: int) -> int:
    """Count the page tables that map everything up to the end of the stack, and themselves."""
    tables = 1
    while page_tables + (1 + tables + 1) * PAGE + _TO_SPARE > tables * _BLOCK:
        tables += 1
    return tables


def _first_tables(directory: int, tables: int, frames: Frames) -> bytes:
    """Make a page directory and the page tables behind it: every page at its own number, as far as there are pages."""
    first, behind = directory + 1, directory + 1 + tables
    entries = [0] * _ENTRIES
    for number in range(tables):
        entries[number] = frames.frame_of(first + number) << PAGE_SHIFT | _OF_TABLES
    mapped = min(tables * _ENTRIES, frames.pages)
    for page in range(mapped):
        right = 0 if directory <= page < behind else RW
        entries.append(frames.frame_of(page) << PAGE_SHIFT | _OF_PAGES | right)
    entries += [0] * (tables * _ENTRIES - mapped)
    return struct.pack(f"<{len(entries)}I", *entries)
