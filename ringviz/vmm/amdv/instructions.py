"""Instructions that may exit: those that the CPU executes in guest mode, and those the VMM executes instead."""

from __future__ import annotations

from dataclasses import replace

from ringviz.errors import UnsupportedError
from ringviz.facts.exceptions import Vector
from ringviz.facts.registers import EFER_MSR, Efer
from ringviz.guest.instruction import Instruction
from ringviz.machine import microcode
from ringviz.machine.delivery import Interruption, Shutdown
from ringviz.machine.linear import PageFault
from ringviz.machine.microcode import Effect, GuestFault
from ringviz.machine.microcode.ports import PORT_FORMS, port_of
from ringviz.machine.state import ADDRESS_32, EAX, ECX, CpuState
from ringviz.machine.stops import (
    BudgetSpent,
    Fault,
    Paused,
    PortIo,
    Stop,
    Watched,
)
from ringviz.machine.svm.exits import Entered
from ringviz.machine.svm.intercepts import SVM_FORMS, event_word, instruction_exit
from ringviz.machine.svm.report import SvmReport
from ringviz.machine.svm.world_switch import why_refused
from ringviz.vmm import describe
from ringviz.vmm.amdv.exceptions import ExceptionExits
from ringviz.vmm.environment import VirtualEnvironment
from ringviz.vmm.hardware import HALTED, RETURNS, entry_action, watched_return
from ringviz.vmm.outcome import RESUME, Outcome

_REACHES_THE_VMM = frozenset({"vmload", "vmsave", "stgi", "clgi"})
"""Not intercepted, they act on host-physical memory, or on what keeps interrupts from the VMM itself."""


