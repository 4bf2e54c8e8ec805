"""Bytes to instructions: the one module that knows Capstone, and the quirks of it that we correct.

Capstone 5 names far jumps through memory like near ones, forgets what some instructions do to their
operands, and prints prefixes in the mnemonic. `tests/guest/test_decode.py` holds it to our answers.
"""

import threading
from functools import lru_cache
from typing import Any, Literal

import capstone
from capstone import x86_const as x86

from ringviz.guest.forms import form_of
from ringviz.guest.instruction import Instruction, Operand

MAX_INSTRUCTION_BYTES = 15
_CACHED_INSTRUCTIONS = 1 << 16

_MODES = {16: capstone.CS_MODE_16, 32: capstone.CS_MODE_32, 64: capstone.CS_MODE_64}

_REP: dict[int, Literal["rep", "repne"]] = {0xF3: "rep", 0xF2: "repne"}
_LOCK = 0xF0
_OPERAND_SIZE = 0x66
_REX_W = 0x48
_ADDRESS_64 = (1 << 64) - 1
_WIDE_BY_DEFAULT = frozenset({"push", "pop", "pushf", "pushfq", "popf", "popfq", "enter", "leave"})
"""In 64-bit mode these have operands of 64 bits without a prefix, and of 16 with one."""
LEGACY_PREFIXES = b"\x26\x2e\x36\x3e\x64\x65\x66\x67\xf0\xf2\xf3"
"""Bytes that may stand before an opcode."""

_XMM_BYTES = 16
_STRING = frozenset(
    f"{name}{size}" for name in ("movs", "stos", "lods", "cmps", "scas", "ins", "outs") for size in "bwdq"
)

# Capstone's groups miss some of these, among them LOOP and everything that only a VMM meets.
_ENDS_BLOCK_GROUPS = frozenset(
    {capstone.CS_GRP_JUMP, capstone.CS_GRP_CALL, capstone.CS_GRP_RET, capstone.CS_GRP_INT, capstone.CS_GRP_IRET}
    | {capstone.CS_GRP_BRANCH_RELATIVE}
)
_ENDS_BLOCK = frozenset(
    {"hlt", "rsm", "ud0", "ud1", "ud2", "vmrun", "vmmcall", "vmcall", "vmlaunch", "vmresume", "skinit", "mwait"}
)

_STORES_TO_STACK = frozenset(
    {"push", "pushf", "pushfd", "pushfq", "pushaw", "pushal", "call", "lcall", "enter"},
)

_ACCESS_NAMES = {
    0: "",
    capstone.CS_AC_READ: "r",
    capstone.CS_AC_WRITE: "w",
    capstone.CS_AC_READ | capstone.CS_AC_WRITE: "rw",
}
_NO_ACCESS = ("", "")
_ACCESS_FIXES: dict[str, tuple[str, ...]] = {
    "test": ("r", "r"),
    "push": ("r",),
    "in": ("w", "r"),
    "out": ("r", "r"),
    "lea": ("w", ""),  # an address is computed, nothing is read
    "nop": _NO_ACCESS,
    "invlpg": _NO_ACCESS,
    "clflush": _NO_ACCESS,
    "cmpxchg": ("rw", "r"),
    "cmpxchg8b": ("rw",),
    "cmpxchg16b": ("rw",),
    "cmps": ("r", "r"),
    "ins": ("w", "r"),
    "outs": ("r", "r"),
    "rcl": ("rw", "r"),
    "rcr": ("rw", "r"),
    "rol": ("rw", "r"),
    "ror": ("rw", "r"),
    "frstor": ("r",),
    "fbstp": ("w",),
    "fist": ("w",),
    "fistp": ("w",),
    "fisttp": ("w",),
    "fst": ("w",),
    "fstp": ("w",),
    "fnstcw": ("w",),
    "stmxcsr": ("w",),
    "xsave": ("rw",),
    "xsaves": ("rw",),
    "xsavec": ("rw",),
    "xsaveopt": ("rw",),
}
"""What instructions do to their operands, where Capstone does not say or says it wrongly."""
_STORE_FAMILIES = ("mov", "vmov", "set", "pextr", "extract")
"""Mnemonics that begin so never read the memory operand that stands first: they store to it."""
_PREFETCH = "prefetch"

