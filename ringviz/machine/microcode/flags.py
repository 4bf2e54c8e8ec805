"""CLI, STI, PUSHF, POPF: the interrupt flag and the rings that may change it.

Source: Intel SDM Vol. 2, the instructions' pages; Vol. 1, "EFLAGS Register".
"""

from __future__ import annotations

from ringviz.facts.exceptions import Vector
from ringviz.facts.registers import EFLAGS_FIXED, Eflags, iopl
from ringviz.guest.instruction import Instruction
from ringviz.machine.microcode.environment import Effect, Environment, GuestFault
from ringviz.machine.microcode.operands import add_to_stack_pointer, advance, peek_stack, push
from ringviz.machine.state import CpuState

_ALWAYS_POPPED = (
    Eflags.CF | Eflags.PF | Eflags.AF | Eflags.ZF | Eflags.SF | Eflags.TF | Eflags.DF | Eflags.OF | Eflags.NT
    | Eflags.AC | Eflags.ID
)  # fmt: skip


def poppable_flags(state: CpuState) -> int:
    """Which bits POPF and IRET may change in this ring; the others are dropped without a word."""
    mask = int(_ALWAYS_POPPED)
    if state.cpl == 0:
        mask |= Eflags.IOPL
    if state.cpl <= iopl(state.eflags):
        mask |= Eflags.IF
    return mask


def _require_io_privilege(state: CpuState) -> None:
    if state.cpl > iopl(state.eflags):
        raise GuestFault(Vector.GP, 0)


def cli(env: Environment, instruction: Instruction) -> Effect:
    """Clear IF."""
    _require_io_privilege(env.state)
    env.state.eflags &= ~Eflags.IF
    advance(env.state, instruction)
    return Effect.DONE


def sti(env: Environment, instruction: Instruction) -> Effect:
    """Set IF."""
    _require_io_privilege(env.state)
    env.state.eflags |= Eflags.IF
    advance(env.state, instruction)
    return Effect.DONE


def _check_v86(state: CpuState) -> None:
    if state.eflags & Eflags.VM and iopl(state.eflags) < 3:
        raise GuestFault(Vector.GP, 0)


def pushf(env: Environment, instruction: Instruction) -> Effect:
    """Push EFLAGS; VM and RF are pushed as 0."""
    _check_v86(env.state)
    push(env, env.state.eflags & ~(Eflags.VM | Eflags.RF), instruction.operand_size_bits // 8)
    advance(env.state, instruction)
    return Effect.DONE


def popf(env: Environment, instruction: Instruction) -> Effect:
    """Pop EFLAGS: what this ring may not change stays as it is, silently."""
    state = env.state
    _check_v86(state)
    size = instruction.operand_size_bits // 8
    value = peek_stack(env, 0, size)
    mask = poppable_flags(state) & (0xFFFF if size == 2 else 0xFFFF_FFFF)
    kept = state.eflags & ~(mask | Eflags.RF)
    add_to_stack_pointer(state, size)
    state.eflags = kept | value & mask | EFLAGS_FIXED
    advance(state, instruction)
    return Effect.DONE
