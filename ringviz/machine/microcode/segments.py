"""Loading, storing and asking about segment registers: MOV, PUSH, POP, LDS and kin, LAR, LSL, VERR, VERW.

Source: Intel SDM Vol. 2, "MOV—Move" (loading segment registers), "LAR", "LSL", "VERR/VERW"; Vol. 3A, "Privilege Level
Checking When Accessing Data Segments".
"""

from __future__ import annotations

from ringviz.facts.exceptions import Vector, selector_error
from ringviz.facts.registers import Eflags
from ringviz.facts.segments import Descriptor, Selector, load_cache, null_cache
from ringviz.guest.instruction import Instruction
from ringviz.machine.descriptors import find_entry, mark_accessed
from ringviz.machine.linear import LinearMemory
from ringviz.machine.microcode.environment import Effect, Environment, GuestFault
from ringviz.machine.microcode.operands import (
    SEGMENT_INDEX,
    add_to_stack_pointer,
    advance,
    memory_address,
    peek_stack,
    push,
    read_operand,
    user,
    write_operand,
    write_register,
)
from ringviz.machine.paging import Access
from ringviz.machine.state import CS, SS, CpuState, reloaded_in_real_mode

_LAR_SYSTEM_TYPES = frozenset({1, 2, 3, 4, 5, 9, 0xB, 0xC})
_LONG_SYSTEM_TYPES = frozenset({2, 9, 0xB, 0xC})
"""Those of long mode: there are no 16-bit ones, and no task gates."""
_LSL_SYSTEM_TYPES = frozenset({1, 2, 3, 9, 0xB})


def load_segment(state: CpuState, memory: LinearMemory, index: int, selector: int) -> None:
    """Load SS, DS, ES, FS or GS with all checks.

    Raises:
        GuestFault: #GP, #SS or #NP with the selector as error code.
    """
    if not state.is_protected or state.eflags & Eflags.VM:
        state.segments[index] = reloaded_in_real_mode(state.segments[index], selector)
        return
    chosen = Selector(selector)
    if chosen.is_null:
        # 64-bit mode needs no stack segment in rings 0 to 2: interrupts leave a null one there.
        if index == SS and (not state.is_64bit or state.cpl == 3 or chosen.rpl != state.cpl):
            raise GuestFault(Vector.GP, 0)
        state.segments[index] = null_cache(selector)
        return
    error = selector_error(selector)
    entry = find_entry(state, memory, selector)
    if entry is None:
        raise GuestFault(Vector.GP, error)
    descriptor = entry.descriptor
    if index == SS:
        if chosen.rpl != state.cpl or not descriptor.writable or descriptor.dpl != state.cpl:
            raise GuestFault(Vector.GP, error)
        if not descriptor.present:
            raise GuestFault(Vector.SS, error)
    else:
        if not descriptor.readable:
            raise GuestFault(Vector.GP, error)
        if not descriptor.conforming and (chosen.rpl > descriptor.dpl or state.cpl > descriptor.dpl):
            raise GuestFault(Vector.GP, error)
        if not descriptor.present:
            raise GuestFault(Vector.NP, error)
    state.segments[index] = load_cache(selector, mark_accessed(memory, entry))


def mov_to_sreg(env: Environment, instruction: Instruction) -> Effect:
    """MOV to a segment register; CS cannot be loaded this way."""
    index = SEGMENT_INDEX[instruction.ops[0].register or ""]
    if index == CS:
        raise GuestFault(Vector.UD)
    load_segment(env.state, env.memory, index, read_operand(env, instruction, 1, 2))
    advance(env.state, instruction)
    return Effect.DONE


def mov_from_sreg(env: Environment, instruction: Instruction) -> Effect:
    """MOV from a segment register: CS and SS show the current ring in their low bits."""
    operand, selector = instruction.ops[0], read_operand(env, instruction, 1, 2)
    if operand.kind == "reg":
        write_register(env.state, operand.register or "", selector)
    else:
        write_operand(env, instruction, 0, selector, 2)
    advance(env.state, instruction)
    return Effect.DONE


