"""Exceptions and software interrupts of the guest: those that exit, those that do not, and those the VMM injects."""

from __future__ import annotations

from dataclasses import replace

from ringviz.facts.exceptions import Vector, combines
from ringviz.guest.instruction import Instruction
from ringviz.machine.delivery import Delivered, Interruption, Shutdown, deliver
from ringviz.machine.machine import Completion
from ringviz.machine.microcode import Effect
from ringviz.machine.state import CpuState
from ringviz.machine.stops import (
    SoftInterrupt,
    Stop,
)
from ringviz.machine.svm.exits import SHUTDOWN_EXIT, Exited
from ringviz.machine.svm.intercepts import event_word, exception_exit, instruction_exit
from ringviz.machine.svm.report import SvmReport
from ringviz.vmm import describe
from ringviz.vmm.amdv.levels import ReflectedError
from ringviz.vmm.amdv.memory import SHADOW_NEEDS, MemoryExits
from ringviz.vmm.escapes import escape, escaped_shutdown
from ringviz.vmm.events import Event
from ringviz.vmm.hardware import HALTED, TRIPLE_FAULT, hardware_event
from ringviz.vmm.mmu.telling import refused_text
from ringviz.vmm.outcome import RESUME, Outcome
from ringviz.vmm.technique import text_of

_MISSING = "no intercept of the VMCB asks for an exit"


