"""The descriptor tables that the CPU really uses: GDT, LDT, IDT and TSS as bytes in the hypervisor's memory.

Xen lets the CPU use the guest's own frames; here it uses copies, since the machine keeps a guest away from the
hypervisor's pages frame by frame. Nobody can tell: while a frame is a descriptor table the guest cannot write to it,
and every change goes through a hypercall that changes both.
"""

from __future__ import annotations

from ringviz.facts.exceptions import Vector
from ringviz.facts.hypercalls import (
    FIRST_RESERVED_GDT_ENTRY,
    FLAT_RING1_CS,
    FLAT_RING1_DS,
    FLAT_RING3_CS,
    FLAT_RING3_DS,
    VECTOR,
)
from ringviz.facts.segments import Descriptor, Gate, encode_descriptor, encode_gate
from ringviz.machine.memory import PAGE, Ram
from ringviz.vmm.paravirt import layout

SYSTEM_CALL_VECTOR = 0x80
"""The one vector for which a guest may have a gate of its own in the CPU's table."""
_TSS_BYTES = 0x68
_ESP0, _SS0, _ESP1, _SS1, _IO_MAP_BASE = 0x04, 0x08, 0x0C, 0x10, 0x66
_GUEST_GDT_BYTES = 8 * FIRST_RESERVED_GDT_ENTRY
_LDT_BYTES = 0x1_0000
_FLAT = layout.SEGMENT_END - 1
_INTERRUPT_GATE, _TRAP_GATE = 0xE, 0xF
_OPEN_TO_ALL = (Vector.BP, Vector.OF)
"""Vectors that any ring may raise by instruction, as Xen sets them up."""


class CpuTables:
    """What LGDT, LIDT, LLDT and LTR of the hypervisor have loaded."""

    def __init__(self, ram: Ram) -> None:
        self._ram = ram
        write = ram.write_int
        for selector, access in (
            (FLAT_RING1_CS, 0xCBB),
            (FLAT_RING1_DS, 0xCB3),
            (FLAT_RING3_CS, 0xCFB),
            (FLAT_RING3_DS, 0xCF3),
        ):
            self._set_own(selector, Descriptor(0, _FLAT, access))
        self._set_own(layout.VMM_CODE_SELECTOR, Descriptor(0, 0xFFFF_FFFF, 0xC9B))
        self._set_own(layout.VMM_DATA_SELECTOR, Descriptor(0, 0xFFFF_FFFF, 0xC93))
        self._set_own(layout.TSS_SELECTOR, Descriptor(layout.TSS_LINEAR, _TSS_BYTES - 1, 0x08B))
        ram.write(layout.TASK_STATE, bytes(_TSS_BYTES))
        write(layout.TASK_STATE + _ESP0, layout.VMM_STACK_TOP, 4)
        write(layout.TASK_STATE + _SS0, layout.VMM_DATA_SELECTOR, 2)
        # No I/O bitmap: it would start at the limit, so every port access of ring 1 and 3 faults.
        write(layout.TASK_STATE + _IO_MAP_BASE, _TSS_BYTES, 2)
        for vector in range(256):
            # By instruction only breakpoints may be raised, and hypercalls by the kernel's ring.
            dpl = 3 if vector in _OPEN_TO_ALL else 1 if vector == VECTOR else 0
            self._set_gate(vector, Gate(layout.VMM_ENTRY + 16 * vector, layout.VMM_CODE_SELECTOR, 0xE, dpl, True))
        self.close_system_call_gate()

    def _set_own(self, selector: int, descriptor: Descriptor) -> None:
        self._ram.write_int(layout.SHADOW_GDT + (selector & ~7), encode_descriptor(descriptor), 8)

    def _set_gate(self, vector: int, gate: Gate) -> None:
        self._ram.write_int(layout.INTERRUPT_TABLE + 8 * vector, encode_gate(gate), 8)

    # ---- what the guest has asked for --------------------------------------------------------------------------------

    def set_gdt(self, table: bytes) -> None:
        """Put the guest's part of the GDT in place; `table` has been checked."""
        self._ram.write(layout.SHADOW_GDT, table + bytes(_GUEST_GDT_BYTES - len(table)))

    def set_ldt(self, table: bytes, entries: int) -> None:
        """Put the guest's LDT in place; an empty one is none."""
        self._ram.write(layout.SHADOW_LDT, table + bytes(_LDT_BYTES - len(table)))
        limit = max(8 * entries, 1) - 1
        self._set_own(layout.LDT_SELECTOR, Descriptor(layout.LDT_LINEAR, limit, 0x082 if entries else 0))

    def set_gdt_entry(self, page: int, offset: int, raw: int) -> None:
        """Change an entry of the GDT; `page` counts the table's pages."""
        self._ram.write_int(layout.SHADOW_GDT + page * PAGE + offset, raw, 8)

    def set_ldt_entry(self, page: int, offset: int, raw: int) -> None:
        """Change an entry of the LDT."""
        self._ram.write_int(layout.SHADOW_LDT + page * PAGE + offset, raw, 8)

    def set_kernel_stack(self, selector: int, pointer: int) -> None:
        """Say where the CPU finds the stack of ring 1 when a gate of the guest's own leads there."""
        self._ram.write_int(layout.TASK_STATE + _ESP1, pointer, 4)
        self._ram.write_int(layout.TASK_STATE + _SS1, selector, 2)

    def open_system_call_gate(self, selector: int, offset: int, dpl: int) -> None:
        """Let the CPU go straight to the guest's handler of INT 80h.

        A trap gate: the CPU cannot set the guest's event mask, as an interrupt gate would have to.
        """
        self._set_gate(SYSTEM_CALL_VECTOR, Gate(offset, selector, _TRAP_GATE, dpl, True))

    def close_system_call_gate(self) -> None:
        """Have INT 80h come to the hypervisor like all others."""
        self._ram.write_int(layout.INTERRUPT_TABLE + 8 * SYSTEM_CALL_VECTOR, 0, 8)