class InstructionExits(ExceptionExits):
    """The intercepts and maps of the VMCB decide."""

    def _instruction(self, stop: Stop, instruction: Instruction) -> Outcome:
        """Tell whether an instruction that could exit does, and act on it."""
        state = self.guest_state()
        port = stop if isinstance(stop, PortIo) else None
        if port is None and instruction.form in PORT_FORMS:
            number, size, is_input = port_of(state, instruction)
            port = PortIo(is_input, number, size, instruction)
        report = instruction_exit(self.vmcb.intercepts, instruction, state, port, self._maps, self._byte)
        if report is None:
            return self._runs(stop, instruction)
        wanted = self._wanted_by_l1(stop)
        if wanted is not None:
            before = self.machine.state.copy()
            return self._reflect_into_l1(self._exit(report, instruction), wanted, before)
        if instruction.form == "vmrun" and state.svm is not None:
            return self._vmrun(report, instruction)
        if instruction.form in SVM_FORMS and (state.svm is None or instruction.form not in microcode.FORMS):
            event = self._exit(report, instruction)
            return self._inject(event, Interruption(Vector.UD), self.machine.state.copy())
        return self._emulate(report, instruction)

    # ---- in guest mode -----------------------------------------------------------------------------------------------

    def _runs(self, stop: Stop, instruction: Instruction) -> Outcome:
        """The CPU executes it in guest mode."""
        if isinstance(stop, Watched):
            inner = watched_return(self, stop) if stop.form in RETURNS else self.machine.step_over()
            return RESUME if inner is None or isinstance(inner, (BudgetSpent, Paused)) else self.handle(inner)
        if isinstance(stop, Fault):  # an SVM instruction that is not intercepted
            return self._exception(Interruption(stop.vector), stop, instruction)
        before, at = self.machine.state.copy(), self.machine.retired
        if instruction.form == "wrmsr" and _msr(before) == EFER_MSR and not before.cpl:
            raise UnsupportedError(
                f"{self.scenario.id}, at {before.eip:08X}h: the guest writes the real EFER, for no intercept stops it;"
                " without SVME in it the next VMRUN ends with VMEXIT_INVALID"
            )
        if instruction.form in _REACHES_THE_VMM and before.svm is not None and before.efer & Efer.SVME:
            raise UnsupportedError(
                f"{self.scenario.id}, at {before.eip:08X}h: the guest executes {instruction.mnemonic.upper()} on the"
                " real CPU, for no intercept stops it; it would reach the VMM's memory or its global interrupt flag"
            )
        completion = self._execute(instruction, is_in_guest=True)
        if isinstance(completion, Interruption):
            return self._exception(completion, stop, instruction)
        if instruction.form == "rdmsr" and _msr(before) == EFER_MSR:
            self.machine.state.gpr[EAX] |= Efer.SVME  # the real register: in guest mode the bit is set
        return self._told_in_guest(stop, before, at, completion, has_retired=completion is not Effect.UNFINISHED)

    # ---- by the VMM --------------------------------------------------------------------------------------------------

    def _emulate(self, report: SvmReport, instruction: Instruction) -> Outcome:
        """The VMM executes the instruction on the guest's behalf."""
        before, old = self.machine.state.copy(), self.guest_state()
        event = self._exit(report, instruction)
        event = replace(event, native_charges=describe.port_charges(self.machine.bus, instruction, old))
        effect = self._execute(instruction)
        if isinstance(effect, Interruption):
            return self._inject(event, effect, before)
        if effect is Effect.UNFINISHED:
            self.vmcb.store_guest(self.machine.state)
            return self.conclude()
        self.emulated += 1
        self._tell(event, self._action(instruction, old), before, old=old)
        self._prefetch()
        return HALTED if effect is Effect.HALTED and not self.machine.halt() else self.conclude()

    def _vmrun(self, report: SvmReport, instruction: Instruction) -> Outcome:
        """L1 enters its guest: the VMM does to the virtual CPU what VMRUN does, and runs L2 with a VMCB of its own."""
        machine = self.machine
        before, old = machine.state.copy(), self.guest_state()
        event = self._exit(report, instruction)
        broken = why_refused(self._physical, old)
        effect = self._execute(instruction)
        if isinstance(effect, Interruption):
            return self._inject(event, effect, before)
        self.emulated += 1
        l2 = self._l2
        if l2 is None:
            self._tell(event, f"refused for L1, with EXITCODE −1: {broken}", before, old=old)
            self._prefetch()
            return self.conclude()
        self._enter_l2(l2)
        entered, place = Entered(), len(self.events)
        injection = machine.begin_guest(l2, self._physical)
        if injection is not None:
            self.vmcb.put("EVENTINJ", event_word(injection))
            entered = Entered("", injection, self._deliver(injection, None))
        self._tell(event, f"VMCB02 made; {entry_action(machine.state, entered)}", before, place, old=old)
        if isinstance(entered.outcome, Shutdown):
            return self._shutdown(None)
        self._prefetch()
        return self.conclude()

    def _action(self, instruction: Instruction, before: CpuState) -> str:
        """What the VMM did, in a few words."""
        form, after = instruction.form or "", self.guest_state()
        if form in PORT_FORMS:
            port, size, is_input = port_of(before, instruction)
            stop = PortIo(is_input, port, size, instruction)
            return "virtual " + describe.port_action(self.machine.bus, stop, after)
        if form in ("mov-to-cr", "mov-from-cr"):
            name = next(op.register for op in instruction.ops if op.register and op.register.startswith("cr"))
            if form == "mov-from-cr":
                return f"virtual {name.upper()} read: {getattr(after, name):X}"
            return f"virtual {name.upper()} {getattr(before, name):X} → {getattr(after, name):X}"
        if form in ("clts", "lmsw"):
            return f"virtual CR0 {before.cr0:X} → {after.cr0:X}"
        return {
            "cpuid": "CPUID of the virtual machine",
            "hlt": "the virtual CPU waits for an interrupt",
            "rdmsr": f"virtual MSR {_msr(before):X}h read",
            "wrmsr": f"virtual MSR {_msr(before):X}h written",
            "pushf": f"flags pushed: {before.eflags:X}",
            "popf": f"flags popped: {after.eflags:X}",
            "iret": f"on to {after.segments[1].selector:04X}:{after.eip:08X}",
            "rdtsc": "time-stamp counter of the virtual machine",
            "stgi": "the virtual CPU's global interrupt flag is 1",
            "clgi": "the virtual CPU's global interrupt flag is 0",
            "vmload": "the virtual CPU's FS, GS, TR and LDTR loaded from L1's VMCB",
            "vmsave": "the virtual CPU's FS, GS, TR and LDTR saved into L1's VMCB",
        }.get(form, "emulated on the virtual CPU")

    def _port_map_outside(self, instruction: Instruction) -> Outcome:
        """The I/O permission map of a port instruction lies beyond the guest's memory: the VMM emulates it."""
        effect = self._execute(instruction)
        self.vmcb.store_guest(self.machine.state)
        if isinstance(effect, Interruption):
            stop = Fault(effect.vector, effect.error_code, effect.linear, instruction)
            return self._exception(effect, stop, instruction)
        if effect is not Effect.UNFINISHED:
            self.emulated += 1
            self._prefetch()
        return self.conclude()

    # ---- by either ---------------------------------------------------------------------------------------------------

    def _execute(self, instruction: Instruction, *, is_in_guest: bool = False) -> Effect | Interruption:
        """Execute an instruction by microcode; give what it raises instead of delivering it.

        Args:
            instruction: at EIP.
            is_in_guest: it is the CPU that does so, and what its tables do not allow exits on the way.
        """
        machine = self.machine
        attempt = self.guest_state()
        space = machine if self._shadow is None else self._space
        flush = machine.flush_tlb
        environment = VirtualEnvironment(attempt, space, machine.bus, machine.now, flush, machine.cpuid)
        if is_in_guest and self._shadow is not None:
            environment.memory = self._memory_of_the_cpu(instruction)
        elif is_in_guest:
            environment.memory.told_to(machine.on_own_access)
        try:
            effect = microcode.execute(environment, instruction)
        except GuestFault as fault:
            if fault.vector == Vector.DB:  # general detect shows in DR6, and has switched itself off
                machine.cpu.adopt(self._compose(attempt))
            return Interruption(fault.vector, fault.error_code)
        except PageFault as fault:
            if instruction.is_string:
                machine.cpu.adopt(self._compose(attempt))
            return Interruption(Vector.PF, fault.error_code, fault.linear)
        machine.conclude_instruction(self.guest_state(), instruction, effect)
        machine.cpu.adopt(self._compose(attempt))
        if effect is not Effect.UNFINISHED:
            machine.retire(instruction if is_in_guest else None)
        return effect


def _msr(state: CpuState) -> int:
    """Number of the model-specific register that RDMSR and WRMSR mean."""
    return state.gpr[ECX] & ADDRESS_32
