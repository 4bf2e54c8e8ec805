"""Exceptions and software interrupts of the guest: those that exit, those that do not, and those the VMM injects."""

from __future__ import annotations

from dataclasses import replace

from ringviz.facts.exceptions import Vector, combines
from ringviz.facts.registers import Cr0
from ringviz.facts.vmx import (
    Reason,
)
from ringviz.guest.instruction import Instruction
from ringviz.machine.delivery import Delivered, Interruption, Shutdown, deliver
from ringviz.machine.linear import LinearMemory
from ringviz.machine.machine import Completion
from ringviz.machine.microcode import Effect
from ringviz.machine.state import CpuState
from ringviz.machine.stops import (
    BudgetSpent,
    Fault,
    Paused,
    SoftInterrupt,
    Stop,
    has_completed,
)
from ringviz.vmm import describe
from ringviz.vmm.escapes import escape
from ringviz.vmm.events import Event
from ringviz.vmm.hardware import HALTED, TRIPLE_FAULT, hardware_event
from ringviz.vmm.mmu.telling import refused_text
from ringviz.vmm.outcome import RESUME, Ended, Outcome
from ringviz.vmm.vtx.exits import VmExit, exception_exit
from ringviz.vmm.vtx.memory import MemoryExits
from ringviz.vmm.vtx.restricted_guest import Running

NO_EXIT = VmExit(Reason.EXCEPTION_NMI, "")
"""Stands for an exit where the guest is emulated and there is none."""
_ASKS_FOR = "no control of the VMCS asks for an exit"


