"""Reading and writing the operands of a decoded instruction.

Segment limits are not checked, as nowhere in this machine: the emulated CPU does not check them either, and one
instruction must not obey a rule that its neighbours do not.
"""

from __future__ import annotations

from ringviz.facts.exceptions import Vector
from ringviz.facts.registers import GPR_NAMES, GPR_NAMES_64, Eflags
from ringviz.guest.instruction import Instruction, Operand
from ringviz.machine.microcode.environment import Environment, GuestFault
from ringviz.machine.paging import Access
from ringviz.machine.state import ADDRESS_32, ADDRESS_64, ESP, SS, CpuState

SEGMENT_INDEX = {"es": 0, "cs": 1, "ss": 2, "ds": 3, "fs": 4, "gs": 5}
REGISTERS: dict[str, tuple[int, int, int]] = {name: (i, 0, 4) for i, name in enumerate(GPR_NAMES)}
"""By name: number, lowest bit, bytes."""
REGISTERS |= {name[1:]: (i, 0, 2) for i, name in enumerate(GPR_NAMES)}
REGISTERS |= {name: (i, 0, 1) for i, name in enumerate(("al", "cl", "dl", "bl"))}
REGISTERS |= {name: (i, 8, 1) for i, name in enumerate(("ah", "ch", "dh", "bh"))}
REGISTERS |= {name: (i, 0, 8) for i, name in enumerate(GPR_NAMES_64)}
REGISTERS |= {name: (i, 0, 1) for i, name in enumerate(("spl", "bpl", "sil", "dil"), 4)}
REGISTERS |= {
    f"r{number}{suffix}": (number, 0, size)
    for number in range(8, 16)
    for suffix, size in (("d", 4), ("w", 2), ("b", 1))
}
_FS, _GS = SEGMENT_INDEX["fs"], SEGMENT_INDEX["gs"]


def read_register(state: CpuState, name: str) -> int:
    """Read a general or segment register by name."""
    if name in SEGMENT_INDEX:
        return state.segments[SEGMENT_INDEX[name]].selector
    number, shift, size = REGISTERS[name]
    return state.gpr[number] >> shift & ((1 << 8 * size) - 1)


def write_register(state: CpuState, name: str, value: int) -> None:
    """Write a general register by name; the rest of a wider register stays, but of a 64-bit one 32 bits clear it."""
    number, shift, size = REGISTERS[name]
    if size == 4:
        state.gpr[number] = value & ADDRESS_32
        return
    mask = ((1 << 8 * size) - 1) << shift
    state.gpr[number] = state.gpr[number] & ~mask | value << shift & mask


def effective_offset(state: CpuState, operand: Operand, address_bits: int) -> int:
    """Offset of a memory operand in its segment."""
    offset = operand.displacement
    if operand.base:
        offset += read_register(state, operand.base)
    if operand.index:
        offset += read_register(state, operand.index) * operand.scale
    return offset & ((1 << address_bits) - 1)


def linear_address(state: CpuState, operand: Operand, address_bits: int) -> int:
    """Linear address of a memory operand."""
    index = SEGMENT_INDEX[operand.segment or "ds"]
    return (segment_base(state, index) + effective_offset(state, operand, address_bits)) & state.address_mask


def segment_base(state: CpuState, index: int) -> int:
    """Base of a segment as accesses through it use it: in 64-bit mode 0, but for FS and GS."""
    return 0 if state.is_64bit and index not in (_FS, _GS) else state.segments[index].base


def stack_mask(state: CpuState) -> int:
    """The bits of the stack pointer that pushes and pops use."""
    if state.is_64bit:
        return ADDRESS_64
    return ADDRESS_32 if state.segments[SS].db else 0xFFFF


def user(state: CpuState) -> bool:
    """Data accesses of this instruction count as ring 3."""
    return state.cpl == 3


def read_operand(env: Environment, instruction: Instruction, index: int, size: int | None = None) -> int:
    """Read an operand as an unsigned number of `size` bytes (its own size by default)."""
    operand = instruction.ops[index]
    state = env.state
    size = size or operand.size_bytes
    if operand.kind == "imm":
        return (operand.value or 0) & ((1 << 8 * size) - 1)
    if operand.kind == "reg":
        assert operand.register is not None
        return read_register(state, operand.register) & ((1 << 8 * size) - 1)
    address = linear_address(state, operand, instruction.address_size_bits)
    return env.memory.read_int(address, size, Access(is_user=user(state)))


def write_operand(env: Environment, instruction: Instruction, index: int, value: int, size: int | None = None) -> None:
    """Write an operand; memory takes `size` bytes, registers their own width."""
    operand = instruction.ops[index]
    state = env.state
    if operand.kind == "reg":
        assert operand.register is not None
        write_register(state, operand.register, value)
        return
    address = linear_address(state, operand, instruction.address_size_bits)
    env.memory.write_int(address, value, size or operand.size_bytes, is_user=user(state))


def memory_address(env: Environment, instruction: Instruction, index: int = 0) -> int:
    """Linear address of a memory operand."""
    return linear_address(env.state, instruction.ops[index], instruction.address_size_bits)


def advance(state: CpuState, instruction: Instruction) -> None:
    """Complete the instruction: EIP moves behind it, and RF, good for one instruction, is clear."""
    state.eflags &= ~Eflags.RF
    is_16bit = state.is_protected and state.code_bits == 16
    state.eip = (state.eip + instruction.size) & (0xFFFF if is_16bit else state.address_mask)


def push(env: Environment, value: int, size: int) -> None:
    """Push on the current stack, as the running program."""
    state = env.state
    mask = stack_mask(state)
    low = (state.gpr[ESP] - size) & mask
    address = (segment_base(state, SS) + low) & state.address_mask
    env.memory.write_int(address, value, size, is_user=user(state))
    put_stack_pointer(state, low)


def peek_stack(env: Environment, offset: int, size: int) -> int:
    """Read `offset` bytes above the stack pointer, as the running program."""
    state = env.state
    mask = stack_mask(state)
    address = (segment_base(state, SS) + ((state.gpr[ESP] + offset) & mask)) & state.address_mask
    return env.memory.read_int(address, size, Access(is_user=user(state)))


def add_to_stack_pointer(state: CpuState, count: int) -> None:
    """Release bytes of the current stack."""
    put_stack_pointer(state, state.gpr[ESP] + count)


def put_stack_pointer(state: CpuState, value: int) -> None:
    """Set as much of the stack pointer as this stack uses; 16 bits leave the rest, 32 bits clear it."""
    mask = stack_mask(state)
    kept = state.gpr[ESP] & ~0xFFFF if mask == 0xFFFF else 0
    state.gpr[ESP] = kept | value & mask


def require_ring_0(state: CpuState) -> None:
    """#GP(0) unless the current ring is 0 (real mode counts as ring 0)."""
    if state.cpl:
        raise GuestFault(Vector.GP, 0)
