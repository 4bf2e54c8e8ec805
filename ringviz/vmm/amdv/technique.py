"""The AMD-V VMM: what it intercepts, and what it does at each #VMEXIT.

The guest runs in guest mode with its kernel in ring 0. The CPU itself handles the guest's privileged instructions,
exceptions and page tables; it leaves guest mode only for what the VMCB intercepts and for nested page faults.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from ringviz.errors import UnsupportedError
from ringviz.facts.exceptions import Vector, combines
from ringviz.facts.registers import EFER_MSR, Efer
from ringviz.guest.image import Image
from ringviz.guest.instruction import Instruction
from ringviz.guest.scenario import Scenario
from ringviz.machine import microcode
from ringviz.machine.cpuid import hypervisor_cpuid
from ringviz.machine.delivery import Delivered, Interruption, Shutdown, TaskGateError, deliver
from ringviz.machine.linear import LinearMemory, PageFault
from ringviz.machine.machine import Completion, RealEnvironment
from ringviz.machine.memory import PAGE
from ringviz.machine.microcode import Effect, GuestFault
from ringviz.machine.microcode.ports import port_of
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
from ringviz.vmm.escapes import escape, escaped_shutdown
from ringviz.vmm.events import Event, Kind
from ringviz.vmm.guest_space import MOST_PAGES_LENT
from ringviz.vmm.hardware import HALTED, RETURNS, TRIPLE_FAULT, hardware_event, watched_return
from ringviz.vmm.outcome import RESUME, Outcome
from ringviz.vmm.setup import Setup
from ringviz.vmm.side import Side
from ringviz.vmm.technique import Technique, changes_between, text_of
from ringviz.vmm.verdicts import on_bare_cpu

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
_MISSING = "no intercept of the VMCB asks for an exit"


class AmdV(Technique):
    """Hardware assistance as AMD built it, with nested paging."""

    id: ClassVar[str] = "amd-v"
    mmus: ClassVar[tuple[str, ...]] = ("nested",)
    guest_base: ClassVar[int] = layout.GUEST_BASE

    def __init__(self, scenario: Scenario, setup: Setup) -> None:
        super().__init__(scenario, setup)
        ram = self.machine.ram
        policy = Policy(setup)
        self.vmcb = ControlBlock(ram, layout.VMCB, policy.intercepts)
        policy.mark_everything(ram)
        ram.write(layout.OPEN_BUS, b"\xff" * PAGE)
        self.nested = NestedTables(ram, layout.NESTED_TABLES, self.guest_base, self.guest_bytes)
        self.vmcb.put("IOPM_BASE_PA", layout.IO_MAP)
        self.vmcb.put("MSRPM_BASE_PA", layout.MSR_MAP)
        self.vmcb.put("NP_CONTROL", 1)
        self.vmcb.put("N_CR3", self.nested.root)
        self.machine.second_level = self.nested
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
        self.machine.cpu.load(state)

    def guest_state(self) -> CpuState:
        """In guest mode the CPU is what the guest believes it to be: that is the point."""
        return self.machine.state.copy()

    def guest_memory(self) -> LinearMemory:
        """Likewise; nested paging is behind it."""
        return self.machine.memory

    def save_vmm(self) -> Any:
        """How far the nested tables reach, and what the last exit found; the rest is in memory."""
        return self.nested.next_table, self._images

    def restore_vmm(self, saved: Any) -> None:
        """Take it back, or tables built since would be built elsewhere the next time."""
        self.nested.next_table, self._images = saved

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
                return self._nested_fault(stop)
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
        state = self.machine.state
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
        completion = self._execute(instruction)
        if isinstance(completion, Interruption):
            return self._exception(completion, stop, instruction)
        if instruction.form == "rdmsr" and before.gpr[ECX] == EFER_MSR:
            self.machine.state.gpr[EAX] |= Efer.SVME  # the real register: in guest mode the bit is set
        return self._told_in_guest(stop, before, at, completion)

    def _execute(self, instruction: Instruction) -> Effect | Interruption:
        """Execute an instruction by microcode; give what it raises instead of delivering it."""
        machine = self.machine
        attempt = machine.state.copy()
        try:
            effect = microcode.execute(RealEnvironment(machine, attempt), instruction)
        except GuestFault as fault:
            if fault.vector == Vector.DB:  # general detect shows in DR6, and has switched itself off
                machine.cpu.adopt(attempt)
            return Interruption(fault.vector, fault.error_code)
        except PageFault as fault:
            if instruction.is_string:
                machine.cpu.adopt(attempt)
            return Interruption(Vector.PF, fault.error_code, fault.linear)
        machine.step_trap_due = microcode.owes_step_trap(machine.state, instruction, effect)
        machine.cpu.adopt(attempt)
        if effect is not Effect.UNFINISHED:
            machine.retire()
            machine.prefetch()
        return effect

    def _told_in_guest(self, stop: Stop, before: CpuState, at: int, completion: Completion) -> Outcome:
        """Record what the CPU did without an exit, where a learner would call it an event."""
        event = hardware_event(self, stop, before, self.machine.state, at, completion)
        if event is not None:
            self.events.append(escape(event, stop, completion, _MISSING))
        if isinstance(completion, Shutdown):
            return self._shutdown(getattr(stop, "instruction", None))
        return HALTED if completion is Effect.HALTED else self.conclude()

    def _emulate(self, report: SvmReport, instruction: Instruction) -> Outcome:
        """The VMM executes the instruction on the guest's behalf."""
        before = self.machine.state.copy()
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
        self._tell(event, self._action(instruction, before), before)
        return HALTED if effect is Effect.HALTED else self.conclude()

    def _action(self, instruction: Instruction, before: CpuState) -> str:
        """What the VMM did, in a few words."""
        form, after = instruction.form or "", self.machine.state
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
        report = exception_exit(self.vmcb.intercepts, what)
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
        if isinstance(completion, Delivered) and len(completion.chain) == 1:
            self.machine.retire()
            self.machine.prefetch()
        return self._told_in_guest(stop, before, at, completion)

    def _deliver(self, what: Interruption, instruction: Instruction | None) -> Delivered | Shutdown:
        """The CPU delivers an event through the guest's table; exceptions on the way may exit."""

        def met(first: Interruption, second: Interruption) -> None:
            report = exception_exit(self.vmcb.intercepts, second, first)
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

        return deliver(self.machine.state, self.machine.memory, what, met)

    def _reflect(self, report: SvmReport, what: Interruption, instruction: Instruction | None) -> Outcome:
        """An exception or INT n that is intercepted: the VMM has no use for it and hands it back."""
        before = self.machine.state.copy()
        native = "native-exception"
        if what.vector == Vector.PF:
            native = "native-page-fault"
        elif what.is_software and what.vector not in (Vector.BP, Vector.OF):
            native = "native-gate"
        event = replace(self._exit(report, instruction), native_charges=(native,))
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
            self.machine.prefetch()
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

    # ---- beyond the guest's memory -----------------------------------------------------------------------------------

    def _nested_fault(self, stop: NestedFault) -> Outcome:
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
            self.nested.map(page, layout.OPEN_BUS)
            lent.append(page)
            inner = self.machine.step_over()
        for page in lent:
            self.nested.map(page, None)
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
        self, event: Event, action: str, before: CpuState, place: int | None = None, *, stores: bool = True
    ) -> None:
        """Complete the record and let the guest go on: VMRUN loads the state save area.

        Args:
            event: as `_exit` started it.
            action: what the VMM did.
            before: the CPU at the exit.
            place: among the events not taken out yet; the last by default.
            stores: the state is the one to enter; False where the CPU has gone on by itself since.
        """
        after = self.machine.state
        if stores:
            self.vmcb.store_guest(after)
        changes = changes_between(before, after, is_real=True)
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
