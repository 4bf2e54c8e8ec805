"""Where the VMM lives: its RAM, and the top of every guest's address space.

Like VMware and Xen on 32-bit x86, the VMM keeps the last megabytes of the linear address space and cuts the guest's
segments off below them (facts: Adams & Agesen 2006, section 3; Barham et al. 2003). The guest cannot reach what lies
there, and does not see that it is there, except by the silent instructions.
"""

from __future__ import annotations

GUEST_BASE = 0x0100_0000
"""RAM below is the VMM's; guest-physical 0 lies here."""

HOLE = 0xFFC0_0000
"""First linear address of the VMM's four megabytes."""
TRUNCATED_LIMIT = HOLE - 1
"""Last byte that a truncated flat segment reaches."""

PAGE_DIRECTORY = 0x0000_1000
HOLE_TABLE = 0x0000_2000
"""Page table that maps the hole."""
TASK_STATE = 0x0000_3000
INTERRUPT_TABLE = 0x0000_4000
OPEN_BUS_PAGE = 0x0000_5000
"""A page of ones, shown to a guest that looks where its machine has nothing."""
HOLE_TABLES_PAE = (0x0000_6000, 0x0000_7000)
"""The same as `HOLE_TABLE` for shadows in PAE format, where a table maps 2 MiB."""
SHADOW_GDT = 0x0001_0000
"""64 KiB: any selector with TI = 0 finds a descriptor here."""
SHADOW_LDT = 0x0002_0000
GUEST_TABLES = 0x0010_0000
"""Page tables for a guest without paging, one for every 4 MiB of its RAM."""
SHADOW_POOL = (0x0050_0000, 0x00C0_0000)
"""Shadow page tables are made here."""

GDT_LINEAR = HOLE + SHADOW_GDT
LDT_LINEAR = HOLE + SHADOW_LDT
IDT_LINEAR = HOLE + INTERRUPT_TABLE
TSS_LINEAR = HOLE + TASK_STATE
HOLE_PAGES = frozenset({TASK_STATE >> 12, INTERRUPT_TABLE >> 12, *range(SHADOW_GDT >> 12, (SHADOW_LDT >> 12) + 16)})
"""Pages of RAM mapped in the hole: the tables that the CPU itself must reach in every address space."""

TABLE_PAGES = frozenset(
    address >> 12
    for first, end in (
        (PAGE_DIRECTORY, HOLE_TABLE + 0x1000),
        (HOLE_TABLES_PAE[0], HOLE_TABLES_PAE[-1] + 0x1000),
        (GUEST_TABLES, SHADOW_POOL[1]),
    )
    for address in range(first, end, 0x1000)
)
"""Pages of RAM for page tables. Accessed and dirty bits are set from the start, so the CPU never writes there."""

TSS_SELECTOR = 0xFFF0
VMM_CODE_SELECTOR = 0xFFE0
LDT_SELECTOR = 0xFFD0
"""The VMM's own descriptors sit at the end of the table, out of the way of the guest's."""
