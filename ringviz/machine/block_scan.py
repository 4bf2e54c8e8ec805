"""What there is to know of a block of code that the emulator has translated."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from ringviz.guest.decode import decode
from ringviz.guest.instruction import Instruction
from ringviz.guest.instruction_weight import class_of

_NEEDS_FLAGS_SETTLED = frozenset({"loope", "loopne", "bt", "bts", "btr", "btc", "cmpxchg8b", "cmpxchg16b"})
"""Where an instruction before them in the same block has set the flags, the emulator loses them in LOOPE and LOOPNE
when ECX becomes 0 and in CMPXCHG8B and CMPXCHG16B, and lets what the bit tests leave undefined depend on that
instruction, and so on where a block begins."""
_FLAGS_BEFORE_STORE = ("set", "rcl", "rcr")
"""The emulator computes their flags before they store: begun anew, they leave the flags as they were where the store is
refused."""
_FLAGS_BEFORE_LOAD = frozenset({"mov-to-sreg", "pop-sreg", "load-far-pointer"})
"""Where an instruction before them in the same block has set the flags, the emulator loses them if they fault."""
BEGINS_A_BLOCK = "begins a block"
"""No form, but stopped at like one: begun anew, in a block of their own, these instructions are right."""
SHOWS_VM = "shows VM"
"""No form either. PUSHFD in 16-bit code: in virtual-8086 mode the emulator stores VM, which the CPU stores as 0."""
UNKNOWN_CLASS = "simple"
"""Class of an instruction that Capstone does not read as the emulator does."""


@dataclass(frozen=True, slots=True)
class BlockScan:
    """What there is to know of a block of code, whatever its address."""

    offsets: tuple[int, ...]
    classes: tuple[str, ...]
    """What each instruction is to `ringviz.facts.instruction_weights`."""
    forms: tuple[tuple[int, str], ...]
    rep_offset: int | None
    may_be_replay: bool
    end: int
    """Offset behind the last instruction that could be decoded."""


def _begins_a_block(instruction: Instruction, *, is_first: bool) -> bool:
    """Tell whether the emulator must stop before an instruction, to begin anew with the flags settled.

    Args:
        instruction: the instruction.
        is_first: it begins a block as it is.
    """
    name = instruction.mnemonic.rsplit(" ", 1)[-1]
    if name in _NEEDS_FLAGS_SETTLED or instruction.form in _FLAGS_BEFORE_LOAD:
        return not is_first
    return instruction.writes_memory and name.startswith(_FLAGS_BEFORE_STORE)


@lru_cache(maxsize=65536)
def scan_block(code: bytes, bits: int) -> BlockScan:
    """Decode a translated block once: where its instructions start, and which of them matter."""
    offsets: list[int] = []
    classes: list[str] = []
    forms: list[tuple[int, str]] = []
    offset, last = 0, None
    while offset < len(code):
        offsets.append(offset)
        last = decode(code[offset : offset + 15], 0, bits)
        if last is None:  # the CPU will raise #UD here
            classes.append(UNKNOWN_CLASS)
            break
        classes.append(class_of(last))
        if last.form is not None:
            forms.append((offset, last.form))
            if bits == 16 and last.form == "pushf" and last.operand_size_bits == 32:
                forms.append((offset, SHOWS_VM))
        if _begins_a_block(last, is_first=not offset):
            forms.append((offset, BEGINS_A_BLOCK))
        offset += last.size
    is_single = len(offsets) == 1
    return BlockScan(
        tuple(offsets),
        tuple(classes),
        tuple(forms),
        offsets[-1] if last is not None and last.is_rep_string else None,
        is_single and last is not None and (last.writes_memory or not last.is_branch),
        offset,
    )
