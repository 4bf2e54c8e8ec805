"""The instruction a guest is at, as its own memory has it: whatever tables the CPU really walks."""

from __future__ import annotations

from ringviz.guest.decode import decode
from ringviz.guest.instruction import Instruction
from ringviz.machine.linear import PhysicalSpace, SpectatorMemory
from ringviz.machine.memory import PAGE
from ringviz.machine.state import CpuState


def decode_here(state: CpuState, space: PhysicalSpace) -> Instruction | None:
    """Decode the instruction at EIP; None where there is none.

    Args:
        state: the virtual CPU.
        space: guest-physical memory.
    """
    memory = SpectatorMemory(state, space)
    room = PAGE - (state.linear_eip & 0xFFF)
    code = memory.peek(state.linear_eip, 15) or memory.peek(state.linear_eip, min(room, 15))
    return None if code is None else decode(code, state.eip, state.code_bits)
