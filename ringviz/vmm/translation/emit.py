"""The few machine instructions that a translator writes itself, as bytes.

None of them but those of the guest's own changes a flag: EFLAGS is the guest's at every moment.

Source: Intel SDM Vol. 2, the instructions' pages.
"""

from __future__ import annotations

EAX, ECX = 0, 1


def _word(value: int) -> bytes:
    return (value & 0xFFFF_FFFF).to_bytes(4, "little")


def store(offset: int, register: int) -> bytes:
    """MOV GS:[offset], r32."""
    return bytes((0x65, 0x89, register << 3 | 5)) + _word(offset)


def load(register: int, offset: int) -> bytes:
    """MOV r32, GS:[offset]."""
    return bytes((0x65, 0x8B, register << 3 | 5)) + _word(offset)


def load_half(register: int, offset: int) -> bytes:
    """MOV r16, GS:[offset]; the upper half of the register stays."""
    return b"\x66" + load(register, offset)


def store_constant(offset: int, value: int) -> bytes:
    """MOV DWORD GS:[offset], imm32."""
    return b"\x65\xc7\x05" + _word(offset) + _word(value)


def load_row(register: int, table: int) -> bytes:
    """MOV r32, GS:[ECX * 8 + table]."""
    return bytes((0x65, 0x8B, register << 3 | 4, 0xCD)) + _word(table)


def constant(register: int, value: int) -> bytes:
    """MOV r32, imm32."""
    return bytes((0xB8 | register,)) + _word(value)


def add_without_flags(displacement: int = 0) -> bytes:
    """LEA EAX, [EAX + ECX + displacement]."""
    return b"\x8d\x84\x08" + _word(displacement)


def release_stack(count: int) -> bytes:
    """LEA ESP, [ESP + count]."""
    return b"\x8d\xa4\x24" + _word(count)


def push_constant(value: int) -> bytes:
    """PUSH imm32."""
    return b"\x68" + _word(value)


def jump(at: int, target: int) -> bytes:
    """JMP rel32, standing at an address."""
    return b"\xe9" + _word(target - at - 5)


def jump_if(condition: int, at: int, target: int) -> bytes:
    """Jcc rel32; the condition is the low four bits of the guest's opcode."""
    return bytes((0x0F, 0x80 | condition)) + _word(target - at - 6)


def callout(argument: int, selector: int) -> bytes:
    """CALL FAR selector:argument: the gate decides where it leads, so the offset is free for the translator's notes."""
    return b"\x9a" + _word(argument) + selector.to_bytes(2, "little")


POP_EAX = b"\x58"
PUSHFD = b"\x9c"
LOAD_TOP_OF_STACK = b"\x8b\x04\x24"
"""MOV EAX, [ESP]."""
STORE_TOP_OF_STACK = b"\x89\x04\x24"
"""MOV [ESP], EAX."""
ROW_OF_EAX = b"\x0f\xb7\xc8"
"""MOVZX ECX, AX."""
ADD_EAX_TO_ECX = b"\x8d\x0c\x01"
"""LEA ECX, [ECX + EAX]."""


def skip_if_ecx_is_zero(count: int) -> bytes:
    """JECXZ over the next `count` bytes."""
    return bytes((0xE3, count))


def jump_to_saved(offset: int) -> bytes:
    """JMP GS:[offset]."""
    return b"\x65\xff\x25" + _word(offset)