class ExceptionExits(MemoryExits):
    """The exception intercepts decide; what the VMM has no use for goes back to the guest through EVENTINJ."""

    def _exception(self, what: Interruption, stop: Stop, instruction: Instruction | None) -> Outcome:
        """An exception of the guest: an exit if it is intercepted, else through the guest's own table."""
        report = exception_exit(self.vmcb.intercepts, self._as_raised(what))
        if report is not None:
            return self._exception_exit(report, what, instruction)
        before, at = self.machine.state.copy(), self.machine.retired
        return self._told_in_guest(stop, before, at, self._deliver(what, instruction))

    def _soft_interrupt(self, stop: SoftInterrupt) -> Outcome:
        """INT n has an intercept of its own, INT1 as well; INT3 and INTO are intercepted as their exceptions."""
        instruction = stop.instruction
        before, at = self.machine.state.copy(), self.machine.retired
        next_eip = (before.eip + instruction.size) & before.address_mask
        what = Interruption(stop.vector, is_software=not stop.is_privileged_gate_exempt, next_eip=next_eip)
        if instruction.form in ("int", "int1"):
            report = instruction_exit(self.vmcb.intercepts, instruction, before, None, self._maps, self._byte)
        else:
            report = exception_exit(self.vmcb.intercepts, what)
        if report is not None:
            wanted = self._wanted_by_l1(stop)
            if wanted is not None:
                return self._reflect_into_l1(self._exit(report, instruction), wanted, before)
            return self._reflect(report, what, instruction)
        completion = self._deliver(what, instruction)
        has_retired = isinstance(completion, Delivered) and len(completion.chain) == 1
        if has_retired:
            self.machine.retire(instruction)
        return self._told_in_guest(stop, before, at, completion, has_retired=has_retired)

    def _true_fault(self, raised: Interruption, error_code: int, instruction: Instruction | None) -> Outcome:
        """The guest's own tables refuse: its kernel gets the fault that its own CPU would have raised."""
        report = exception_exit(self.vmcb.intercepts, raised)
        assert report is not None, SHADOW_NEEDS
        return self._exception_exit(report, replace(raised, error_code=error_code), instruction)

    def _exception_exit(self, report: SvmReport, what: Interruption, instruction: Instruction | None) -> Outcome:
        """An exception has left the guest: it is for L1, if L2 has raised it and L1 intercepts it, else for the guest.

        Args:
            report: of the exit.
            what: the exception as the guest's own CPU would have raised it.
            instruction: at which.
        """
        l2 = self._l2
        wanted = None if l2 is None else exception_exit(l2.intercepts, what)
        if wanted is not None:
            before = self.machine.state.copy()
            return self._reflect_into_l1(self._exit(report, instruction), wanted, before)
        return self._reflect(report, what, instruction)

    # ---- delivery by the CPU -----------------------------------------------------------------------------------------

    def _deliver(self, what: Interruption, instruction: Instruction | None) -> Delivered | Shutdown | Exited:
        """The CPU delivers an event through the guest's table; exceptions on the way may exit."""

        def met(first: Interruption, second: Interruption) -> None:
            report = exception_exit(self.vmcb.intercepts, self._as_raised(second), first)
            if report is None:
                return
            wanted = None if self._l2 is None else exception_exit(self._l2.intercepts, second, first)
            if wanted is not None:
                before = self.machine.state.copy()
                self._reflect_into_l1(self._exit(report, instruction), wanted, before)
                raise ReflectedError(wanted)
            before = self.machine.state.copy()
            event = self._exit(report, instruction)
            match combines(first.vector, second.vector):
                case "serial":
                    self.vmcb.put("EVENTINJ", event_word(second))
                    action = f"{describe.vector_name(second.vector)} injected"
                case "double-fault":
                    self.vmcb.put("EVENTINJ", event_word(Interruption(Vector.DF, 0)))
                    action = "both together are a double fault: #DF injected"
                case "shutdown":
                    action = "both together are a triple fault"
            self._tell(event, action, before)

        try:
            return deliver(self.machine.state, self._memory_of_the_cpu(instruction, what), what, met)
        except ReflectedError as reflected:
            return Exited(reflected.report)

    def _told_in_guest(
        self, stop: Stop, before: CpuState, at: int, completion: Completion, *, has_retired: bool = False
    ) -> Outcome:
        """Record what the CPU did without an exit, where a learner would call it an event."""
        if isinstance(completion, Exited):
            return RESUME  # into L1, and told
        event = hardware_event(self, stop, before, self.machine.state, at, completion)
        if event is not None:
            self.events.append(escape(event, stop, completion, _MISSING))
        if has_retired:
            self._prefetch()
        if isinstance(completion, Shutdown):
            return self._shutdown(getattr(stop, "instruction", None))
        is_over = completion is Effect.HALTED and not self.machine.halt()
        return HALTED if is_over else self.conclude()

    # ---- what the VMM does -------------------------------------------------------------------------------------------

    def _reflect(self, report: SvmReport, what: Interruption, instruction: Instruction | None) -> Outcome:
        """An exception or INT n that is intercepted: the VMM has no use for it and hands it back."""
        before = self.machine.state.copy()
        event = self._exit(report, instruction)
        native, rule = "native-exception", event.rule
        if what.vector == Vector.PF:
            native = "native-page-fault"
            if self._shadow is not None:
                rule = f"{event.rule}; {refused_text(what.error_code or 0)}"
        elif what.is_software and what.vector not in (Vector.BP, Vector.OF):
            native = "native-gate"
        event = replace(event, native_charges=(native,), rule=rule)
        return self._inject(event, what, before)

    def _inject(self, event: Event, what: Interruption, before: CpuState) -> Outcome:
        """Enter the guest with an event for its own handler; the CPU delivers it at VMRUN."""
        self.vmcb.put("EVENTINJ", event_word(what))
        if what.vector == Vector.PF and what.linear is not None:
            self.machine.state.cr2 = what.linear  # an exit leaves CR2 alone
        self.vmcb.store_guest(self.machine.state)
        place = len(self.events)
        result = self._deliver(what, None)
        if what.next_eip is not None and isinstance(result, Delivered) and len(result.chain) == 1:
            self.machine.retire()
            self._prefetch()
            self.emulated += 1
        if isinstance(result, Exited):
            self.events.insert(place, replace(event, action=f"injected, and {result.report.exit_name} on the way"))
            return RESUME
        text = f"exception injected, {describe.delivered_text(result, self.machine.state)}"
        if what.is_software:
            text = text.replace("exception", describe.interruption_name(what, self.machine.bus))
        self._tell(event, text, before, place, stores=False)
        return self._shutdown(None) if isinstance(result, Shutdown) else RESUME

    def _shutdown(self, instruction: Instruction | None) -> Outcome:
        """The guest is dead: an exit, or without the intercept the end of the real CPU."""
        before = self.machine.state.copy()
        if self._l2 is not None and SHUTDOWN_EXIT.intercept in self._l2.intercepts:
            return self._reflect_into_l1(self._exit(SHUTDOWN_EXIT, instruction), SHUTDOWN_EXIT, before)
        if "SHUTDOWN" not in self.vmcb.intercepts:
            self.events.append(escaped_shutdown(before, self.machine.retired, text_of(instruction), _MISSING))
            return TRIPLE_FAULT
        event = self._exit(SHUTDOWN_EXIT, instruction)
        self._tell(event, "the guest is dead: nothing to resume", before)
        return TRIPLE_FAULT
