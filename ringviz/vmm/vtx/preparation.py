"""The parts of the VMCS that are written once: where the bitmaps are, and where a VM exit goes."""

from __future__ import annotations

import struct

from ringviz.facts.registers import EFER_MSR, Cr0, Cr4
from ringviz.machine.memory import Ram
from ringviz.vmm.vtx import layout
from ringviz.vmm.vtx.capabilities import Capabilities
from ringviz.vmm.vtx.policy import Policy

_VPID = 1
_NO_LINK = (1 << 64) - 1
_MSR_HIGH = 0xC000_0000


def mark_everything(ram: Ram, policy: Policy) -> None:
    """Fill the I/O and MSR bitmaps: everything is the VMM's but what the user gave to the guest."""
    ram.write(layout.IO_BITMAP_A, b"\xff" * layout.IO_BITMAP_BYTES)
    ram.write(layout.IO_BITMAP_B, b"\xff" * layout.IO_BITMAP_BYTES)
    ram.write(layout.MSR_BITMAP, b"\xff" * layout.MSR_BITMAP_BYTES)
    for port in policy.ports_of_the_guest():
        bitmap = layout.IO_BITMAP_B if port >> 15 else layout.IO_BITMAP_A
        _clear(ram, bitmap, port & 0x7FFF)
    for number in policy.msrs_of_the_guest():
        for bitmap in (0, 0x800):  # reads, writes
            if number < 0x2000 or number & ~0x1FFF == _MSR_HIGH:
                _clear(ram, layout.MSR_BITMAP + bitmap + (0x400 if number >= _MSR_HIGH else 0), number & 0x1FFF)


def _clear(ram: Ram, bitmap: int, bit: int) -> None:
    address = bitmap + (bit >> 3)
    ram.write_int(address, ram.read_int(address, 1) & ~(1 << (bit & 7)), 1)


def fixed_fields(capabilities: Capabilities, eptp: int | None) -> dict[str, int]:
    """Give the fields that do not depend on the guest."""
    fields = {
        "IO_BITMAP_A": layout.IO_BITMAP_A,
        "IO_BITMAP_B": layout.IO_BITMAP_B,
        "VMCS_LINK_POINTER": _NO_LINK,
        "HOST_CR0": Cr0.PE | Cr0.NE | Cr0.PG | Cr0.ET | Cr0.WP,
        "HOST_CR3": layout.HOST_DIRECTORY,
        "HOST_CR4": Cr4.VMXE | (Cr4.PAE if capabilities.has_long_mode else 0),
        "HOST_CS_SELECTOR": layout.HOST_CODE,
        "HOST_TR_SELECTOR": layout.HOST_TASK,
        "HOST_RIP": layout.HOST_ENTRY,
        "HOST_RSP": layout.HOST_ENTRY,
    }
    fields |= {f"HOST_{name}_SELECTOR": layout.HOST_DATA for name in ("ES", "SS", "DS", "FS", "GS")}
    if capabilities.allows("use-msr-bitmaps", value=True):
        fields["MSR_BITMAP"] = layout.MSR_BITMAP
    if eptp is not None:
        fields["EPT_POINTER"] = eptp
    else:
        fields |= {"VM_ENTRY_MSR_LOAD_ADDR": layout.MSR_LOAD_LIST, "VM_ENTRY_MSR_LOAD_COUNT": 1}
    if capabilities.allows("enable-vpid", value=True):
        fields["VIRTUAL_PROCESSOR_ID"] = _VPID
    return fields


def put_msr_load_list(ram: Ram, efer: int) -> None:
    """Write the list of MSRs that a VM entry loads where its controls do not load EFER.

    Source: Intel SDM Vol. 3C, "VM-Entry Controls for MSRs": index, reserved, value.
    """
    ram.write(layout.MSR_LOAD_LIST, struct.pack("<IIQ", EFER_MSR, 0, efer))
