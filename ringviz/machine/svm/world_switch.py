"""VMRUN and #VMEXIT as the CPU carries them out: the two halves of a world switch.

The host goes to the page that VM_HSAVE_PA names, the guest comes from a VMCB; at #VMEXIT the guest goes back into its
VMCB and the host comes from its page. What neither half touches (FS, GS, TR, LDTR, SYSENTER's registers) VMLOAD and
VMSAVE do; general registers but RAX and RSP, and CR2 of the host, are the hypervisor's own affair.

Source: AMD APM Vol. 2, "VMRUN Instruction", "#VMEXIT"; Vol. 3, "VMRUN", "VMLOAD", "VMSAVE" (pseudo code).
"""

from __future__ import annotations

import struct

from ringviz.facts.registers import CR0_RESERVED, EFLAGS_FIXED, EFLAGS_RESERVED, Cr0, Eflags
from ringviz.facts.segments import SegmentCache, Selector, load_cache, null_cache
from ringviz.facts.svm import SAVE_AREA_OFFSET, VMCB_CONTROL, VMCB_SAVE
from ringviz.machine.descriptors import find_entry
from ringviz.machine.linear import LinearMemory, PageFault, PhysicalSpace
from ringviz.machine.memory import PAGE
from ringviz.machine.state import CS, DS, EAX, ES, ESP, FS, GS, SS, CpuState, TableRegister, segment
from ringviz.machine.svm.checks import Check, refusal
from ringviz.machine.svm.control_area import field, guest_mode, write_exit
from ringviz.machine.svm.report import SvmReport
from ringviz.machine.vmcb import SAVE_AREA_BYTES

INVALID = SvmReport("VMEXIT_INVALID", "")
_SWITCHED = ((ES, "ES"), (CS, "CS"), (SS, "SS"), (DS, "DS"))
_SEGMENT = struct.Struct("<HHIQ")
_DR6_FIXED, _DR6_SETTABLE = 0xFFFF_0FF0, 0xE00F
_DR7_FIXED, _DR7_RESERVED = 0x400, 0xD800
_DR7_DISABLED = 0x400
_LOW_HALF = 0xFFFF_FFFF


class _Area:
    """A state save area in physical memory."""

    def __init__(self, space: PhysicalSpace, vmcb: int) -> None:
        self._space, self._vmcb = space, vmcb
        self._bytes = bytearray(space.read_physical(vmcb + SAVE_AREA_OFFSET, SAVE_AREA_BYTES))

    def get(self, name: str) -> int:
        row = VMCB_SAVE[name]
        return int.from_bytes(self._bytes[row.offset - SAVE_AREA_OFFSET : row.end - SAVE_AREA_OFFSET], "little")

    def put(self, name: str, value: int) -> None:
        row = VMCB_SAVE[name]
        self._bytes[row.offset - SAVE_AREA_OFFSET : row.end - SAVE_AREA_OFFSET] = value.to_bytes(
            row.size_bytes, "little"
        )

    def get_segment(self, name: str) -> SegmentCache:
        at = VMCB_SAVE[f"{name}.selector"].offset - SAVE_AREA_OFFSET
        selector, access, limit, base = _SEGMENT.unpack_from(self._bytes, at)
        return segment(selector, base & _LOW_HALF, limit, access & 0xFFF)

    def put_segment(self, name: str, cache: SegmentCache) -> None:
        at = VMCB_SAVE[f"{name}.selector"].offset - SAVE_AREA_OFFSET
        _SEGMENT.pack_into(self._bytes, at, cache.selector, cache.access, cache.limit, cache.base)

    def get_table(self, name: str) -> TableRegister:
        return TableRegister(self.get(f"{name}.base") & _LOW_HALF, self.get(f"{name}.limit") & 0xFFFF)

    def put_table(self, name: str, table: TableRegister) -> None:
        self.put(f"{name}.base", table.base)
        self.put(f"{name}.limit", table.limit)

    def store(self) -> None:
        self._space.write_physical(self._vmcb + SAVE_AREA_OFFSET, bytes(self._bytes))


