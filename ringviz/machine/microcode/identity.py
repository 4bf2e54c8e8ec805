"""CPUID, RDTSC, RDPMC, RDMSR, WRMSR, HLT, and the system-call pair SYSENTER and SYSEXIT.

Source: Intel SDM Vol. 2, the instructions' pages.
"""

from __future__ import annotations

from ringviz.facts.exceptions import Vector
from ringviz.facts.registers import Cr4, Eflags
from ringviz.facts.segments import SegmentCache
from ringviz.guest.instruction import Instruction
from ringviz.machine.microcode.environment import Effect, Environment, GuestFault
from ringviz.machine.microcode.operands import advance, require_ring_0
from ringviz.machine.state import CS, EAX, EBX, ECX, EDX, ESP, SS, CpuState


def cpuid(env: Environment, instruction: Instruction) -> Effect:
    """Identify the CPU, in every ring."""
    gpr = env.state.gpr
    gpr[EAX], gpr[EBX], gpr[ECX], gpr[EDX] = env.cpuid(gpr[EAX], gpr[ECX])
    advance(env.state, instruction)
    return Effect.DONE


def rdtsc(env: Environment, instruction: Instruction) -> Effect:
    """Read the time-stamp counter; CR4.TSD keeps it for ring 0."""
    state = env.state
    if state.cr4 & Cr4.TSD and state.cpl:
        raise GuestFault(Vector.GP, 0)
    value = env.time_stamp()
    state.gpr[EAX], state.gpr[EDX] = value & 0xFFFF_FFFF, value >> 32 & 0xFFFF_FFFF
    advance(state, instruction)
    return Effect.DONE


def rdpmc(env: Environment, instruction: Instruction) -> Effect:
    """Read a performance counter: this machine has none, so every number is out of range."""
    raise GuestFault(Vector.GP, 0)


def rdmsr(env: Environment, instruction: Instruction) -> Effect:
    """Read the model-specific register named by ECX."""
    require_ring_0(env.state)
    value = env.read_msr(env.state.gpr[ECX])
    if value is None:
        raise GuestFault(Vector.GP, 0)
    env.state.gpr[EAX], env.state.gpr[EDX] = value & 0xFFFF_FFFF, value >> 32
    advance(env.state, instruction)
    return Effect.DONE


def wrmsr(env: Environment, instruction: Instruction) -> Effect:
    """Write the model-specific register named by ECX."""
    state = env.state
    require_ring_0(state)
    if not env.write_msr(state.gpr[ECX], state.gpr[EDX] << 32 | state.gpr[EAX]):
        raise GuestFault(Vector.GP, 0)
    advance(state, instruction)
    return Effect.DONE


def hlt(env: Environment, instruction: Instruction) -> Effect:
    """Wait for an interrupt."""
    require_ring_0(env.state)
    advance(env.state, instruction)
    return Effect.HALTED


def undefined(env: Environment, instruction: Instruction) -> Effect:
    """Instructions that this machine's CPUs do not have."""
    raise GuestFault(Vector.UD)


def _flat(selector: int, access: int) -> SegmentCache:
    return SegmentCache(selector, 0, 0xFFFF_FFFF, access)


def sysenter(env: Environment, instruction: Instruction) -> Effect:
    """Enter ring 0 at the address in SYSENTER_EIP, without looking at any table."""
    state = env.state
    cs, esp, eip = state.sysenter
    if not state.is_protected or not cs & 0xFFFC:
        raise GuestFault(Vector.GP, 0)
    state.eflags &= ~(Eflags.VM | Eflags.IF | Eflags.RF)
    _load_ring(state, cs & 0xFFFC, 0)
    state.gpr[ESP], state.eip = esp, eip
    return Effect.DONE


def sysexit(env: Environment, instruction: Instruction) -> Effect:
    """Return to ring 3: EIP from EDX, ESP from ECX."""
    state = env.state
    if not state.is_protected or not state.sysenter[0] & 0xFFFC:
        raise GuestFault(Vector.GP, 0)
    require_ring_0(state)
    _load_ring(state, (state.sysenter[0] + 16) | 3, 3)
    state.eip, state.gpr[ESP] = state.gpr[EDX], state.gpr[ECX]
    return Effect.DONE


def _load_ring(state: CpuState, cs: int, ring: int) -> None:
    """Load the flat CS and SS that SYSENTER and SYSEXIT imply; SS follows CS in the table."""
    state.segments[CS] = _flat(cs, 0xC9B | ring << 5)
    state.segments[SS] = _flat(cs + 8, 0xC93 | ring << 5)
    state.cpl = ring
