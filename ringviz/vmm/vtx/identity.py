"""Page tables for a guest that believes paging to be off.

VMX operation fixes CR0.PG to 1 unless the CPU has the unrestricted guest. So such a guest really runs with paging on,
on tables of the VMM that map every linear address to itself; the CR0 mask and read shadow hide it.

Without EPT the tables map guest RAM to where it really lies, and nothing else. With EPT they lie in the guest's own
physical address space, and map all of it but themselves.

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


class IdentityTables:
    """Without EPT: linear to host-physical in one step, 4 KiB pages, guest RAM only."""

    root = layout.IDENTITY_DIRECTORY
    """Value of the real CR3."""

    def __init__(self, ram: Ram, guest_base: int, guest_bytes: int) -> None:
        self._ram = ram
        for page in range(guest_bytes >> 12):
            if not page & 1023:
                self._add_table(page >> 10)
            ram.write_int(self._leaf(page), guest_base + (page << 12) | _ENTRY, 4)

    def _add_table(self, number: int) -> None:
        self._ram.write_int(self.root + 4 * number, layout.IDENTITY_TABLES + (number << 12) | _ENTRY, 4)

    @staticmethod
    def _leaf(page: int) -> int:
        return layout.IDENTITY_TABLES + 4 * page

    def lend(self, page: int, frame: int) -> None:
        """Show a frame at a linear page beyond the guest's RAM, for a moment."""
        if not self._ram.read_int(self.root + 4 * (page >> 10), 4):
            self._add_table(page >> 10)
        self._ram.write_int(self._leaf(page), frame | _ENTRY, 4)

    def take_back(self, page: int) -> None:
        """Undo `lend`."""
        self._ram.write_int(self._leaf(page), 0, 4)


def build_ept_directory(ram: Ram) -> None:
    """With EPT: one directory of 4 MiB pages, linear to guest-physical.

    The 4 MiB around the directory lead to the 4 MiB below them, where there is nothing either: so the guest cannot
    look at the directory.
    """
    own = EPT_DIRECTORY_GPA >> 22
    for number in range(1024):
        target = number - 1 if number == own else number
        ram.write_int(layout.IDENTITY_DIRECTORY + 4 * number, target << 22 | _ENTRY | _LARGE, 4)