def enter(state: CpuState, space: PhysicalSpace, vmcb: int) -> Check | None:
    """Carry VMRUN out: save the host, take up the guest, or refuse it with #VMEXIT(INVALID).

    The event to inject is left for `injected`, and the CPU to deliver.

    Args:
        state: the CPU, its EIP behind VMRUN; becomes the guest, or stays the host.
        space: physical memory.
        vmcb: address of the VMCB, from RAX.

    Returns:
        The rule that the VMCB breaks; None if the guest is entered.
    """
    assert state.svm is not None
    _save_host(state, space)
    control = space.read_physical(vmcb, SAVE_AREA_OFFSET)
    area = _Area(space, vmcb)
    guest = guest_mode(vmcb, control, host_if=bool(state.eflags & Eflags.IF))
    broken = refusal(control + space.read_physical(vmcb + SAVE_AREA_OFFSET, SAVE_AREA_BYTES))
    if broken is not None:
        # The guest has never been: its state stays in the VMCB as it is.
        write_exit(space, guest, INVALID, interrupt_shadow=bool(field(control, "INTERRUPT_SHADOW") & 1))
        state.svm = state.svm._replace(gif=False)
        state.dr[7] = _DR7_DISABLED
        return broken
    for index, name in _SWITCHED:
        state.segments[index] = area.get_segment(name)
    state.gdtr, state.idtr = area.get_table("GDTR"), area.get_table("IDTR")
    state.efer, state.cr3, state.cr4 = area.get("EFER"), area.get("CR3"), area.get("CR4")
    state.cr0 = area.get("CR0") & ~CR0_RESERVED | Cr0.ET
    state.cr2 = area.get("CR2") & _LOW_HALF
    state.eflags = area.get("RFLAGS") & ~EFLAGS_RESERVED & _LOW_HALF | EFLAGS_FIXED
    state.eip = area.get("RIP") & _LOW_HALF
    state.gpr[ESP], state.gpr[EAX] = area.get("RSP") & _LOW_HALF, area.get("RAX") & _LOW_HALF
    state.dr[6] = area.get("DR6") & _DR6_SETTABLE | _DR6_FIXED
    state.dr[7] = area.get("DR7") & ~_DR7_RESERVED & _LOW_HALF | _DR7_FIXED
    state.cpl = _ring_of(state, area.get("CPL"))
    state.svm = state.svm._replace(gif=True, guest=guest)
    return None


def why_refused(space: PhysicalSpace, state: CpuState) -> str:
    """Say what is wrong with the VMCB that VMRUN is about to take; empty if nothing."""
    broken = refusal(space.read_physical(state.gpr[EAX] & ~(PAGE - 1), PAGE))
    return "" if broken is None else broken.title


def _ring_of(state: CpuState, saved: int) -> int:
    """0 in real mode, 3 in virtual-8086 mode, else as the VMCB has it."""
    if not state.is_protected:
        return 0
    return 3 if state.eflags & Eflags.VM else saved & 3


def injected(space: PhysicalSpace, vmcb: int) -> int:
    """Give EVENTINJ of a VMCB."""
    row = VMCB_CONTROL["EVENTINJ"]
    return int.from_bytes(space.read_physical(vmcb + row.offset, row.size_bytes), "little")


def has_interrupt_shadow(space: PhysicalSpace, vmcb: int) -> bool:
    """Tell whether the guest begins one instruction after STI or a load of SS."""
    return bool(space.read_physical(vmcb + VMCB_CONTROL["INTERRUPT_SHADOW"].offset, 1)[0] & 1)


def _save_host(state: CpuState, space: PhysicalSpace) -> None:
    """Put the host into its page, laid out as a state save area: the manual leaves the layout to the CPU."""
    assert state.svm is not None
    area = _Area(space, state.svm.hsave)
    for index, name in _SWITCHED:
        area.put_segment(name, state.segments[index])
    area.put_table("GDTR", state.gdtr)
    area.put_table("IDTR", state.idtr)
    for name, value in (
        ("EFER", state.efer), ("CR0", state.cr0), ("CR3", state.cr3), ("CR4", state.cr4), ("RFLAGS", state.eflags),
        ("RIP", state.eip), ("RSP", state.gpr[ESP]), ("RAX", state.gpr[EAX]),
    ):  # fmt: skip
        area.put(name, value)
    area.store()


