"""The AMD-V VMM: what it intercepts, and what it does at each #VMEXIT.

The guest runs in guest mode with its kernel in ring 0. The CPU itself handles the guest's privileged instructions,
exceptions and page tables; it leaves guest mode only for what the VMCB intercepts and for nested page faults.

The class is built up in files of their own: `world_switch` (the VMCB, #VMEXIT and VMRUN), `memory`, `exceptions`,
`instructions`, `interrupts`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from ringviz.facts.exceptions import Vector
from ringviz.facts.paging import PagingMode
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
from ringviz.machine.svm.exits import is_svm_instruction
from ringviz.machine.svm.intercepts import possible_intercepts
from ringviz.vmm.amdv.interrupts import InterruptExits
from ringviz.vmm.amdv.panel import vmcb_panel
from ringviz.vmm.amdv.policy import controls as policy_controls
from ringviz.vmm.controls import Control
from ringviz.vmm.hardware import HALTED
from ringviz.vmm.outcome import Outcome
from ringviz.vmm.setup import Setup
from ringviz.vmm.side import Side
from ringviz.vmm.verdicts import on_bare_cpu
from ringviz.vmm.walks import NestedWalk

_INTERCEPT_FIRST = frozenset({"pushf", "popf", "iret", "int", "int1", "cpuid", "vmmcall"})
"""Forms whose intercept comes before any fault of theirs."""


class AmdV(InterruptExits):
    """Hardware assistance as AMD built it, with nested paging or with shadow page tables."""

    id: ClassVar[str] = "amd-v"
    nested_mode = PagingMode.FOUR_LEVEL

    @classmethod
    def controls(cls, setup: Setup) -> Mapping[str, Control]:
        """The intercepts of the VMCB."""
        return policy_controls(setup)

    def handle(self, stop: Stop) -> Outcome:
        """Decide as the CPU does whether the stop leaves guest mode; if so, the VMM answers it."""
        with self.saying_where():
            outcome = self._handle(stop)
        self._offer_interrupt()
        return outcome

    def _handle(self, stop: Stop) -> Outcome:
        match stop:
            case NestedFault():
                assert self.nested is not None
                return self._nested_fault(self.nested, stop)
            case Fault(vector=Vector.PF) if self._shadow is not None:
                return self._page_fault(self._shadow, stop)
            case SoftInterrupt():
                return self._soft_interrupt(stop)
            case Fault() if is_svm_instruction(stop):
                assert stop.instruction is not None
                return self._instruction(stop, stop.instruction)
            case Fault():
                return self._exception(Interruption(stop.vector, stop.error_code, stop.linear), stop, stop.instruction)
            case PortIo() | SensitiveInsn() | Watched():
                return self._instruction(stop, stop.instruction)
            case ExternalInterrupt():
                return self._device_calls(stop)
            case InterruptWindow():
                return self._can_be_interrupted(stop)
            case Halted():
                return HALTED
            case _:
                raise AssertionError(f"a stop that AMD-V cannot meet: {stop}")

    def _nested_root(self) -> int:
        assert self.nested is not None
        return self.nested.root

    def _nested_walk(self, gpa: int, access: Access) -> NestedWalk:
        assert self.nested is not None
        return self.nested.walk(gpa, is_write=access.is_write)

    def verdict(self, instruction: Instruction, cpl: int) -> tuple[str, str]:
        """The CPU's own rules in guest mode, and the intercepts where they come after the privilege checks."""
        form = instruction.form
        word, why = on_bare_cpu(form, cpl)
        if form is None or (word == "faults" and form not in _INTERCEPT_FIRST):
            return word, why
        for intercept in possible_intercepts(instruction):
            if intercept in self.vmcb.intercepts:
                return "exits", f"the VMCB intercepts {intercept}"
        return word, why

    def side(self) -> Side:
        """The VMCB: what the last #VMEXIT wrote, and what the VMM has changed since."""
        name = "VMCB" if self._l2 is None else "VMCB02, for the guest's own guest"
        return vmcb_panel(self.vmcb.address, self.vmcb.image(), self._images, name)
