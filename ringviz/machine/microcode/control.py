"""Control and debug registers: MOV CRn, MOV DRn, LMSW, SMSW, CLTS, INVLPG, INVD, WBINVD.

Source: Intel SDM Vol. 2, the instructions' pages; Vol. 3A, "Control Registers".
"""

from __future__ import annotations

from ringviz.facts.exceptions import Vector
from ringviz.facts.registers import CR0_RESERVED, CR4_RESERVED, Cr0, Cr4, Efer
from ringviz.guest.instruction import Instruction
from ringviz.machine.microcode.environment import Effect, Environment, GuestFault
from ringviz.machine.microcode.operands import (
    advance,
    read_operand,
    read_register,
    require_ring_0,
    write_operand,
    write_register,
)
from ringviz.machine.state import ADDRESS_32, CS, CpuState

_TASK_PRIORITY = 0xF
_PHYSICAL_BITS = 40
_TSS16 = (1, 3)
_PAGING_BITS = Cr0.PG | Cr0.WP | Cr0.PE
_TLB_BITS = Cr4.PSE | Cr4.PAE | Cr4.PGE
_DR6_FIXED, _DR6_SETTABLE = 0xFFFF_0FF0, 0xE00F
_DR7_FIXED, _DR7_RESERVED = 0x400, 0xD800
_DR7_GD = 1 << 13


def _number(instruction: Instruction, index: int) -> int:
    name = instruction.ops[index].register
    assert name is not None
    return int(name[2:])


def mov_from_cr(env: Environment, instruction: Instruction) -> Effect:
    """Read CR0, CR2, CR3, CR4, or in 64-bit mode CR8."""
    require_ring_0(env.state)
    state = env.state
    values = {0: state.cr0, 2: state.cr2, 3: state.cr3, 4: state.cr4}
    if state.long is not None:
        values[8] = state.long.cr8
    number = _number(instruction, 1)
    if number not in values:
        raise GuestFault(Vector.UD)
    write_operand(env, instruction, 0, values[number])
    advance(state, instruction)
    return Effect.DONE


def mov_to_cr(env: Environment, instruction: Instruction) -> Effect:
    """Write CR0, CR2, CR3, CR4 or CR8, with the checks that raise #GP(0)."""
    require_ring_0(env.state)
    state = env.state
    value = read_operand(env, instruction, 1)
    match _number(instruction, 0):
        case 0:
            set_cr0(env, value)
        case 2:
            state.cr2 = value
        case 3:
            if value >> _PHYSICAL_BITS and state.is_long_active:
                raise GuestFault(Vector.GP, 0)
            state.cr3 = value
            env.flush_tlb()
        case 4:
            if value & CR4_RESERVED or value > ADDRESS_32:
                raise GuestFault(Vector.GP, 0)
            if state.is_long_active and not value & Cr4.PAE:
                raise GuestFault(Vector.GP, 0)
            changed = state.cr4 ^ value
            state.cr4 = value
            if changed & _TLB_BITS:
                env.flush_tlb()
        case 8 if state.long is not None:
            if value & ~_TASK_PRIORITY:
                raise GuestFault(Vector.GP, 0)
            state.long = state.long._replace(cr8=value)
        case _:
            raise GuestFault(Vector.UD)
    advance(state, instruction)
    return Effect.DONE


def set_cr0(env: Environment, value: int) -> None:
    """Load CR0: reserved bits are ignored, ET stays 1, and impossible combinations raise #GP(0).

    With EFER.LME set, PG switches long mode on and off.

    Source: Intel SDM Vol. 3A, "Initializing IA-32e Mode"; Vol. 2, "MOV—Move to/from Control Registers".
    """
    state = env.state
    if value > ADDRESS_32:
        raise GuestFault(Vector.GP, 0)
    value = value & ~CR0_RESERVED | Cr0.ET
    if value & Cr0.PG and not value & Cr0.PE:
        raise GuestFault(Vector.GP, 0)
    if value & Cr0.NW and not value & Cr0.CD:
        raise GuestFault(Vector.GP, 0)
    changed = state.cr0 ^ value
    if changed & Cr0.PG and state.efer & Efer.LME:
        _switch_long_mode(state, is_on=bool(value & Cr0.PG))
    if changed & Cr0.PE and not value & Cr0.PE:
        state.cpl = 0
    state.cr0 = value
    if changed & _PAGING_BITS:
        env.flush_tlb()


