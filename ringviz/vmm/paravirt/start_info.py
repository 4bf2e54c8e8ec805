"""What a domain finds in memory when it starts, beside its kernel: how large it is and which frames it has.

Order behind the kernel, as Xen's domain builder has it: the list of machine frames, the start_info page, the bootstrap
stack. Page tables would come between the last two; those stay with the hypervisor here.
Source: Xen public header, "Start-of-day memory layout" and `struct start_info`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from ringviz.errors import UnsupportedError
from ringviz.facts.hypercalls import StartInfo
from ringviz.guest.image import Image
from ringviz.machine.memory import PAGE
from ringviz.vmm.paravirt import layout
from ringviz.vmm.paravirt.page_tables import PageTables

MAGIC = b"xen-3.0-x86_32"


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """Pages that the domain builder fills, and what it leaves in registers."""

    writes: tuple[tuple[int, bytes], ...]
    """(guest address, bytes)"""
    start_info: int
    """Goes to ESI."""
    stack_top: int
    """Goes to ESP."""


def build_bootstrap(scenario_id: str, image: Image, tables: PageTables) -> Bootstrap:
    """Lay out what follows the kernel.

    Raises:
        UnsupportedError: the guest's memory has no room for it.
    """
    ends = [segment.address + len(segment.data) for segment in image.segments]
    ends += [address + size for address, size in image.zeroed]
    frame_list = (max(ends) + PAGE - 1) // PAGE * PAGE
    start_info = frame_list + (4 * tables.pages + PAGE - 1) // PAGE * PAGE
    stack_top = start_info + 2 * PAGE
    if stack_top > tables.pages * PAGE:
        raise UnsupportedError(
            f"{scenario_id}: paravirt has no room behind the kernel for the list of frames and the start_info page;"
            " the guest needs more memory"
        )
    frames = [tables.frame_of(page) for page in range(tables.pages)]
    page = bytearray(PAGE)
    page[: len(MAGIC)] = MAGIC
    for offset, value in (
        (StartInfo.NR_PAGES, tables.pages),
        (StartInfo.SHARED_INFO, layout.SHARED_INFO),
        (StartInfo.MFN_LIST, frame_list),
    ):
        page[offset : offset + 4] = value.to_bytes(4, "little")
    writes = ((frame_list, struct.pack(f"<{len(frames)}I", *frames)), (start_info, bytes(page)))
    return Bootstrap(writes, start_info, stack_top)
