"""VM exits of a guest in real mode where the CPU has no unrestricted guest, and emulation where it cannot be entered.

What can be entered, and as what, is `restricted_guest`.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace

from ringviz.facts.exceptions import Vector
from ringviz.facts.registers import Cr4
from ringviz.facts.virtual_8086 import IN_VIRTUAL_8086, InVirtual8086
from ringviz.facts.vmx import INSTRUCTION_EXITS
from ringviz.guest.instruction import Instruction
from ringviz.machine import microcode
from ringviz.machine.delivery import Interruption
from ringviz.machine.stops import Fault, PortIo, SensitiveInsn, Stop, Watched
from ringviz.vmm import describe
from ringviz.vmm.outcome import Outcome
from ringviz.vmm.vtx.interrupts import InterruptExits
from ringviz.vmm.vtx.restricted_guest import Running
from ringviz.vmm.vtx.words import rule_before

_RUNS = (InVirtual8086.SAME, InVirtual8086.REVEALS)
"""In non-root operation nothing is revealed: the tables and the read shadow that SMSW, SGDT and SIDT show are the
guest's own."""


class RestrictedExits(InterruptExits):
    """Everything sensitive raises #GP in virtual-8086 mode, and the exception bitmap sends that to the VMM."""

    @abstractmethod
    def _ordinary(self, stop: Stop) -> Outcome:
        """Answer a stop whose cause is the same in every mode of the guest."""

    def _restricted(self, stop: Stop) -> Outcome:
        """Answer a stop of a guest that does not run in its own mode."""
        match stop:
            case Fault(vector=Vector.GP, instruction=Instruction() as instruction) if instruction.form == "int":
                return self._interrupt_in_8086_mode(instruction)
            case Fault(vector=Vector.GP, instruction=Instruction() as instruction) if (
                instruction.form in microcode.FORMS
            ):
                return self._general_protection(instruction)
            case Watched() | SensitiveInsn() | PortIo():
                if self._running is Running.VIRTUAL_8086 and self._runs_in_8086_mode(stop.instruction):
                    return self._instruction(stop, stop.instruction)
                return self._general_protection(stop.instruction)
            case _:
                return self._ordinary(stop)

    def _runs_in_8086_mode(self, instruction: Instruction) -> bool:
        """Tell whether the CPU executes it in virtual-8086 mode, unless a control asks for an exit."""
        row = IN_VIRTUAL_8086.get(instruction.form or "")
        if row is None or row.what not in _RUNS:
            return False
        return instruction.form != "rdtsc" or not self.machine.state.cr4 & Cr4.TSD

    def _general_protection(self, instruction: Instruction) -> Outcome:
        """The instruction is not for ring 3, or not while IOPL < 3: it exits with #GP, and the VMM executes it."""
        leaves = self._exception_exit(Interruption(Vector.GP, 0))
        assert leaves is not None, "every exception of a guest in virtual-8086 mode exits"
        rule = describe.virtual_8086_rule(instruction.form or "")
        return self._emulate(replace(leaves, rule=f"{leaves.rule}; {rule}"), instruction)

    def _interrupt_in_8086_mode(self, instruction: Instruction) -> Outcome:
        """INT n: the VMM goes through the guest's vector table."""
        leaves = self._exception_exit(Interruption(Vector.GP, 0))
        assert leaves is not None, "every exception of a guest in virtual-8086 mode exits"
        before = self.machine.state.copy()
        rule = f"{leaves.rule}; {describe.virtual_8086_rule('int')}"
        event = replace(self._leave(replace(leaves, rule=rule), instruction), native_charges=("native-gate",))
        next_eip = (before.eip + instruction.size) & 0xFFFF_FFFF
        what = Interruption(int(instruction.ops[0].value or 0), is_software=True, next_eip=next_eip)
        return self._inject(event, what, before, self.guest_state())

    def _restricted_verdict(self, instruction: Instruction, form: str) -> tuple[str, str]:
        """Say what will become of an instruction."""
        if self._running is Running.EMULATED:
            return "emulated", self._why_emulated()
        row = IN_VIRTUAL_8086.get(form)
        if row is None or row.what not in _RUNS:
            why = InVirtual8086.TRAPS_BY_PRIVILEGE if row is None else row.what
            return "exits", why.value
        rule = rule_before(self._controls, instruction) if form in INSTRUCTION_EXITS else None
        return ("", "") if rule is None else ("exits", rule)
