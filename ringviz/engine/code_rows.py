"""The code panel: instructions around the current one, with source and what will become of each."""

from __future__ import annotations

from ringviz.engine.view import CodeRow, Verdict
from ringviz.guest.decode import decode
from ringviz.guest.instruction import Instruction
from ringviz.guest.symbols import SourceMap
from ringviz.machine.linear import LinearMemory
from ringviz.machine.state import CS, CpuState
from ringviz.vmm.registry import variant_for
from ringviz.vmm.technique import Technique

_BEFORE, _AFTER = 24, 40
_MOST_BYTES_BACK = 512


def build_code(technique: Technique, source: SourceMap, guest: CpuState) -> tuple[CodeRow, ...]:
    """Disassemble around EIP: from the symbol that holds it, so that instructions before it come out right."""
    memory = technique.guest_memory()
    own = technique.scenario.files(variant_for(technique.id)).source.name
    rows: list[CodeRow] = []
    for instruction in _around(memory, source, guest):
        word, note = technique.verdict(instruction, guest.cpl)
        named = source.symbol_at(instruction.address)
        line = source.line_at(instruction.address)
        place = None if line is None else source.place_of(line)
        rows.append(
            CodeRow(
                address=instruction.address,
                raw=instruction.raw,
                mnemonic=instruction.mnemonic,
                operands=instruction.operands,
                label=named[0] if named is not None and named[1] == 0 else "",
                source_line=None if place is None else place.number,
                source_text=line.text if line is not None else "",
                verdict=Verdict(word),
                is_current=instruction.address == guest.eip,
                note=note,
                source_file="" if place is None or place.file == own else place.file,
            )
        )
    return tuple(rows)


def _around(memory: LinearMemory, source: SourceMap, guest: CpuState) -> list[Instruction]:
    """Decode up to 24 instructions before EIP and 40 after."""
    base, bits, mask = guest.segments[CS].base, guest.code_bits, guest.address_mask
    start = guest.eip
    named = source.symbol_at(guest.eip)
    if named is not None and 0 < named[1] <= _MOST_BYTES_BACK:
        start = guest.eip - named[1]
    ahead = _decode_from(memory, base, start, bits, mask, guest.eip)
    if not any(instruction.address == guest.eip for instruction in ahead):
        ahead = _decode_from(memory, base, guest.eip, bits, mask, guest.eip)
    index = next((i for i, instruction in enumerate(ahead) if instruction.address == guest.eip), 0)
    return ahead[max(0, index - _BEFORE) : index + _AFTER]


def _decode_from(memory: LinearMemory, base: int, start: int, bits: int, mask: int, current: int) -> list[Instruction]:
    """Decode on from an address, through `current` and 40 instructions beyond, while there is code."""
    found: list[Instruction] = []
    eip, beyond = start, 0
    while beyond < _AFTER:
        code = memory.peek((base + eip) & mask, 15)
        instruction = None if code is None else decode(code, eip, bits)
        if instruction is None:
            break
        found.append(instruction)
        beyond += eip >= current
        eip = instruction.next_address
    return found
