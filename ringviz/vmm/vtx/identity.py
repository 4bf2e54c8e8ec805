"""Page tables for a guest that believes paging to be off.

VMX operation fixes CR0.PG to 1 unless the CPU has the unrestricted guest. So such a guest really runs with paging on,
on tables of the VMM that map every linear address to itself; the CR0 mask and read shadow hide it.

Without EPT the shadow page tables do it (`ringviz.vmm.mmu`). With EPT these tables lie in the guest's own physical
address space, and map all of it but themselves.

Source: Intel SDM Vol. 3C, "Restrictions on VMX Operation"; of the entries, Vol. 3A, "32-Bit Paging".
"""

from __future__ import annotations

from ringviz.machine.memory import Ram
from ringviz.vmm.vtx import layout

_ENTRY = 0x67
"""Present, writable, user; accessed and dirty already, so that the CPU never writes to the tables."""
_LARGE = 0x80
EPT_DIRECTORY_GPA = 0xFFFB_C000
"""Guest-physical page, beyond all RAM, at which the directory appears under EPT while the guest has paging off."""


def build_ept_directory(ram: Ram) -> None:
    """With EPT: one directory of 4 MiB pages, linear to guest-physical.

    The 4 MiB around the directory lead to the 4 MiB below them, where there is nothing either: so the guest cannot
    look at the directory.
    """
    own = EPT_DIRECTORY_GPA >> 22
    for number in range(1024):
        target = number - 1 if number == own else number
        ram.write_int(layout.IDENTITY_DIRECTORY + 4 * number, target << 22 | _ENTRY | _LARGE, 4)
