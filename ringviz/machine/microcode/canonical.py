"""Which exception a non-canonical address raises: #SS where it is an access to the stack, else #GP.

The emulated CPU raises #GP for either.

Source: Intel SDM Vol. 1, "Canonical Addressing"; Vol. 3A, "Interrupt 12—Stack Fault Exception (#SS)".
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

from ringviz.facts.exceptions import Vector
from ringviz.guest.instruction import Instruction
from ringviz.machine.linear import NotCanonical
from ringviz.machine.microcode.environment import Effect, Environment, GuestFault
from ringviz.machine.microcode.operands import linear_address
from ringviz.machine.state import EBP, ESP, CpuState, is_canonical

_PUSHES = ("push", "call", "enter")
_POPS = ("pop", "ret", "iret")
_WORD = 8


Routine = Callable[[Environment, Instruction], Effect]


def faulting(routine: Routine) -> Routine:
    """Give a routine that turns its accesses to non-canonical addresses into the exception."""

    @wraps(routine)
    def checked(env: Environment, instruction: Instruction) -> Effect:
        try:
            return routine(env, instruction)
        except NotCanonical:
            raise GuestFault(vector_of(env.state, instruction), 0) from None

    return checked


def vector_of(state: CpuState, instruction: Instruction) -> int:
    """Tell which exception an instruction raises that has met a non-canonical address, or any other #GP(0).

    Args:
        state: the CPU before it, in 64-bit mode.
        instruction: at RIP.
    """
    for operand in instruction.ops:
        is_accessed = operand.kind == "mem" and (operand.is_read or operand.is_written)
        if is_accessed and not is_canonical(linear_address(state, operand, instruction.address_size_bits)):
            return Vector.SS if operand.segment == "ss" else Vector.GP
    pointer = _stack_address(state, instruction.mnemonic)
    return Vector.GP if pointer is None or is_canonical(pointer) else Vector.SS


def _stack_address(state: CpuState, mnemonic: str) -> int | None:
    """Give the address at which an instruction uses the stack without naming it; None if it does not."""
    if mnemonic.startswith(_PUSHES):
        return (state.gpr[ESP] - _WORD) & state.address_mask
    if mnemonic.startswith(_POPS):
        return state.gpr[ESP]
    return state.gpr[EBP] if mnemonic == "leave" else None
