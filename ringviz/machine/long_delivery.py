"""Delivering exceptions and interrupts in long mode: gates of 16 bytes, 64-bit handlers, and stacks named in the TSS.

The frame is the same whether the ring changes or not: SS and RSP are always in it. A new stack comes from the TSS, by
the number of the inner ring or of the gate's interrupt stack (IST); the stack segment of an inner ring is null.

Source: Intel SDM Vol. 3A, "Exception and Interrupt Handling in 64-bit Mode"; Vol. 2, "INT n/INTO/INT3/INT1".
"""

from __future__ import annotations

from ringviz.facts.exceptions import Vector, gate_error, selector_error
from ringviz.facts.registers import Eflags
from ringviz.facts.segments import LONG_TSS_IST1, LONG_TSS_RSP0, LongGate, Selector, decode_long_gate
from ringviz.machine.descriptors import mark_accessed
from ringviz.machine.interruption import CLEARED_BY_GATE, DeliveryFault, Interruption, code_entry, saved_flags
from ringviz.machine.linear import LinearMemory, NotCanonical
from ringviz.machine.state import CS, ESP, SS, CpuState, code_cache, is_canonical, segment

_WORD = 8


def enter_handler(state: CpuState, memory: LinearMemory, event: Interruption, saved_rip: int) -> None:
    """Enter the handler of an event, changing `state` and memory.

    Raises:
        DeliveryFault, PageFault: on the way, with the state half changed.
    """
    ext = event.is_external_to_program
    gate = _read_gate(state, memory, event, ext)
    target = code_entry(state, memory, gate.selector, ext)
    code = target.descriptor
    if not code.l or code.db or (not code.conforming and code.dpl > state.cpl):
        raise DeliveryFault(Vector.GP, selector_error(gate.selector, ext=ext))
    ring = state.cpl if code.conforming else code.dpl
    is_inward = ring < state.cpl
    pointer = state.gpr[ESP]
    if gate.ist:
        pointer = _stack_in_tss(state, memory, LONG_TSS_IST1 + _WORD * (gate.ist - 1), ext)
    elif is_inward:
        pointer = _stack_in_tss(state, memory, LONG_TSS_RSP0 + _WORD * ring, ext)
    if not is_canonical(gate.offset):
        raise DeliveryFault(Vector.GP, int(ext))
    frame = [
        state.segments[SS].selector,
        state.gpr[ESP],
        saved_flags(state.eflags, event),
        state.segments[CS].selector,
        saved_rip,
    ]
    if event.error_code is not None:
        frame.append(event.error_code)
    state.gpr[ESP] = _push_all(memory, pointer & ~0xF, frame, ext)
    state.segments[CS] = code_cache(state, Selector(gate.selector).with_rpl(ring).value, mark_accessed(memory, target))
    if is_inward:
        state.segments[SS] = segment(ring, 0, 0, ring << 5)
    state.cpl = ring
    state.eip = gate.offset
    state.eflags &= ~CLEARED_BY_GATE
    if gate.is_interrupt_gate:
        state.eflags &= ~Eflags.IF


def _read_gate(state: CpuState, memory: LinearMemory, event: Interruption, ext: bool) -> LongGate:
    """Read the entry of the interrupt descriptor table and check that it may be used."""
    error = gate_error(event.vector, ext=ext)
    if event.vector * 16 + 15 > state.idtr.limit:
        raise DeliveryFault(Vector.GP, error)
    gate = decode_long_gate(memory.read_int(state.idtr.base + event.vector * 16, 16))
    if not gate.is_interrupt_gate and not gate.is_trap_gate:
        raise DeliveryFault(Vector.GP, error)
    if event.is_software and gate.dpl < state.cpl:
        raise DeliveryFault(Vector.GP, error)
    if not gate.present:
        raise DeliveryFault(Vector.NP, error)
    return gate


def _stack_in_tss(state: CpuState, memory: LinearMemory, offset: int, ext: bool) -> int:
    """Read a stack pointer out of the TSS."""
    if offset + _WORD - 1 > state.tr.limit:
        raise DeliveryFault(Vector.TS, selector_error(state.tr.selector, ext=ext))
    pointer = memory.read_int(state.tr.base + offset, _WORD)
    if not is_canonical(pointer):
        raise DeliveryFault(Vector.SS, int(ext))
    return pointer


def _push_all(memory: LinearMemory, pointer: int, values: list[int], ext: bool) -> int:
    """Push values in order; give the new stack pointer. The pushes are the CPU's own: supervisor accesses."""
    try:
        for value in values:
            pointer -= _WORD
            memory.write_int(pointer, value, _WORD)
    except NotCanonical:
        raise DeliveryFault(Vector.SS, int(ext)) from None
    return pointer
