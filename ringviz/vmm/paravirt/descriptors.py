"""Which descriptors and selectors of a guest the hypervisor lets the CPU see.

A guest never gets a descriptor of ring 0, a segment that reaches the hypervisor, or a gate to what is not its own:
that, and the page tables, is what keeps it in. Source of the rules: Xen 3.0, x86-32 (`check_descriptor`,
`VALID_CODESEL`); the reasons are in the comments.
"""

from __future__ import annotations

from ringviz.facts.hypercalls import FIRST_RESERVED_GDT_ENTRY, FLAT_RING1_CS
from ringviz.facts.segments import Selector, decode_descriptor, decode_gate
from ringviz.vmm.paravirt import layout

_PRESENT = 1 << 47
_ACCESSED = 1 << 40
_S = 1 << 44
_G = 1 << 55
_DPL = 3 << 45
_RESERVED_IN_CALL_GATE = 0xE0 << 32
_LIMIT = 0x000F_0000_0000_FFFF
_CALL_GATE_32 = 0xC


def is_valid_code_selector(selector: int) -> bool:
    """Tell whether a handler may stand behind a selector: in ring 1, and not in the hypervisor's own part.

    A gate ignores the RPL of its selector, so the RPL alone would not do.
    """
    chosen = Selector(selector)
    is_guests = bool(chosen.ti) or chosen.index < FIRST_RESERVED_GDT_ENTRY
    return selector == FLAT_RING1_CS or (is_guests and chosen.rpl == 1)


def checked(raw: int) -> int | None:
    """Check one descriptor for a GDT or LDT of the guest.

    Args:
        raw: the entry's 8 bytes as one little-endian number.

    Returns:
        What the table is to hold: the entry with its limit cut off below the hypervisor and the accessed bit set, so
        that the CPU has no reason to write to the table. None if the entry is refused.
    """
    if not raw & _PRESENT:  # it faults whenever it is used
        return raw
    if not raw & _DPL:  # ring 0 is the hypervisor's
        return None
    if not raw & _S:
        return raw if _is_harmless_gate(raw) else None
    cut = _cut(raw)
    return None if cut is None else cut | _ACCESSED


def _is_harmless_gate(raw: int) -> bool:
    """Of system descriptors only call gates are let through: no tasks, no tables, no interrupt gates."""
    gate = decode_gate(raw)
    return gate.type == _CALL_GATE_32 and is_valid_code_selector(gate.selector) and not raw & _RESERVED_IN_CALL_GATE


def _cut(raw: int) -> int | None:
    """Cut a segment off below the hypervisor; None where that cannot be done."""
    descriptor = decode_descriptor(raw)
    base = descriptor.base
    if base >= layout.SEGMENT_END - 0x1000:
        return None
    limit = raw & 0xFFFF | raw >> 32 & 0xF_0000
    length = (limit + 1) << (12 if raw & _G else 0)
    if descriptor.expand_down:
        # Valid offsets lie above the limit, up to 4 GiB: they may begin where the addresses have wrapped round to 0.
        if (base + length) & 0xFFFF_FFFF <= base:
            return raw
        length = -(base & ~0xFFF) & 0xFFFF_FFFF
    elif base + length <= layout.SEGMENT_END:
        return raw
    else:
        length = layout.SEGMENT_END - base
    if not raw & _G:
        return None
    limit = ((length >> 12) - 1) & 0xF_FFFF
    return raw & ~_LIMIT | limit & 0xFFFF | (limit & 0xF_0000) << 32
