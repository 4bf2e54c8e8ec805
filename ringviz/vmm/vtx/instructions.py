"""Instructions that may exit: those that the CPU executes in non-root operation, and those the VMM executes instead."""

from __future__ import annotations

from dataclasses import replace

from ringviz.facts.exceptions import Vector
from ringviz.facts.registers import Efer
from ringviz.facts.vmx import (
    INSTRUCTION_EXITS,
)
from ringviz.guest.instruction import Instruction
from ringviz.machine import microcode
from ringviz.machine.delivery import Interruption
from ringviz.machine.linear import LinearMemory, PageFault
from ringviz.machine.microcode import Effect, GuestFault
from ringviz.machine.microcode.ports import PORT_FORMS, port_of
from ringviz.machine.state import CpuState
from ringviz.machine.stops import (
    BudgetSpent,
    Fault,
    Paused,
    PortIo,
    SensitiveInsn,
    Stop,
    Watched,
)
from ringviz.vmm import describe
from ringviz.vmm.environment import VirtualEnvironment
from ringviz.vmm.hardware import HALTED
from ringviz.vmm.outcome import RESUME, Outcome
from ringviz.vmm.vtx.exceptions import ExceptionExits
from ringviz.vmm.vtx.exits import VmExit, instruction_exit
from ringviz.vmm.vtx.restricted_guest import hold
from ringviz.vmm.vtx.transitions import VIEWED
from ringviz.vmm.vtx.words import emulated_text

VMX_FORMS = frozenset(form for form in INSTRUCTION_EXITS if form.startswith("vm"))
_SINGLE_STEP = 1 << 14
"""BS of the pending debug exceptions: the CPU raises #DB right after the VM entry."""


