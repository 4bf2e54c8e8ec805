"""The hypervisor's part of every address space: two page tables of its own, named by the last entries of any directory.

The guest's directories are the CPU's, so the hypervisor writes its entries into each when it validates it. One table
maps what the CPU must reach everywhere; the other shows the guest the machine-to-physical table, read-only: which page
of its own a machine frame is. Xen keeps a linear map of the guest's tables and much else there; here the hypervisor's
code does not run on the CPU, and needs no more.

Source of the entry format: Intel SDM Vol. 3A, "32-Bit Paging"; of the address: Xen public header arch-x86/xen-x86_32.h.
"""

from __future__ import annotations

from ringviz.facts.hypercalls import FIRST_HYPERVISOR_SLOT, MACH2PHYS
from ringviz.machine.memory import PAGE, PAGE_SHIFT, Ram
from ringviz.machine.paging import ACCESSED, DIRTY, RW, P
from ringviz.vmm.paravirt import layout

_ENTRIES = 1024
_USED = ACCESSED | DIRTY
"""Set from the start, so that the CPU never writes to the hypervisor's tables, nor to its part of a directory."""
_NO_FRAME = b"\x55"
"""What Xen fills the table with before it knows better."""


def make_own_tables(ram: Ram) -> None:
    """Fill the hypervisor's own page tables, and the machine-to-physical table with the frames it does not lend."""
    for page in sorted(layout.HOLE_PAGES):
        ram.write_int(layout.HOLE_TABLE + 4 * page, page << PAGE_SHIFT | P | RW | _USED, 4)
    frames = ram.size >> PAGE_SHIFT
    table_pages = (4 * frames + PAGE - 1) >> PAGE_SHIFT
    ram.write(layout.M2P, _NO_FRAME * (table_pages << PAGE_SHIFT))
    ram.write(layout.M2P_FILLER, _NO_FRAME * PAGE)
    shown = (layout.M2P + slot * PAGE if slot < table_pages else layout.M2P_FILLER for slot in range(_ENTRIES))
    ram.write_ints(layout.M2P_TABLE, [address | P | _USED for address in shown], 4)


def own_entries() -> bytes:
    """Give the last entries of every page directory, as the hypervisor wants them."""
    entries = [0] * (_ENTRIES - FIRST_HYPERVISOR_SLOT)
    entries[(MACH2PHYS >> 22) - FIRST_HYPERVISOR_SLOT] = layout.M2P_TABLE | P | _USED
    entries[(layout.HOLE >> 22) - FIRST_HYPERVISOR_SLOT] = layout.HOLE_TABLE | P | RW | _USED
    return b"".join(entry.to_bytes(4, "little") for entry in entries)


def set_machine_to_physical(ram: Ram, frame: int, *pages: int) -> None:
    """Say which page of the guest's a machine frame is; of several, those of the frames behind it."""
    ram.write_ints(layout.M2P + 4 * frame, pages, 4)
