"""What happens at the boundary behind an instruction: the trap of single-stepping, and interrupts that have to wait.

Source: Intel SDM Vol. 3B, "Single-Step Exception Condition"; Vol. 2, "MOV—Move" and "POP" (loading SS), "STI".
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
    if not before.eflags & Eflags.TF or effect is Effect.HALTED or instruction.form == "vmrun":
        return False
    # MOV and POP to SS hold debug exceptions off until the next instruction is through; LSS does not.
    return not _loads_ss(instruction)


def holds_interrupts(instruction: Instruction, *, had_if: bool) -> bool:
    """Tell whether interrupts wait for one instruction more after this one: after STI where IF was 0, and a load of SS.

    Args:
        instruction: the one that is executed.
        had_if: IF before it, real or virtual.
    """
    if instruction.form == "sti":
        return not had_if
    return _loads_ss(instruction)


def _loads_ss(instruction: Instruction) -> bool:
    return instruction.form in _SHADOW_FORMS and instruction.ops[0].register == "ss"