def _switch_long_mode(state: CpuState, *, is_on: bool) -> None:
    """Activate or leave long mode as paging is switched on or off, or refuse with #GP(0)."""
    if state.segments[CS].l or (is_on and (not state.cr4 & Cr4.PAE or state.tr.type in _TSS16)):
        raise GuestFault(Vector.GP, 0)
    state.efer = state.efer | Efer.LMA if is_on else state.efer & ~Efer.LMA


def lmsw(env: Environment, instruction: Instruction) -> Effect:
    """Load the low four bits of CR0; PE can be set this way, never cleared."""
    require_ring_0(env.state)
    value = read_operand(env, instruction, 0, 2)
    old = env.state.cr0
    set_cr0(env, old & ~0xE | value & 0xF | old & Cr0.PE)
    advance(env.state, instruction)
    return Effect.DONE


def smsw(env: Environment, instruction: Instruction) -> Effect:
    """Store the machine status word, the low half of CR0, in every ring."""
    operand = instruction.ops[0]
    if operand.kind == "reg":
        assert operand.register is not None
        if env.state.is_64bit and operand.size_bytes > 2:
            write_register(env.state, operand.register, env.state.cr0)
        else:
            # The manual leaves the upper half of a 32-bit register undefined; the emulated CPU leaves it as it is.
            write_register(env.state, operand.register[-2:], env.state.cr0 & 0xFFFF)
    else:
        write_operand(env, instruction, 0, env.state.cr0, 2)
    advance(env.state, instruction)
    return Effect.DONE


def clts(env: Environment, instruction: Instruction) -> Effect:
    """Clear CR0.TS."""
    require_ring_0(env.state)
    env.state.cr0 &= ~Cr0.TS
    advance(env.state, instruction)
    return Effect.DONE


def _debug_register(state: CpuState, instruction: Instruction, index: int) -> int:
    """Number of the debug register meant, DR4 and DR5 resolved, and the general-detect fault."""
    number = _number(instruction, index)
    if number in (4, 5):
        if state.cr4 & Cr4.DE:
            raise GuestFault(Vector.UD)
        number += 2
    if state.dr[7] & _DR7_GD:
        state.dr[6] |= 1 << 13
        state.dr[7] &= ~_DR7_GD
        raise GuestFault(Vector.DB)
    return number


def mov_from_dr(env: Environment, instruction: Instruction) -> Effect:
    """Read a debug register."""
    require_ring_0(env.state)
    write_operand(env, instruction, 0, env.state.dr[_debug_register(env.state, instruction, 1)])
    advance(env.state, instruction)
    return Effect.DONE


def mov_to_dr(env: Environment, instruction: Instruction) -> Effect:
    """Write a debug register; fixed bits of DR6 and DR7 stay."""
    state = env.state
    require_ring_0(state)
    number = _debug_register(state, instruction, 0)
    source = instruction.ops[1].register
    assert source is not None
    value = read_register(state, source)
    if number in (6, 7) and value > ADDRESS_32:
        raise GuestFault(Vector.GP, 0)
    if number == 6:
        value = value & _DR6_SETTABLE | _DR6_FIXED
    elif number == 7:
        value = value & ~_DR7_RESERVED | _DR7_FIXED
    state.dr[number] = value
    advance(state, instruction)
    return Effect.DONE


def invlpg(env: Environment, instruction: Instruction) -> Effect:
    """Forget the translation of one page; this machine forgets all, which no program can tell."""
    require_ring_0(env.state)
    env.flush_tlb()
    advance(env.state, instruction)
    return Effect.DONE


def flush_caches(env: Environment, instruction: Instruction) -> Effect:
    """INVD and WBINVD: memory caches are not modelled, so nothing is to be flushed."""
    require_ring_0(env.state)
    advance(env.state, instruction)
    return Effect.DONE
