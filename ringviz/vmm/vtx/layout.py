"""Where the VMM keeps its structures in RAM. The guest's RAM begins behind them."""

from __future__ import annotations

VMXON_REGION = 0x0000_1000
VMCS_REGION = 0x0000_2000
IO_BITMAP_A, IO_BITMAP_B = 0x0000_3000, 0x0000_4000
MSR_BITMAP = 0x0000_5000
OPEN_BUS = 0x0000_6000
"""A page of ones, shown where nothing answers."""
IDENTITY_DIRECTORY = 0x0000_8000
"""Page directory that maps linear addresses to themselves, for a guest that believes paging to be off."""
IDENTITY_TABLES = 0x0010_0000
"""Without EPT: page tables under it, one for every 4 MiB of guest RAM."""
SHADOW_POOL = (0x0050_0000, 0x0100_0000)
"""Without EPT: shadow page tables are made here."""
TABLE_PAGES = frozenset({IDENTITY_DIRECTORY >> 12, *range(IDENTITY_TABLES >> 12, SHADOW_POOL[1] >> 12)})
"""Without EPT: pages of RAM for page tables. Accessed and dirty bits are set from the start, so the CPU never writes
there."""
EPT_TABLES = 0x0050_0000
"""With EPT: its tables."""
GUEST_BASE = 0x0100_0000
"""Host-physical address of guest-physical 0."""

IO_BITMAP_BYTES, MSR_BITMAP_BYTES = 0x1000, 0x1000

MSR_LOAD_LIST = 0x0000_A000
"""What a VM entry loads into MSRs where no control does: EFER."""
HOST_DIRECTORY = 0x0000_9000
"""What CR3 is to hold in VMX root operation. The VMM of this laboratory is not a program on its own CPU: nothing runs
there."""
HOST_CODE, HOST_DATA, HOST_TASK = 0x08, 0x10, 0x18
"""Selectors that a VM exit loads."""
HOST_ENTRY = 0x0008_0000
"""Where a VM exit continues, and the VMM's stack below it."""
