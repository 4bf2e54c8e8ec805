"""Far control transfers: IRET, far RET, far JMP and CALL, call gates.

Source: Intel SDM Vol. 2, the instructions' pages (pseudo code); Vol. 3A, "Privilege Level Checking When Transferring
Program Control Between Code Segments".
"""

from __future__ import annotations

from dataclasses import replace

from ringviz.facts.exceptions import Vector, selector_error
from ringviz.facts.registers import EFLAGS_FIXED, EFLAGS_RESERVED, Eflags, iopl
from ringviz.facts.segments import Descriptor, Gate, Selector, decode_gate, load_cache, null_cache
from ringviz.guest.instruction import Instruction
from ringviz.machine.descriptors import TableEntry, find_entry, mark_accessed
from ringviz.machine.microcode.environment import Effect, Environment, GuestFault, UnsupportedError
from ringviz.machine.microcode.flags import poppable_flags
from ringviz.machine.microcode.operands import (
    add_to_stack_pointer,
    advance,
    memory_address,
    peek_stack,
    push,
    put_stack_pointer,
    user,
)
from ringviz.machine.paging import Access
from ringviz.machine.state import (
    CS,
    DS,
    ES,
    ESP,
    FS,
    GS,
    SS,
    CpuState,
    code_cache,
    is_canonical,
    real_mode_cache,
    reloaded_in_real_mode,
    segment,
)

_TSS_TYPES = (1, 3, 9, 11)
_LONG_CALL_GATE = 0xC


def _entry_or_fault(env: Environment, selector: int, vector: int = Vector.GP) -> TableEntry:
    entry = find_entry(env.state, env.memory, selector)
    if entry is None:
        raise GuestFault(vector, selector_error(selector))
    return entry


def _load_code(env: Environment, entry: TableEntry, selector: int, ring: int) -> None:
    env.state.segments[CS] = code_cache(
        env.state, Selector(selector).with_rpl(ring).value, mark_accessed(env.memory, entry)
    )


def _check_code_size(state: CpuState, entry: TableEntry, selector: int) -> None:
    """Refuse a code segment that claims to be 64-bit and 32-bit at once, in long mode."""
    if state.is_long_active and entry.descriptor.l and entry.descriptor.db:
        raise GuestFault(Vector.GP, selector_error(selector))


def _check_offset(state: CpuState, code: Descriptor, offset: int) -> None:
    """Refuse to go to a non-canonical address of 64-bit code."""
    if state.is_long_active and code.l and not is_canonical(offset):
        raise GuestFault(Vector.GP, 0)


def _drop_inner_segments(state: CpuState) -> None:
    """On the way out, data segments that the outer ring may not use become null; a null selector becomes 0."""
    for index in (ES, FS, GS, DS):
        cache = state.segments[index]
        if state.is_long_active and index in (FS, GS):  # their bases count without a segment
            if cache.is_usable and not cache.conforming and cache.dpl < state.cpl:
                state.segments[index] = segment(0, cache.base, 0, 0)
        elif not cache.is_usable or (not cache.conforming and cache.dpl < state.cpl):
            state.segments[index] = null_cache()


def _return_target(env: Environment, selector: int) -> tuple[TableEntry, int]:
    """Check the code segment that a far return names; give it and the ring it leads to."""
    state = env.state
    if Selector(selector).is_null:
        raise GuestFault(Vector.GP, 0)
    error = selector_error(selector)
    entry = _entry_or_fault(env, selector)
    code, ring = entry.descriptor, Selector(selector).rpl
    if not code.is_code or ring < state.cpl:
        raise GuestFault(Vector.GP, error)
    if code.dpl > ring if code.conforming else code.dpl != ring:
        raise GuestFault(Vector.GP, error)
    if not code.present:
        raise GuestFault(Vector.NP, error)
    _check_code_size(state, entry, selector)
    return entry, ring


def _return_far(
    env: Environment, size: int, frame_at: int, eip: int, selector: int, released: int, *, takes_stack: bool = False
) -> None:
    """Go to `selector:eip`; to an outer ring, or if the frame has one anyway, take the stack above the frame along."""
    state = env.state
    entry, ring = _return_target(env, selector)
    _check_offset(state, entry.descriptor, eip)
    if ring == state.cpl and not takes_stack:
        add_to_stack_pointer(state, frame_at)
        _load_code(env, entry, selector, ring)
    else:
        new_esp = peek_stack(env, frame_at, size)
        new_ss = peek_stack(env, frame_at + size, size) & 0xFFFF
        stack = _returned_stack(env, new_ss, ring, is_64bit=state.is_long_active and entry.descriptor.l)
        _load_code(env, entry, selector, ring)
        state.segments[SS] = (
            segment(new_ss, 0, 0, ring << 5) if stack is None else load_cache(new_ss, mark_accessed(env.memory, stack))
        )
        put_stack_pointer(state, new_esp + released)
        is_outward, state.cpl = ring > state.cpl, ring
        if is_outward:
            _drop_inner_segments(state)
    state.eip = eip & state.address_mask