class ExceptionExits(MemoryExits):
    """The exception bitmap decides; what the VMM has no use for goes back to the guest at the VM entry."""

    def _exception(self, event: Interruption, stop: Stop, instruction: Instruction | None) -> Outcome:
        """An exception of the guest: an exit if the exception bitmap says so, else through the guest's own table."""
        self._space.take()
        state = self.machine.state
        length = instruction.size if instruction is not None and event.is_software else 0
        leaves = self._exception_exit(self._as_raised(event), length)
        if leaves is not None:
            return self._reflect(leaves, event, instruction)
        before, at = state.copy(), self.machine.retired
        completion = self._deliver(event, instruction)
        return self._told_in_guest(stop, before, at, completion)

    def _exception_exit(self, event: Interruption, length: int = 0) -> VmExit | None:
        """Tell whether an exception exits; of a guest that is emulated, the VMM learns of each."""
        if self._running is Running.EMULATED:
            return NO_EXIT
        return exception_exit(self._controls, event, dr6=self.machine.state.dr[6], length=length)

    def _soft_interrupt(self, stop: SoftInterrupt) -> Outcome:
        """INT n never exits; INT3, INTO and INT1 do as their exceptions."""
        is_software = not stop.is_privileged_gate_exempt
        next_eip = (self.machine.state.eip + stop.instruction.size) & self.machine.state.address_mask
        is_exception = stop.instruction.form != "int"
        event = Interruption(stop.vector, is_software=is_software, next_eip=next_eip)
        if is_exception or self._running is Running.EMULATED:
            leaves = self._exception_exit(event, stop.instruction.size)
            if leaves is not None:
                return self._reflect(leaves, event, stop.instruction)
        before, at = self.machine.state.copy(), self.machine.retired
        completion = self._deliver(event, stop.instruction)
        has_retired = isinstance(completion, Delivered) and len(completion.chain) == 1
        if has_retired:
            self.machine.retire(stop.instruction)
        return self._told_in_guest(stop, before, at, completion, has_retired=has_retired)

    def _fpu_error(self, stop: Fault) -> Outcome:
        """An FPU error of a guest with CR0.NE = 0, which expects it as an interrupt and not as #MF.

        VMX fixes the real NE to 1. The VMM raises the virtual FERR line, where nobody listens, and carries the
        instruction out with the error held back.
        """
        before = self.machine.state.copy()
        leaves = self._exception_exit(Interruption(Vector.MF))
        assert leaves is not None, "the exception bitmap follows the guest's NE"
        event = self._leave(leaves, stop.instruction)
        old = self.guest_state()
        place = len(self.events)
        self._holds_fpu_error = True
        self.machine.state.cr0 &= ~Cr0.NE
        weight = self.machine.weight
        inner = self.machine.step_over()
        counts = self.vmx.reads, self.vmx.writes
        outcome = RESUME if isinstance(inner, (BudgetSpent, Paused)) else self.handle(inner)
        self._holds_fpu_error = False
        self.machine.state.cr0 |= Cr0.NE
        if has_completed(inner):
            self._ran_for_the_guest(weight)
        if isinstance(outcome, Ended):
            return outcome
        self.vmx.reads, self.vmx.writes = counts
        self._resume(self.guest_state())
        self._tell(event, "virtual FERR line raised; the instruction is carried out", before, old, place)
        return outcome

    def _true_fault(self, raised: Interruption, error_code: int, instruction: Instruction | None) -> Outcome:
        """The guest's own tables refuse: its kernel gets the fault that its own CPU would have raised."""
        leaves = self._exception_exit(raised)
        assert leaves is not None, "page faults exit while the real page tables are the VMM's"
        return self._reflect(leaves, replace(raised, error_code=error_code), instruction)

    # ---- delivery by the CPU -----------------------------------------------------------------------------------------

    def _deliver(self, event: Interruption, instruction: Instruction | None) -> Delivered | Shutdown:
        """The CPU delivers an event through the guest's table; exceptions on the way may exit."""
        if self._running is not Running.NON_ROOT:
            guest = self.guest_state()
            result = self._deliver_by_vmm(guest, event)
            self._resume(guest)
            return result
        result = deliver(
            self.machine.state,
            self._memory_of_the_cpu(instruction, event),
            event,
            lambda first, second: self._met_on_the_way(first, second, instruction),
        )
        self._tell_strays(instruction, event)
        return result

    def _deliver_by_vmm(self, guest: CpuState, event: Interruption) -> Delivered | Shutdown:
        """The VMM does what the guest's CPU does in real mode; the real one would look for a protected-mode table."""
        result = deliver(guest, LinearMemory(guest, self._space), event)
        self._space.take()
        return result

    def _met_on_the_way(self, first: Interruption, second: Interruption, instruction: Instruction | None) -> None:
        """An exception raised while another event was being delivered: an exit, if the exception bitmap says so.

        The VMM finds both in the VMCS and injects what they come to together, as the CPU would have delivered it.
        """
        leaves = exception_exit(self._controls, self._as_raised(second), during=first, dr6=self.machine.state.dr[6])
        if leaves is None:
            return
        before, guest = self.machine.state.copy(), self.guest_state()
        record = self._leave(leaves, instruction)
        injected: Interruption | None
        match combines(first.vector, second.vector):
            case "serial":
                injected, action = second, f"{describe.vector_name(second.vector)} injected"
            case "double-fault":
                injected, action = Interruption(Vector.DF, 0), "both together are a double fault: #DF injected"
            case "shutdown":
                injected, action = None, "both together are a triple fault"
        if injected is not None:
            self._put_event(injected, before)
        self._resume(guest)
        self._tell(record, action, before, guest)

    def _told_in_guest(
        self, stop: Stop, before: CpuState, at: int, completion: Completion, *, has_retired: bool = False
    ) -> Outcome:
        """Record what the CPU did without an exit, where a learner would call it an event."""
        event = hardware_event(self, stop, before, self.machine.state, at, completion)
        if event is not None:
            self.events.append(escape(event, stop, completion, _ASKS_FOR))
        if has_retired:
            self._prefetch()
        if isinstance(completion, Shutdown):
            return self._triple_fault(getattr(stop, "instruction", None))
        is_over = completion is Effect.HALTED and not self.machine.halt()
        return HALTED if is_over else self.conclude()

    # ---- what the VMM does -------------------------------------------------------------------------------------------

    def _reflect(self, leaves: VmExit, event: Interruption, instruction: Instruction | None) -> Outcome:
        """An exception that the exception bitmap sends to the VMM: it has no use for it and hands it back."""
        before = self.machine.state.copy()
        record = self._leave(leaves, instruction)
        guest = self.guest_state()
        if event.vector == Vector.PF and event.linear is not None:
            guest.cr2 = event.linear  # an exit leaves CR2 alone, and so does an injection
            if self._shadow is not None:
                record = replace(record, rule=f"{record.rule}; {refused_text(event.error_code or 0)}")
        native = "native-page-fault" if event.vector == Vector.PF else "native-exception"
        return self._inject(replace(record, native_charges=(native,)), event, before, guest)

    def _inject(self, event: Event, what: Interruption, before: CpuState, guest: CpuState) -> Outcome:
        """Resume the guest with an event for its own handler; the CPU delivers it at the VM entry."""
        old = guest.copy()
        if self._running is not Running.NON_ROOT:
            return self._inject_by_vmm(event, what, before, guest)
        self._put_event(what, before)
        self._resume(guest)
        counts = self.vmx.reads, self.vmx.writes
        place = len(self.events)
        result = self._deliver(what, None)
        if what.next_eip is not None and isinstance(result, Delivered) and len(result.chain) == 1:
            self.machine.retire()
            self._prefetch()
            self.emulated += 1
        name = describe.interruption_name(what, self.machine.bus)
        action = f"{name} injected, {describe.delivered_text(result, self.machine.state)}"
        self.vmx.reads, self.vmx.writes = counts
        self._tell(event, action, before, old, place)
        if isinstance(result, Shutdown):
            return self._triple_fault(None)
        return RESUME

    def _inject_by_vmm(self, event: Event, what: Interruption, before: CpuState, guest: CpuState) -> Outcome:
        """Resume the guest in its own handler, the frame being made by the VMM."""
        old = guest.copy()
        result = self._deliver_by_vmm(guest, what)
        if what.next_eip is not None and isinstance(result, Delivered) and len(result.chain) == 1:
            self.machine.retire()
            self.emulated += 1
        self._resume(guest)
        name = describe.interruption_name(what, self.machine.bus)
        self._tell(event, f"{name} emulated, {describe.delivered_text(result, guest)}", before, old)
        self._prefetch()
        return self._triple_fault(None) if isinstance(result, Shutdown) else RESUME

    def _triple_fault(self, instruction: Instruction | None) -> Outcome:
        """Unconditional exit: the guest is dead."""
        before = self.machine.state.copy()
        event = self._leave(VmExit(Reason.TRIPLE_FAULT, "unconditional"), instruction)
        self._tell(event, "the guest is dead: nothing to resume", before, self.guest_state())
        return TRIPLE_FAULT
