"""CPUID, RDTSC, RDPMC, RDMSR, WRMSR and HLT.

Source: Intel SDM Vol. 2, the instructions' pages.
"""

from __future__ import annotations

from ringviz.facts.exceptions import Vector
from ringviz.facts.registers import Cr4
from ringviz.guest.instruction import Instruction
from ringviz.machine.microcode.environment import Effect, Environment, GuestFault
from ringviz.machine.microcode.operands import advance, require_ring_0
from ringviz.machine.state import ADDRESS_32, EAX, EBX, ECX, EDX

_EXTENDED_FEATURES = 0x8000_0001
_SYSCALL, _LONG_MODE = 1 << 11, 1 << 29


def cpuid(env: Environment, instruction: Instruction) -> Effect:
    """Identify the CPU, in every ring."""
    gpr = env.state.gpr
    leaf = gpr[EAX] & ADDRESS_32
    eax, ebx, ecx, edx = env.cpuid(leaf, gpr[ECX] & ADDRESS_32)
    if leaf == _EXTENDED_FEATURES and env.state.is_64bit and edx & _LONG_MODE:
        edx |= _SYSCALL  # Intel shows it in 64-bit mode only
    gpr[EAX], gpr[EBX], gpr[ECX], gpr[EDX] = eax, ebx, ecx, edx
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
    value = env.read_msr(env.state.gpr[ECX] & ADDRESS_32)
    if value is None:
        raise GuestFault(Vector.GP, 0)
    env.state.gpr[EAX], env.state.gpr[EDX] = value & 0xFFFF_FFFF, value >> 32
    advance(env.state, instruction)
    return Effect.DONE


def wrmsr(env: Environment, instruction: Instruction) -> Effect:
    """Write the model-specific register named by ECX."""
    state = env.state
    gpr = state.gpr
    require_ring_0(state)
    if not env.write_msr(gpr[ECX] & ADDRESS_32, (gpr[EDX] & ADDRESS_32) << 32 | gpr[EAX] & ADDRESS_32):
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