def _returned_stack(env: Environment, selector: int, ring: int, *, is_64bit: bool) -> TableEntry | None:
    """Check the stack segment that a return brings; None for the null one, which 64-bit code of rings 0 to 2 may have.

    Args:
        env: the computer.
        selector: from the frame.
        ring: that is returned to.
        is_64bit: the return leads to 64-bit code.
    """
    error = selector_error(selector)
    if Selector(selector).is_null:
        if is_64bit and ring < 3 and Selector(selector).rpl == ring:
            return None
        raise GuestFault(Vector.GP, 0)
    stack = _entry_or_fault(env, selector)
    if Selector(selector).rpl != ring or not stack.descriptor.writable or stack.descriptor.dpl != ring:
        raise GuestFault(Vector.GP, error)
    if not stack.descriptor.present:
        raise GuestFault(Vector.SS, error)
    return stack


def iret(env: Environment, instruction: Instruction) -> Effect:
    """Return from an interrupt: within the ring, to an outer one, or into virtual-8086 mode."""
    state = env.state
    size = instruction.operand_size_bits // 8
    width = 0xFFFF if size == 2 else 0xFFFF_FFFF
    if state.eflags & Eflags.VM and iopl(state.eflags) < 3:
        raise GuestFault(Vector.GP, 0)
    if state.is_protected and state.eflags & Eflags.NT and not state.eflags & Eflags.VM:
        if state.is_long_active:
            raise GuestFault(Vector.GP, 0)
        raise UnsupportedError("IRET with NT set switches tasks; this machine has no hardware task switches")
    eip, selector, flags = (
        peek_stack(env, 0, size),
        peek_stack(env, size, size) & 0xFFFF,
        peek_stack(env, 2 * size, size),
    )
    # RF of the saved flags would hold for one instruction, as a shield from breakpoints; nowhere in this machine does
    # a state show it.
    mask = poppable_flags(state) & width
    if not state.is_protected or state.eflags & Eflags.VM:
        state.segments[CS] = reloaded_in_real_mode(state.segments[CS], selector)
        add_to_stack_pointer(state, 3 * size)
        state.eip = eip
    elif flags & Eflags.VM and size == 4 and state.cpl == 0 and not state.is_long_active:
        _return_to_v86(env, eip, selector, flags)
        return Effect.DONE
    else:
        # 64-bit mode pushes the stack always, and takes it back always.
        _return_far(env, size, 3 * size, eip, selector, 0, takes_stack=state.is_64bit)
    state.eflags = state.eflags & ~mask | flags & mask | EFLAGS_FIXED
    return Effect.DONE


def _return_to_v86(env: Environment, eip: int, cs: int, flags: int) -> None:
    """IRET of ring 0 with VM set in the saved flags."""
    state = env.state
    esp, ss, es, ds, fs, gs = (peek_stack(env, 12 + 4 * i, 4) for i in range(6))
    for index, selector in ((CS, cs), (SS, ss), (ES, es), (DS, ds), (FS, fs), (GS, gs)):
        state.segments[index] = real_mode_cache(selector & 0xFFFF, 0xF3)
    state.gpr[ESP], state.eip, state.cpl = esp, eip & 0xFFFF, 3
    state.eflags = flags & ~(Eflags.RF | EFLAGS_RESERVED) | EFLAGS_FIXED


def ret_far(env: Environment, instruction: Instruction) -> Effect:
    """Far return, with or without releasing parameters."""
    state = env.state
    size = instruction.operand_size_bits // 8
    released = (instruction.ops[0].value or 0) if instruction.ops else 0
    eip, selector = peek_stack(env, 0, size), peek_stack(env, size, size) & 0xFFFF
    if not state.is_protected or state.eflags & Eflags.VM:
        state.segments[CS] = reloaded_in_real_mode(state.segments[CS], selector)
        state.eip = eip
        add_to_stack_pointer(state, 2 * size + released)
        return Effect.DONE
    outward = Selector(selector).rpl > state.cpl
    _return_far(env, size, 2 * size + released, eip, selector, released if outward else 0)
    return Effect.DONE


