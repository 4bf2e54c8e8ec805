"""Going back to the guest: to where it was, or to a handler of its own with a frame on its stack.

The frame is what the CPU would have pushed, and on purpose: the handler of a ported kernel is the one it had, and may
return with a plain IRET. Two things differ. The saved CS carries the event mask in its upper half, and the saved EFLAGS
shows IF as the mask has it. Source: Xen 3.0, x86-32, `create_bounce_frame`, `restore_all_guest`, `do_iret`.
"""

from __future__ import annotations

from typing import NamedTuple

from ringviz.facts.registers import EFLAGS_FIXED, Eflags
from ringviz.facts.segments import SegmentCache, Selector, load_cache, null_cache
from ringviz.machine.descriptors import TableEntry, find_entry, mark_accessed
from ringviz.machine.linear import LinearMemory, PageFault
from ringviz.machine.microcode import GuestFault
from ringviz.machine.microcode.segments import load_segment
from ringviz.machine.state import CS, DS, ES, ESP, FS, GS, SS, CpuState
from ringviz.vmm.paravirt.domain import Callback, Domain, DomainCrash
from ringviz.vmm.paravirt.guest_access import may_access
from ringviz.vmm.paravirt.shared_page import SharedPage

_CLEARED = Eflags.TF | Eflags.NT | Eflags.RF | Eflags.VM
_KERNEL_RING = 1
DATA_SEGMENTS = (DS, ES, FS, GS)


class BadReturn(Exception):  # noqa: N818 - a fault on the way to the guest, not an error of ours
    """IRET, or loading a segment before it, faulted on the way from ring 0 to the guest."""


class Frame(NamedTuple):
    """Where the guest was, or is to go: what IRET takes off the hypervisor's stack."""

    cs: int
    eip: int
    eflags: int
    ss: int
    esp: int

    @classmethod
    def of(cls, state: CpuState) -> Frame:
        """The place where the CPU is."""
        return cls(state.segments[CS].selector, state.eip, state.eflags, state.segments[SS].selector, state.gpr[ESP])


def bounce(
    state: CpuState,
    memory: LinearMemory,
    domain: Domain,
    shared: SharedPage,
    target: Callback,
    interrupted: Frame,
    *,
    error_code: int | None = None,
    masks_events: bool = False,
    is_failsafe: bool = False,
) -> None:
    """Put a frame on the guest kernel's stack and go to its handler; `state` and memory are changed.

    Raises:
        DomainCrash: there is no handler, or no stack to put the frame on.
        BadReturn: the handler's segments cannot be loaded.
    """
    if not target.offset:
        raise DomainCrash("it has registered no handler for this")
    words: list[int] = []
    if Selector(interrupted.cs).rpl > _KERNEL_RING:
        words += [interrupted.ss, interrupted.esp]
        stack_selector, pointer = domain.kernel_ss, domain.kernel_esp
    else:
        stack_selector, pointer = interrupted.ss, interrupted.esp
    mask = shared.mask
    words.append(interrupted.eflags & ~Eflags.IF | (0 if mask else Eflags.IF))
    words += [interrupted.cs | mask << 16, interrupted.eip]
    if error_code is not None:
        words.append(error_code)
    if is_failsafe:
        words += [state.segments[index].selector for index in (GS, FS, ES, DS)]
    pointer = _push(memory, _stack(state, memory, stack_selector), pointer, words)
    if masks_events:
        shared.is_masked = True
    eflags = interrupted.eflags & ~_CLEARED
    return_to(state, memory, Frame(target.selector, target.offset, eflags, stack_selector, pointer))


def _stack(state: CpuState, memory: LinearMemory, selector: int) -> SegmentCache:
    """Find the segment of the kernel's stack."""
    entry = find_entry(state, memory, selector)
    if (
        Selector(selector).is_null
        or entry is None
        or not entry.descriptor.present
        or not entry.descriptor.writable
        or entry.descriptor.dpl < Selector(selector).rpl
    ):
        raise DomainCrash(f"its kernel stack's selector {selector:04X} leads to no stack")
    return load_cache(selector, entry.descriptor)


def _push(memory: LinearMemory, stack: SegmentCache, pointer: int, words: list[int]) -> int:
    """Push words in order, below the hypervisor and inside the segment; give the new stack pointer."""
    for word in words:
        pointer = (pointer - 4) & 0xFFFF_FFFF
        linear = (stack.base + pointer) & 0xFFFF_FFFF
        if not stack.allows(pointer, 4) or not may_access(linear, 4):
            raise DomainCrash(f"its kernel stack at {pointer:08X} is not its own")
        try:
            memory.write_int(linear, word, 4)
        except PageFault:
            raise DomainCrash(f"its kernel stack at {pointer:08X} cannot be written to") from None
    return pointer


def return_to(state: CpuState, memory: LinearMemory, frame: Frame) -> None:
    """IRET from ring 0 to the guest; `state` is changed only if nothing faults.

    Raises:
        BadReturn: the CPU refuses the selectors.
    """
    cs, eip, eflags, ss, esp = frame
    ring = Selector(cs).rpl
    code = _found(state, memory, cs)
    stack = _found(state, memory, ss)
    wanted, offered = code.descriptor, stack.descriptor
    is_code = wanted.is_code and (wanted.dpl <= ring if wanted.conforming else wanted.dpl == ring)
    is_stack = Selector(ss).rpl == ring and offered.writable and offered.dpl == ring
    if not ring or not is_code or not is_stack or not wanted.present or not offered.present:
        raise BadReturn(f"CS {cs:04X} with SS {ss:04X} cannot be returned to")
    if eip > wanted.limit:
        raise BadReturn(f"{eip:08X} lies beyond the limit of CS {cs:04X}")
    state.segments[CS] = load_cache(cs, mark_accessed(memory, code))
    state.segments[SS] = load_cache(ss, mark_accessed(memory, stack))
    state.cpl, state.eip, state.gpr[ESP] = ring, eip, esp
    # Real interrupts stay on, or a guest could stop the machine; IOPL 0 keeps CLI and ports away from it.
    state.eflags = eflags & ~Eflags.IOPL | Eflags.IF | EFLAGS_FIXED
    for index in DATA_SEGMENTS:
        cache = state.segments[index]
        if cache.is_usable and not cache.conforming and cache.dpl < ring:
            state.segments[index] = null_cache()


def _found(state: CpuState, memory: LinearMemory, selector: int) -> TableEntry:
    entry = None if Selector(selector).is_null else find_entry(state, memory, selector)
    if entry is None:
        raise BadReturn(f"selector {selector:04X} leads nowhere")
    return entry


def reload_data_segments(state: CpuState, memory: LinearMemory) -> None:
    """Load DS, ES, FS and GS anew, as the way back from ring 0 does, after descriptors have changed.

    Raises:
        BadReturn: one of them has become invalid.
    """
    ring, state.cpl = state.cpl, 0
    try:
        for index in DATA_SEGMENTS:
            load_segment(state, memory, index, state.segments[index].selector)
    except GuestFault as fault:
        raise BadReturn(f"a data segment raises vector {fault.vector}") from None
    finally:
        state.cpl = ring


def null_data_segments(state: CpuState) -> None:
    """What Xen does before it calls the guest about a failed return: the handler finds the selectors in its frame."""
    for index in DATA_SEGMENTS:
        state.segments[index] = null_cache()
