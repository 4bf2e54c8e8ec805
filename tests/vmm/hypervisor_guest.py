"""The smallest hypervisor there is, for tests: it runs one guest once, and halts where that has exited.

Its VMCB lies ready in the image. So a test chooses what L2 is and what is intercepted, and looks afterwards at what the
VMCB says, or compares the whole run with that of another technique.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from ringviz.facts.registers import Efer
from ringviz.facts.segments import SegmentCache
from ringviz.facts.svm import SAVE_AREA_OFFSET, VMCB_CONTROL, VMCB_SAVE
from ringviz.guest import Scenario
from ringviz.machine.state import CS, CpuState, TableRegister
from ringviz.machine.svm.control_area import intercept_words
from ringviz.machine.vmcb import encode_save_area
from tests.machine.guests import flat_state
from tests.vmm.guests import make_scenario

LOAD = 0x10_0000
L2_CODE, L2_STACK = 0x10_1000, 0x10_7000
VMCB, HOST_SAVE = 0x10_2000, 0x10_3000
GDT, GDT_POINTER = 0x10_4000, 0x10_4100
IO_MAP, MSR_MAP = 0x10_8000, 0x10_B000
IDT, L2_HANDLER = 0x10_5000, 0x10_5800
L1_STACK = 0x10_6000
PAGE_DIRECTORY = 0x10_D000
END = 0x10_E000
ALWAYS = frozenset({"VMRUN", "VMMCALL"})
VMMCALL = bytes.fromhex("0f01d9")
DESCRIPTORS = (0, 0x00CF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF)
_GATES = 64


def wrmsr(number: int, value: int) -> bytes:
    """Code that writes a model-specific register of 32 bits."""
    return b"\xb9" + struct.pack("<I", number) + b"\xb8" + struct.pack("<I", value) + b"\x31\xd2\x0f\x30"


L1_CODE = (
    b"\x0f\x01\x15" + struct.pack("<I", GDT_POINTER)  # lgdt
    + b"\xbc" + struct.pack("<I", L1_STACK)  # mov esp
    + wrmsr(0xC000_0080, Efer.SVME)
    + wrmsr(0xC001_0117, HOST_SAVE)
    + b"\xb8" + struct.pack("<I", VMCB)  # mov eax
    + b"\x0f\x01\xdc"  # stgi
    + b"\x0f\x01\xda"  # vmload
    + b"\x0f\x01\xd8"  # vmrun
    + b"\x0f\x01\xdb"  # vmsave
    + b"\xf4"  # hlt
)  # fmt: skip


def l2_state(code_bytes: int = 0) -> CpuState:
    """L2 in ring 0, in flat segments, with an IDT of gates that all lead to a VMMCALL."""
    state = flat_state(eip=L2_CODE + code_bytes)
    state.segments[CS] = SegmentCache(0x08, 0, 0xFFFF_FFFF, 0xC9B)
    for index in (0, 2, 3, 4, 5):
        state.segments[index] = SegmentCache(0x10, 0, 0xFFFF_FFFF, 0xC93)
    state.gpr[4] = L2_STACK
    state.gdtr = TableRegister(GDT, 8 * len(DESCRIPTORS) - 1)
    state.idtr = TableRegister(IDT, 8 * _GATES - 1)
    return state


def vmcb_of(state: CpuState, intercepts: Iterable[str], fields: dict[str, int] | None = None) -> bytes:
    """Lay out a VMCB: `fields` are of either area, by name."""
    vmcb = bytearray(0x1000)
    save = encode_save_area(state)
    vmcb[SAVE_AREA_OFFSET : SAVE_AREA_OFFSET + len(save)] = save
    vmcb[:20] = intercept_words(intercepts)
    for name, value in {"GUEST_ASID": 1, "IOPM_BASE_PA": IO_MAP, "MSRPM_BASE_PA": MSR_MAP, **(fields or {})}.items():
        row = VMCB_CONTROL.get(name) or VMCB_SAVE[name]
        vmcb[row.offset : row.end] = value.to_bytes(row.size_bytes, "little")
    return bytes(vmcb)


def field(vmcb: bytes, name: str) -> int:
    """Read a field of either area."""
    row = VMCB_CONTROL.get(name) or VMCB_SAVE[name]
    return int.from_bytes(vmcb[row.offset : row.end], "little")


def hypervisor(
    folder: Path,
    l2_code: bytes,
    intercepts: Iterable[str] = (),
    *,
    state: CpuState | None = None,
    fields: dict[str, int] | None = None,
    maps: bytes = b"",
) -> Scenario:
    """Write the guest: L1, and L2 whose code ends in VMMCALL.

    Args:
        folder: where.
        l2_code: of L2.
        intercepts: what L1 intercepts besides VMRUN and VMMCALL.
        state: of L2; None is `l2_state`.
        fields: of the VMCB, by name, in place of the usual.
        maps: what both permission maps are filled with; empty marks nothing.
    """
    image = bytearray(END - LOAD)

    def put(address: int, data: bytes) -> None:
        image[address - LOAD : address - LOAD + len(data)] = data

    put(LOAD, L1_CODE)
    put(L2_CODE, l2_code + VMMCALL)
    put(GDT, b"".join(struct.pack("<Q", descriptor) for descriptor in DESCRIPTORS))
    put(GDT_POINTER, struct.pack("<HI", 8 * len(DESCRIPTORS) - 1, GDT))
    gate = struct.pack("<HHHH", L2_HANDLER & 0xFFFF, 0x08, 0x8E00, L2_HANDLER >> 16)
    put(IDT, gate * _GATES)
    put(L2_HANDLER, VMMCALL)
    put(PAGE_DIRECTORY, struct.pack("<I", 0x83))  # 4 MiB, present, writable
    put(VMCB, vmcb_of(state or l2_state(), ALWAYS | frozenset(intercepts), fields))
    if maps:
        put(IO_MAP, maps * 0x3000)
        put(MSR_MAP, maps * 0x2000)
    scenario = make_scenario(folder, bytes(image), LOAD, entry=LOAD, limit=10_000)
    return replace(scenario, guest=replace(scenario.guest, svm=True))


def paged(state: CpuState) -> CpuState:
    """Give L2 page tables of its own: one page of 4 MiB, and nothing beyond."""
    state.cr0 |= 0x8000_0000
    state.cr4 |= 0x10
    state.cr3 = PAGE_DIRECTORY
    return state