def leave(state: CpuState, space: PhysicalSpace, report: SvmReport, *, interrupt_shadow: bool) -> bool:
    """Carry #VMEXIT out: put the guest into its VMCB, and take up the host.

    Args:
        state: the CPU in guest mode; becomes the host.
        space: physical memory.
        report: why.
        interrupt_shadow: the guest is one instruction after STI or a load of SS.

    Returns:
        False if the host cannot be taken up: the CPU shuts down.
    """
    assert state.svm is not None
    assert state.svm.guest is not None
    guest = state.svm.guest
    area = _Area(space, guest.vmcb)
    for index, name in _SWITCHED:
        area.put_segment(name, state.segments[index])
    area.put_table("GDTR", state.gdtr)
    area.put_table("IDTR", state.idtr)
    for name, value in (
        ("EFER", state.efer), ("CR0", state.cr0), ("CR2", state.cr2), ("CR3", state.cr3), ("CR4", state.cr4),
        ("RFLAGS", state.eflags), ("RIP", state.eip), ("RSP", state.gpr[ESP]), ("RAX", state.gpr[EAX]),
        ("DR6", state.dr[6]), ("DR7", state.dr[7]), ("CPL", state.cpl),
    ):  # fmt: skip
        area.put(name, value)
    area.store()
    write_exit(space, guest, report, interrupt_shadow=interrupt_shadow)
    state.svm = state.svm._replace(gif=False, guest=None)
    return _load_host(state, space)


def _load_host(state: CpuState, space: PhysicalSpace) -> bool:
    """Take up the host: its segments come anew from its descriptor table. False if that cannot be."""
    assert state.svm is not None
    area = _Area(space, state.svm.hsave)
    state.gdtr, state.idtr = area.get_table("GDTR"), area.get_table("IDTR")
    state.efer, state.cr3, state.cr4 = area.get("EFER"), area.get("CR3"), area.get("CR4")
    state.cr0 = area.get("CR0") | Cr0.PE
    state.eflags = area.get("RFLAGS") & ~Eflags.VM
    state.eip = area.get("RIP")
    state.gpr[ESP], state.gpr[EAX] = area.get("RSP"), area.get("RAX")
    state.dr[7] = _DR7_DISABLED
    state.cpl = 0
    memory = LinearMemory(state, space)
    try:
        for index, name in _SWITCHED:
            cache = _host_segment(state, memory, area.get(f"{name}.selector"))
            if cache is None or (index in (CS, SS) and not cache.is_usable):
                return False
            state.segments[index] = cache
    except PageFault:
        return False
    return state.segments[CS].is_code


def _host_segment(state: CpuState, memory: LinearMemory, selector: int) -> SegmentCache | None:
    """Load a segment of the host's; None if its table does not have it."""
    if Selector(selector).is_null:
        return null_cache(selector)
    entry = find_entry(state, memory, selector)
    if entry is None or not entry.descriptor.present:
        return None
    return load_cache(selector, entry.descriptor)


_SYSENTER = ("SYSENTER_CS", "SYSENTER_ESP", "SYSENTER_EIP")


def load_more(state: CpuState, space: PhysicalSpace, vmcb: int) -> None:
    """Carry VMLOAD out: FS, GS, TR and LDTR with their hidden parts, and the registers of SYSENTER."""
    area = _Area(space, vmcb)
    state.segments[FS], state.segments[GS] = area.get_segment("FS"), area.get_segment("GS")
    state.tr = area.get_segment("TR")
    ldtr = area.get_segment("LDTR")
    state.ldtr = null_cache(ldtr.selector) if Selector(ldtr.selector).is_null else ldtr
    state.sysenter = [area.get(name) & _LOW_HALF for name in _SYSENTER]


def save_more(state: CpuState, space: PhysicalSpace, vmcb: int) -> None:
    """Carry VMSAVE out: the other way round."""
    area = _Area(space, vmcb)
    caches = (("FS", state.segments[FS]), ("GS", state.segments[GS]), ("TR", state.tr), ("LDTR", state.ldtr))
    for name, cache in caches:
        area.put_segment(name, cache)
    for name, value in zip(_SYSENTER, state.sysenter, strict=True):
        area.put(name, value)
    area.store()
