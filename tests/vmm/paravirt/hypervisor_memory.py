"""Is what belongs to the hypervisor as it must be, whatever a guest has asked for?"""

from __future__ import annotations

from ringviz.facts.hypercalls import FIRST_RESERVED_GDT_ENTRY
from ringviz.facts.segments import decode_descriptor, decode_gate
from ringviz.machine.memory import PAGE, PAGE_SHIFT, Ram
from ringviz.vmm.paravirt import layout
from ringviz.vmm.paravirt.descriptors import is_valid_code_selector
from ringviz.vmm.paravirt.technique import Paravirt
from tests.vmm.paravirt.page_walks import reachable, recounted

_GUEST_GDT = 8 * FIRST_RESERVED_GDT_ENTRY
_LDT_SLOT = layout.LDT_SELECTOR & ~7
_KERNEL_STACK = slice(12, 18)
"""ESP1 and SS1 in the TSS: the guest's to choose."""


def still(technique: Paravirt) -> dict[str, bytes]:
    """Give what must never change while guests run."""
    ram = technique.machine.ram
    own_gdt = bytearray(ram.read(layout.SHADOW_GDT + _GUEST_GDT, 0x1_0000 - _GUEST_GDT))
    own_gdt[_LDT_SLOT - _GUEST_GDT : _LDT_SLOT - _GUEST_GDT + 8] = bytes(8)
    gates = bytearray(ram.read(layout.INTERRUPT_TABLE, PAGE))
    gates[8 * 0x80 : 8 * 0x81] = bytes(8)
    task = bytearray(ram.read(layout.TASK_STATE, PAGE))
    task[_KERNEL_STACK] = bytes(6)
    return {
        "own page tables": ram.read(layout.HOLE_TABLE, PAGE) + ram.read(layout.M2P_TABLE, PAGE),
        "frames not lent": ram.read(layout.M2P, 4 * (layout.GUEST_BASE >> PAGE_SHIFT))
        + ram.read(layout.M2P_FILLER, PAGE),
        "own descriptors": bytes(own_gdt),
        "gates": bytes(gates),
        "task state": bytes(task),
    }


def assert_nothing_leads_inward(technique: Paravirt) -> None:
    """No descriptor, gate, page or register of the guest's gives it anything that is the hypervisor's."""
    ram, state, hypervisor = technique.machine.ram, technique.machine.state, technique.hypervisor
    for where, size in ((layout.SHADOW_GDT, _GUEST_GDT), (layout.SHADOW_LDT, 0x1_0000)):
        _assert_descriptors(ram.read(where, size))
    gate = decode_gate(ram.read_int(layout.INTERRUPT_TABLE + 8 * 0x80, 8))
    if gate.present:
        assert gate.type == 0xF
        assert is_valid_code_selector(gate.selector)
    domain = hypervisor.domain
    writable = reachable(ram, hypervisor.frames, domain, state.cr3)
    for kind, numbers in ((layout.SHADOW_GDT, domain.gdt_pages), (layout.SHADOW_LDT, domain.ldt_pages)):
        for number, page in enumerate(numbers):
            if page is not None:
                assert page not in writable
                assert _guest_page(ram, page) == ram.read(kind + number * PAGE, PAGE), "the guest's table and the CPU's"
    assert domain.use == recounted(ram, hypervisor.frames, domain)
    assert state.cr3 == layout.GUEST_BASE + PAGE * (domain.base_page or 0)
    assert state.cpl in (1, 2, 3)
    assert state.eflags & 0x3200 == 0x200
    assert (state.gdtr, state.idtr, state.tr.selector) == (
        (layout.GDT_LINEAR, 0xFFFF), (layout.IDT_LINEAR, 0x7FF), layout.TSS_SELECTOR,
    )  # fmt: skip
    assert state.cr0 & 0x8001_0001 == 0x8001_0001
    for cache in state.segments:
        assert not cache.is_usable or cache.dpl > 0
        assert not cache.is_usable or cache.expand_down or cache.base + cache.limit < layout.SEGMENT_END
    if state.ldtr.is_usable:
        assert state.ldtr.base == layout.LDT_LINEAR


def _assert_descriptors(table: bytes) -> None:
    for offset in range(0, len(table), 8):
        raw = int.from_bytes(table[offset : offset + 8], "little")
        descriptor = decode_descriptor(raw)
        if not descriptor.present:
            continue
        assert descriptor.dpl > 0, f"{offset:X}: {raw:016X}"
        if not descriptor.s:
            assert is_valid_code_selector(decode_gate(raw).selector), f"{offset:X}: {raw:016X}"
        elif not descriptor.expand_down:
            assert descriptor.base + descriptor.limit < layout.SEGMENT_END, f"{offset:X}: {raw:016X}"


def _guest_page(ram: Ram, page: int) -> bytes:
    return ram.read(layout.GUEST_BASE + page * PAGE, PAGE)
