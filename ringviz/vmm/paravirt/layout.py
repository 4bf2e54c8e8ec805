"""Where the hypervisor keeps what it needs, in its own RAM and at the top of every guest's address space.

The top 64 MiB are the hypervisor's, as under Xen. Their last four hold what the CPU itself must reach in every address
space, at the same places as under ring compression; their first four show the guest the machine-to-physical table.
"""

from __future__ import annotations

from ringviz.facts.hypercalls import MACH2PHYS_END
from ringviz.vmm.ring_compression.layout import (
    GDT_LINEAR,
    GUEST_BASE,
    HOLE,
    HOLE_TABLE,
    IDT_LINEAR,
    INTERRUPT_TABLE,
    LDT_LINEAR,
    LDT_SELECTOR,
    SHADOW_GDT,
    SHADOW_LDT,
    TASK_STATE,
    TSS_LINEAR,
    TSS_SELECTOR,
    VMM_CODE_SELECTOR,
)
from ringviz.vmm.ring_compression.layout import HOLE_PAGES as _HOLE_PAGES

__all__ = [
    "GDT_LINEAR",
    "GUEST_BASE",
    "HOLE",
    "HOLE_PAGES",
    "HOLE_TABLE",
    "IDT_LINEAR",
    "INTERRUPT_TABLE",
    "LDT_LINEAR",
    "LDT_SELECTOR",
    "M2P",
    "M2P_FILLER",
    "M2P_TABLE",
    "SEGMENT_END",
    "SHADOW_GDT",
    "SHADOW_LDT",
    "SHARED_INFO",
    "TASK_STATE",
    "TSS_LINEAR",
    "TSS_SELECTOR",
    "VMM_CODE_SELECTOR",
    "VMM_DATA_SELECTOR",
    "VMM_ENTRY",
    "VMM_STACK",
    "VMM_STACK_TOP",
]

SEGMENT_END = MACH2PHYS_END
"""First linear address that no segment of a guest reaches."""
M2P_TABLE = 0x0000_1000
"""Page table that maps the machine-to-physical table."""
M2P = 0x0010_0000
"""The machine-to-physical table: one word for each frame of RAM."""
M2P_FILLER = 0x0000_8000
"""A page shown where that table would describe frames that the machine does not have."""
SHARED_INFO = 0x0000_6000
"""The page that guest and hypervisor share; it appears in the guest where the guest asks for it."""
VMM_STACK = 0x0000_7000
"""The stack that the CPU takes when a gate leads to ring 0."""
VMM_STACK_TOP = HOLE + VMM_STACK + 0x1000
VMM_ENTRY = HOLE + 0x1000
"""Linear address that the gates of the interrupt table lead to, 16 bytes a vector; no code of ours runs on the CPU."""
VMM_DATA_SELECTOR = 0xFFC0
HOLE_PAGES = _HOLE_PAGES | {VMM_STACK >> 12}
"""Pages of RAM mapped in the hole: what the CPU itself must reach in every address space."""
