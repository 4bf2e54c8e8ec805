"""The VT-x VMM: what its VMCS asks for, and what it does at each VM exit.

The guest runs in VMX non-root operation with its kernel in ring 0. What leaves it is decided by the fields of the
VMCS; the VMM reads what it needs with VMREAD, acts, writes with VMWRITE what it changed, and goes on with VMRESUME.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from ringviz.errors import UnsupportedError
from ringviz.facts.exceptions import Vector, combines
from ringviz.facts.paging import PagingMode
from ringviz.facts.registers import Cr0
from ringviz.facts.vmx import (
    EXIT_REASONS,
    FIELDS_BY_NAME,
    INSTRUCTION_EXITS,
    Reason,
)
from ringviz.guest.instruction import Instruction
from ringviz.guest.scenario import Scenario
from ringviz.machine import microcode
from ringviz.machine.cpuid import hypervisor_cpuid
from ringviz.machine.delivery import Delivered, Interruption, Shutdown, TaskGateError, deliver
from ringviz.machine.linear import LinearMemory, PageFault
from ringviz.machine.machine import Completion
from ringviz.machine.memory import PAGE
from ringviz.machine.microcode import Effect, GuestFault
from ringviz.machine.microcode.ports import port_of
from ringviz.machine.paging import Access
from ringviz.machine.state import CpuState
from ringviz.machine.stops import (
    BudgetSpent,
    Fault,
    NestedFault,
    Paused,
    PortIo,
    SensitiveInsn,
    SoftInterrupt,
    Stop,
    Watched,
    has_completed,
)
from ringviz.vmm import describe
from ringviz.vmm.controls import Control
from ringviz.vmm.environment import VirtualEnvironment
from ringviz.vmm.escapes import escape
from ringviz.vmm.events import Event, Kind
from ringviz.vmm.guest_space import MOST_PAGES_LENT
from ringviz.vmm.hardware import HALTED, RETURNS, TRIPLE_FAULT, hardware_event, watched_return
from ringviz.vmm.hardware_paging import HardwarePaging
from ringviz.vmm.mmu.answers import Elsewhere, Filled, Traced
from ringviz.vmm.mmu.shadow import Places
from ringviz.vmm.mmu.telling import refused_text, words
from ringviz.vmm.outcome import RESUME, Outcome
from ringviz.vmm.setup import Setup
from ringviz.vmm.side import Side
from ringviz.vmm.technique import changes_between, text_of
from ringviz.vmm.verdicts import on_bare_cpu
from ringviz.vmm.vtx import layout
from ringviz.vmm.vtx.ept import ExtendedTables, violation_qualification
from ringviz.vmm.vtx.exit_report import MORE_READS, READS, exit_detail, write_exit
from ringviz.vmm.vtx.exits import Controls, VmExit, exception_exit, instruction_exit, interruption_information
from ringviz.vmm.vtx.guest_area import guest_fields
from ringviz.vmm.vtx.guest_linear import linear_behind
from ringviz.vmm.vtx.identity import EPT_DIRECTORY_GPA, build_ept_directory
from ringviz.vmm.vtx.interruptibility import blocking_of
from ringviz.vmm.vtx.noting_space import NotingSpace
from ringviz.vmm.vtx.operation import Entered, Success, VmxUnit
from ringviz.vmm.vtx.panel import Images, vmcs_panel
from ringviz.vmm.vtx.policy import Composition, Policy
from ringviz.vmm.vtx.policy import controls as policy_controls
from ringviz.vmm.vtx.preparation import fixed_fields, mark_everything, put_msr_load_list
from ringviz.vmm.vtx.vmcs import Vmcs
from ringviz.vmm.vtx.words import emulated_text, rule_before
from ringviz.vmm.walks import NestedWalk

_VMX_FORMS = frozenset(form for form in INSTRUCTION_EXITS if form.startswith("vm"))
_PORT_FORMS = frozenset({"in", "out", "ins", "outs"})
_VIEWED = frozenset({"mov-to-cr", "mov-from-cr", "smsw"})
"""Executed under masks and read shadows, which the emulated CPU has not: microcode does it."""
_STOPS_BY_ITSELF = frozenset({"cpuid", "hlt", "rdtsc", "rdpmc", "rdmsr", "wrmsr", "clts", "lmsw", "ltr"}) | _PORT_FORMS
"""The machine stops at these in any case; to watch them would be to pass them."""
_DESCRIPTOR_FORMS = frozenset({"lgdt", "lidt", "lldt", "ltr", "sgdt", "sidt", "sldt", "str"})
_SINGLE_STEP = 1 << 14
"""BS of the pending debug exceptions: the CPU raises #DB right after the VM entry."""
_ASKS_FOR = "no control of the VMCS asks for an exit"
_ROOT = -1
_HANDLER = "VMM in VMX root (“ring −1”)"


