"""Paravirtualization: the hypervisor in ring 0, a kernel that was recompiled for it in ring 1, programs in ring 3.

Nothing of the guest is emulated. What only ring 0 may do the kernel asks for, by `INT 82h`; what it needs often, its
interrupt flag, is a byte in a page that both sides share; and a system call goes from ring 3 to ring 1 through a gate
that the hypervisor has put into its own table for it. A kernel that tries instead of asking gets its own exception
back, and one that uses a silent instruction is told about the real machine, as under trap-and-emulate.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from ringviz.errors import UnsupportedError
from ringviz.facts import hypercalls as facts
from ringviz.facts.exceptions import EXCEPTIONS, ExceptionKind, PageFaultError, Vector, gate_error
from ringviz.facts.instructions import INSTRUCTIONS
from ringviz.facts.registers import EFLAGS_FIXED, Cr0, Eflags
from ringviz.facts.segments import null_cache
from ringviz.guest.image import Image
from ringviz.guest.instruction import Instruction
from ringviz.guest.scenario import Scenario
from ringviz.machine import microcode
from ringviz.machine.delivery import Delivered, Interruption, deliver
from ringviz.machine.linear import LinearMemory, PageFault
from ringviz.machine.memory import PAGE_SHIFT
from ringviz.machine.microcode import GuestFault
from ringviz.machine.microcode.operands import linear_address
from ringviz.machine.paging import Access
from ringviz.machine.real_environment import RealEnvironment
from ringviz.machine.state import CS, EAX, EBX, ECX, EDI, EDX, ESI, ESP, CpuState, TableRegister, segment
from ringviz.machine.stops import (
    Breakpoint,
    BudgetSpent,
    ExternalInterrupt,
    Fault,
    Halted,
    InterruptWindow,
    NestedFault,
    Paused,
    PortIo,
    ProtectedAccess,
    SensitiveInsn,
    SoftInterrupt,
    Stop,
    Watched,
    has_completed,
)
from ringviz.vmm import describe
from ringviz.vmm.environment import VirtualEnvironment
from ringviz.vmm.events import Event, Kind
from ringviz.vmm.guest_space import GuestSpace, Overlay
from ringviz.vmm.hardware import RETURNS, hardware_event, watched_return
from ringviz.vmm.outcome import RESUME, Ended, Outcome
from ringviz.vmm.paravirt import guest_entry, layout
from ringviz.vmm.paravirt.answers import Answer, Continuation
from ringviz.vmm.paravirt.cpu_tables import SYSTEM_CALL_VECTOR
from ringviz.vmm.paravirt.domain import Callback, DomainCrash
from ringviz.vmm.paravirt.frames import FrameType
from ringviz.vmm.paravirt.guest_access import Refused
from ringviz.vmm.paravirt.guest_entry import BadReturn, Frame
from ringviz.vmm.paravirt.hypercalls import Hypervisor
from ringviz.vmm.paravirt.places import build_side
from ringviz.vmm.paravirt.start_info import build_bootstrap
from ringviz.vmm.setup import Setup
from ringviz.vmm.side import Side
from ringviz.vmm.silent import compare_silent
from ringviz.vmm.technique import Technique, changes_between, initial_state, text_of
from ringviz.vmm.verdicts import on_bare_cpu
from ringviz.vmm.walks import Tables, TableWalk, Walker, Walks, one_dimension, window_of, within

SILENT_HERE = frozenset({"pushf", "popf", "sgdt", "sidt", "sldt", "str", "smsw"})
"""Silent instructions that show a ring 1 kernel what is not its own. The others tell it the truth: it knows its ring,
its selectors and its descriptors."""
_ARGUMENTS = (EBX, ECX, EDX, ESI, EDI)
_HANDLER = "VMM in ring 0"
_BEYOND_THE_LIMIT = (
    "The hypervisor has these linear addresses for itself: the guest's segments are cut off below, so an access of the "
    "guest's faults before any table is looked at"
)
_KERNEL_RING, _VMM_RING = 1, 0
_CR0 = Cr0.PG | Cr0.WP | Cr0.NE | Cr0.ET | Cr0.PE
HALTED = Ended("halted", "the guest blocked, and no event can wake it")
_EXTERNAL = "external interrupt"
SHUT_DOWN = "the guest shut down by sched_op"


class Paravirt(Technique):
    """Xen's way, on 32-bit x86."""

    id: ClassVar[str] = "paravirt"
    mmus: ClassVar[tuple[str, ...]] = ("direct",)
    no_svm: ClassVar[str] = "a kernel in ring 1 asks its hypervisor for everything, and this one has no such call"
    no_long_mode: ClassVar[str] = (
        "Xen ran 64-bit kernels in ring 3, and this VMM is the one for 32-bit kernels, in ring 1"
    )
    guest_base: ClassVar[int] = layout.GUEST_BASE

    def __init__(self, scenario: Scenario, setup: Setup) -> None:
        super().__init__(scenario, setup)
        machine = self.machine
        self.hypervisor = Hypervisor(scenario.id, machine, self.guest_base, self.guest_bytes)
        self._space = GuestSpace(machine.ram, 0, machine.ram.size)
        """Memory as the guest's page tables name it: by machine addresses."""
        machine.protected_pages = layout.HOLE_PAGES
        machine.protected_linear = lambda physical: physical + layout.HOLE
        machine.watch(RETURNS | SILENT_HERE)

    # ---- the calls ---------------------------------------------------------------------------------------------------

    def boot(self, image: Image) -> None:
        """Put the kernel into memory and what Xen's domain builder puts behind it, and start in ring 1."""
        bootstrap = build_bootstrap(self.scenario.id, image, self.hypervisor.frames)
        for segment_ in image.segments:
            self.machine.ram.write(self.guest_base + segment_.address, segment_.data)
        for address, data in bootstrap.writes:
            self.machine.ram.write(self.guest_base + address, data)
        self.hypervisor.start_domain(bootstrap.page_tables)
        state = initial_state(image)
        state.gpr[ESI], state.gpr[ESP] = bootstrap.start_info, bootstrap.stack_top
        self.power_on(state)

    def give_up_page(self, page: int) -> bool:
        """Let a page hold zeros, unless it holds what the hypervisor relies on."""
        if self.hypervisor.domain.use.type_of(page) not in (FrameType.NONE, FrameType.WRITABLE):
            return False
        return super().give_up_page(page)

    def power_on(self, state: CpuState) -> None:
        """Let the guest go in ring 1, on page tables of its own, with the flat segments that every guest has."""
        if not state.is_protected:
            raise UnsupportedError(f"{self.id} cannot run a guest in real mode: there are no rings to tell it about")
        flat = layout.SEGMENT_END - 1
        data = segment(facts.FLAT_RING1_DS, 0, flat, 0xCB3)
        state.segments = [data] * 6
        state.segments[CS] = segment(facts.FLAT_RING1_CS, 0, flat, 0xCBB)
        state.cpl = _KERNEL_RING
        state.eflags |= Eflags.IF | EFLAGS_FIXED
        state.cr0, state.cr3 = _CR0, self.hypervisor.base_address
        state.gdtr = TableRegister(layout.GDT_LINEAR, 0xFFFF)
        state.idtr = TableRegister(layout.IDT_LINEAR, 0x7FF)
        state.tr = segment(layout.TSS_SELECTOR, layout.TSS_LINEAR, 0x67, 0x08B)
        state.ldtr = null_cache()
        self.hypervisor.domain.kernel_esp = state.gpr[ESP]
        self.hypervisor.tables.set_kernel_stack(facts.FLAT_RING1_DS, state.gpr[ESP])
        self.machine.cpu.load(state)

    def guest_state(self) -> CpuState:
        """The CPU as a kernel knows it that was told the truth: the real one, but for what became hypercalls.

        The ring is the real one. IF is the shared page's mask, the GDT is the one it has registered, and an IDT and a
        task it does not have: it has handed over a trap table and a stack instead.
        """
        state = self.machine.state.copy()
        domain = self.hypervisor.domain
        if self.hypervisor.shared.is_masked:
            state.eflags &= ~Eflags.IF
        if domain.gdt_pages:
            state.gdtr = TableRegister(domain.gdt_pages[0] << PAGE_SHIFT, 8 * domain.gdt_entries - 1)
        state.idtr = TableRegister(0, 0)
        state.tr = null_cache()
        if state.ldtr.is_usable:
            state.ldtr = segment(0, domain.ldt_base, state.ldtr.limit, state.ldtr.access)
        return state

    def guest_memory(self) -> LinearMemory:
        """Linear memory through the tables that the guest lives on."""
        return self.machine.memory

    def walks(self, linear: int, access: Access) -> Walks:
        """The CPU walks the tables that the guest lives on, in one dimension; they hold machine frame numbers."""
        note = "" if linear < layout.HOLE else _BEYOND_THE_LIMIT
        return Walks((self.cpu_walk(linear, access),), note=note)

    def cpu_walk(self, linear: int, access: Access) -> TableWalk:
        """That one."""
        base, size = self.guest_base, self.guest_bytes
        ram = self.machine.ram
        return one_dimension(
            ram.read_int, self.machine.state, linear, access,
            walker=Walker.CPU, tables=Tables.DIRECT, gpa_of=window_of(base, size), hpa_of=within(0, ram.size),
        )  # fmt: skip

    def guest_ram_pieces(self) -> Iterator[bytes]:
        """All memory of the guest, the page it shares, and what the machine-to-physical table says."""
        ram = self.machine.ram
        yield from super().guest_ram_pieces()
        yield ram.page(layout.SHARED_INFO >> PAGE_SHIFT)
        yield ram.read(layout.M2P, 4 * (ram.size >> PAGE_SHIFT))

    def save_vmm(self) -> Any:
        """What hypercalls have registered; all else is in memory."""
        return self.hypervisor.domain.copy()

    def restore_vmm(self, saved: Any) -> None:
        """Take it back."""
        self.hypervisor.domain = saved.copy()

    def side(self) -> Side:
        """The places of the source that were recompiled, and how often each has called."""
        return build_side(self.scenario, self.hypervisor.domain.calls, self.machine.state.eip)

    def verdict(self, instruction: Instruction, cpl: int) -> tuple[str, str]:
        """The CPU's own rules in rings 1 and 3, and the one gate that is the guest's."""
        form = instruction.form
        if form is None:
            return "", ""
        if form == "int":
            return self._verdict_of_int(int(instruction.ops[0].value or 0), cpl)
        if form in SILENT_HERE:
            return "silent", INSTRUCTIONS[form].leaks
        if form in RETURNS and form != "sysexit":
            return "gate", "the kernel knows its ring, and returns to ring 3 by itself"
        word, why = on_bare_cpu(form, cpl)
        if word == "gate":
            return ("traps", "the hypervisor hands it to the guest's handler") if form in _INTERRUPTS else (word, why)
        return word, why

    def _verdict_of_int(self, vector: int, cpl: int) -> tuple[str, str]:
        if vector == facts.VECTOR:
            return ("calls", "asks the hypervisor") if cpl == _KERNEL_RING else ("faults", "only ring 1 may ask")
        if vector == SYSTEM_CALL_VECTOR and self.hypervisor.has_own_gate:
            return "gate", "a gate of the guest's own in the hypervisor's table: no detour through ring 0"
        return "traps", "the hypervisor hands it to the guest's handler"

    # ---- the dispatcher ----------------------------------------------------------------------------------------------

    def handle(self, stop: Stop) -> Outcome:
        """Answer one stop."""
        with self.saying_where():
            return self._answer(stop)

    def _answer(self, stop: Stop) -> Outcome:
        match stop:
            case Watched(form=form) if form in SILENT_HERE:
                return self._silent(stop)
            case Watched():
                inner = watched_return(self, stop)
                return RESUME if inner is None else self._answer(inner)
            case SoftInterrupt(vector=facts.VECTOR) if self.machine.state.cpl == _KERNEL_RING:
                return self._hypercall(stop)
            case SoftInterrupt(vector=vector) if vector == SYSTEM_CALL_VECTOR and self.hypervisor.has_own_gate:
                return self._own_gate(stop)
            case SoftInterrupt():
                return self._interrupt(stop)
            case Fault(vector=Vector.PF, linear=linear, instruction=instruction) if _is_beyond(
                linear or 0, instruction
            ):
                # The emulator checks no limits: a CPU would not have come as far as the page tables.
                return self._beyond_the_limit(linear or 0, instruction)
            case Fault():
                return self._fault(stop)
            case ProtectedAccess(linear=linear, instruction=instruction):
                return self._beyond_the_limit(linear, instruction)
            case SensitiveInsn():
                return self._by_microcode(stop)
            case Halted():
                return HALTED
            case InterruptWindow():
                return self._clock_ticks(stop)
            case PortIo() | NestedFault() | BudgetSpent() | Paused() | Breakpoint() | ExternalInterrupt():
                # IOPL 0 and a TSS without I/O bitmap keep every port away from rings 1 and 3; and the machine need not
                # report devices, since real interrupts are always on and come in by themselves.
                raise AssertionError(f"a stop that paravirtualization cannot meet: {stop}")

    # ---- hypercalls --------------------------------------------------------------------------------------------------

    def _hypercall(self, stop: SoftInterrupt) -> Outcome:
        """The kernel asks for something."""
        hypervisor, state = self.hypervisor, self.machine.state
        before, at, first = state.copy(), self.machine.retired, len(self.events)
        number = state.gpr[EAX]
        arguments = tuple(state.gpr[register] for register in _ARGUMENTS)
        state.eip = stop.instruction.next_address & 0xFFFF_FFFF
        outcome: Outcome = RESUME
        error = ""
        try:
            answer = hypervisor.call(number, arguments)
        except Refused as refused:
            error = refused.error.name
            answer = Answer(
                f"refused: {refused}", -refused.error, requests=refused.requests, is_attempt=refused.is_attempt
            )
        except Continuation as rest:
            for register, value in zip(_ARGUMENTS, rest.arguments, strict=False):
                state.gpr[register] = value
            state.eip = before.eip
            answer = Answer(str(rest), requests=rest.requests)
            self._tell_hypercall(stop, before, at, first, arguments, answer, "more to come")
            return RESUME
        except DomainCrash as crash:
            return self._crash(stop.instruction, before, at, f"INT 82h: {_name(number)}", crash)
        state.gpr[EAX] = answer.value & 0xFFFF_FFFF
        hypervisor.domain.calls[before.eip] = hypervisor.domain.calls.get(before.eip, 0) + 1
        self.machine.retire()
        self.emulated += 1
        if answer.ends:
            code = self.machine.bus.exit_code
            outcome = Ended("exit", f"{SHUT_DOWN}, exit code {code}")
        elif answer.blocks:
            outcome = self._block()
        else:
            outcome = self._go_back(stop.instruction, before, at, answer.frame)
        shown = f"−{error}" if error else _result(answer)
        self._tell_hypercall(stop, before, at, first, arguments, answer, shown)
        if outcome is RESUME:
            return self._tell_events(stop.instruction)
        return outcome

    def _block(self) -> Outcome:
        """Let the CPU sleep until something wakes the guest; there is no other guest to run meanwhile."""
        if not self.hypervisor.clock.can_wake:
            return HALTED
        self.hypervisor.domain.is_blocked = True
        return RESUME if self.machine.halt() else HALTED

    def _tell_hypercall(
        self,
        stop: SoftInterrupt,
        before: CpuState,
        at: int,
        place: int,
        arguments: tuple[int, ...],
        answer: Answer,
        result: str,
    ) -> None:
        """Record a hypercall, before what has come of it."""
        number = before.gpr[EAX]
        row = facts.HYPERCALLS.get(number)
        named = zip(row.arguments if row is not None else (), arguments, strict=False)
        self.events.insert(
            place,
            self._event(
                stop.instruction,
                before,
                at,
                Kind.VIOLATION if answer.is_attempt else Kind.HYPERCALL,
                f"INT 82h: {_name(number)}",
                "the gate admits ring 1",
                action=answer.text,
                charges=(
                    "hypercall",
                    *("hypercall-entry",) * answer.entries,
                    *("mmu-request",) * answer.requests,
                ),
                is_attempt=answer.is_attempt,
                # On bare metal the guest's own driver goes to the device.
                native_charges=("native-port-io",) * self.hypervisor.take_port_accesses(),
                detail=(
                    ("EAX", f"{number} {_name(number)}"),
                    *((name, f"{value:08X}") for name, value in named),
                    ("result", result),
                ),
            ),
        )

    def _go_back(self, instruction: Instruction | None, before: CpuState, at: int, frame: Frame | None) -> Outcome:
        """Return to the guest: to a frame it has asked for, or to where it is, with segments loaded anew if need be."""
        state, memory, domain = self.machine.state, self.machine.memory, self.hypervisor.domain
        attempt = state.copy()
        try:
            if domain.tables_version != domain.loaded_version:
                domain.loaded_version = domain.tables_version
                guest_entry.reload_data_segments(attempt, memory)
                if frame is None:
                    frame = Frame.of(attempt)
            if frame is not None:
                guest_entry.return_to(attempt, memory, frame)
        except BadReturn as bad:
            return self._failsafe(instruction, before, at, frame or Frame.of(attempt), bad)
        self.machine.cpu.adopt(attempt)
        return RESUME

    def _failsafe(
        self, instruction: Instruction | None, before: CpuState, at: int, frame: Frame, bad: BadReturn
    ) -> Outcome:
        """The guest has asked for a return that faults: it is called about it."""
        domain, state = self.hypervisor.domain, self.machine.state
        attempt = state.copy()
        try:
            guest_entry.bounce(
                attempt, self.machine.memory, domain, self.hypervisor.shared, domain.failsafe, frame, is_failsafe=True
            )
        except (DomainCrash, BadReturn) as crash:
            return self._crash(instruction, before, at, "failed return", f"{bad}; {crash}")
        guest_entry.null_data_segments(attempt)
        self.machine.cpu.adopt(attempt)
        self._tell_upcall(instruction, "failed return", str(bad), domain.failsafe)
        return RESUME

    def _tell_events(self, instruction: Instruction | None) -> Outcome:
        """Call the guest if an event waits and it wants to be called: on every way back from ring 0."""
        shared, domain, state = self.hypervisor.shared, self.hypervisor.domain, self.machine.state
        if shared.is_masked or not shared.is_pending:
            return RESUME
        before, at = state.copy(), self.machine.retired
        attempt = state.copy()
        try:
            guest_entry.bounce(
                attempt, self.machine.memory, domain, shared, domain.event, Frame.of(state), masks_events=True
            )
        except (DomainCrash, BadReturn) as crash:
            return self._crash(instruction, before, at, "event", crash)
        self.machine.cpu.adopt(attempt)
        self._tell_upcall(instruction, "event", "pending, and not masked", domain.event)
        return RESUME

    def _tell_upcall(self, instruction: Instruction | None, cause: str, rule: str, target: Callback) -> None:
        state = self.machine.state
        self.events.append(
            self._event(
                instruction,
                state,
                self.machine.retired,
                Kind.REFLECT,
                cause,
                rule,
                action=f"passed on to the guest's callback at {target.offset:08X}, ring {state.cpl}",
            )
        )

    def _crash(
        self, instruction: Instruction | None, before: CpuState, at: int, cause: str, why: Exception | str
    ) -> Ended:
        """End a guest that has left itself no way on."""
        self.machine.cpu.adopt(before.copy())
        text = f"the hypervisor ended the guest: {why}"
        self.events.append(self._event(instruction, before, at, Kind.END, cause, str(why), action="domain crashed"))
        return Ended("triple-fault", text)

    # ---- interrupts and exceptions -----------------------------------------------------------------------------------

    def _clock_ticks(self, stop: InterruptWindow) -> Outcome:
        """The timer interrupts whatever runs: it is the hypervisor's, and the guest is told by an event, or not."""
        hypervisor = self.hypervisor
        before, at = self.machine.state.copy(), self.machine.retired
        self.machine.acknowledge()
        self.events.append(
            self._event(
                stop.instruction,
                before,
                at,
                Kind.TRAP,
                _EXTERNAL,
                "an interrupt enters ring 0 through the hypervisor's table",
                action=hypervisor.clock.tick(),
                charges=("trap-emulate",),
                is_between=True,
            )
        )
        domain = hypervisor.domain
        if domain.is_blocked and not hypervisor.shared.is_pending:
            return RESUME if self.machine.halt() else HALTED
        domain.is_blocked = False
        return self._tell_events(stop.instruction)

    def _own_gate(self, stop: SoftInterrupt) -> Outcome:
        """INT 80h through the guest's own gate: the CPU goes from ring 3 to ring 1 by itself."""
        state = self.machine.state
        before, at = state.copy(), self.machine.retired
        attempt = state.copy()
        what = Interruption(stop.vector, is_software=True, next_eip=(state.eip + stop.instruction.size) & 0xFFFF_FFFF)
        result = deliver(attempt, self.machine.memory, what)
        if not isinstance(result, Delivered) or result.to_cpl == _VMM_RING:
            # The CPU could not go through: what it raises instead leads to ring 0.
            if (
                isinstance(result, Delivered)
                and result.vector == Vector.GP
                and result.error_code == gate_error(stop.vector, ext=False)
            ):
                return self._interrupt(stop)
            vector, code = (result.vector, result.error_code) if isinstance(result, Delivered) else (Vector.DF, 0)
            return self._reflect(stop.instruction, vector, code, describe.vector_name(vector), "the gate refused")
        self.machine.cpu.adopt(attempt)
        self.machine.retire(stop.instruction)
        event = hardware_event(self, stop, before, self.machine.state, at, result)
        if event is not None:
            self.events.append(event)
        return RESUME

    def _interrupt(self, stop: SoftInterrupt) -> Outcome:
        """INT n to the hypervisor: a breakpoint goes straight to the guest's handler, others if the guest allows."""
        state, domain, vector = self.machine.state, self.hypervisor.domain, stop.vector
        next_eip = (state.eip + stop.instruction.size) & 0xFFFF_FFFF
        name = describe.interrupt_name(stop)
        if vector in (Vector.BP, Vector.OF) or stop.is_privileged_gate_exempt:
            return self._reflect(stop.instruction, vector, None, name, "any ring may raise it", next_eip)
        handler = domain.traps.get(vector)
        needed = _KERNEL_RING if state.cpl == _KERNEL_RING else state.cpl
        code = gate_error(vector, ext=False)
        if handler is not None and handler.dpl >= needed:
            rule = f"the hypervisor's gate refuses it with #GP({code:X}); the guest's table admits ring {state.cpl}"
            return self._reflect(stop.instruction, vector, None, name, rule, next_eip)
        rule = f"no gate of vector {vector:02X}h admits ring {state.cpl}"
        return self._reflect(stop.instruction, Vector.GP, code, f"#GP({code:X})", rule)

    def _fault(self, stop: Fault) -> Outcome:
        """An exception of the guest."""
        state, rule = self.machine.state, describe.fault_rule(stop, self.machine.state)
        kind = Kind.REFLECT
        if stop.vector == Vector.PF:
            kind, rule = self._page_fault(stop.linear or 0, stop.error_code or 0)
        elif stop.vector == Vector.NM:
            state.cr0 &= ~Cr0.TS  # as Xen does, so that the handler may use the FPU at once
        return self._reflect(
            stop.instruction, stop.vector, stop.error_code, describe.fault_name(stop), rule, kind=kind,
        )  # fmt: skip

    def _page_fault(self, linear: int, error: int) -> tuple[Kind, str]:
        """Leave the address where the guest finds it; tell its own page fault from an attempt on what is not its own.

        A page that is not there, or not for ring 3, is between the guest and its programs. The right to write to its
        page tables and descriptors is what it has given up.
        """
        self.hypervisor.shared.set_cr2(linear)
        if linear >= facts.HYPERVISOR_START:
            return Kind.VIOLATION, "the machine-to-physical table is the hypervisor's, for ring 1 to read"
        if error & PageFaultError.W and error & PageFaultError.P:
            why = self.hypervisor.mmu.why_protected(linear, is_user=bool(error & PageFaultError.U))
            if why:
                return Kind.VIOLATION, why
        return Kind.REFLECT, describe.page_fault_text(error)

    def _beyond_the_limit(self, linear: int, instruction: Instruction | None) -> Outcome:
        """The guest reached above the limit of its segments, where the hypervisor is."""
        vector = Vector.SS if _goes_through_ss(self.machine.state, instruction, linear) else Vector.GP
        return self._reflect(
            instruction,
            vector,
            0,
            f"{describe.vector_name(vector)}(0)",
            f"{linear:08X}h lies beyond the limit of the cut-off segment",
            kind=Kind.VIOLATION,
        )

    def _by_microcode(self, stop: SensitiveInsn) -> Outcome:
        """An instruction that the emulator leaves to us: what the CPU does about it in this ring."""
        machine = self.machine
        before, at = machine.state.copy(), machine.retired
        attempt = machine.state.copy()
        try:
            effect = microcode.execute(RealEnvironment(machine, attempt), stop.instruction)
        except GuestFault as fault:
            if fault.vector == Vector.DB:  # general detect shows in DR6, and has switched itself off
                machine.cpu.adopt(attempt)
            return self._fault(Fault(fault.vector, fault.error_code, None, stop.instruction))
        except PageFault as fault:
            return self._answer(Fault(Vector.PF, fault.error_code, fault.linear, stop.instruction))
        machine.conclude_instruction(before, stop.instruction, effect)
        machine.cpu.adopt(attempt)
        machine.retire(stop.instruction)
        event = hardware_event(self, stop, before, machine.state, at, effect)
        if event is not None:
            self.events.append(event)
        return self.conclude()

    def _reflect(
        self,
        instruction: Instruction | None,
        vector: int,
        error_code: int | None,
        cause: str,
        rule: str,
        next_eip: int | None = None,
        kind: Kind = Kind.REFLECT,
    ) -> Outcome:
        """Hand an exception or interrupt to the handler that the guest has registered.

        Args:
            instruction: what raised it.
            vector: where it goes.
            error_code: for the frame, if the vector has one.
            cause: what raised it, in the manuals' words.
            rule: why.
            next_eip: software interrupts: where to go on afterwards; the instruction is complete.
            kind: REFLECT, or VIOLATION for an attempt on what is not the guest's.
        """
        state, hypervisor = self.machine.state, self.hypervisor
        before, at, first = state.copy(), self.machine.retired, len(self.events)
        frame = Frame.of(state)
        if next_eip is not None:
            frame = frame._replace(eip=next_eip)
        elif EXCEPTIONS[vector].kind is ExceptionKind.FAULT:
            frame = frame._replace(eflags=frame.eflags | Eflags.RF)
        handler = hypervisor.domain.traps.get(vector)
        target = Callback(handler.selector, handler.offset) if handler is not None else Callback(0, 0)
        attempt = state.copy()
        outcome: Outcome = RESUME
        try:
            guest_entry.bounce(
                attempt,
                self.machine.memory,
                hypervisor.domain,
                hypervisor.shared,
                target,
                frame,
                error_code=error_code,
                masks_events=handler is not None and handler.masks_events,
            )
        except DomainCrash as crash:
            return self._crash(instruction, before, at, cause, f"vector {vector:02X}h: {crash}")
        except BadReturn as bad:
            outcome = self._failsafe(instruction, before, at, frame, bad)
        else:
            self.machine.cpu.adopt(attempt)
        if next_eip is not None and outcome is RESUME:
            self.machine.retire()
            self.emulated += 1
        ring = self.machine.state.cpl
        is_attempt = kind is Kind.VIOLATION
        native = "native-gate" if next_eip is not None else "native-exception"
        self.events.insert(
            first,
            self._event(
                instruction,
                before,
                at,
                kind,
                cause,
                rule,
                action=f"passed on to the guest's handler at {target.offset:08X}, ring {before.cpl} → {ring}",
                charges=("trap-reflect",),
                native_charges=("native-page-fault" if vector == Vector.PF else native,),
                is_attempt=is_attempt,
            ),
        )
        return self._tell_events(instruction) if outcome is RESUME else outcome

    # ---- silent instructions -----------------------------------------------------------------------------------------

    def _silent(self, stop: Watched) -> Outcome:
        """Let an instruction run that nobody replaced, and note what a kernel in a ring 0 of its own would have got."""
        before, at = self.guest_state(), self.machine.retired
        real_before = self.machine.state.copy()
        ideal = before.copy()
        if ideal.cpl == _KERNEL_RING:
            ideal.cpl = 0
        overlay = Overlay(self._space)
        expected: CpuState | GuestFault = ideal
        try:
            microcode.execute(VirtualEnvironment(ideal, overlay, None, at, cpuid=self.machine.cpuid), stop.instruction)
        except GuestFault as fault:
            expected = fault
        inner = self.machine.step_over()
        if not has_completed(inner):
            return self._answer(inner)
        after = self.guest_state()
        ideal.cpl = before.cpl
        ideal.dr[6] = after.dr[6]  # where the guest single-steps, its trap shows there already
        told = compare_silent(stop.instruction, before, after, expected, overlay, self._space)
        if told is not None:
            self.events.append(
                self._event(
                    stop.instruction,
                    real_before,
                    at,
                    Kind.SILENT,
                    "no trap",
                    told.rule,
                    handler="nobody",
                    action=told.text,
                    charges=("silent",),
                    got=told.got,
                    native_would=told.native_would,
                    via_ring=None,
                )
            )
        return RESUME if isinstance(inner, BudgetSpent) else self._answer(inner)

    # ---- events ------------------------------------------------------------------------------------------------------

    def _event(
        self,
        instruction: Instruction | None,
        before: CpuState,
        at: int,
        kind: Kind,
        cause: str,
        rule: str,
        **more: Any,
    ) -> Event:
        """Make the record of an event that ends in the CPU's present state."""
        after = self.machine.state
        fields: dict[str, Any] = {"handler": _HANDLER, "via_ring": _VMM_RING, "to_ring": after.cpl} | more
        return Event(
            at=at,
            address=before.eip,
            instruction=text_of(instruction),
            form=instruction.form if instruction is not None else None,
            kind=kind,
            cause=cause,
            rule=rule,
            from_ring=before.cpl,
            resume=after.eip,
            changes=changes_between(before, after, is_real=True),
            **fields,
        )


_INTERRUPTS = ("int", "int3", "into", "int1")


def _name(number: int) -> str:
    row = facts.HYPERCALLS.get(number)
    return row.name if row is not None else f"number {number}"


def _result(answer: Answer) -> str:
    return str(answer.value) if answer.value < 0x1_0000 else f"{answer.value:08X}"


def _is_beyond(linear: int, instruction: Instruction | None) -> bool:
    """Tell whether an access that was refused at an address reaches beyond the limit of every guest segment."""
    widest = (
        max((operand.size_bytes for operand in instruction.ops if operand.kind == "mem"), default=1)
        if (instruction is not None)
        else 1
    )
    return linear + widest > layout.SEGMENT_END


def _goes_through_ss(state: CpuState, instruction: Instruction | None, linear: int) -> bool:
    """Tell whether an access beyond the limit went through the stack segment, which raises #SS instead of #GP."""
    if instruction is None or linear == state.linear_eip:
        return False
    for operand in instruction.ops:
        if operand.kind == "mem":
            start = linear_address(state, operand, instruction.address_size_bits)
            if start <= linear < start + max(operand.size_bytes, 1):
                return operand.segment == "ss"
    return not instruction.is_string  # PUSH, POP, CALL, RET: the stack itself