_FAR_MEMORY = {(0xFF, 3): "lcall", (0xFF, 5): "ljmp"}
"""Opcode and ModRM.reg of the far transfers that Capstone names "call" and "jmp"."""
_FAR_SPELLING = {"lcall": "call", "ljmp": "jmp"}
_LOADS_FAR_POINTER = frozenset({"lds", "les", "lfs", "lgs", "lss", "lcall", "ljmp"})

_STACK_BASES = frozenset({"bp", "ebp", "rbp", "sp", "esp", "rsp"})
"""Memory operands with such a base go through SS unless the instruction says otherwise."""
_INSTRUCTION_POINTERS = frozenset({"rip", "eip"})
"""An address relative to one of these is given as the address itself."""
_SYSTEM_REGISTERS = frozenset(getattr(x86, f"X86_REG_{kind}{number}") for kind in ("CR", "DR") for number in range(16))
"""Capstone calls some of these 8 bytes wide outside long mode."""


@lru_cache(maxsize=_CACHED_INSTRUCTIONS)
def decode(code: bytes, address: int, bits: int = 32) -> Instruction | None:
    """Decode the first instruction of some bytes.

    Args:
        code: at least the whole instruction; up to 15 bytes are looked at.
        address: where the first byte stands; it goes into the targets of jumps.
        bits: default operand and address size of the code segment: 16, 32 or 64.

    Returns:
        The instruction, or None if the bytes are none or are cut off.
    """
    found = next(_decoder(bits).disasm(code[:MAX_INSTRUCTION_BYTES], address, 1), None)
    return None if found is None else _translate(found, bits)


class _Decoders(threading.local):
    """Capstone's handles, by bits: one set for each thread, since a handle must not be used by two at once."""

    def __init__(self) -> None:
        self.by_bits: dict[int, Any] = {}


_DECODERS = _Decoders()


def _decoder(bits: int) -> Any:
    decoder = _DECODERS.by_bits.get(bits)
    if decoder is None:
        decoder = capstone.Cs(capstone.CS_ARCH_X86, _MODES[bits])  # type: ignore[no-untyped-call]
        decoder.detail = True
        _DECODERS.by_bits[bits] = decoder
    return decoder


def _translate(found: Any, bits: int) -> Instruction:
    raw = bytes(found.bytes)
    name = _plain_name(found)
    # MOVSD and CMPSD are SSE instructions too: those have an XMM register.
    is_string = name in _STRING and all(operand.size < _XMM_BYTES for operand in found.operands)
    family = name[:-1] if is_string else name
    rep = _rep(raw) if is_string else None
    operand_size_bits = _operand_size_bits(name, raw, found.prefix[2], bits)
    ops = tuple(
        _operand(
            found, operand, _access(family, position, operand), _operand_bytes(name, operand, operand_size_bits, bits)
        )
        for position, operand in enumerate(found.operands)
    )
    return Instruction(
        address=found.address,
        raw=raw,
        mnemonic=_FAR_SPELLING.get(name, found.mnemonic if rep is None or " " in found.mnemonic else f"{rep} {name}"),
        operands=_far_target(found.op_str, ops) if name in _FAR_SPELLING else found.op_str,
        form=form_of(name, ops),
        ops=ops,
        rep=rep,
        has_lock=_LOCK in legacy_prefixes(raw),
        operand_size_bits=operand_size_bits,
        address_size_bits=found.addr_size * 8,
        is_branch=name in _ENDS_BLOCK or not _ENDS_BLOCK_GROUPS.isdisjoint(found.groups),
        writes_memory=name in _STORES_TO_STACK or any(op.kind == "mem" and op.is_written for op in ops),
        is_string=is_string,
    )