def push_sreg(env: Environment, instruction: Instruction) -> Effect:
    """PUSH of a segment register."""
    selector = env.state.segments[SEGMENT_INDEX[instruction.ops[0].register or ""]].selector
    push(env, selector, instruction.operand_size_bits // 8)
    advance(env.state, instruction)
    return Effect.DONE


def pop_sreg(env: Environment, instruction: Instruction) -> Effect:
    """POP into a segment register: the stack pointer moves only if the load succeeds."""
    size = instruction.operand_size_bits // 8
    selector = peek_stack(env, 0, size) & 0xFFFF
    stack = env.state.segments[SS]
    load_segment(env.state, env.memory, SEGMENT_INDEX[instruction.ops[0].register or ""], selector)
    loaded = env.state.segments[SS]
    env.state.segments[SS] = stack  # the width of the pop is the old stack's
    add_to_stack_pointer(env.state, size)
    env.state.segments[SS] = loaded
    advance(env.state, instruction)
    return Effect.DONE


def load_far_pointer(env: Environment, instruction: Instruction) -> Effect:
    """LDS, LES, LFS, LGS, LSS: a segment register and an offset in one go."""
    index = SEGMENT_INDEX[instruction.mnemonic[-2:]]
    size = instruction.operand_size_bits // 8
    address = memory_address(env, instruction, 1)
    access = Access(is_user=user(env.state))
    offset = env.memory.read_int(address, size, access)
    selector = env.memory.read_int(address + size, 2, access)
    load_segment(env.state, env.memory, index, selector)
    write_register(env.state, instruction.ops[0].register or "", offset)
    advance(env.state, instruction)
    return Effect.DONE


def _visible(env: Environment, instruction: Instruction, source: int) -> tuple[Descriptor, int] | None:
    """Find the descriptor LAR, LSL, VERR and VERW ask about; None if there is none."""
    if not env.state.is_protected or env.state.eflags & Eflags.VM:
        raise GuestFault(Vector.UD)
    selector = read_operand(env, instruction, source, 2)
    if Selector(selector).is_null:
        return None
    entry = find_entry(env.state, env.memory, selector)
    if entry is None:
        return None
    is_known = entry.descriptor.s or not env.state.is_long_active or entry.descriptor.type in _LONG_SYSTEM_TYPES
    return (entry.descriptor, selector & 3) if is_known else None


def _outranks(state: CpuState, descriptor: Descriptor, rpl: int) -> bool:
    """Tell whether neither CPL nor RPL is too far out for the descriptor."""
    return state.cpl <= descriptor.dpl and rpl <= descriptor.dpl


def _finish(env: Environment, instruction: Instruction, *, found: bool) -> Effect:
    env.state.eflags = env.state.eflags & ~Eflags.ZF | (Eflags.ZF if found else 0)
    advance(env.state, instruction)
    return Effect.DONE


def lar(env: Environment, instruction: Instruction) -> Effect:
    """Load the access rights of a segment into a register, if this ring may see it; ZF tells."""
    seen = _visible(env, instruction, 1)
    if seen is not None:
        descriptor, rpl = seen
        known = descriptor.s or descriptor.type in _LAR_SYSTEM_TYPES
        if known and (descriptor.conforming or _outranks(env.state, descriptor, rpl)):
            rights = (descriptor.access & 0xFF) << 8 | (descriptor.access & 0xF00) << 12
            if instruction.operand_size_bits == 16:
                rights &= 0xFF00
            write_operand(env, instruction, 0, rights)
            return _finish(env, instruction, found=True)
    return _finish(env, instruction, found=False)


def lsl(env: Environment, instruction: Instruction) -> Effect:
    """Load the limit of a segment in bytes into a register, if this ring may see it; ZF tells."""
    seen = _visible(env, instruction, 1)
    if seen is not None:
        descriptor, rpl = seen
        known = descriptor.s or descriptor.type in _LSL_SYSTEM_TYPES
        if known and (descriptor.conforming or _outranks(env.state, descriptor, rpl)):
            write_operand(env, instruction, 0, descriptor.limit)
            return _finish(env, instruction, found=True)
    return _finish(env, instruction, found=False)


def verr(env: Environment, instruction: Instruction) -> Effect:
    """Ask whether this ring may read a segment; ZF tells."""
    seen = _visible(env, instruction, 0)
    found = seen is not None and seen[0].readable and (seen[0].conforming or _outranks(env.state, *seen))
    return _finish(env, instruction, found=found)


def verw(env: Environment, instruction: Instruction) -> Effect:
    """Ask whether this ring may write a segment; ZF tells."""
    seen = _visible(env, instruction, 0)
    found = seen is not None and seen[0].writable and _outranks(env.state, *seen)
    return _finish(env, instruction, found=found)
