"""Where the VMM keeps its structures in RAM. The guest's RAM begins behind them."""

from __future__ import annotations

VMCB = 0x0000_1000
IO_MAP, IO_MAP_BYTES = 0x0000_2000, 0x3000
MSR_MAP, MSR_MAP_BYTES = 0x0000_6000, 0x2000
OPEN_BUS = 0x0000_8000
"""A page of ones, shown where nothing answers."""
NESTED_TABLES = 0x0010_0000
GUEST_BASE = 0x0100_0000
"""Host-physical address of guest-physical 0."""
