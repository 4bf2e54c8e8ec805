"""Which class of the instruction weights a decoded instruction belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ringviz.facts import instruction_weights
from ringviz.guest.instruction import Instruction

_CLASS_BY_FORM: Mapping[str, str] = MappingProxyType(
    dict.fromkeys(("cli", "sti", "popf"), "interrupt-flag")
    | dict.fromkeys(("in", "out", "ins", "outs", "int", "int3", "int1", "iret", "syscall", "sysret"), "by-event")
    | dict.fromkeys(("hlt", "ud2", "vmrun", "vmmcall"), "by-event")
    | {"pushf": "store", "push-sreg": "store", "mov-from-sreg": "simple", "into": "simple"}
    | dict.fromkeys(("mov-to-sreg", "pop-sreg", "load-far-pointer"), "segment-load")
    | dict.fromkeys(("call-far", "jmp-far", "ret-far"), "far-transfer")
    | dict.fromkeys(("sysenter", "sysexit"), "fast-call")
    | dict.fromkeys(("mov-to-cr", "mov-to-dr"), "control-register")
    | dict.fromkeys(("mov-from-cr", "mov-from-dr", "sgdt", "sidt", "sldt", "str", "smsw"), "system-read")
    | dict.fromkeys(("lar", "lsl", "verr", "verw", "rdtsc", "rdtscp", "rdpmc"), "system-read")
)
"""Of the forms that matter to a VMM; all others are `serializing`."""

_CLASS_BY_NAME: Mapping[str, str] = MappingProxyType(
    dict.fromkeys(("mul", "imul", "mulx"), "multiply")
    | dict.fromkeys(("div", "idiv", "aam"), "divide")
    | dict.fromkeys(("pushaw", "pushal", "popaw", "popal", "enter"), "many-stores")
    | dict.fromkeys(("pop", "leave", "xlatb"), "load")
    | {"call": "call", "ret": "return"}
)
_VECTOR_REGISTERS = ("xmm", "ymm", "mm", "st")
_WITHOUT_OPERANDS = "emms"


def class_of(instruction: Instruction) -> str:
    """Give the class of an instruction: a key of `facts.instruction_weights.CLASSES`."""
    if instruction.form is not None:
        return _CLASS_BY_FORM.get(instruction.form, "serializing")
    if instruction.is_rep_string:
        return "repeated-string"
    name = instruction.mnemonic.rsplit(" ", 1)[-1]
    if _is_floating_point(instruction, name):
        return "floating-point"
    if instruction.has_lock or (name == "xchg" and instruction.writes_memory):
        return "locked"
    reads = name == "pop" or any(operand.kind == "mem" and operand.is_read for operand in instruction.ops)
    if reads and instruction.writes_memory and name != "call":
        return "load-and-store"
    known = _CLASS_BY_NAME.get(name)
    if known is not None:
        return known
    if instruction.is_branch:
        return "branch"
    if instruction.writes_memory:
        return "store"
    return "load" if reads else "simple"


def weight_of(instruction: Instruction, changed: Mapping[str, int] | None = None) -> int:
    """Give the weight of an instruction in hundredths of a cycle.

    Args:
        instruction: any.
        changed: weights of a profile that has its own for some classes.
    """
    return instruction_weights.weight_of(class_of(instruction), changed)


def _is_floating_point(instruction: Instruction, name: str) -> bool:
    """x87 instructions begin with F; the others are known by their registers."""
    if name.startswith("f") or name == _WITHOUT_OPERANDS:
        return True
    return any(
        operand.register is not None and operand.register.startswith(_VECTOR_REGISTERS) for operand in instruction.ops
    )