class VtX(HardwarePaging):
    """Hardware assistance as Intel built it."""

    id: ClassVar[str] = "vt-x"
    mmus: ClassVar[tuple[str, ...]] = ("nested", "shadow")
    guest_base: ClassVar[int] = layout.GUEST_BASE
    open_bus = layout.OPEN_BUS
    nested_mode = PagingMode.EPT

    def __init__(self, scenario: Scenario, setup: Setup) -> None:
        super().__init__(scenario, setup)
        ram = self.machine.ram
        self.policy = Policy(setup)
        self._cpuid = hypervisor_cpuid(self.machine.cpuid) if self.policy.shows_itself else self.machine.cpuid
        self._space: NotingSpace = NotingSpace(ram, self.guest_base, self.guest_bytes)
        ram.write(layout.OPEN_BUS, b"\xff" * PAGE)
        mark_everything(ram, self.policy)
        self.ept: ExtendedTables | None = None
        if self.policy.uses_ept:
            self.ept = ExtendedTables(ram, layout.EPT_TABLES, self.guest_base, self.guest_bytes)
            self.machine.second_level = self.ept
            if not self.policy.is_unrestricted:
                build_ept_directory(ram)
                self.ept.map(EPT_DIRECTORY_GPA, None)  # the tables on the way are made now, once
        else:
            places = Places(layout.IDENTITY_DIRECTORY, layout.IDENTITY_TABLES, layout.SHADOW_POOL, {})
            self._use_shadows(places, layout.TABLE_PAGES)
        self._virtual_cr3 = self._virtual_efer = 0
        """Registers of the guest that the VMM keeps to itself while the real ones hold something else."""
        self._owns_cr3 = self._loads_efer = False
        self._images = Images(b"", b"")
        self.vmx = VmxUnit(ram, self.policy.capabilities)
        self._prepare()

    @classmethod
    def controls(cls, setup: Setup) -> Mapping[str, Control]:
        """The bits of the VMCS, as this CPU allows them."""
        return policy_controls(setup)

    # ---- the calls ---------------------------------------------------------------------------------------------------

    def power_on(self, state: CpuState) -> None:
        """Write the guest's state into the VMCS, and launch it."""
        self._check_supported(state)
        made = self._compose(state)
        for name, value in (made.fields | guest_fields(made.real)).items():
            self._write(name, value)
        entered = self.vmx.vmlaunch()
        assert isinstance(entered, Entered), entered
        self.machine.cpu.load(made.real)
        self._take_up_controls()
        image = self.vmx.vmcs.image()
        self._images = Images(image, image)

    def guest_state(self) -> CpuState:
        """The CPU with the read shadows in place of what the masks hide."""
        real, controls = self.machine.state, self._controls
        guest = real.copy()
        guest.cr0 = real.cr0 & ~controls.cr0_mask | controls.cr0_shadow & controls.cr0_mask
        guest.cr4 = real.cr4 & ~controls.cr4_mask | controls.cr4_shadow & controls.cr4_mask
        if self._owns_cr3:
            guest.cr3 = self._virtual_cr3
        if not self._loads_efer:
            guest.efer = self._virtual_efer
        return guest

    def guest_memory(self) -> LinearMemory:
        """Guest-physical memory under the guest's own control registers."""
        return LinearMemory(self.guest_state(), self._space)

    def save_vmm(self) -> Any:
        """What is not in memory."""
        tables = None if self.ept is None else self.ept.next_table
        if self._shadow is not None:
            tables = self._shadow.save()
        return self.vmx.save(), self._virtual_cr3, self._virtual_efer, self._owns_cr3, self._images, tables

    def restore_vmm(self, saved: Any) -> None:
        """Take it back; the controls are in the VMCS, which is in memory."""
        vmx, self._virtual_cr3, self._virtual_efer, self._owns_cr3, self._images, tables = saved
        self.vmx.restore(vmx)
        if self.ept is not None:
            self.ept.next_table = tables
        if self._shadow is not None:
            self._shadow.restore(tables)
        self._take_up_controls()

    def handle(self, stop: Stop) -> Outcome:
        """Decide as the CPU does whether the stop is a VM exit; if so, the VMM answers it."""
        try:
            return self._handle(stop)
        except (microcode.UnsupportedError, TaskGateError) as error:
            where = self.machine.state.eip
            raise UnsupportedError(
                f"{self.scenario.id}, at {where:08X}h: {error}; under VT-x it would exit with reason"
                f" {Reason.TASK_SWITCH.value}, and the VMM would have to switch tasks itself"
            ) from None

    def _handle(self, stop: Stop) -> Outcome:
        match stop:
            case Watched() if stop.form in RETURNS:
                inner = watched_return(self, stop)
                return RESUME if inner is None else self.handle(inner)
            case Watched() | SensitiveInsn() | PortIo():
                return self._instruction(stop, stop.instruction)
            case Fault():
                return self._fault(stop)
            case SoftInterrupt():
                return self._soft_interrupt(stop)
            case NestedFault():
                assert self.ept is not None
                return self._outside(self.ept, stop)
            case _:
                raise AssertionError(f"a stop that VT-x cannot meet: {stop}")

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

    # ---- setting up --------------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        """Enter VMX operation, and make the VMCS current with everything that does not depend on the guest."""
        ram = self.machine.ram
        for region in (layout.VMXON_REGION, layout.VMCS_REGION):
            Vmcs(ram, region).revision = 1
        self._must(self.vmx.vmxon(layout.VMXON_REGION))
        self._must(self.vmx.vmclear(layout.VMCS_REGION))
        self._must(self.vmx.vmptrld(layout.VMCS_REGION))
        eptp = None if self.ept is None else self.ept.pointer
        for name, value in fixed_fields(self.policy.capabilities, eptp).items():
            self._write(name, value)

    def _compose(self, guest: CpuState) -> Composition:
        """Settle what is real, and remember of the guest's registers what is not."""
        made = self.policy.compose(guest, None if self._shadow is None else self._shadow.enter(guest))
        if not made.loads_efer:
            put_msr_load_list(self.machine.ram, made.real.efer)
        self._owns_cr3 = made.owns_cr3
        if made.owns_cr3:
            self._virtual_cr3 = guest.cr3
        if not made.loads_efer:
            self._virtual_efer = guest.efer
        if self.ept is not None and not self.policy.is_unrestricted:
            self.ept.show(EPT_DIRECTORY_GPA, layout.IDENTITY_DIRECTORY if made.owns_cr3 else None)
        return made

    def _take_up_controls(self) -> None:
        """Read the controls out of the VMCS, as the CPU does at a VM entry."""
        fields = self.vmx.vmcs.fields()
        self._controls = controls = Controls.of(fields)
        self._loads_efer = controls.has("load-ia32_efer-on-entry")
        forms = RETURNS | _VIEWED | {"invd"}
        for row in INSTRUCTION_EXITS.values():
            if row.control is not None and controls.has(row.control) and row.form not in _STOPS_BY_ITSELF:
                forms |= {row.form}
        self.machine.watch(forms)

    # ---- instructions ------------------------------------------------------------------------------------------------

    def _instruction(self, stop: Stop, instruction: Instruction) -> Outcome:
        """Tell whether an instruction that could exit does, and act on it."""
        guest = self.guest_state()
        port = stop if isinstance(stop, PortIo) else None
        if port is None and instruction.form in _PORT_FORMS:
            number, size, is_input = port_of(guest, instruction)
            port = PortIo(is_input, number, size, instruction)
        memory = LinearMemory(guest, self._space)
        leaves = instruction_exit(self._controls, instruction, guest, memory, port, self._byte)
        self._space.take()
        if leaves is None:
            return self._runs(stop, instruction)
        if instruction.form in _VMX_FORMS:
            return self._refuse(leaves, instruction)
        return self._emulate(leaves, instruction)

    def _byte(self, hpa: int) -> int:
        return self.machine.ram.read_int(hpa, 1)

    def _runs(self, stop: Stop, instruction: Instruction) -> Outcome:
        """The CPU executes it in non-root operation."""
        if isinstance(stop, Watched) and stop.form not in _VIEWED:
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
        self.machine.step_trap_due = microcode.owes_step_trap(guest, instruction, effect)
        self._merge(attempt)
        self._tell_strays(instruction)
        if effect is Effect.UNFINISHED:
            return self.conclude()
        self.machine.retire()
        return self._told_in_guest(stop, before, at, effect, has_retired=True)

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
        return HALTED if completion is Effect.HALTED else self.conclude()

    def _environment(self, state: CpuState) -> VirtualEnvironment:
        machine = self.machine
        flush = machine.cpu.flush_tlb
        return VirtualEnvironment(state, self._space, machine.bus, machine.retired, flush, self._cpuid)

    def _check_fixed_bits(self, guest: CpuState) -> None:
        """Raise #GP(0) where non-root operation would lose a bit that VMX operation fixes.

        Source: Intel SDM Vol. 3C, "Changes to Instruction Behavior in VMX Non-Root Operation" (MOV to CR0, MOV to CR4).
        """
        controls = self._controls
        lost_0 = self.policy.fixed_cr0 & ~controls.cr0_mask & ~guest.cr0
        lost_4 = self.policy.capabilities.cr4_fixed_1 & ~controls.cr4_mask & ~guest.cr4
        if lost_0 or lost_4:
            raise GuestFault(Vector.GP, 0)

    def _merge(self, guest: CpuState) -> None:
        """Make a changed view the CPU's state, as non-root operation does: masked bits stay as they are."""
        real, controls = self.machine.state, self._controls
        guest.cr0 = guest.cr0 & ~controls.cr0_mask | real.cr0 & controls.cr0_mask
        guest.cr4 = guest.cr4 & ~controls.cr4_mask | real.cr4 & controls.cr4_mask
        if self._owns_cr3:
            guest.cr3 = real.cr3
        if not self._loads_efer:
            guest.efer = real.efer
        self.machine.cpu.adopt(guest)

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
        self._check_supported(guest, instruction)
        self.machine.step_trap_due = microcode.owes_step_trap(old, instruction, effect)
        if effect is Effect.UNFINISHED:
            self._resume(guest)
            return self.conclude()
        self.machine.retire()
        self.emulated += 1
        if instruction.form in _PORT_FORMS:
            # The VMM reaches the device on the guest's behalf: bare metal pays for that access too.
            event = replace(event, native_charges=("native-port-io",))
        if self.machine.step_trap_due:
            self._write("GUEST_PENDING_DEBUG_EXCEPTIONS", _SINGLE_STEP)
        self._resume(guest)
        self._tell(event, emulated_text(instruction, old, guest, self.machine.bus), before, old)
        self._prefetch()
        return HALTED if effect is Effect.HALTED else self.conclude()

    def _refuse(self, leaves: VmExit, instruction: Instruction) -> Outcome:
        """A VMX instruction: the virtual CPU has none, so the VMM injects #UD."""
        before = self.machine.state.copy()
        event = self._leave(leaves, instruction)
        return self._inject(event, Interruption(Vector.UD), before, self.guest_state())

    # ---- exceptions and interrupts -----------------------------------------------------------------------------------

    def _fault(self, stop: Fault) -> Outcome:
        """The CPU raised an exception in the guest."""
        instruction = stop.instruction
        if stop.vector == Vector.UD and instruction is not None and instruction.form in _VMX_FORMS:
            return self._instruction(stop, instruction)
        if stop.vector == Vector.PF and self._shadow is not None:
            return self._page_fault(self._shadow, stop)
        if stop.vector == Vector.MF and not self.guest_state().cr0 & Cr0.NE:
            return self._fpu_error(stop)
        return self._exception(Interruption(stop.vector, stop.error_code, stop.linear), stop, instruction)

    def _exception(self, event: Interruption, stop: Stop, instruction: Instruction | None) -> Outcome:
        """An exception of the guest: an exit if the exception bitmap says so, else through the guest's own table."""
        self._space.take()
        state = self.machine.state
        length = instruction.size if instruction is not None and event.is_software else 0
        leaves = exception_exit(self._controls, self._as_raised(event), dr6=state.dr[6], length=length)
        if leaves is not None:
            return self._reflect(leaves, event, instruction)
        before, at = state.copy(), self.machine.retired
        completion = self._deliver(event, instruction)
        return self._told_in_guest(stop, before, at, completion)

    def _soft_interrupt(self, stop: SoftInterrupt) -> Outcome:
        """INT n never exits; INT3, INTO and INT1 do as their exceptions."""
        is_software = not stop.is_privileged_gate_exempt
        next_eip = (self.machine.state.eip + stop.instruction.size) & 0xFFFF_FFFF
        is_exception = stop.instruction.form != "int"
        event = Interruption(stop.vector, is_software=is_software, next_eip=next_eip)
        if is_exception:
            leaves = exception_exit(self._controls, event, dr6=self.machine.state.dr[6], length=stop.instruction.size)
            if leaves is not None:
                return self._reflect(leaves, event, stop.instruction)
        before, at = self.machine.state.copy(), self.machine.retired
        completion = self._deliver(event, stop.instruction)
        has_retired = isinstance(completion, Delivered) and len(completion.chain) == 1
        if has_retired:
            self.machine.retire()
        return self._told_in_guest(stop, before, at, completion, has_retired=has_retired)

    def _deliver(self, event: Interruption, instruction: Instruction | None) -> Delivered | Shutdown:
        """The CPU delivers an event through the guest's table; exceptions on the way may exit."""
        result = deliver(
            self.machine.state,
            self._memory_of_the_cpu(instruction, event),
            event,
            lambda first, second: self._met_on_the_way(first, second, instruction),
        )
        self._tell_strays(instruction, event)
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
        self._put_event(what, before)
        self._resume(guest)
        counts = self.vmx.reads, self.vmx.writes
        place = len(self.events)
        result = self._deliver(what, None)
        if what.next_eip is not None and isinstance(result, Delivered) and len(result.chain) == 1:
            self.machine.retire()
            self._prefetch()
            self.emulated += 1
        action = f"{describe.vector_name(what.vector)} injected, {describe.delivered_text(result, self.machine.state)}"
        self.vmx.reads, self.vmx.writes = counts
        self._tell(event, action, before, old, place)
        if isinstance(result, Shutdown):
            return self._triple_fault(None)
        return RESUME

    def _blocking(self) -> int:
        """The guest interruptibility state: is the last instruction one after which interrupts wait for one more."""
        return blocking_of(self.machine)

    def _put_event(self, what: Interruption, before: CpuState) -> None:
        """Write the VM-entry interruption information."""
        self._write("VM_ENTRY_INTR_INFO", interruption_information(what))
        if what.error_code is not None:
            self._write("VM_ENTRY_EXCEPTION_ERROR_CODE", what.error_code)
        if what.next_eip is not None:
            self._write("VM_ENTRY_INSTRUCTION_LENGTH", (what.next_eip - before.eip) & 0xF)

    def _triple_fault(self, instruction: Instruction | None) -> Outcome:
        """Unconditional exit: the guest is dead."""
        before = self.machine.state.copy()
        event = self._leave(VmExit(Reason.TRIPLE_FAULT, "unconditional"), instruction)
        self._tell(event, "the guest is dead: nothing to resume", before, self.guest_state())
        return TRIPLE_FAULT

    def _fpu_error(self, stop: Fault) -> Outcome:
        """An FPU error of a guest with CR0.NE = 0, which expects it as an interrupt and not as #MF.

        VMX fixes the real NE to 1. The VMM raises the virtual FERR line, where nobody listens, and carries the
        instruction out with the error held back.
        """
        before = self.machine.state.copy()
        leaves = exception_exit(self._controls, Interruption(Vector.MF))
        assert leaves is not None, "the exception bitmap follows the guest's NE"
        event = self._leave(leaves, stop.instruction)
        old = self.guest_state()
        self.machine.state.cr0 &= ~Cr0.NE
        inner = self.machine.step_over()
        self.machine.state.cr0 |= Cr0.NE
        if has_completed(inner):
            self.emulated += 1
        self._resume(self.guest_state())
        self._tell(event, "virtual FERR line raised; the instruction is carried out", before, old)
        return RESUME if isinstance(inner, (BudgetSpent, Paused)) else self.handle(inner)

    # ---- shadow page tables ------------------------------------------------------------------------------------------

    def _true_fault(self, raised: Interruption, error_code: int, instruction: Instruction | None) -> Outcome:
        """The guest's own tables refuse: its kernel gets the fault that its own CPU would have raised."""
        leaves = exception_exit(self._controls, raised)
        assert leaves is not None, "page faults exit while the real page tables are the VMM's"
        return self._reflect(leaves, replace(raised, error_code=error_code), instruction)

    def _shadow_exit(
        self,
        raised: Interruption,
        answer: Filled | Traced | Elsewhere,
        instruction: Instruction | None,
        during: Interruption | None = None,
    ) -> None:
        """Record the exit for a page fault that is none of the guest's; what was being delivered is injected again."""
        leaves = exception_exit(self._controls, raised, during=during)
        assert leaves is not None, "page faults exit while the real page tables are the VMM's"
        before = self.machine.state.copy()
        event = self._leave(leaves, instruction)
        guest = self.guest_state()
        if during is not None:
            self._put_event(during, before)
        self._resume(guest)
        cause, rule, action = words(answer, raised.linear or 0)
        if isinstance(answer, Elsewhere):
            event = replace(event, kind=Kind.VIOLATION, is_attempt=True)
        else:
            event = replace(event, cause=cause, rule=f"{leaves.rule}; {rule}")
        self._tell(event, action, before, guest)

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

    # ---- beyond the guest's memory, with EPT -------------------------------------------------------------------------

    def _outside(self, ept: ExtendedTables, stop: NestedFault) -> Outcome:
        """The guest reached beyond its memory: show it a page where nothing answers, for this one instruction."""
        inner: Stop = stop
        lent: list[int] = []
        while isinstance(inner, NestedFault) and len(lent) < MOST_PAGES_LENT:
            self._violation(self._ept_violation(inner), inner.instruction, inner.gpa)
            page = inner.gpa & ~0xFFF
            ept.map(page, layout.OPEN_BUS)
            lent.append(page)
            inner = self.machine.step_over()
        for page in lent:
            ept.map(page, None)
            self.machine.cpu.frames.drop(page >> 12)
        self.machine.cpu.flush_tlb()
        self.machine.ram.write(layout.OPEN_BUS, b"\xff" * PAGE)
        if has_completed(inner):
            self.emulated += 1
        return RESUME if isinstance(inner, (BudgetSpent, NestedFault, Paused)) else self.handle(inner)

    def _violation(self, leaves: VmExit, instruction: Instruction | None, address: int) -> None:
        """Record an exit for an access to what is not the guest's."""
        before = self.machine.state.copy()
        event = replace(self._leave(leaves, instruction), is_attempt=True, kind=Kind.VIOLATION)
        guest = self.guest_state()
        self._resume(guest)
        self._tell(event, f"outside the guest's memory ({address:08X}h): nothing answers there", before, guest)

    def _ept_violation(self, stop: NestedFault) -> VmExit:
        assert self.ept is not None
        done = self.ept.walk(stop.gpa, is_write=stop.is_write, is_fetch=stop.is_fetch)
        guest = self.guest_state()
        found = (stop.gpa, False) if not guest.is_paged else linear_behind(guest, self._space, stop)
        self._space.take()
        linear, is_table_walk = found if found is not None else (None, False)
        qualification = violation_qualification(
            done,
            is_write=stop.is_write,
            is_fetch=stop.is_fetch,
            is_linear_valid=linear is not None,
            is_table_walk=is_table_walk,
        )
        return VmExit(Reason.EPT_VIOLATION, "no EPT entry there", qualification, linear=linear, physical=stop.gpa)

    def _tell_strays(self, instruction: Instruction | None, during: Interruption | None = None) -> None:
        """Record the exits for accesses beyond the guest's memory that the CPU itself made on the way."""
        strays = self._space.take()
        if self.ept is None:
            return  # such an access misses in the shadow tables, and is told there
        for gpa, is_write in strays[:1]:
            leaves = self._ept_violation(NestedFault(gpa, is_write, False, False, False, instruction))
            if during is not None:
                leaves = replace(leaves, idt_vectoring=interruption_information(during))
            self._violation(leaves, instruction, gpa)

    # ---- VM exit and VM entry ----------------------------------------------------------------------------------------

    def _leave(self, leaves: VmExit, instruction: Instruction | None) -> Event:
        """Do the hardware's part of a VM exit, let the VMM read what it needs, and start the record of it."""
        state, vmcs = self.machine.state, self.vmx.vmcs
        before = vmcs.image()
        write_exit(vmcs, leaves, state, self._blocking(), saves_efer=self._controls.has("save-ia32_efer-on-exit"))
        self._images = Images(before, vmcs.image())
        self.vmx.reads = self.vmx.writes = 0
        for name in (*READS, *MORE_READS.get(leaves.reason, ())):
            self._read(name)
        row = EXIT_REASONS[leaves.reason]
        return Event(
            at=self.machine.retired,
            address=state.eip,
            instruction=text_of(instruction),
            form=instruction.form if instruction is not None else None,
            kind=Kind.EXIT,
            cause=f"VM exit {row.number}, {row.name}",
            rule=leaves.rule,
            handler=_HANDLER,
            action="",
            charges=("exit", "vmm-work"),
            from_ring=state.cpl,
            via_ring=_ROOT,
            detail=exit_detail(leaves),
        )

    def _resume(self, guest: CpuState) -> None:
        """Write what the VMM changed, and enter the guest again."""
        made = self._compose(guest)
        now = self.vmx.vmcs.fields()
        wanted = made.fields | guest_fields(made.real)
        changed = {name: value for name, value in wanted.items() if now[name] != value}
        for name, value in changed.items():
            self._write(name, value)
        entered = self.vmx.vmresume()
        assert isinstance(entered, Entered), entered
        self.machine.cpu.adopt(made.real)
        if self.ept is not None and self.ept.must_invalidate:
            self.machine.forget_translations()
            self.ept.must_invalidate = False
        if changed.keys() & made.fields.keys():
            self._take_up_controls()

    def _tell(self, event: Event, action: str, before: CpuState, old_guest: CpuState, place: int | None = None) -> None:
        """Complete the record of an exit: what was done, what it changed, what it read and wrote.

        Args:
            event: as `_leave` started it.
            action: what the VMM did.
            before: the real CPU at the exit.
            old_guest: what the guest saw then.
            place: among the events not taken out yet; the last by default.
        """
        after = self.machine.state
        changes = changes_between(before, after, is_real=True)
        told = {change.name for change in changes}
        guest_changes = changes_between(old_guest, self.guest_state(), is_real=False)
        changes += tuple(change for change in guest_changes if change.name not in told)
        counts = (("VMREADs", str(self.vmx.reads)), ("VMWRITEs", str(self.vmx.writes)))
        told_event = replace(
            event,
            action=action,
            to_ring=after.cpl,
            resume=after.eip,
            changes=changes,
            detail=event.detail + counts,
        )
        self.events.insert(len(self.events) if place is None else place, told_event)

    def _read(self, name: str) -> int:
        """VMREAD, which must not fail."""
        result = self.vmx.vmread(FIELDS_BY_NAME[name].encoding)
        assert isinstance(result, Success), f"VMREAD of {name}: {result}"
        return result.value

    def _write(self, name: str, value: int) -> None:
        """VMWRITE, which must not fail."""
        result = self.vmx.vmwrite(FIELDS_BY_NAME[name].encoding, value)
        assert isinstance(result, Success), f"VMWRITE of {name}: {result}"

    @staticmethod
    def _must(result: object) -> None:
        assert isinstance(result, Success), result

    # ---- limits ------------------------------------------------------------------------------------------------------

    def _check_supported(self, guest: CpuState, instruction: Instruction | None = None) -> None:
        """Refuse what this CPU cannot run in VMX non-root operation, and what this VMM cannot follow."""
        where = "" if instruction is None else f" at {instruction.address:08X}h"
        if not guest.is_protected and not self.policy.is_unrestricted:
            raise UnsupportedError(
                f"{self.scenario.id}: the guest is in real mode{where}; VMX operation fixes CR0.PE to 1 on the"
                f" {self.setup.cpu.title}, which has no unrestricted guest"
            )
