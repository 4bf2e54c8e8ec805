"""Whether the guest is just behind an instruction after which interrupts wait for one more.

Source: Intel SDM Vol. 3C, "Guest Non-Register State" (interruptibility state).
"""

from __future__ import annotations

from ringviz.facts.vmx import INTERRUPTIBILITY
from ringviz.guest.decode import decode
from ringviz.machine.machine import Machine
from ringviz.machine.state import CS

_LONGEST = 15


def blocking_of(machine: Machine) -> int:
    """Give the guest interruptibility state: blocking by STI, by MOV SS, or none.

    The CPU knows that interrupts wait, and not after which instruction: STI, or one that loads SS. Neither can be
    reached but from the instruction before it in memory, so a look back tells them apart.
    """
    if not machine.cpu.interrupt_shadow:
        return 0
    name = "BLOCKING_BY_MOV_SS" if _loads_ss_before(machine) else "BLOCKING_BY_STI"
    return INTERRUPTIBILITY[name].mask


def _loads_ss_before(machine: Machine) -> bool:
    """Tell whether some instruction that ends at EIP loads SS."""
    state = machine.state
    base = state.segments[CS].base
    for size in range(1, _LONGEST + 1):
        code = machine.memory.peek(base + state.eip - size, size)
        instruction = None if code is None else decode(code, state.eip - size, state.code_bits)
        if instruction is None or instruction.size != size:
            continue
        if instruction.form in ("mov-to-sreg", "pop-sreg") and instruction.ops[0].register == "ss":
            return True
    return False
