"""The AMD-V VMM: what it intercepts, and what it does at each #VMEXIT.

The guest runs in guest mode with its kernel in ring 0. The CPU itself handles the guest's privileged instructions,
exceptions and page tables; it leaves guest mode only for what the VMCB intercepts and for nested page faults.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple

from ringviz.errors import UnsupportedError
from ringviz.facts.exceptions import Vector, combines
from ringviz.facts.paging import PagingMode
from ringviz.facts.registers import EFER_MSR, Cr0, Cr4, Efer
from ringviz.guest.image import Image
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
from ringviz.machine.state import EAX, ECX, CpuState
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
from ringviz.vmm.amdv import layout
from ringviz.vmm.amdv.control_block import ControlBlock
from ringviz.vmm.amdv.intercepts import (
    FORMS,
    SVM_FORMS,
    SvmReport,
    event_word,
    exception_exit,
    instruction_exit,
    possible_intercepts,
)
from ringviz.vmm.amdv.nested_tables import NestedTables
from ringviz.vmm.amdv.panel import Images, vmcb_panel
from ringviz.vmm.amdv.policy import Policy
from ringviz.vmm.amdv.policy import controls as policy_controls
from ringviz.vmm.controls import Control
from ringviz.vmm.environment import VirtualEnvironment
from ringviz.vmm.escapes import escape, escaped_shutdown
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
from ringviz.vmm.walks import NestedWalk

_PORT_FORMS = frozenset({"in", "out", "ins", "outs"})
_STOPS_BY_ITSELF = (
    SVM_FORMS
    | _PORT_FORMS
    | frozenset({"cpuid", "hlt", "rdtsc", "rdpmc", "rdmsr", "wrmsr", "clts", "lmsw", "ltr", "int", "int1"})
)
"""The machine stops at these in any case; to watch them would be to pass them."""
_INTERCEPT_FIRST = frozenset({"pushf", "popf", "iret", "int", "int1", "cpuid", "vmmcall"})
"""Forms whose intercept comes before any fault of theirs."""
_HOST = -1
_HANDLER = "VMM in host mode (“ring −1”)"
_SHADOW_NEEDS = "page faults exit while the real page tables are the VMM's"
_MISSING = "no intercept of the VMCB asks for an exit"


class PagingRegisters(NamedTuple):
    """Control registers of the guest that the VMM keeps to itself."""

    cr0: int
    cr3: int
    cr4: int


class AmdV(HardwarePaging):
    """Hardware assistance as AMD built it, with nested paging or with shadow page tables."""

    id: ClassVar[str] = "amd-v"
    mmus: ClassVar[tuple[str, ...]] = ("nested", "shadow")
    guest_base: ClassVar[int] = layout.GUEST_BASE
    open_bus = layout.OPEN_BUS
    nested_mode = PagingMode.FOUR_LEVEL

    def __init__(self, scenario: Scenario, setup: Setup) -> None:
        super().__init__(scenario, setup)
        ram = self.machine.ram
        policy = Policy(setup)
        self.vmcb = ControlBlock(ram, layout.VMCB, policy.intercepts)
        policy.mark_everything(ram)
        ram.write(layout.OPEN_BUS, b"\xff" * PAGE)
        self.nested: NestedTables | None = None
        self._paging = PagingRegisters(0, 0, 0)
        """With shadow page tables: what the guest believes to have written there."""
        self.vmcb.put("IOPM_BASE_PA", layout.IO_MAP)
        self.vmcb.put("MSRPM_BASE_PA", layout.MSR_MAP)
        if setup.mmu == "nested":
            self.nested = NestedTables(ram, layout.NESTED_TABLES, self.guest_base, self.guest_bytes)
            self.vmcb.put("NP_CONTROL", 1)
            self.vmcb.put("N_CR3", self.nested.root)
            self.machine.second_level = self.nested
        else:
            places = Places(layout.FLAT_DIRECTORY, layout.FLAT_TABLES, layout.SHADOW_POOL, {})
            self._use_shadows(places, layout.TABLE_PAGES)
        if policy.shows_itself and "CPUID" in policy.intercepts:
            self.machine.cpuid = hypervisor_cpuid(self.machine.cpuid)
        self.machine.watch(RETURNS | _watched_forms(policy.intercepts))
        self._images = Images(b"", b"")

    @classmethod
    def controls(cls, setup: Setup) -> Mapping[str, Control]:
        """The intercepts of the VMCB."""
        return policy_controls(setup)

    def boot(self, image: Image) -> None:
        """Put the guest into memory and enter it with VMRUN."""
        super().boot(image)
        self.vmcb.store_guest(self.machine.state)
        vmcb = self.vmcb.image()
        self._images = Images(vmcb, vmcb)

    def power_on(self, state: CpuState) -> None:
        """The state save area decides where the guest starts."""
        self.machine.cpu.load(self._compose(state))

    def guest_state(self) -> CpuState:
        """With nested paging the CPU is what the guest believes it to be: that is the point."""
        state = self.machine.state.copy()
        if self._shadow is not None:
            state.cr0, state.cr3, state.cr4 = self._paging
        return state

    def guest_memory(self) -> LinearMemory:
        """Guest-physical memory, with nested paging or the VMM behind it."""
        return self.machine.memory if self._shadow is None else LinearMemory(self.guest_state(), self._space)

    def _compose(self, guest: CpuState) -> CpuState:
        """Settle what is real, and remember of the guest's registers what is not.

        A guest that has paging off runs on page tables all the same: even in real mode, where AMD-V allows it.

        Source: AMD APM Vol. 2, "Paged Real Mode".
        """
        if self._shadow is None:
            return guest
        root = self._shadow.enter(guest)
        self._paging = PagingRegisters(guest.cr0, guest.cr3, guest.cr4)
        real = guest.copy()
        real.cr0 |= Cr0.PG | Cr0.WP
        real.cr3 = root.cr3
        real.cr4 = guest.cr4 & ~(Cr4.PSE | Cr4.PAE | Cr4.PGE) | (Cr4.PAE if root.is_pae else 0)
        return real

    def save_vmm(self) -> Any:
        """How far the tables reach, and what the last exit found; the rest is in memory."""
        tables = None if self._shadow is None else self._shadow.save()
        return tables if self.nested is None else self.nested.next_table, self._paging, self._images

    def restore_vmm(self, saved: Any) -> None:
        """Take it back, or tables built since would be built elsewhere the next time."""
        tables, self._paging, self._images = saved
        if self.nested is not None:
            self.nested.next_table = tables
        if self._shadow is not None:
            self._shadow.restore(tables)

    def side(self) -> Side:
        """The VMCB: what the last #VMEXIT wrote, and what the VMM has changed since."""
        return vmcb_panel(layout.VMCB, self.vmcb.image(), self._images)

    def handle(self, stop: Stop) -> Outcome:
        """Decide as the CPU does whether the stop leaves guest mode; if so, the VMM answers it."""
        try:
            return self._handle(stop)
        except (microcode.UnsupportedError, TaskGateError) as error:
            where = self.machine.state.eip
            raise UnsupportedError(f"{self.scenario.id}, at {where:08X}h: {error}") from None

    def _handle(self, stop: Stop) -> Outcome:
        match stop:
            case NestedFault():
                assert self.nested is not None
                return self._nested_fault(self.nested, stop)
            case Fault(vector=Vector.PF) if self._shadow is not None:
                return self._page_fault(self._shadow, stop)
            case SoftInterrupt():
                return self._soft_interrupt(stop)
            case Fault() if _is_svm_instruction(stop):
                assert stop.instruction is not None
                return self._instruction(stop, stop.instruction)
            case Fault():
                return self._exception(Interruption(stop.vector, stop.error_code, stop.linear), stop, stop.instruction)
            case PortIo() | SensitiveInsn() | Watched():
                return self._instruction(stop, stop.instruction)
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

    # ---- instructions ------------------------------------------------------------------------------------------------

    def _instruction(self, stop: Stop, instruction: Instruction) -> Outcome:
        """Tell whether an instruction that could exit does, and act on it."""
        state = self.guest_state()
        port = stop if isinstance(stop, PortIo) else None
        if port is None and instruction.form in _PORT_FORMS:
            number, size, is_input = port_of(state, instruction)
            port = PortIo(is_input, number, size, instruction)
        maps = (layout.IO_MAP, layout.MSR_MAP)
        report = instruction_exit(self.vmcb.intercepts, instruction, state, port, maps, self._byte)
        if report is None:
            return self._runs(stop, instruction)
        if instruction.form in SVM_FORMS:
            event = self._exit(report, instruction)
            return self._inject(event, Interruption(Vector.UD), self.machine.state.copy())
        return self._emulate(report, instruction)

    def _byte(self, address: int) -> int:
        return self.machine.ram.read_int(address, 1)

    def _runs(self, stop: Stop, instruction: Instruction) -> Outcome:
        """The CPU executes it in guest mode."""
        if isinstance(stop, Watched):
            inner = watched_return(self, stop) if stop.form in RETURNS else self.machine.step_over()
            return RESUME if inner is None or isinstance(inner, (BudgetSpent, Paused)) else self.handle(inner)
        if isinstance(stop, Fault):  # an SVM instruction that is not intercepted
            return self._exception(Interruption(stop.vector), stop, instruction)
        before, at = self.machine.state.copy(), self.machine.retired
        if instruction.form == "wrmsr" and before.gpr[ECX] == EFER_MSR and not before.cpl:
            raise UnsupportedError(
                f"{self.scenario.id}, at {before.eip:08X}h: the guest writes the real EFER, for no intercept stops it;"
                " without SVME in it the next VMRUN ends with VMEXIT_INVALID"
            )
        completion = self._execute(instruction, is_in_guest=True)
        if isinstance(completion, Interruption):
            return self._exception(completion, stop, instruction)
        if instruction.form == "rdmsr" and before.gpr[ECX] == EFER_MSR:
            self.machine.state.gpr[EAX] |= Efer.SVME  # the real register: in guest mode the bit is set
        return self._told_in_guest(stop, before, at, completion, has_retired=completion is not Effect.UNFINISHED)

    def _execute(self, instruction: Instruction, *, is_in_guest: bool = False) -> Effect | Interruption:
        """Execute an instruction by microcode; give what it raises instead of delivering it.

        Args:
            instruction: at EIP.
            is_in_guest: it is the CPU that does so, and what its tables do not allow exits on the way.
        """
        machine = self.machine
        attempt = self.guest_state()
        space = machine if self._shadow is None else self._space
        flush = machine.cpu.flush_tlb
        environment = VirtualEnvironment(attempt, space, machine.bus, machine.retired, flush, machine.cpuid)
        if is_in_guest and self._shadow is not None:
            environment.memory = self._memory_of_the_cpu(instruction)
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
        machine.step_trap_due = microcode.owes_step_trap(machine.state, instruction, effect)
        machine.cpu.adopt(self._compose(attempt))
        if effect is not Effect.UNFINISHED:
            machine.retire()
        return effect

    def _told_in_guest(
        self, stop: Stop, before: CpuState, at: int, completion: Completion, *, has_retired: bool = False
    ) -> Outcome:
        """Record what the CPU did without an exit, where a learner would call it an event."""
        event = hardware_event(self, stop, before, self.machine.state, at, completion)
        if event is not None:
            self.events.append(escape(event, stop, completion, _MISSING))
        if has_retired:
            self._prefetch()
        if isinstance(completion, Shutdown):
            return self._shutdown(getattr(stop, "instruction", None))
        return HALTED if completion is Effect.HALTED else self.conclude()

    def _emulate(self, report: SvmReport, instruction: Instruction) -> Outcome:
        """The VMM executes the instruction on the guest's behalf."""
        before, old = self.machine.state.copy(), self.guest_state()
        event = self._exit(report, instruction)
        if instruction.form in _PORT_FORMS:
            # The VMM reaches the device on the guest's behalf: bare metal pays for that access too.
            event = replace(event, native_charges=("native-port-io",))
        effect = self._execute(instruction)
        if isinstance(effect, Interruption):
            return self._inject(event, effect, before)
        if effect is Effect.UNFINISHED:
            self.vmcb.store_guest(self.machine.state)
            return self.conclude()
        self.emulated += 1
        self._tell(event, self._action(instruction, old), before, old=old)
        self._prefetch()
        return HALTED if effect is Effect.HALTED else self.conclude()

    def _action(self, instruction: Instruction, before: CpuState) -> str:
        """What the VMM did, in a few words."""
        form, after = instruction.form or "", self.guest_state()
        if form in _PORT_FORMS:
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
            "rdmsr": f"virtual MSR {before.gpr[ECX]:X}h read",
            "wrmsr": f"virtual MSR {before.gpr[ECX]:X}h written",
            "pushf": f"flags pushed: {before.eflags:X}",
            "popf": f"flags popped: {after.eflags:X}",
            "iret": f"on to {after.segments[1].selector:04X}:{after.eip:08X}",
            "rdtsc": "time-stamp counter of the virtual machine",
        }.get(form, "emulated on the virtual CPU")

    # ---- exceptions and interrupts -----------------------------------------------------------------------------------

    def _exception(self, what: Interruption, stop: Stop, instruction: Instruction | None) -> Outcome:
        """An exception of the guest: an exit if it is intercepted, else through the guest's own table."""
        report = exception_exit(self.vmcb.intercepts, self._as_raised(what))
        if report is not None:
            return self._reflect(report, what, instruction)
        before, at = self.machine.state.copy(), self.machine.retired
        return self._told_in_guest(stop, before, at, self._deliver(what, instruction))

    def _soft_interrupt(self, stop: SoftInterrupt) -> Outcome:
        """INT n has an intercept of its own, INT1 as well; INT3 and INTO are intercepted as their exceptions."""
        instruction = stop.instruction
        before, at = self.machine.state.copy(), self.machine.retired
        next_eip = (before.eip + instruction.size) & 0xFFFF_FFFF
        what = Interruption(stop.vector, is_software=not stop.is_privileged_gate_exempt, next_eip=next_eip)
        if instruction.form in ("int", "int1"):
            maps = (layout.IO_MAP, layout.MSR_MAP)
            report = instruction_exit(self.vmcb.intercepts, instruction, before, None, maps, self._byte)
        else:
            report = exception_exit(self.vmcb.intercepts, what)
        if report is not None:
            return self._reflect(report, what, instruction)
        completion = self._deliver(what, instruction)
        has_retired = isinstance(completion, Delivered) and len(completion.chain) == 1
        if has_retired:
            self.machine.retire()
        return self._told_in_guest(stop, before, at, completion, has_retired=has_retired)

    def _deliver(self, what: Interruption, instruction: Instruction | None) -> Delivered | Shutdown:
        """The CPU delivers an event through the guest's table; exceptions on the way may exit."""

        def met(first: Interruption, second: Interruption) -> None:
            report = exception_exit(self.vmcb.intercepts, self._as_raised(second), first)
            if report is None:
                return
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

        return deliver(self.machine.state, self._memory_of_the_cpu(instruction, what), what, met)

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
        text = f"exception injected, {describe.delivered_text(result, self.machine.state)}"
        if what.is_software:
            text = text.replace("exception", describe.vector_name(what.vector))
        self._tell(event, text, before, place, stores=False)
        return self._shutdown(None) if isinstance(result, Shutdown) else RESUME

    def _shutdown(self, instruction: Instruction | None) -> Outcome:
        """The guest is dead: an exit, or without the intercept the end of the real CPU."""
        before = self.machine.state.copy()
        if "SHUTDOWN" not in self.vmcb.intercepts:
            self.events.append(escaped_shutdown(before, self.machine.retired, text_of(instruction), _MISSING))
            return TRIPLE_FAULT
        event = self._exit(SvmReport("VMEXIT_SHUTDOWN", "SHUTDOWN"), instruction)
        self._tell(event, "the guest is dead: nothing to resume", before)
        return TRIPLE_FAULT

    # ---- shadow page tables ------------------------------------------------------------------------------------------

    def _true_fault(self, raised: Interruption, error_code: int, instruction: Instruction | None) -> Outcome:
        """The guest's own tables refuse: its kernel gets the fault that its own CPU would have raised."""
        report = exception_exit(self.vmcb.intercepts, raised)
        assert report is not None, _SHADOW_NEEDS
        return self._reflect(report, replace(raised, error_code=error_code), instruction)

    def _shadow_exit(
        self,
        raised: Interruption,
        answer: Filled | Traced | Elsewhere,
        instruction: Instruction | None,
        during: Interruption | None = None,
    ) -> None:
        """Record the exit for a page fault that is none of the guest's; what was being delivered is injected again."""
        report = exception_exit(self.vmcb.intercepts, raised, during)
        assert report is not None, _SHADOW_NEEDS
        before = self.machine.state.copy()
        event = self._exit(report, instruction)
        if during is not None:
            self.vmcb.put("EVENTINJ", event_word(during))
        cause, rule, action = words(answer, raised.linear or 0)
        if isinstance(answer, Elsewhere):
            event = replace(event, kind=Kind.VIOLATION, is_attempt=True)
        else:
            event = replace(event, cause=cause, rule=f"{event.rule}; {rule}")
        self._tell(event, action, before)

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

    # ---- beyond the guest's memory, with nested paging ---------------------------------------------------------------

    def _nested_fault(self, nested: NestedTables, stop: NestedFault) -> Outcome:
        """The guest reached beyond its memory: show it a page where nothing answers, for this one instruction."""
        inner: Stop = stop
        lent: list[int] = []
        while isinstance(inner, NestedFault) and len(lent) < MOST_PAGES_LENT:
            before = self.machine.state.copy()
            info1 = inner.is_present | inner.is_write << 1 | 1 << 2 | inner.is_fetch << 4 | 1 << 32
            report = SvmReport("VMEXIT_NPF", "nested paging", info1, inner.gpa)
            event = self._exit(report, inner.instruction)
            event = replace(event, is_attempt=True, kind=Kind.VIOLATION, rule="no nested page there")
            page = inner.gpa & ~0xFFF
            self._tell(event, f"outside the guest's memory ({inner.gpa:08X}h): nothing answers there", before)
            nested.map(page, layout.OPEN_BUS)
            lent.append(page)
            inner = self.machine.step_over()
        for page in lent:
            nested.map(page, None)
            self.machine.cpu.frames.drop(page >> 12)
        self.machine.cpu.flush_tlb()
        self.machine.ram.write(layout.OPEN_BUS, b"\xff" * PAGE)
        if has_completed(inner):
            self.emulated += 1
        if isinstance(inner, BudgetSpent):
            return RESUME
        return RESUME if isinstance(inner, (NestedFault, Paused)) else self.handle(inner)

    # ---- #VMEXIT and VMRUN -------------------------------------------------------------------------------------------

    def _exit(self, report: SvmReport, instruction: Instruction | None) -> Event:
        """Do the hardware's part of #VMEXIT, and start the record of it."""
        state = self.machine.state
        before = self.vmcb.image()
        self.vmcb.report(report, state, interrupt_shadow=self.machine.cpu.interrupt_shadow)
        self._images = Images(before, self.vmcb.image())
        code = self.vmcb.get("EXITCODE")
        detail = [
            ("EXITCODE", f"{code:03X}h"),
            ("EXITINFO1", f"{report.info1:X}h"),
            ("EXITINFO2", f"{report.info2:X}h"),
        ]
        if report.exit_int_info:
            detail.append(("EXITINTINFO", f"{report.exit_int_info:X}h"))
        return Event(
            at=self.machine.retired,
            address=state.eip,
            instruction=text_of(instruction),
            form=instruction.form if instruction is not None else None,
            kind=Kind.EXIT,
            cause=report.exit_name,
            rule=f"the VMCB intercepts it: {report.intercept}",
            handler=_HANDLER,
            action="",
            charges=("exit", "vmm-work"),
            from_ring=state.cpl,
            via_ring=_HOST,
            detail=tuple(detail),
        )

    def _tell(
        self,
        event: Event,
        action: str,
        before: CpuState,
        place: int | None = None,
        *,
        old: CpuState | None = None,
        stores: bool = True,
    ) -> None:
        """Complete the record and let the guest go on: VMRUN loads the state save area.

        Args:
            event: as `_exit` started it.
            action: what the VMM did.
            before: the CPU at the exit.
            place: among the events not taken out yet; the last by default.
            old: what the guest saw at the exit, where it may see something else now.
            stores: the state is the one to enter; False where the CPU has gone on by itself since.
        """
        after = self.machine.state
        if stores:
            self.vmcb.store_guest(after)
        changes = changes_between(before, after, is_real=True)
        if old is not None and self._shadow is not None:
            names = {change.name for change in changes}
            guest_changes = changes_between(old, self.guest_state(), is_real=False)
            changes += tuple(change for change in guest_changes if change.name not in names)
        told = replace(event, action=action, to_ring=after.cpl, resume=after.eip, changes=changes)
        self.events.insert(len(self.events) if place is None else place, told)


