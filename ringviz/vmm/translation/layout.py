"""Where translated code and the virtual CPU that it works on lie: in the VMM's part of every address space.

Translated code runs in ring 1 in a code segment of the VMM's that begins at 0. It reaches the VMM's data through GS,
which it has for itself: the guest's own GS is among that data. The guest's other segments are cut off below all this.

Source: Adams & Agesen 2006, section 3 (segment truncation; %gs as the escape into VMM data).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ringviz.facts.segments import Descriptor, Gate, SegmentCache, encode_descriptor, encode_gate
from ringviz.machine.state import segment
from ringviz.vmm.ring_compression import layout

CACHE_SIZE = 0x0010_0000
CACHE_PHYSICAL = 0x00E0_0000
CACHE = layout.HOLE + 0x0020_0000

PRIVATE_SIZE = 0x000C_0000
PRIVATE_PHYSICAL = 0x00F0_0000
PRIVATE = layout.HOLE + 0x0030_0000
"""Linear address of the virtual CPU's data, and the base of GS while translated code runs."""

# Offsets in GS.
VIRTUAL_IF = 0x00
"""0 or 200h: the guest's interrupt flag, where EFLAGS would have it."""
VIRTUAL_IOPL = 0x04
"""The guest's IOPL, where EFLAGS would have it."""
VIRTUAL_CR0, VIRTUAL_CR2, VIRTUAL_CR3, VIRTUAL_CR4 = 0x08, 0x0C, 0x10, 0x14
SAVED_EAX, SAVED_ECX = 0x20, 0x24
"""Where a sequence that needs two registers keeps the guest's."""
TARGET = 0x28
"""Where it goes after it has given them back."""
LOOKUP_TABLE = 0x0004_0000
"""65,536 rows of two words, by the low half of a guest EIP: that EIP negated, and the address of its translation."""
LOOKUP_ROWS = 0x1_0000

CODE_SELECTOR = 0xFFB1
DATA_SELECTOR = 0xFFC1
CALLOUT_SELECTOR = 0xFFA1
"""Call gate to the VMM in ring 0: a far call of translated code is a callout."""

OWN_DESCRIPTORS: Mapping[int, int] = MappingProxyType(
    {
        CODE_SELECTOR & ~7: encode_descriptor(Descriptor(0, 0xFFFF_FFFF, 0xCBB)),
        DATA_SELECTOR & ~7: encode_descriptor(Descriptor(PRIVATE, PRIVATE_SIZE - 1, 0x4B3)),
        CALLOUT_SELECTOR & ~7: encode_gate(Gate(layout.HOLE + 0x2000, layout.VMM_CODE_SELECTOR, 0xC, 1, True)),
    }
)
"""What the VMM's table has for these selectors: ring 1 may use them, ring 3 may not."""

CODE_SEGMENT: SegmentCache = segment(CODE_SELECTOR, 0, 0xFFFF_FFFF, 0xCBB)
DATA_SEGMENT: SegmentCache = segment(DATA_SELECTOR, PRIVATE, PRIVATE_SIZE - 1, 0x4B3)
