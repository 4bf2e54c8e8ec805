"""IN, OUT, INS, OUTS, and the two-part check whether a ring may use a port: IOPL, then the TSS bitmap.

Source: Intel SDM Vol. 1, "I/O Privilege Level" and "I/O Permission Bit Map".
"""

from __future__ import annotations

from ringviz.facts.exceptions import Vector
from ringviz.facts.registers import Eflags, iopl
from ringviz.guest.instruction import Instruction
from ringviz.machine.linear import LinearMemory
from ringviz.machine.microcode.canonical import faulting
from ringviz.machine.microcode.environment import Effect, Environment, GuestFault
from ringviz.machine.microcode.operands import (
    SEGMENT_INDEX,
    advance,
    read_register,
    segment_base,
    user,
    write_register,
)
from ringviz.machine.paging import Access
from ringviz.machine.state import ECX, EDI, ES, ESI, CpuState

_IOPB_OFFSET = 0x66
_TSS32 = (9, 11)
_PATIENCE_ELEMENTS = 4096

PORT_FORMS = frozenset({"in", "out", "ins", "outs"})
"""Ids of the instructions that reach a port."""


def may_use_port(state: CpuState, memory: LinearMemory, port: int, size: int) -> bool:
    """Tell whether the current ring may access `size` ports from `port` on.

    Raises:
        PageFault: the TSS's page refuses.
    """
    if not state.is_protected:
        return True
    if state.cpl <= iopl(state.eflags) and not state.eflags & Eflags.VM:
        return True
    if state.tr.type not in _TSS32 or not state.tr.present or state.tr.limit < _IOPB_OFFSET + 1:
        return False
    offset = memory.read_int(state.tr.base + _IOPB_OFFSET, 2) + (port >> 3)
    if offset + 1 > state.tr.limit:
        return False
    bits = memory.read_int(state.tr.base + offset, 2) >> (port & 7)
    return not bits & ((1 << size) - 1)


def port_of(state: CpuState, instruction: Instruction) -> tuple[int, int, bool]:
    """Give port, size in bytes and direction (True is input) of a port instruction.

    IN and INS name the port last, OUT and OUTS first.
    """
    is_input = instruction.form in ("in", "ins")
    data, port = (instruction.ops[0], instruction.ops[1]) if is_input else (instruction.ops[1], instruction.ops[0])
    number = port.value if port.kind == "imm" else read_register(state, port.register or "dx")
    return (number or 0) & 0xFFFF, data.size_bytes, is_input


def port_io(env: Environment, instruction: Instruction) -> Effect:
    """Execute IN, OUT, INS or OUTS, checks included."""
    port, size, _ = port_of(env.state, instruction)
    if not may_use_port(env.state, env.memory, port, size):
        raise GuestFault(Vector.GP, 0)
    return transfer(env, instruction)


@faulting
def transfer(env: Environment, instruction: Instruction) -> Effect:
    """Move the data of a port instruction that is allowed.

    A string instruction under REP moves all its elements; a page fault on the way leaves the elements done and the
    registers at the one that failed, as on hardware. After many elements it gives way: EIP stays at the instruction,
    which goes on where it was.

    Raises:
        PageFault: the memory side of INS or OUTS is refused.
    """
    state = env.state
    port, size, is_input = port_of(state, instruction)
    if not instruction.is_string:
        if is_input:
            write_register(state, instruction.ops[0].register or "eax", env.read_port(port, size))
        else:
            env.write_port(port, size, read_register(state, instruction.ops[1].register or "eax"))
        advance(state, instruction)
        return Effect.DONE
    bits = instruction.address_size_bits
    mask = (1 << bits) - 1
    # In 64-bit mode what 32 bits are written to loses the upper half, as everywhere.
    kept = ~mask if bits == 16 else 0
    step = -size if state.eflags & Eflags.DF else size
    pointer = EDI if is_input else ESI
    patience = _PATIENCE_ELEMENTS
    while not instruction.rep or state.gpr[ECX] & mask:
        if not patience:
            return Effect.UNFINISHED
        patience -= 1
        offset = state.gpr[pointer] & mask
        if is_input:
            address = (segment_base(state, ES) + offset) & state.address_mask
            # The page is checked before the port is read: a fault must not lose a byte of the device.
            env.memory.translate(address, Access(is_write=True, is_user=user(state)), touch=False)
            env.memory.write_int(address, env.read_port(port, size), size, is_user=user(state))
        else:
            base = segment_base(state, SEGMENT_INDEX[instruction.ops[1].segment or "ds"])
            value = env.memory.read_int((base + offset) & state.address_mask, size, Access(is_user=user(state)))
            env.write_port(port, size, value)
        state.gpr[pointer] = state.gpr[pointer] & kept | (offset + step) & mask
        if not instruction.rep:
            break
        state.gpr[ECX] = state.gpr[ECX] & kept | (state.gpr[ECX] - 1) & mask
        if state.eflags & Eflags.TF and state.gpr[ECX] & mask:
            return Effect.UNFINISHED  # the single-step trap comes after every round
    advance(state, instruction)
    return Effect.DONE
