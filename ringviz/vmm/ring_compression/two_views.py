"""One CPU, two truths: from what the guest believes to what really is, and back.

The guest believes it runs in ring 0; really it runs in ring 1, on the VMM's tables. Believing in real mode, it really
runs in virtual-8086 mode, which is ring 3. Registers that any ring may use are the same in both views.
"""

from __future__ import annotations

from functools import lru_cache

from ringviz.facts.registers import EFLAGS_FIXED, Cr0, Cr4, Efer, Eflags
from ringviz.facts.segments import SegmentCache, Selector, load_cache, null_cache
from ringviz.machine.descriptors import find_entry
from ringviz.machine.linear import LinearMemory
from ringviz.machine.state import CS, SS, CpuState, TableRegister, segment
from ringviz.vmm import virtual_8086
from ringviz.vmm.mmu.shadow import Root
from ringviz.vmm.ring_compression import layout
from ringviz.vmm.ring_compression.descriptor_tables import compress_access, cut_limit

KEPT_VIRTUAL = Eflags.IF | Eflags.IOPL | Eflags.VM
"""Flags that only the VMM may change for real: the guest's own copies are the VMM's to keep."""

_GUEST_CR0 = Cr0.MP | Cr0.EM | Cr0.TS
_GUEST_CR4 = Cr4.TSD | Cr4.DE | Cr4.PCE | Cr4.OSFXSR | Cr4.OSXMMEXCPT
_VMM_CR0 = Cr0.PG | Cr0.WP | Cr0.NE | Cr0.ET | Cr0.PE
_GDTR = TableRegister(layout.GDT_LINEAR, 0xFFFF)
_IDTR = TableRegister(layout.IDT_LINEAR, 0x7FF)
_FLAT = Root(layout.PAGE_DIRECTORY, is_pae=False, no_execute=False)
"""The tables of a guest without paging."""
_TR = segment(layout.TSS_SELECTOR, layout.TSS_LINEAR, 0x67, 0x08B)


def real_ring(virtual_ring: int) -> int:
    """Ring compression: ring 0 is pushed to 1, where a guest's own ring 1 would be too."""
    return 1 if virtual_ring == 0 else virtual_ring


def real_ring_of(virtual: CpuState) -> int:
    """The ring in which the CPU runs a guest; real mode has none, and runs in virtual-8086 mode, which is ring 3."""
    return 3 if virtual_8086.is_8086(virtual) else real_ring(virtual.cpl)


@lru_cache(maxsize=1024)
def compress_segment(cache: SegmentCache, *, carries_ring: bool) -> SegmentCache:
    """What a segment register really holds for a virtual one; CS and SS show the real ring in their selector."""
    if not cache.is_usable:
        return cache
    selector = cache.selector
    if carries_ring:
        selector = Selector(selector).with_rpl(real_ring(selector & 3)).value
    return segment(selector, cache.base, cut_limit(cache), compress_access(cache.access))


def compress(virtual: CpuState, root: Root = _FLAT) -> CpuState:
    """Give the state in which the real CPU must run for the guest to believe in `virtual`.

    Args:
        virtual: the virtual CPU.
        root: the page tables to walk.
    """
    is_8086 = virtual_8086.is_8086(virtual)
    if is_8086:
        segments = virtual_8086.segments_of(virtual)
    else:
        segments = [
            compress_segment(cache, carries_ring=index in (CS, SS)) for index, cache in enumerate(virtual.segments)
        ]
    ldt_limit = virtual.ldtr.limit
    ldtr = SegmentCache(layout.LDT_SELECTOR, layout.LDT_LINEAR, ldt_limit, 0x082)
    return CpuState(
        gpr=virtual.gpr.copy(),
        eip=virtual.eip,
        # Real interrupts stay enabled, or a guest could stop the machine; IOPL 0 keeps CLI and ports away from it.
        eflags=virtual.eflags & ~KEPT_VIRTUAL | Eflags.IF | EFLAGS_FIXED | (Eflags.VM if is_8086 else 0),
        segments=segments,
        ldtr=ldtr if virtual.ldtr.is_usable else null_cache(),
        tr=_TR,
        gdtr=_GDTR,
        idtr=_IDTR,
        cr0=_VMM_CR0 | virtual.cr0 & _GUEST_CR0,
        cr2=0,
        cr3=root.cr3,
        cr4=virtual.cr4 & _GUEST_CR4 | (Cr4.PAE if root.is_pae else 0),
        cpl=real_ring_of(virtual),
        dr=virtual.dr.copy(),
        efer=int(Efer.NXE) if root.no_execute else 0,
        sysenter=[0, 0, 0],
    )


def expand(real: CpuState, last: CpuState, pushed: CpuState, memory: LinearMemory) -> CpuState:
    """Bring the virtual state up to what the guest has done by itself.

    Args:
        real: the CPU now.
        last: the virtual state when the guest was last let go.
        pushed: the real state it was let go in: `compress(last)`.
        memory: guest memory, for the descriptors behind newly loaded selectors.
    """
    virtual = last.copy()
    virtual.gpr = real.gpr.copy()
    virtual.eip = real.eip
    virtual.eflags = real.eflags & ~KEPT_VIRTUAL | last.eflags & KEPT_VIRTUAL
    is_8086 = virtual_8086.is_8086(last)
    virtual.dr[6] = real.dr[6]
    for index, cache in enumerate(real.segments):
        if cache != pushed.segments[index] and is_8086:
            virtual.segments[index] = virtual_8086.reloaded_by_guest(cache, last.segments[index])
        elif cache != pushed.segments[index]:
            virtual.segments[index] = _loaded_by_guest(cache, last, memory, carries_ring=index in (CS, SS))
    return virtual


def _loaded_by_guest(
    cache: SegmentCache, virtual: CpuState, memory: LinearMemory, *, carries_ring: bool
) -> SegmentCache:
    """What the guest believes a register it has loaded itself to hold: its own descriptor, not the shadow."""
    selector = cache.selector
    if not cache.is_usable:
        return null_cache(selector)
    if carries_ring:
        selector = Selector(selector).with_rpl(virtual.cpl).value
    entry = find_entry(virtual, memory, selector)
    if entry is None:
        return SegmentCache(selector, cache.base, cache.limit, cache.access)
    return load_cache(selector, entry.descriptor)
