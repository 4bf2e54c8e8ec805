"""Interrupts: a device calls, and the CPU itself keeps the guest's virtual interrupt until the guest's IF allows it.

The interrupt controller that the guest programs is the VMM's, in software. When a device calls while the guest runs,
the CPU leaves the guest at once, whatever its IF says (V_INTR_MASKING). The VMM puts the vector into V_INTR_VECTOR and
sets V_IRQ; after VMRUN the CPU waits for the guest's IF by itself, and delivers without another #VMEXIT.

Source: AMD APM Vol. 2, "Interrupt and Local APIC Support" (virtual interrupts).
"""

from __future__ import annotations

from dataclasses import replace

from ringviz.facts.svm import VINTR_FIELDS
from ringviz.machine.delivery import Interruption, Shutdown
from ringviz.machine.state import CpuState
from ringviz.machine.stops import ExternalInterrupt, InterruptWindow
from ringviz.machine.svm.exits import Exited
from ringviz.machine.svm.registers import GuestMode
from ringviz.machine.svm.report import SvmReport
from ringviz.vmm.amdv.instructions import InstructionExits
from ringviz.vmm.hardware import hardware_event
from ringviz.vmm.outcome import RESUME, Outcome
from ringviz.vmm.technique import TURN_ENDS

_RULE = "V_IRQ is 1 in the VMCB, and so is the guest's IF: the CPU delivers the virtual interrupt by itself"


class InterruptExits(InstructionExits):
    """The INTR intercept and V_IRQ."""

    def _device_calls(self, stop: ExternalInterrupt) -> Outcome:
        """A device interrupts the CPU while the guest runs."""
        before = self.machine.state.copy()
        event = replace(self._exit(SvmReport("VMEXIT_INTR", "INTR"), stop.instruction), is_between=True)
        wanted = self._wanted_by_l1(InterruptWindow(stop.instruction)) if self.machine.can_interrupt() else None
        if wanted is not None:
            return self._reflect_into_l1(event, wanted, before)
        self._offer_interrupt()
        action = "noted for the virtual interrupt controller, which masks it"
        if self.vmcb.has_virtual_interrupt:
            action = f"V_IRQ set, vector {self.vmcb.get('V_INTR_VECTOR'):02X}h: the CPU waits for the guest's IF"
        self._tell(event, action, before)
        return RESUME

    def preempt(self) -> None:
        """Leave the guest because the host's timer interrupts, and enter it again for its next turn."""
        before = self.machine.state.copy()
        event = replace(self._exit(SvmReport("VMEXIT_INTR", "INTR"), self.instruction_here()), is_between=True)
        self._tell(event, TURN_ENDS, before)

    def no_preemption(self) -> str:
        """The host's timer must exit: it would be the guest's own otherwise."""
        return "" if "INTR" in self.vmcb.intercepts else "the VMCB does not intercept INTR"

    def _can_be_interrupted(self, stop: InterruptWindow) -> Outcome:
        """An interrupt waits, and the guest lets it in now."""
        machine = self.machine
        wanted = self._wanted_by_l1(stop)
        if wanted is not None:
            before = machine.state.copy()
            event = replace(self._exit(wanted, stop.instruction), is_between=True)
            return self._reflect_into_l1(event, wanted, before)
        if stop.is_virtual:
            return self._interrupts_l2(stop)
        is_virtual = "INTR" in self.vmcb.intercepts
        if is_virtual and not self.vmcb.has_virtual_interrupt and not machine.is_halted:
            # The guest has a port of the interrupt controller for itself: the request is news to the VMM.
            return self._device_calls(ExternalInterrupt(stop.instruction))
        before, at = machine.state.copy(), machine.retired
        what = Interruption(machine.acknowledge(), is_external=True)
        self._offer_interrupt()  # the CPU clears V_IRQ; what waits next is for the next VMRUN
        return self._told_interrupt(stop, before, at, what, is_virtual=is_virtual)

    def _interrupts_l2(self, stop: InterruptWindow) -> Outcome:
        """L1 has put a virtual interrupt into VMCB12, and so L0 into VMCB02: the CPU delivers it to L2 by itself."""
        before, at = self.machine.state.copy(), self.machine.retired
        what = Interruption(self.machine.take_virtual_interrupt(), is_external=True)
        return self._told_interrupt(stop, before, at, what, is_virtual=True)

    def _told_interrupt(
        self, stop: InterruptWindow, before: CpuState, at: int, what: Interruption, *, is_virtual: bool
    ) -> Outcome:
        """Let the CPU deliver an interrupt, and record it."""
        completion = self._deliver(what, stop.instruction)
        if isinstance(completion, Exited):
            return RESUME  # into L1, and told
        event = hardware_event(self, stop, before, self.machine.state, at, completion)
        if event is not None:
            self.events.append(replace(event, rule=_RULE) if is_virtual else event)
        return self._shutdown(stop.instruction) if isinstance(completion, Shutdown) else RESUME

    def _offer_interrupt(self) -> None:
        """Let V_IRQ say what the virtual interrupt controller says, as the VMM does before every VMRUN."""
        if "INTR" not in self.vmcb.intercepts:
            return
        svm, l2 = self.machine.cpu.svm, self._l2
        if l2 is not None and "INTR" in l2.intercepts:
            self._offer_to_l2(l2)
            return
        # While the virtual global interrupt flag is 0 nothing may interrupt L1, and the CPU knows only its IF.
        is_requested = self.machine.bus.is_requesting and (svm is None or svm.gif)
        word = VINTR_FIELDS["V_INTR_MASKING"].put(VINTR_FIELDS["V_TPR"].put(0, self.machine.state.cr8), 1)
        if is_requested:
            word = VINTR_FIELDS["V_IGN_TPR"].put(VINTR_FIELDS["V_IRQ"].put(word, 1), 1)
            self.vmcb.put("V_INTR_VECTOR", self.machine.bus.pending_vector)
        if is_requested or self.vmcb.has_virtual_interrupt:
            self.vmcb.put("VINTR_CONTROL", word)

    def _offer_to_l2(self, l2: GuestMode) -> None:
        """Let V_IRQ of VMCB02 say what L1 has said in VMCB12: real interrupts are for L1, and exit."""
        word = VINTR_FIELDS["V_INTR_MASKING"].put(VINTR_FIELDS["V_TPR"].put(0, l2.v_tpr), 1)
        for name, value in (("V_IRQ", int(l2.v_irq)), ("V_INTR_PRIO", l2.v_prio), ("V_IGN_TPR", int(l2.v_ign_tpr))):
            word = VINTR_FIELDS[name].put(word, value)
        self.vmcb.put("VINTR_CONTROL", word)
        self.vmcb.put("V_INTR_VECTOR", l2.v_vector)
