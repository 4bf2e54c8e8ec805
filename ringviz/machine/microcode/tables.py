"""LGDT LIDT LLDT LTR, and SGDT SIDT SLDT STR, which tell any ring where they point.

Source: Intel SDM Vol. 2, the instructions' pages.
"""

from __future__ import annotations

from ringviz.facts.exceptions import Vector, selector_error
from ringviz.facts.segments import Descriptor, Selector, load_cache, null_cache
from ringviz.guest.instruction import Instruction
from ringviz.machine.descriptors import TableEntry, find_entry
from ringviz.machine.microcode.environment import Effect, Environment, GuestFault
from ringviz.machine.microcode.operands import (
    advance,
    memory_address,
    read_operand,
    require_ring_0,
    user,
    write_operand,
)
from ringviz.machine.paging import Access
from ringviz.machine.state import CpuState, TableRegister, is_canonical


def _require_protected_mode(state: CpuState) -> None:
    if not state.is_protected:
        raise GuestFault(Vector.UD)


def _read_pseudo_descriptor(env: Environment, instruction: Instruction) -> TableRegister:
    access = Access(is_user=user(env.state))
    address = memory_address(env, instruction)
    limit = env.memory.read_int(address, 2, access)
    if env.state.is_64bit:
        base = env.memory.read_int(address + 2, 8, access)
        if not is_canonical(base):
            raise GuestFault(Vector.GP, 0)
        return TableRegister(base, limit)
    base = env.memory.read_int(address + 2, 4, access)
    return TableRegister(base & 0xFF_FFFF if instruction.operand_size_bits == 16 else base, limit)


def lgdt(env: Environment, instruction: Instruction) -> Effect:
    """Load GDTR."""
    require_ring_0(env.state)
    env.state.gdtr = _read_pseudo_descriptor(env, instruction)
    advance(env.state, instruction)
    return Effect.DONE


def lidt(env: Environment, instruction: Instruction) -> Effect:
    """Load IDTR."""
    require_ring_0(env.state)
    env.state.idtr = _read_pseudo_descriptor(env, instruction)
    advance(env.state, instruction)
    return Effect.DONE


def _store(env: Environment, instruction: Instruction, register: TableRegister) -> Effect:
    address = memory_address(env, instruction)
    size = 8 if env.state.is_64bit else 4
    data = register.limit.to_bytes(2, "little") + (register.base & ((1 << 8 * size) - 1)).to_bytes(size, "little")
    env.memory.write(address, data, is_user=user(env.state))
    advance(env.state, instruction)
    return Effect.DONE


def sgdt(env: Environment, instruction: Instruction) -> Effect:
    """Store GDTR: six bytes, or ten in 64-bit mode, in every ring."""
    return _store(env, instruction, env.state.gdtr)


def sidt(env: Environment, instruction: Instruction) -> Effect:
    """Store IDTR: six bytes, or ten in 64-bit mode, in every ring."""
    return _store(env, instruction, env.state.idtr)


def _store_selector(env: Environment, instruction: Instruction, selector: int) -> Effect:
    _require_protected_mode(env.state)
    write_operand(env, instruction, 0, selector, 2)
    advance(env.state, instruction)
    return Effect.DONE


def sldt(env: Environment, instruction: Instruction) -> Effect:
    """Store the selector in LDTR."""
    return _store_selector(env, instruction, env.state.ldtr.selector)


def str_(env: Environment, instruction: Instruction) -> Effect:
    """Store the selector in TR."""
    return _store_selector(env, instruction, env.state.tr.selector)


def _system_entry(env: Environment, selector: int, types: tuple[int, ...]) -> TableEntry:
    """Find a system descriptor in the GDT for LLDT and LTR."""
    error = selector_error(selector)
    entry = None if Selector(selector).ti else find_entry(env.state, env.memory, selector)
    if entry is None or entry.descriptor.s or entry.descriptor.type not in types:
        raise GuestFault(Vector.GP, error)
    if not entry.descriptor.present:
        raise GuestFault(Vector.NP, error)
    return wide_entry(env, entry, selector) if env.state.is_long_active else entry


def wide_entry(env: Environment, entry: TableEntry, selector: int) -> TableEntry:
    """Read the second half of a system descriptor, as long mode has them: 16 bytes, with a base of 64 bits.

    Source: Intel SDM Vol. 3A, "TSS Descriptor in 64-bit mode".
    """
    if Selector(selector).offset + 15 > env.state.gdtr.limit:
        raise GuestFault(Vector.GP, selector_error(selector))
    upper = env.memory.read_int(entry.linear + 8, 8)
    old = entry.descriptor
    base = old.base | (upper & 0xFFFF_FFFF) << 32
    if upper >> 40 & 0x1F or not is_canonical(base):
        raise GuestFault(Vector.GP, selector_error(selector))
    return TableEntry(Descriptor(base, old.limit, old.access), entry.linear, entry.raw)


def lldt(env: Environment, instruction: Instruction) -> Effect:
    """Load LDTR; a null selector makes every LDT reference fault."""
    state = env.state
    _require_protected_mode(state)
    require_ring_0(state)
    selector = read_operand(env, instruction, 0, 2)
    if Selector(selector).is_null:
        state.ldtr = null_cache(selector)
    else:
        state.ldtr = load_cache(selector, _system_entry(env, selector, (2,)).descriptor)
    advance(state, instruction)
    return Effect.DONE


def ltr(env: Environment, instruction: Instruction) -> Effect:
    """Load TR and mark the TSS busy."""
    state = env.state
    _require_protected_mode(state)
    require_ring_0(state)
    selector = read_operand(env, instruction, 0, 2)
    if Selector(selector).is_null:
        raise GuestFault(Vector.GP, 0)
    entry = _system_entry(env, selector, (9,) if state.is_long_active else (1, 9))
    env.memory.write_int(entry.linear + 5, entry.raw >> 40 & 0xFF | 2, 1)
    cache = load_cache(selector, entry.descriptor)
    state.tr = type(cache)(selector, cache.base, cache.limit, cache.access | 2)
    advance(state, instruction)
    return Effect.DONE