def _far_target(env: Environment, instruction: Instruction) -> tuple[int, int]:
    """Selector and offset that a far JMP or CALL names."""
    size = instruction.operand_size_bits // 8
    operand = instruction.ops[0]
    if operand.kind == "mem":
        address = memory_address(env, instruction)
        access = Access(is_user=user(env.state))
        return env.memory.read_int(address + size, 2, access), env.memory.read_int(address, size, access)
    raw = instruction.raw  # opcode, offset, selector at the end of the instruction
    return int.from_bytes(raw[-2:], "little"), int.from_bytes(raw[-2 - size : -2], "little")


def jmp_far(env: Environment, instruction: Instruction) -> Effect:
    """Far jump: never changes the ring."""
    state = env.state
    selector, offset = _far_target(env, instruction)
    if not state.is_protected or state.eflags & Eflags.VM:
        state.segments[CS] = reloaded_in_real_mode(state.segments[CS], selector)
        state.eip = offset
        return Effect.DONE
    entry = _transfer_entry(env, selector)
    if entry.descriptor.is_code:
        _check_direct(state, entry, selector)
    else:
        selector, offset = _open_call_gate(env, entry, selector)
        entry = _transfer_entry(env, selector)
        code = entry.descriptor
        _check_gate_target(state, entry, selector)
        if not code.is_code or (code.dpl > state.cpl if code.conforming else code.dpl != state.cpl):
            raise GuestFault(Vector.GP, selector_error(selector))
        if not code.present:
            raise GuestFault(Vector.NP, selector_error(selector))
    _check_offset(state, entry.descriptor, offset)
    _load_code(env, entry, selector, state.cpl)
    state.eip = offset
    return Effect.DONE


def call_far(env: Environment, instruction: Instruction) -> Effect:
    """Far call, directly or through a call gate, which may lead to an inner ring."""
    state = env.state
    size = instruction.operand_size_bits // 8
    selector, offset = _far_target(env, instruction)
    ahead = state.copy()
    advance(ahead, instruction)
    return_cs, return_eip = state.segments[CS].selector, ahead.eip
    if not state.is_protected or state.eflags & Eflags.VM:
        push(env, return_cs, size)
        push(env, return_eip, size)
        state.segments[CS] = reloaded_in_real_mode(state.segments[CS], selector)
        state.eip = offset
        return Effect.DONE
    entry = _transfer_entry(env, selector)
    if entry.descriptor.is_code:
        _check_direct(state, entry, selector)
    else:
        gate = decode_gate(entry.raw)
        selector, offset = _open_call_gate(env, entry, selector)
        size = 8 if state.is_long_active else 4 if gate.is_32bit else 2
        entry = _transfer_entry(env, selector)
        code = entry.descriptor
        _check_gate_target(state, entry, selector)
        if not code.is_code or code.dpl > state.cpl:
            raise GuestFault(Vector.GP, selector_error(selector))
        if not code.present:
            raise GuestFault(Vector.NP, selector_error(selector))
        _check_offset(state, code, offset)
        if not code.conforming and code.dpl < state.cpl and state.is_long_active:
            _call_inner_ring_of_long_mode(env, entry, selector, offset, return_cs, return_eip)
            return Effect.DONE
        if not code.conforming and code.dpl < state.cpl:
            _call_inner_ring(env, entry, selector, offset, gate.param_count, size, return_cs, return_eip)
            return Effect.DONE
    _check_offset(state, entry.descriptor, offset)
    push(env, return_cs, size)
    push(env, return_eip, size)
    _load_code(env, entry, selector, state.cpl)
    state.eip = offset
    return Effect.DONE


def _transfer_entry(env: Environment, selector: int) -> TableEntry:
    if Selector(selector).is_null:
        raise GuestFault(Vector.GP, 0)
    return _entry_or_fault(env, selector)


def _check_direct(state: CpuState, entry: TableEntry, selector: int) -> None:
    """Check a transfer straight to a code segment."""
    code, error = entry.descriptor, selector_error(selector)
    _check_code_size(state, entry, selector)
    if code.conforming:
        allowed = code.dpl <= state.cpl
    else:
        allowed = code.dpl == state.cpl and Selector(selector).rpl <= state.cpl
    if not allowed:
        raise GuestFault(Vector.GP, error)
    if not code.present:
        raise GuestFault(Vector.NP, error)