def _plain_name(found: Any) -> str:
    """Return the mnemonic without prefixes, far transfers told from near ones."""
    name = str(found.mnemonic).rsplit(" ", 1)[-1]
    return _FAR_MEMORY.get((found.opcode[0], found.modrm >> 3 & 7), name) if name in ("call", "jmp") else name


def _far_target(text: str, ops: tuple[Operand, ...]) -> str:
    """Spell the target of a far transfer as assemblers do: `far ptr [eax]`, `8:0x100034`."""
    return f"far ptr {text.rsplit('ptr ', 1)[-1]}" if ops[0].kind == "mem" else text.replace(", ", ":")


def _rep(raw: bytes) -> Literal["rep", "repne"] | None:
    """The repeat prefix of a string instruction, the last one if there are several.

    Capstone says nothing of REPNE before instructions that compare nothing, which CPUs repeat all the same.
    """
    return next((_REP[byte] for byte in reversed(legacy_prefixes(raw)) if byte in _REP), None)


def legacy_prefixes(raw: bytes) -> bytes:
    """Give the prefixes with which an instruction's bytes begin."""
    count = 0
    while raw[count] in LEGACY_PREFIXES:
        count += 1
    return raw[:count]


def _operand_size_bits(name: str, raw: bytes, operand_size_prefix: int, bits: int) -> int:
    has_prefix = operand_size_prefix == _OPERAND_SIZE
    if bits == 16:
        return 32 if has_prefix else 16
    if bits == 64 and raw[len(legacy_prefixes(raw))] & 0xF8 == _REX_W:
        return 64
    if bits == 64 and name in _WIDE_BY_DEFAULT:
        return 16 if has_prefix else 64
    return 16 if has_prefix else 32


def _access(family: str, position: int, operand: Any) -> str:
    fix = _ACCESS_FIXES.get(family)
    if fix is not None and position < len(fix):
        return fix[position]
    if operand.type == x86.X86_OP_IMM:
        return "r"
    if operand.type == x86.X86_OP_MEM and family.startswith(_PREFETCH):
        return ""
    if operand.type == x86.X86_OP_MEM and position == 0 and family.startswith(_STORE_FAMILIES):
        return "w"
    return _ACCESS_NAMES[operand.access & (capstone.CS_AC_READ | capstone.CS_AC_WRITE)]


def _operand_bytes(name: str, operand: Any, operand_size_bits: int, bits: int) -> int:
    if operand.type == x86.X86_OP_MEM and name in _LOADS_FAR_POINTER:
        return 2 + operand_size_bits // 8
    if operand.type == x86.X86_OP_REG and bits < 64 and operand.reg in _SYSTEM_REGISTERS:
        return 4
    return int(operand.size)


def _operand(found: Any, operand: Any, access: str, size_bytes: int) -> Operand:
    is_read, is_written = "r" in access, "w" in access
    if operand.type == x86.X86_OP_REG:
        return Operand("reg", size_bytes, is_read, is_written, register=found.reg_name(operand.reg))
    if operand.type == x86.X86_OP_IMM:
        value = operand.imm
        if found.group(capstone.CS_GRP_BRANCH_RELATIVE) and value < 0:  # a 64-bit target in the upper half
            value &= _ADDRESS_64
        return Operand("imm", size_bytes, is_read, is_written, value=value)
    memory = operand.mem
    base, displacement = _name(found, memory.base), memory.disp
    if base in _INSTRUCTION_POINTERS:
        base, displacement = None, found.address + found.size + displacement
    return Operand(
        "mem",
        size_bytes,
        is_read,
        is_written,
        segment=_name(found, memory.segment) or ("ss" if base in _STACK_BASES else "ds"),
        base=base,
        index=_name(found, memory.index),
        scale=memory.scale,
        displacement=displacement,
    )


def _name(found: Any, register: int) -> str | None:
    return found.reg_name(register) if register else None