def _is_svm_instruction(stop: Fault) -> bool:
    """The CPU raised #UD for an instruction of AMD-V itself: on a CPU that has it, the intercept comes first."""
    instruction = stop.instruction
    return stop.vector == Vector.UD and instruction is not None and instruction.form in SVM_FORMS


def _watched_forms(intercepts: frozenset[str]) -> frozenset[str]:
    """Forms that some intercept of these may catch, and at which the machine does not stop by itself."""
    by_form = {
        "pushf": "PUSHF", "popf": "POPF", "iret": "IRET", "invd": "INVD", "wbinvd": "WBINVD", "invlpg": "INVLPG",
        "sidt": "IDTR_READ", "sgdt": "GDTR_READ", "sldt": "LDTR_READ", "str": "TR_READ",
        "lidt": "IDTR_WRITE", "lgdt": "GDTR_WRITE", "lldt": "LDTR_WRITE",
    }  # fmt: skip
    forms = {form for form, name in by_form.items() if name in intercepts}
    crs = {name for name in intercepts if name.startswith("CR")}
    if any(name.endswith("_WRITE") for name in crs):
        forms.add("mov-to-cr")
    if any(name.endswith("_READ") for name in crs):
        forms |= {"mov-from-cr", "smsw"}
    if any(name.startswith("DR") and name.endswith("_WRITE") for name in intercepts):
        forms.add("mov-to-dr")
    if any(name.startswith("DR") and name.endswith("_READ") for name in intercepts):
        forms.add("mov-from-dr")
    return frozenset(forms) & FORMS - _STOPS_BY_ITSELF
