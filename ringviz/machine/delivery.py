"""Delivering exceptions and interrupts through the interrupt descriptor table, as the CPU does it.

Real mode and protected mode, 16- and 32-bit interrupt and trap gates, within a ring and into an inner one, and out of
virtual-8086 mode; long mode is in `long_delivery`. The emulator's own delivery is never used: it gets 16-bit gates
across rings wrong. A VMM that reflects an event into its guest uses the same function on the virtual CPU.

Source: Intel SDM Vol. 3A, "Exception- or Interrupt-Handler Procedures", "Protection of Exception- and
Interrupt-Handler Procedures", "Error Code"; Vol. 2, "INT n/INTO/INT3/INT1" (pseudo code).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ringviz.facts.exceptions import Vector, combines, gate_error, selector_error
from ringviz.facts.registers import Eflags
from ringviz.facts.segments import Gate, SegmentCache, Selector, decode_gate, load_cache, null_cache
from ringviz.machine.descriptors import find_entry, mark_accessed
from ringviz.machine.interruption import CLEARED_BY_GATE, DeliveryFault, Interruption, code_entry, saved_flags
from ringviz.machine.linear import LinearMemory, NotCanonical, PageFault
from ringviz.machine.long_delivery import enter_handler
from ringviz.machine.state import CS, DS, ES, ESP, FS, GS, SS, CpuState

_LONGEST_CHAIN = 8

__all__ = ["Delivered", "DeliveryFault", "Interruption", "Shutdown", "TaskGateError", "deliver"]


class TaskGateError(Exception):
    """The gate is a task gate, which this machine does not follow."""

    def __init__(self, vector: int) -> None:
        super().__init__(f"vector {vector} leads through a task gate")
        self.vector = vector


@dataclass(frozen=True, slots=True)
class Delivered:
    """The event that reached a handler in the end, and what it passed on the way."""

    vector: int
    error_code: int | None
    from_cpl: int
    to_cpl: int
    chain: tuple[int, ...]
    """Vectors tried, first to last; more than one where delivery itself faulted."""


@dataclass(frozen=True, slots=True)
class Shutdown:
    """Triple fault: the CPU gives up."""

    chain: tuple[int, ...]


Met = Callable[[Interruption, Interruption], None]
"""(what was being delivered, what was raised on the way): told before the two are combined."""


def deliver(state: CpuState, memory: LinearMemory, event: Interruption, met: Met | None = None) -> Delivered | Shutdown:
    """Deliver an event, with all that may follow from it, by changing `state` and memory.

    Args:
        state: the CPU.
        memory: linear memory as it sees it.
        event: what to deliver.
        met: told of every exception raised on the way; nothing of the delivery has happened by then but to CR2.

    Raises:
        TaskGateError: an entry used is a task gate.
    """
    chain: list[int] = []
    from_cpl = state.cpl
    for _ in range(_LONGEST_CHAIN):
        chain.append(event.vector)
        delivering = event
        attempt = state.copy()
        if event.vector == Vector.PF and event.linear is not None:
            attempt.cr2 = event.linear
        try:
            _enter_handler(attempt, memory, event)
        except DeliveryFault as second:
            _adopt_cr2(state, attempt)
            event = Interruption(second.vector, second.error_code, second.linear)
        except PageFault as second:
            _adopt_cr2(state, attempt)
            event = Interruption(Vector.PF, second.error_code, second.linear)
        except NotCanonical:  # a table that reaches beyond the last canonical address
            event = Interruption(Vector.GP, int(event.is_external_to_program))
        else:
            _assign(state, attempt)
            return Delivered(event.vector, event.error_code, from_cpl, state.cpl, tuple(chain))
        if met is not None:
            met(delivering, event)
        is_benign = delivering.is_software or delivering.is_external
        match "serial" if is_benign else combines(delivering.vector, event.vector):
            case "double-fault":
                if event.linear is not None:
                    state.cr2 = event.linear
                event = Interruption(Vector.DF, 0)
            case "shutdown":
                return Shutdown((*chain, event.vector))
            case "serial":
                pass
    return Shutdown(tuple(chain))


def _adopt_cr2(state: CpuState, attempt: CpuState) -> None:
    """Keep CR2 of an attempt that failed: the CPU loads it before it looks at the gate."""
    state.cr2 = attempt.cr2


def _assign(state: CpuState, other: CpuState) -> None:
    """Make `state` equal to `other`, keeping the object that others hold."""
    for name in CpuState.__slots__:
        setattr(state, name, getattr(other, name))


def _enter_handler(state: CpuState, memory: LinearMemory, event: Interruption) -> None:
    """One attempt, without the double-fault rules."""
    saved_eip = state.eip if event.next_eip is None else event.next_eip
    if not state.is_protected:
        _enter_real_mode(state, memory, event.vector, saved_eip)
        return
    if state.is_long_active:
        enter_handler(state, memory, event, saved_eip)
        return
    ext = event.is_external_to_program
    gate = _read_gate(state, memory, event, ext)
    target = code_entry(state, memory, gate.selector, ext)
    code = target.descriptor
    is_v86 = bool(state.eflags & Eflags.VM)
    frame = [saved_flags(state.eflags, event), state.segments[CS].selector, saved_eip]
    if event.error_code is not None:
        frame.append(event.error_code)
    width = 4 if gate.is_32bit else 2
    if not code.conforming and code.dpl < state.cpl:
        if is_v86 and code.dpl != 0:
            raise DeliveryFault(Vector.GP, selector_error(gate.selector, ext=ext))
        stack, stack_pointer = _inner_stack(state, memory, code.dpl, ext)
        outer = [state.segments[SS].selector, state.gpr[ESP]]
        if is_v86:
            outer = [state.segments[index].selector for index in (GS, FS, DS, ES)] + outer
        _check_room(stack, stack_pointer, len(outer) + len(frame), width, selector_error(stack.selector, ext=ext))
        _check_target(gate, code.limit, ext)
        state.segments[CS] = load_cache(Selector(gate.selector).with_rpl(code.dpl).value, mark_accessed(memory, target))
        state.segments[SS] = stack
        state.cpl = code.dpl
        state.gpr[ESP] = _push_all(memory, stack, stack_pointer, outer + frame, width)
        if is_v86:
            for index in (GS, FS, DS, ES):
                state.segments[index] = null_cache()
    elif is_v86 or (not code.conforming and code.dpl != state.cpl):
        raise DeliveryFault(Vector.GP, selector_error(gate.selector, ext=ext))
    else:
        stack = state.segments[SS]
        _check_room(stack, state.gpr[ESP], len(frame), width, int(ext))
        _check_target(gate, code.limit, ext)
        state.gpr[ESP] = _push_all(memory, stack, state.gpr[ESP], frame, width)
        state.segments[CS] = load_cache(
            Selector(gate.selector).with_rpl(state.cpl).value, mark_accessed(memory, target)
        )
    state.eip = gate.offset
    state.eflags &= ~CLEARED_BY_GATE
    if gate.is_interrupt_gate:
        state.eflags &= ~Eflags.IF


def _read_gate(state: CpuState, memory: LinearMemory, event: Interruption, ext: bool) -> Gate:
    """Read the entry of the interrupt descriptor table and check that it may be used."""
    error = gate_error(event.vector, ext=ext)
    if event.vector * 8 + 7 > state.idtr.limit:
        raise DeliveryFault(Vector.GP, error)
    gate = decode_gate(memory.read_int(state.idtr.base + event.vector * 8, 8))
    if gate.kind is None or gate.is_call_gate:
        raise DeliveryFault(Vector.GP, error)
    if event.is_software and gate.dpl < state.cpl:
        raise DeliveryFault(Vector.GP, error)
    if not gate.present:
        raise DeliveryFault(Vector.NP, error)
    if gate.is_task_gate:
        raise TaskGateError(event.vector)
    return gate


def _inner_stack(state: CpuState, memory: LinearMemory, ring: int, ext: bool) -> tuple[SegmentCache, int]:
    """Read the stack of an inner ring out of the TSS, and load its segment."""
    tss_error = selector_error(state.tr.selector, ext=ext)
    if state.tr.type & 8:  # 32-bit TSS
        offset, size = 4 + 8 * ring, 4
    else:
        offset, size = 2 + 4 * ring, 2
    if offset + 2 * size - 1 > state.tr.limit:
        raise DeliveryFault(Vector.TS, tss_error)
    pointer = memory.read_int(state.tr.base + offset, size)
    selector = memory.read_int(state.tr.base + offset + size, 2)
    if Selector(selector).is_null:
        raise DeliveryFault(Vector.TS, int(ext))
    error = selector_error(selector, ext=ext)
    entry = find_entry(state, memory, selector)
    if entry is None or Selector(selector).rpl != ring:
        raise DeliveryFault(Vector.TS, error)
    descriptor = entry.descriptor
    if descriptor.dpl != ring or not descriptor.writable:
        raise DeliveryFault(Vector.TS, error)
    if not descriptor.present:
        raise DeliveryFault(Vector.SS, error)
    return load_cache(selector, mark_accessed(memory, entry)), pointer


def _check_room(stack: SegmentCache, pointer: int, words: int, width: int, error: int) -> None:
    """Make sure each word of a frame fits below the stack pointer; a 16-bit stack wraps round between two of them."""
    mask = 0xFFFF_FFFF if stack.db else 0xFFFF
    if not all(stack.allows((pointer - number * width) & mask, width) for number in range(1, words + 1)):
        raise DeliveryFault(Vector.SS, error)


def _check_target(gate: Gate, limit: int, ext: bool) -> None:
    """Make sure the handler starts inside its segment."""
    if gate.offset > limit:
        raise DeliveryFault(Vector.GP, int(ext))


def _push_all(memory: LinearMemory, stack: SegmentCache, pointer: int, values: list[int], width: int) -> int:
    """Push values in order; give the new stack pointer. The pushes are the CPU's own: supervisor accesses."""
    mask = 0xFFFF_FFFF if stack.db else 0xFFFF
    low = pointer
    for value in values:
        low = (low - width) & mask
        memory.write_int(stack.base + low, value, width)
    return low if mask == 0xFFFF_FFFF else pointer & 0xFFFF_0000 | low


def _enter_real_mode(state: CpuState, memory: LinearMemory, vector: int, saved_eip: int) -> None:
    """Go through the interrupt vector table of real mode. Error codes are not pushed there."""
    if vector * 4 + 3 > state.idtr.limit:
        raise DeliveryFault(Vector.GP, None)
    entry = memory.read_int(state.idtr.base + vector * 4, 4)
    stack = state.segments[SS]
    code = state.segments[CS]
    state.gpr[ESP] = _push_all(memory, stack, state.gpr[ESP], [state.eflags, code.selector, saved_eip], 2)
    state.eip = entry & 0xFFFF
    selector = entry >> 16
    state.segments[CS] = SegmentCache(selector, selector << 4, code.limit, code.access)
    state.eflags &= ~(Eflags.IF | Eflags.TF | Eflags.RF | Eflags.AC)
