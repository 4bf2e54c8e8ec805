"""The VM-exit instruction-information field: how the operands of some instructions are encoded.

Source: Intel SDM Vol. 3C, "Information for VM Exits Due to Instruction Execution".
"""

from __future__ import annotations

from ringviz.facts.vmx import INSTRUCTION_INFORMATION
from ringviz.guest.instruction import Instruction, Operand
from ringviz.machine.microcode.operands import REGISTERS, SEGMENT_INDEX

_SCALES = {1: 0, 2: 1, 4: 2, 8: 3}
_IDENTITIES = {"sgdt": 0, "sidt": 1, "lgdt": 2, "lidt": 3, "sldt": 0, "str": 1, "lldt": 2, "ltr": 3}
_STRINGS = ("ins", "outs")
_TABLES = ("sgdt", "sidt", "lgdt", "lidt")
_MEMORY_ONLY = ("vmclear", "vmptrld", "vmptrst", "vmxon")
FORMS = frozenset({*_STRINGS, *_IDENTITIES, *_MEMORY_ONLY, "vmread", "vmwrite"})


def instruction_information(instruction: Instruction) -> int:
    """Give the field; 0 for instructions that report none."""
    form = instruction.form or ""
    if form not in FORMS:
        return 0
    parts = {"ADDRESS_SIZE": {16: 0, 32: 1, 64: 2}[instruction.address_size_bits]}
    if form in _STRINGS:
        memory = instruction.ops[1] if form == "outs" else None
        if memory is not None:
            parts["SEGMENT"] = SEGMENT_INDEX[memory.segment or "ds"]
        return _put(parts)
    memory = next((operand for operand in instruction.ops if operand.kind == "mem"), None)
    if memory is not None:
        parts |= _memory_parts(memory)
    if form in _TABLES:
        parts["OPERAND_SIZE"] = int(instruction.operand_size_bits == 32)
    if form in _IDENTITIES:
        parts["IDENTITY"] = _IDENTITIES[form]
    registers = [operand.register for operand in instruction.ops if operand.kind == "reg"]
    if form in ("vmread", "vmwrite"):
        # The register that names the field is the second operand of VMREAD and the first of VMWRITE.
        field = instruction.ops[1 if form == "vmread" else 0].register
        other = instruction.ops[0 if form == "vmread" else 1].register
        parts["REGISTER_2"] = _gpr(field)
        registers = [] if other is None else [other]
    if memory is None and registers:
        parts |= {"REGISTER_1": _gpr(registers[0]), "IS_REGISTER": 1}
    return _put(parts)


def _memory_parts(memory: Operand) -> dict[str, int]:
    parts = {"SEGMENT": SEGMENT_INDEX[memory.segment or "ds"], "SCALING": _SCALES[memory.scale]}
    parts |= {"INDEX": _gpr(memory.index)} if memory.index else {"INDEX_INVALID": 1}
    parts |= {"BASE": _gpr(memory.base)} if memory.base else {"BASE_INVALID": 1}
    return parts


def _gpr(name: str | None) -> int:
    """Number of a general-purpose register of 16 bits or more; 0 for anything else."""
    number, _, size_bytes = REGISTERS.get(name or "", (0, 0, 0))
    return number if size_bytes > 1 else 0


def _put(parts: dict[str, int]) -> int:
    value = 0
    for name, part in parts.items():
        value = INSTRUCTION_INFORMATION[name].put(value, part)
    return value
