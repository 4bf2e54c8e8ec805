"""The VT-x VMM: what its VMCS asks for, and what it does at each VM exit.

The guest runs in VMX non-root operation with its kernel in ring 0. What leaves it is decided by the fields of the
VMCS; the VMM reads what it needs with VMREAD, acts, writes with VMWRITE what it changed, and goes on with VMRESUME.

The class is built up in files of their own: `transitions` (the VMCS, VM exit and VM entry), `memory`, `exceptions`,
`instructions`, `interrupts`, `restricted` (real mode, where the CPU has none for a guest).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from ringviz.facts.exceptions import Vector
from ringviz.facts.paging import PagingMode
from ringviz.facts.registers import Cr0
from ringviz.facts.vmx import (
    INSTRUCTION_EXITS,
    Reason,
)
from ringviz.guest.instruction import Instruction
from ringviz.machine.delivery import Interruption
from ringviz.machine.paging import Access
from ringviz.machine.stops import (
    ExternalInterrupt,
    Fault,
    Halted,
    InterruptWindow,
    NestedFault,
    PortIo,
    SensitiveInsn,
    SoftInterrupt,
    Stop,
    Watched,
)
from ringviz.vmm.controls import Control
from ringviz.vmm.hardware import HALTED, RETURNS, watched_return
from ringviz.vmm.outcome import RESUME, Outcome
from ringviz.vmm.setup import Setup
from ringviz.vmm.side import Side
from ringviz.vmm.verdicts import on_bare_cpu
from ringviz.vmm.vtx.instructions import VMX_FORMS
from ringviz.vmm.vtx.panel import vmcs_panel
from ringviz.vmm.vtx.policy import controls as policy_controls
from ringviz.vmm.vtx.restricted import RestrictedExits
from ringviz.vmm.vtx.restricted_guest import Running
from ringviz.vmm.vtx.words import rule_before
from ringviz.vmm.walks import NestedWalk


class VtX(RestrictedExits):
    """Hardware assistance as Intel built it."""

    id: ClassVar[str] = "vt-x"
    nested_mode = PagingMode.EPT

    @classmethod
    def controls(cls, setup: Setup) -> Mapping[str, Control]:
        """The bits of the VMCS, as this CPU allows them."""
        return policy_controls(setup)

    def handle(self, stop: Stop) -> Outcome:
        """Decide as the CPU does whether the stop is a VM exit; if so, the VMM answers it."""
        reason = Reason.TASK_SWITCH.value
        then = f"; under VT-x it would exit with reason {reason}, and the VMM would have to switch tasks itself"
        with self.saying_where(then):
            return self._handle(stop)

    def _handle(self, stop: Stop) -> Outcome:
        if self._running is not Running.NON_ROOT:
            return self._restricted(stop)
        match stop:
            case Watched() if stop.form in RETURNS:
                inner = watched_return(self, stop)
                return RESUME if inner is None else self.handle(inner)
            case Watched() | SensitiveInsn() | PortIo():
                return self._instruction(stop, stop.instruction)
            case _:
                return self._ordinary(stop)

    def _ordinary(self, stop: Stop) -> Outcome:
        """Answer a stop whose cause is the same in every mode of the guest."""
        match stop:
            case Fault():
                return self._fault(stop)
            case SoftInterrupt():
                return self._soft_interrupt(stop)
            case NestedFault():
                assert self.ept is not None
                return self._outside(self.ept, stop)
            case ExternalInterrupt():
                return self._device_calls(stop)
            case InterruptWindow():
                return self._can_be_interrupted(stop)
            case Halted():
                return HALTED
            case _:
                raise AssertionError(f"a stop that VT-x cannot meet: {stop}")

    def _fault(self, stop: Fault) -> Outcome:
        """The CPU raised an exception in the guest."""
        instruction = stop.instruction
        is_ud = stop.vector == Vector.UD and self._running is Running.NON_ROOT
        if is_ud and instruction is not None and instruction.form in VMX_FORMS:
            return self._instruction(stop, instruction)
        if stop.vector == Vector.PF and self._shadow is not None:
            return self._page_fault(self._shadow, stop)
        if stop.vector == Vector.MF and not self.guest_state().cr0 & Cr0.NE:
            return self._fpu_error(stop)
        return self._exception(Interruption(stop.vector, stop.error_code, stop.linear), stop, instruction)

    def _nested_root(self) -> int:
        assert self.ept is not None
        return self.ept.root

    def _nested_walk(self, gpa: int, access: Access) -> NestedWalk:
        assert self.ept is not None
        done = self.ept.walk(gpa, is_write=access.is_write, is_fetch=access.is_fetch)
        refusal = "EPT misconfiguration" if done.is_misconfigured else "EPT violation" if done.hpa is None else ""
        return NestedWalk(done.entries, done.hpa, refusal)

    def verdict(self, instruction: Instruction, cpl: int) -> tuple[str, str]:
        """The CPU's own rules in non-root operation, and the exits that the controls ask for now."""
        form = instruction.form
        if form is not None and self._running is not Running.NON_ROOT:
            return self._restricted_verdict(instruction, form)
        word, why = on_bare_cpu(form, cpl)
        row = INSTRUCTION_EXITS.get(form or "")
        if form is None or row is None or (word == "faults" and row.needs != "exit-first"):
            return word, why
        rule = rule_before(self._controls, instruction)
        return (word, why) if rule is None else ("exits", rule)

    def side(self) -> Side:
        """The VMCS: what the last exit wrote, and what the VMM has changed since."""
        vmcs = self.vmx.vmcs
        return vmcs_panel(vmcs, self._images, self.policy.capabilities)