class InstructionExits(ExceptionExits):
    """The controls, bitmaps and masks of the VMCS decide."""

    def _instruction(self, stop: Stop, instruction: Instruction) -> Outcome:
        """Tell whether an instruction that could exit does, and act on it."""
        guest = self.guest_state()
        port = stop if isinstance(stop, PortIo) else None
        if port is None and instruction.form in PORT_FORMS:
            number, size, is_input = port_of(guest, instruction)
            port = PortIo(is_input, number, size, instruction)
        memory = LinearMemory(guest, self._space)
        leaves = instruction_exit(self._controls, instruction, guest, memory, port, self._byte)
        self._space.take()
        if leaves is None:
            return self._runs(stop, instruction)
        if instruction.form in VMX_FORMS:
            return self._refuse(leaves, instruction)
        return self._emulate(leaves, instruction)

    def _byte(self, hpa: int) -> int:
        return self.machine.ram.read_int(hpa, 1)

    # ---- in non-root operation ---------------------------------------------------------------------------------------

    def _runs(self, stop: Stop, instruction: Instruction) -> Outcome:
        """The CPU executes it in non-root operation."""
        if isinstance(stop, Watched) and stop.form not in VIEWED:
            inner = self.machine.step_over()
            return RESUME if isinstance(inner, (BudgetSpent, Paused)) else self.handle(inner)
        if isinstance(stop, Watched):
            stop = SensitiveInsn(stop.form, instruction)
        before, at = self.machine.state.copy(), self.machine.retired
        guest = self.guest_state()
        attempt = guest.copy()
        environment = self._environment(attempt)
        if self._shadow is not None:
            environment.memory = self._memory_of_the_cpu(instruction)
        else:
            environment.memory.told_to(self.machine.on_own_access)
        try:
            effect = microcode.execute(environment, instruction)
            self._check_fixed_bits(attempt)
        except GuestFault as fault:
            if fault.vector == Vector.DB:  # general detect shows in DR6, and has switched itself off
                self._merge(attempt)
            return self._exception(Interruption(fault.vector, fault.error_code), stop, instruction)
        except PageFault as fault:
            if instruction.is_string:
                self._merge(attempt)
            return self._exception(Interruption(Vector.PF, fault.error_code, fault.linear), stop, instruction)
        self.machine.conclude_instruction(guest, instruction, effect)
        self._merge(attempt)
        self._tell_strays(instruction)
        if effect is Effect.UNFINISHED:
            return self.conclude()
        self.machine.retire(instruction)
        return self._told_in_guest(stop, before, at, effect, has_retired=True)

    def _check_fixed_bits(self, guest: CpuState) -> None:
        """Raise #GP(0) where non-root operation would lose a bit that VMX operation fixes.

        Source: Intel SDM Vol. 3C, "Changes to Instruction Behavior in VMX Non-Root Operation" (MOV to CR0, MOV to CR4).
        """
        controls = self._controls
        lost_0 = self.policy.fixed_cr0 & ~controls.cr0_mask & ~guest.cr0
        lost_4 = self.policy.capabilities.cr4_fixed_1 & ~controls.cr4_mask & ~guest.cr4
        # A guest that has EFER for itself meets the real paging, which is on although it believes that it is off.
        touches_lme = self._owns_cr3 and (guest.efer ^ self._virtual_efer) & Efer.LME
        if lost_0 or lost_4 or touches_lme:
            raise GuestFault(Vector.GP, 0)

    def _merge(self, guest: CpuState) -> None:
        """Make a changed view the CPU's state, as non-root operation does: masked bits stay as they are."""
        real, controls = self.machine.state, self._controls
        if self._held is not None:
            guest, self._held = hold(guest)
        guest.cr0 = guest.cr0 & ~controls.cr0_mask | real.cr0 & controls.cr0_mask
        guest.cr4 = guest.cr4 & ~controls.cr4_mask | real.cr4 & controls.cr4_mask
        if self._owns_cr3:
            guest.cr3 = real.cr3
        if not self._loads_efer or self._owns_cr3:
            guest.efer = real.efer
        self.machine.cpu.adopt(guest)

    # ---- by the VMM --------------------------------------------------------------------------------------------------

    def _emulate(self, leaves: VmExit, instruction: Instruction) -> Outcome:
        """The VMM executes the instruction on the guest's behalf."""
        before = self.machine.state.copy()
        event = self._leave(leaves, instruction)
        old = self.guest_state()
        guest = old.copy()
        try:
            effect = microcode.execute(self._environment(guest), instruction)
        except GuestFault as fault:
            what = Interruption(fault.vector, fault.error_code)
            return self._inject(event, what, before, guest if fault.vector == Vector.DB else old)
        except PageFault as fault:
            if not instruction.is_string:
                guest = old
            guest.cr2 = fault.linear
            return self._inject(event, Interruption(Vector.PF, fault.error_code, fault.linear), before, guest)
        self._space.take()  # the VMM's own look beyond the guest's memory is no exit
        self.machine.conclude_instruction(old, instruction, effect)
        if effect is Effect.UNFINISHED:
            self._resume(guest)
            return self.conclude()
        self.machine.retire()
        self.emulated += 1
        event = replace(event, native_charges=describe.port_charges(self.machine.bus, instruction, old))
        if self.machine.step_trap_due:
            self._write("GUEST_PENDING_DEBUG_EXCEPTIONS", _SINGLE_STEP)
        self._resume(guest)
        self._tell(event, emulated_text(instruction, old, guest, self.machine.bus), before, old)
        self._prefetch()
        return HALTED if effect is Effect.HALTED and not self.machine.halt() else self.conclude()

    def _refuse(self, leaves: VmExit, instruction: Instruction) -> Outcome:
        """A VMX instruction: the virtual CPU has none, so the VMM injects #UD."""
        before = self.machine.state.copy()
        event = self._leave(leaves, instruction)
        return self._inject(event, Interruption(Vector.UD), before, self.guest_state())

    def _port_map_outside(self, instruction: Instruction) -> Outcome:
        """The I/O permission map of a port instruction lies beyond the guest's memory: the VMM emulates it."""
        guest = self.guest_state()
        try:
            effect = microcode.execute(self._environment(guest), instruction)
        except GuestFault as fault:
            what = Interruption(fault.vector, fault.error_code)
            return self._exception(what, Fault(what.vector, what.error_code, None, instruction), instruction)
        self._resume(guest)
        if effect is not Effect.UNFINISHED:
            self.machine.retire()
            self.emulated += 1
        return self.conclude()

    def _environment(self, state: CpuState) -> VirtualEnvironment:
        machine = self.machine
        flush = machine.flush_tlb
        return VirtualEnvironment(state, self._space, machine.bus, machine.now, flush, self._cpuid)
