"""Where the VMM keeps its structures in RAM. The guest's RAM begins behind them."""

from __future__ import annotations

VMCB = 0x0000_1000
IO_MAP, IO_MAP_BYTES = 0x0000_2000, 0x3000
MSR_MAP, MSR_MAP_BYTES = 0x0000_6000, 0x2000
OPEN_BUS = 0x0000_8000
"""A page of ones, shown where nothing answers."""
VMCB_02 = 0x0000_A000
"""For the guest of a guest."""
IO_MAP_02, MSR_MAP_02 = 0x0000_B000, 0x0000_E000
NESTED_TABLES = 0x0010_0000
"""With nested paging: its tables."""
FLAT_DIRECTORY = 0x0000_9000
"""Without: page directory that maps linear addresses to themselves, for a guest that has paging off."""
FLAT_TABLES = 0x0010_0000
"""Without: page tables under it, one for every 4 MiB of guest RAM."""
SHADOW_POOL = (0x0050_0000, 0x0100_0000)
"""Without: shadow page tables are made here."""
TABLE_PAGES = frozenset({FLAT_DIRECTORY >> 12, *range(FLAT_TABLES >> 12, SHADOW_POOL[1] >> 12)})
"""Without: pages of RAM for page tables. Accessed and dirty bits are set from the start, so the CPU never writes
there."""
GUEST_BASE = 0x0100_0000
"""Host-physical address of guest-physical 0."""
