"""The fast ways into ring 0 and out again: SYSENTER and SYSEXIT, SYSCALL and SYSRET, and SWAPGS.

Intel and AMD agree on SYSCALL in 64-bit mode only. AMD has it in every protected mode, and has no SYSENTER in long
mode; which of the two a CPU is, CPUID says.

Source: Intel SDM Vol. 2 and AMD APM Vol. 3, the instructions' pages; AMD APM Vol. 2, "SYSCALL and SYSRET".
"""

from __future__ import annotations

from ringviz.facts.exceptions import Vector
from ringviz.facts.registers import EFLAGS_FIXED, Efer, Eflags
from ringviz.guest.instruction import Instruction
from ringviz.machine.microcode.environment import Effect, Environment, GuestFault
from ringviz.machine.microcode.operands import advance, require_ring_0
from ringviz.machine.state import (
    ADDRESS_32,
    CS,
    ECX,
    EDX,
    ESP,
    GS,
    R11,
    SS,
    CpuState,
    LongRegisters,
    is_canonical,
    segment,
)

_CODE_32, _CODE_64, _DATA = 0xC9B, 0xA9B, 0xC93
_RETURNED_FLAGS = 0x3C_7FD7
"""The flags that SYSRET takes from R11: all but RF, VM and the reserved ones."""
_AMD_EBX = int.from_bytes(b"Auth", "little")


def sysenter(env: Environment, instruction: Instruction) -> Effect:
    """Enter ring 0 at the address in SYSENTER_EIP, without looking at any table."""
    state = env.state
    cs, esp, eip = state.sysenter
    if state.is_long_active and _is_amd(env):
        raise GuestFault(Vector.UD)
    if not state.is_protected or not cs & 0xFFFC:
        raise GuestFault(Vector.GP, 0)
    state.eflags &= ~(Eflags.VM | Eflags.IF | Eflags.RF)
    _load_ring(state, cs & 0xFFFC, 0, is_64bit=state.is_long_active)
    state.gpr[ESP], state.eip = esp & state.address_mask, eip & state.address_mask
    return Effect.DONE


def sysexit(env: Environment, instruction: Instruction) -> Effect:
    """Return to ring 3: EIP from EDX, ESP from ECX; with REX.W to 64-bit mode."""
    state = env.state
    if state.is_long_active and _is_amd(env):
        raise GuestFault(Vector.UD)
    if not state.is_protected or not state.sysenter[0] & 0xFFFC:
        raise GuestFault(Vector.GP, 0)
    require_ring_0(state)
    is_wide = instruction.operand_size_bits == 64
    eip, esp = state.gpr[EDX], state.gpr[ECX]
    if is_wide and not (is_canonical(eip) and is_canonical(esp)):
        raise GuestFault(Vector.GP, 0)
    _load_ring(state, (state.sysenter[0] + (32 if is_wide else 16)) & 0xFFFC | 3, 3, is_64bit=is_wide)
    state.eip, state.gpr[ESP] = eip & state.address_mask, esp & state.address_mask
    return Effect.DONE


def syscall(env: Environment, instruction: Instruction) -> Effect:
    """Enter ring 0 at the address in LSTAR, with the return address in RCX and the flags in R11."""
    state = env.state
    long = _registers(env)
    selector = long.star >> 32 & 0xFFFC
    advance(state, instruction)
    state.gpr[ECX] = state.eip
    if state.is_long_active:
        target = long.lstar if state.is_64bit else long.cstar
        state.gpr[R11] = state.eflags
        state.eflags = state.eflags & ~(long.sfmask | Eflags.RF) | EFLAGS_FIXED
        _load_ring(state, selector, 0, is_64bit=True)
        state.eip = target
    else:
        state.eflags &= ~(Eflags.VM | Eflags.IF | Eflags.RF)
        _load_ring(state, selector, 0, is_64bit=False)
        state.eip = long.star & ADDRESS_32
    return Effect.DONE


def sysret(env: Environment, instruction: Instruction) -> Effect:
    """Return to ring 3 at the address in RCX, with the flags from R11; with REX.W to 64-bit mode."""
    state = env.state
    long = _registers(env)
    if not state.is_protected:
        raise GuestFault(Vector.GP, 0)
    require_ring_0(state)
    is_wide, is_amd = instruction.operand_size_bits == 64, _is_amd(env)
    if is_wide and not is_amd and not is_canonical(state.gpr[ECX]):
        raise GuestFault(Vector.GP, 0)
    selector, stack = long.star >> 48, state.segments[SS]
    if state.is_long_active:
        state.eflags = state.gpr[R11] & _RETURNED_FLAGS | EFLAGS_FIXED
    else:
        state.eflags |= Eflags.IF
    _load_ring(state, (selector + (16 if is_wide else 0)) & 0xFFFC | 3, 3, is_64bit=is_wide)
    stack_selector = (selector + 8) & 0xFFFC | 3
    if is_amd:  # the hidden part of SS stays as it is, but for the ring
        state.segments[SS] = segment(stack_selector, stack.base, stack.limit, stack.access & ~0x60 | 0x60)
    else:
        state.segments[SS] = segment(stack_selector, 0, ADDRESS_32, _DATA | 0x60)
    state.eip = state.gpr[ECX] & state.address_mask
    return Effect.DONE


def swapgs(env: Environment, instruction: Instruction) -> Effect:
    """Exchange the base of GS with the kernel's."""
    state = env.state
    if not state.is_64bit or state.long is None:
        raise GuestFault(Vector.UD)
    require_ring_0(state)
    old = state.segments[GS]
    state.segments[GS] = segment(old.selector, state.long.kernel_gs_base, old.limit, old.access)
    state.long = state.long._replace(kernel_gs_base=old.base)
    advance(state, instruction)
    return Effect.DONE


def _registers(env: Environment) -> LongRegisters:
    """Give the registers of SYSCALL and SYSRET, or raise #UD where there are no such instructions."""
    state = env.state
    is_there = state.long is not None and state.efer & Efer.SCE and state.is_protected
    if not is_there or (not state.is_64bit and not _is_amd(env)):
        raise GuestFault(Vector.UD)
    assert state.long is not None
    return state.long


def _is_amd(env: Environment) -> bool:
    return env.cpuid(0, 0)[1] == _AMD_EBX


def _load_ring(state: CpuState, cs: int, ring: int, *, is_64bit: bool) -> None:
    """Load the flat CS and SS that these instructions imply; SS follows CS in the table."""
    state.segments[CS] = segment(cs, 0, ADDRESS_32, (_CODE_64 if is_64bit else _CODE_32) | ring << 5)
    state.segments[SS] = segment(cs + 8, 0, ADDRESS_32, _DATA | ring << 5)
    state.cpl = ring
