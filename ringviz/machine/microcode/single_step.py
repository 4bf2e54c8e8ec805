"""Single-stepping over an instruction that microcode has executed: the trap that the CPU would raise after it.

Source: Intel SDM Vol. 3B, "Single-Step Exception Condition"; Vol. 2, "MOV—Move" and "POP" (loading SS).
"""

from __future__ import annotations

from ringviz.facts.registers import Eflags
from ringviz.guest.instruction import Instruction
from ringviz.machine.microcode.environment import Effect
from ringviz.machine.state import CpuState

_SHADOW_FORMS = ("mov-to-sreg", "pop-sreg")


def owes_step_trap(before: CpuState, instruction: Instruction, effect: Effect) -> bool:
    """Tell whether #DB follows.

    Args:
        before: the CPU before the instruction: TF counts as it was then, so POPF and IRET do not step over themselves.
        instruction: the one that was executed, and did not fault.
        effect: how it ended. A repeated string instruction is stepped through round by round, unfinished; a CPU that
            halts stays halted, for nothing in this machine wakes it.
    """
    if not before.eflags & Eflags.TF or effect is Effect.HALTED:
        return False
    # MOV and POP to SS hold debug exceptions off until the next instruction is through; LSS does not.
    return not (instruction.form in _SHADOW_FORMS and instruction.ops[0].register == "ss")