def _open_call_gate(env: Environment, entry: TableEntry, selector: int) -> tuple[int, int]:
    """Check that the entry is a call gate this ring may use; give the selector and offset behind it."""
    error = selector_error(selector)
    descriptor = entry.descriptor
    gate = decode_gate(entry.raw)
    if descriptor.s:
        raise GuestFault(Vector.GP, error)
    if env.state.is_long_active:
        gate = _long_call_gate(env, entry, selector)
    elif descriptor.type in _TSS_TYPES or gate.is_task_gate:
        raise UnsupportedError("a far transfer to a task; this machine has no hardware task switches")
    if not gate.is_call_gate or gate.dpl < env.state.cpl or gate.dpl < Selector(selector).rpl:
        raise GuestFault(Vector.GP, error)
    if not gate.present:
        raise GuestFault(Vector.NP, error)
    return gate.selector, gate.offset


def _long_call_gate(env: Environment, entry: TableEntry, selector: int) -> Gate:
    """Read a call gate of long mode: 16 bytes, with an offset of 64 bits; there are no other gates and no tasks.

    Source: Intel SDM Vol. 3A, "IA-32e Mode Call Gates".
    """
    gate = decode_gate(entry.raw)
    error = selector_error(selector)
    table_limit = env.state.ldtr.limit if Selector(selector).ti else env.state.gdtr.limit
    if gate.type != _LONG_CALL_GATE or Selector(selector).offset + 15 > table_limit:
        raise GuestFault(Vector.GP, error)
    upper = env.memory.read_int(entry.linear + 8, 8)
    if upper >> 40 & 0x1F:
        raise GuestFault(Vector.GP, error)
    return replace(gate, offset=gate.offset | (upper & 0xFFFF_FFFF) << 32, param_count=0)


def _check_gate_target(state: CpuState, entry: TableEntry, selector: int) -> None:
    """Refuse to go through a gate of long mode to anything but 64-bit code."""
    code = entry.descriptor
    if state.is_long_active and not (code.is_code and code.l and not code.db):
        raise GuestFault(Vector.GP, selector_error(selector))


def _call_inner_ring_of_long_mode(
    env: Environment, entry: TableEntry, selector: int, offset: int, cs: int, eip: int
) -> None:
    """CALL through a gate to an inner ring in long mode: its stack pointer is in the TSS, its stack segment null."""
    state = env.state
    ring = entry.descriptor.dpl
    at = 4 + 8 * ring
    if at + 7 > state.tr.limit:
        raise GuestFault(Vector.TS, selector_error(state.tr.selector))
    pointer = env.memory.read_int(state.tr.base + at, 8)
    if not is_canonical(pointer):
        raise GuestFault(Vector.SS, 0)
    outer_ss, outer_esp = state.segments[SS].selector, state.gpr[ESP]
    _load_code(env, entry, selector, ring)
    state.segments[SS] = segment(ring, 0, 0, ring << 5)
    state.cpl = ring
    state.gpr[ESP] = pointer
    for value in (outer_ss, outer_esp, cs, eip):
        push(env, value, 8)
    state.eip = offset


def _call_inner_ring(
    env: Environment, entry: TableEntry, selector: int, offset: int, params: int, size: int, cs: int, eip: int
) -> None:
    """CALL through a gate to an inner ring: switch to its stack and copy the parameters."""
    state = env.state
    ring = entry.descriptor.dpl
    word, at = (4, 4 + 8 * ring) if state.tr.type & 8 else (2, 2 + 4 * ring)
    if at + 2 * word - 1 > state.tr.limit:
        raise GuestFault(Vector.TS, selector_error(state.tr.selector))
    pointer = env.memory.read_int(state.tr.base + at, word)
    stack_selector = env.memory.read_int(state.tr.base + at + word, 2)
    error = selector_error(stack_selector)
    if Selector(stack_selector).is_null:
        raise GuestFault(Vector.TS, 0)
    stack = _entry_or_fault(env, stack_selector, Vector.TS)
    wanted = stack.descriptor
    if Selector(stack_selector).rpl != ring or wanted.dpl != ring or not wanted.writable:
        raise GuestFault(Vector.TS, error)
    if not wanted.present:
        raise GuestFault(Vector.SS, error)
    copied = [peek_stack(env, size * i, size) for i in range(params)]
    outer_ss, outer_esp = state.segments[SS].selector, state.gpr[ESP]
    _load_code(env, entry, selector, ring)
    state.segments[SS] = load_cache(stack_selector, mark_accessed(env.memory, stack))
    state.cpl = ring
    state.gpr[ESP] = pointer
    for value in (outer_ss, outer_esp, *reversed(copied), cs, eip):
        push(env, value, size)
    state.eip = offset
