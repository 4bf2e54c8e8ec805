"""The VMM in ring 0 that runs a guest's kernel in ring 1: everything but what becomes of the silent instructions.

Privileged instructions fault into the VMM, which executes them on a virtual CPU (the dispatcher and the interpreter
routines of Popek and Goldberg). The guest's own exceptions and interrupts fault into the VMM as well, which hands them
on through the guest's table.

Real-mode code of the guest runs in virtual-8086 mode, where nearly all that is sensitive traps. What fits neither there
nor into ring 1 (segment registers that no load could fill so) is interpreted: see `Running`.

How the VMM keeps itself apart: real VMMs of this kind cut the guest's segments off below their own pages. The emulated
CPU does not check segment limits, so the machine checks just these pages (`Machine.protected_pages`).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from enum import Enum
from typing import Any, ClassVar

from ringviz.facts.exceptions import EXCEPTIONS, Vector
from ringviz.facts.instructions import INSTRUCTIONS, SILENT_IDS
from ringviz.facts.registers import Cr0, Cr4, Eflags
from ringviz.facts.virtual_8086 import SILENT_IN_VIRTUAL_8086
from ringviz.guest.instruction import Instruction
from ringviz.guest.scenario import Scenario
from ringviz.machine import microcode
from ringviz.machine.delivery import Interruption, Shutdown, deliver
from ringviz.machine.linear import LinearMemory, PageFault, SpectatorMemory
from ringviz.machine.machine import LOADS_DESCRIPTORS
from ringviz.machine.memory import PAGE
from ringviz.machine.microcode import Effect, GuestFault
from ringviz.machine.paging import Access
from ringviz.machine.state import ESP, SS, CpuState
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
from ringviz.vmm import describe, virtual_8086
from ringviz.vmm.environment import VirtualEnvironment
from ringviz.vmm.events import Event, Kind
from ringviz.vmm.guest_code import decode_here
from ringviz.vmm.guest_space import GuestSpace
from ringviz.vmm.mmu.answers import Elsewhere, Filled, Refused, Traced
from ringviz.vmm.mmu.comparison import shadow_walk, shadow_walks
from ringviz.vmm.mmu.let_through import access_of, is_memory_refusal, let_through
from ringviz.vmm.mmu.telling import (
    DEVICE_RULE,
    HIDDEN_FAULT,
    HIDDEN_RULE,
    TRACE_ACTION,
    TRACE_FAULT,
    TRACE_RULE,
    filled_text,
    refused_text,
)
from ringviz.vmm.outcome import RESUME, Ended, Outcome
from ringviz.vmm.ring_compression import actions, layout
from ringviz.vmm.ring_compression.descriptor_tables import DescriptorTables, pages_of
from ringviz.vmm.ring_compression.left_over import is_left_over
from ringviz.vmm.ring_compression.page_tables import make_shadows
from ringviz.vmm.ring_compression.two_views import compress, expand, real_ring_of
from ringviz.vmm.setup import Setup
from ringviz.vmm.technique import Technique, changes_between, text_of
from ringviz.vmm.verdicts import on_bare_cpu
from ringviz.vmm.walks import TableWalk, Walks

_INTERPRETED_AFTER = (Vector.GP, Vector.NP, Vector.SS)
"""Exceptions by which an instruction that the VMM must execute makes itself known."""
_DIRECT = frozenset({"cpuid", "rdtsc"})
"""Unprivileged instructions that the emulator leaves to us to execute; no VMM of this kind sees them."""
_RETURNS = frozenset({"iret", "ret-far"})
_WAYS_ARE_CLOSED = "the VMM keeps the way to every other ring closed, so that it hears of the crossing"
_LOADS_SEGMENT = frozenset({"mov-to-sreg", "pop-sreg", "load-far-pointer"})
_SHOWS_SEGMENT = frozenset({"mov-from-sreg", "push-sreg"})
_INTERPRETED = "interpreted"
_VMM_RING = 0
_HANDLER = "VMM in ring 0"
_WINDOW = "the guest's virtual IF is 1"
_BEYOND_THE_LIMIT = (
    "The VMM has these linear addresses for itself: the guest's segments are cut off below, so an access of the "
    "guest's faults before any table is looked at"
)
TRIPLE_FAULT = Ended("triple-fault", "triple fault of the virtual CPU: its double fault could not be delivered either")
HALTED = Ended("halted", "the guest executed HLT on its virtual CPU, and no interrupt can wake it")


def _names(instruction: Instruction, *registers: str) -> bool:
    """Tell whether an instruction names one of these segment registers."""
    return any(operand.register in registers for operand in instruction.ops) or instruction.mnemonic[-2:] in registers


def _place_of_selector(state: CpuState, size_bytes: int) -> int:
    """Give the linear address at which the selector stands that a far return takes off the stack: above EIP."""
    stack = state.segments[SS]
    return stack.base + (state.gpr[ESP] + size_bytes & (0xFFFF_FFFF if stack.db else 0xFFFF)) & 0xFFFF_FFFF


class Running(Enum):
    """How the guest runs just now."""

    RING = "in a ring of protected mode"
    VIRTUAL_8086 = "in virtual-8086 mode"
    INTERPRETED = "nowhere: the VMM interprets it"
    """The emulated CPU serves as the interpreter, stopped before everything that is privileged or sensitive."""


_WATCHED = {Running.RING: SILENT_IDS, Running.VIRTUAL_8086: SILENT_IN_VIRTUAL_8086, Running.INTERPRETED: SILENT_IDS}


class RingCompression(Technique):
    """Base of the techniques that deprivilege an unchanged guest."""

    guest_base: ClassVar[int] = layout.GUEST_BASE
    mmus: ClassVar[tuple[str, ...]] = ("shadow",)
    no_svm: ClassVar[str] = "its virtual CPU is one without hardware assistance, which came when such VMMs went"
    no_long_mode: ClassVar[str] = (
        "64-bit mode has no segment limits, which are what keeps the guest out of this VMM's memory"
    )

    def __init__(self, scenario: Scenario, setup: Setup) -> None:
        super().__init__(scenario, setup)
        machine = self.machine
        self._space = GuestSpace(machine.ram, self.guest_base, self.guest_bytes)
        self._shadow = make_shadows(machine.ram, self._space, machine.flush_tlb)
        self._tables = DescriptorTables(machine.ram)
        machine.ram.write(layout.OPEN_BUS_PAGE, b"\xff" * PAGE)
        machine.protected_pages = layout.HOLE_PAGES
        machine.protected_linear = lambda physical: physical + layout.HOLE
        machine.cpu.frames.never_written = layout.TABLE_PAGES
        machine.watch(_WATCHED[Running.RING])
        machine.on_fetch_fault = self._repair_fetch
        machine.reports_devices = True
        machine.interrupt_flag = self._has_virtual_if
        self._virtual: CpuState
        self._pushed: CpuState
        self._running = Running.RING
        self._interpreted_from = 0
        self._weight_from = 0
        """Count of retired instructions up to which the interpreted ones have been counted."""
        self._interpreted_alone = 0
        """Innocuous instructions interpreted, which come without an event."""
        self._holds_fpu_error = False
        """While one instruction runs for which a pending FPU error must not become #MF."""

    # ---- the calls ---------------------------------------------------------------------------------------------------

    def power_on(self, state: CpuState) -> None:
        """Make the state the virtual CPU's, and let the guest go outside ring 0."""
        self._virtual = state
        self._let_go()

    def guest_state(self) -> CpuState:
        """The virtual CPU."""
        return expand(self.machine.state, self._virtual, self._pushed, SpectatorMemory(self._virtual, self._space))

    def give_up_page(self, page: int) -> bool:
        """Let a page hold zeros; what was derived from it is dropped."""
        self._space.give_up(page)
        return True

    def guest_memory(self) -> LinearMemory:
        """Guest memory under the virtual CPU."""
        return LinearMemory(self.guest_state(), self._space)

    def _has_virtual_if(self) -> bool:
        """The guest lets interrupts in; the real IF is always 1, so that the VMM keeps the machine."""
        return bool(self._virtual.eflags & Eflags.IF)

    def walks(self, linear: int, access: Access) -> Walks:
        """The CPU walks the shadow; the VMM makes it from the guest's own tables."""
        machine = self.machine
        read = machine.ram.read_int
        both = shadow_walks(self._shadow, self._space, read, self.guest_state(), machine.state, linear, access)
        return both if linear < layout.HOLE else replace(both, note=_BEYOND_THE_LIMIT)

    def cpu_walk(self, linear: int, access: Access) -> TableWalk:
        """The walk through the shadow."""
        machine = self.machine
        return shadow_walk(self._space, machine.ram.read_int, machine.state, linear, access)

    def verdict(self, instruction: Instruction, cpl: int) -> tuple[str, str]:
        """Ring 0 and ring 3 of the guest are both outside the real ring 0."""
        form = instruction.form
        if form is None:
            return "", ""
        if self._running is Running.INTERPRETED:
            return "emulated", self._why_interpreted()
        if self._running is Running.VIRTUAL_8086:
            return virtual_8086.verdict(form)
        row = INSTRUCTIONS[form]
        if form in _RETURNS and cpl < 3:
            return self._verdict_of_return(instruction)
        if form in _LOADS_SEGMENT and cpl == 0 and _names(instruction, "ss"):
            return "traps", "SS must have the RPL of the real ring, and a ring 0 selector has not"
        if form in _SHOWS_SEGMENT and not _names(instruction, "cs", "ss"):
            return "", "only CS and SS carry the ring"
        if cpl == 3 and on_bare_cpu(form, cpl)[0] == "faults":
            return "traps", "in ring 3 it faults; the VMM hands the fault to the guest's kernel"
        word = row.on_trap_emulate
        return ("" if word == "runs" else word), row.leaks

    def _verdict_of_return(self, instruction: Instruction) -> tuple[str, str]:
        """A return within the real ring runs; the selector on the stack says where one leads, once it is there."""
        state = self.guest_state()
        ring = real_ring_of(state)
        selector = None
        if instruction.address == state.eip:
            selector = self.guest_memory().peek(_place_of_selector(state, instruction.operand_size_bits // 8), 2)
        if instruction.form == "iret" and state.eflags & Eflags.NT:
            return "traps", "NT is 1, so it would switch tasks; the VMM has the only TSS of this CPU"
        if selector is None:
            return "traps", f"if it leads to another ring, for {_WAYS_ARE_CLOSED}; within ring {ring} it runs unheard"
        rpl = selector[0] & 3
        if rpl == ring:
            return "silent", f"it returns to ring {ring}, where the CPU really is: that runs, and the VMM does not hear"
        return "traps", f"the RPL on the stack is {rpl}, and the CPU is in ring {ring}: {_WAYS_ARE_CLOSED}"

    def save_vmm(self) -> Any:
        """The virtual CPU; all else is in memory or follows from it."""
        interpreted = self._running, self._interpreted_from, self._weight_from, self._interpreted_alone
        return self._virtual.copy(), self._pushed.copy(), self._shadow.save(), interpreted

    def restore_vmm(self, saved: Any) -> None:
        """Take the virtual CPU back."""
        virtual, pushed, shadow, interpreted = saved
        self._running, self._interpreted_from, self._weight_from, self._interpreted_alone = interpreted
        self._virtual, self._pushed = virtual.copy(), pushed.copy()
        self.machine.watch(_WATCHED[self._running])
        self._shadow.restore(shadow)
        self._tables.forget()

    def completed_by_vmm(self) -> int:
        """Those emulated after a trap, and those interpreted, up to now."""
        return self.emulated + self._interpreted_since()

    def tallies(self) -> Mapping[str, int]:
        """Interpreted instructions that are nothing special."""
        return {"interpreted-instruction": self._interpreted_alone + self._interpreted_since()}

    def guest_weight(self) -> int:
        """Without what has been interpreted up to now."""
        since = self.machine.weight - self._weight_from if self._running is Running.INTERPRETED else 0
        return super().guest_weight() - since

    def _interpreted_since(self) -> int:
        return self.machine.retired - self._interpreted_from if self._running is Running.INTERPRETED else 0

    def handle(self, stop: Stop) -> Outcome:
        """The dispatcher."""
        if isinstance(stop, Watched) and self._running is not Running.INTERPRETED:
            return self.on_watched(stop)
        real = self.machine.state
        self._catch_up()
        with self.saying_where():
            event, outcome = self._answer(stop, real)
        self._let_go()
        if event is not None:
            self.events.append(event)
        if isinstance(outcome, Ended):
            return outcome
        return self.conclude()

    def _answer(self, stop: Stop, real: CpuState) -> tuple[Event | None, Outcome]:
        """Choose the routine for a stop."""
        match stop:
            case Fault(vector=Vector.PF) | ProtectedAccess():
                return self._outside_access(stop, real)
            case Fault(vector=Vector.MF) if not self._virtual.cr0 & Cr0.NE:
                return self._fpu_error(stop, real)
            case Fault():
                instruction = stop.instruction
                if stop.vector == Vector.GP and instruction is not None and instruction.form == "int":
                    return self._interrupt_in_8086_mode(instruction, stop, real)
                if (
                    instruction is not None
                    and stop.vector in _INTERPRETED_AFTER
                    and instruction.form in microcode.FORMS
                ):
                    return self._interpret(instruction, describe.fault_name(stop), self._rule(stop, real), real)
                return self._reflect(
                    Interruption(stop.vector, stop.error_code),
                    instruction,
                    describe.fault_name(stop),
                    describe.fault_rule(stop, real),
                    "native-exception",
                    real,
                )
            case SoftInterrupt():
                event = Interruption(
                    stop.vector,
                    is_software=not stop.is_privileged_gate_exempt,
                    next_eip=(self._virtual.eip + stop.instruction.size) & 0xFFFF_FFFF,
                )
                rule = "every interrupt goes through the VMM's own table"
                return self._reflect(event, stop.instruction, describe.interrupt_name(stop), rule, "native-gate", real)
            case SensitiveInsn():
                if self._running is Running.VIRTUAL_8086 and stop.form in virtual_8086.FAR_TRANSFERS:
                    return self._interpret(stop.instruction, stop.form, "", real, is_direct=True)
                is_direct = stop.form in _DIRECT and self._running is not Running.INTERPRETED
                if is_direct and not (stop.form == "rdtsc" and real.cr4 & Cr4.TSD and real.cpl):
                    self.machine.complete(stop)
                    self._virtual = self.guest_state()
                    return None, RESUME
                rule = describe.fault_rule(Fault(Vector.GP, 0, None, stop.instruction), real)
                return self._interpret(stop.instruction, "#GP(0)", rule, real)
            case Watched():
                return self._interpret(stop.instruction, _INTERPRETED, self._why_interpreted(), real)
            case ExternalInterrupt():
                return self._device_calls(stop, real)
            case InterruptWindow():
                return self._interrupt(stop, real, f"{_WINDOW}: the VMM may deliver what waited", ())
            case Halted():
                return None, HALTED
            case PortIo() | NestedFault() | BudgetSpent() | Paused() | Breakpoint():
                # IOPL 0 and a TSS without I/O bitmap keep every port away from rings 1 and 3.
                raise AssertionError(f"a stop that ring compression cannot meet: {stop}")

    def _interrupt_in_8086_mode(self, instruction: Instruction, stop: Fault, real: CpuState) -> tuple[Event, Outcome]:
        """INT n, which is sensitive to IOPL in virtual-8086 mode: it goes on through the guest's own table."""
        vector = int(instruction.ops[0].value or 0)
        event = Interruption(vector, is_software=True, next_eip=(self._virtual.eip + instruction.size) & 0xFFFF_FFFF)
        native = "native-gate"
        if virtual_8086.refuses_by_iopl(self._virtual, "int"):
            event, native = Interruption(Vector.GP, 0), "native-exception"
        return self._reflect(event, instruction, "#GP(0)", describe.fault_rule(stop, real), native, real)

    def _rule(self, stop: Fault, real: CpuState) -> str:
        """Why an instruction of the guest's kernel trapped, where ring compression itself is the reason."""
        form = stop.instruction.form if stop.instruction is not None else None
        if self._virtual.cpl == 0 and form in _RETURNS:
            if stop.vector == Vector.NP:
                return "the VMM keeps the way to ring 3 closed while the kernel runs"
            return f"RPL 0 < CPL {real.cpl}: no return leads inward"
        if self._virtual.cpl == 0 and form in _LOADS_SEGMENT:
            if stop.vector == Vector.NP:
                return "the VMM waits to mark the guest's descriptor accessed"
            return f"a selector of ring 0 does not fit SS in ring {real.cpl}"
        return describe.fault_rule(stop, real)

    @abstractmethod
    def on_watched(self, stop: Watched) -> Outcome:
        """Answer an instruction that real x86 lets pass in silence."""

    # ---- interpreter routines ----------------------------------------------------------------------------------------

    def _interpret(
        self, instruction: Instruction, cause: str, rule: str, real: CpuState, *, is_direct: bool = False
    ) -> tuple[Event | None, Outcome]:
        """Execute an instruction on the virtual CPU; no event while a long string instruction gives way.

        Args:
            instruction: what.
            cause: by what it made itself known.
            rule: why it did.
            real: the CPU then.
            is_direct: a real CPU executes it by itself, to the same effect: nobody hears of it.
        """
        is_interpreted = self._running is Running.INTERPRETED
        if is_interpreted:
            cause, rule = _INTERPRETED, self._why_interpreted()
        before = self._virtual
        attempt = before.copy()
        env = VirtualEnvironment(attempt, self._space, self.machine.bus, self.machine.now, cpuid=self.machine.cpuid)
        at = self.machine.retired
        try:
            effect = microcode.execute(env, instruction)
        except GuestFault as fault:
            if fault.vector == Vector.DB:  # general detect shows in DR6, and has switched itself off
                self._virtual = attempt
            if fault.vector == Vector.UD:  # no CPU's ring is the reason
                cause, rule = describe.vector_name(Vector.UD), EXCEPTIONS[Vector.UD].title
            return self._reflect(
                Interruption(fault.vector, fault.error_code), instruction, cause, rule, "native-exception", real
            )
        except PageFault as fault:
            if instruction.is_string:  # what it has done by then is done
                self._virtual = attempt
            return self._reflect(
                Interruption(Vector.PF, fault.error_code, fault.linear),
                instruction,
                cause,
                rule,
                "native-page-fault",
                real,
            )
        self.machine.conclude_instruction(before, instruction, effect)
        self._virtual = attempt
        if effect is Effect.UNFINISHED:
            return None, RESUME
        self.machine.retire(instruction if is_direct else None)
        if is_direct:
            return None, RESUME
        self.emulated += 1
        event = self._event(
            instruction,
            before,
            real,
            at,
            Kind.TRAP,
            cause,
            rule,
            action=actions.interpreted(instruction, before, attempt, self.machine.bus),
            charges=("interpreted-instruction" if is_interpreted else "trap-emulate",),
            native_charges=describe.port_charges(self.machine.bus, instruction, before),
            changes=changes_between(before, attempt, is_real=False),
            resume=attempt.eip,
        )
        return event, HALTED if effect is Effect.HALTED and not self.machine.halt() else RESUME

    def _reflect(
        self, what: Interruption, instruction: Instruction | None, cause: str, rule: str, native: str, real: CpuState
    ) -> tuple[Event, Outcome]:
        """Hand an exception or interrupt on to the guest's own handler."""
        before = self._virtual.copy()
        at = self.machine.retired
        result = deliver(self._virtual, LinearMemory(self._virtual, self._space), what)
        if what.next_eip is not None and not isinstance(result, Shutdown) and len(result.chain) == 1:
            self.machine.retire()
            self.emulated += 1
        event = self._event(
            instruction,
            before,
            real,
            at,
            Kind.REFLECT,
            cause,
            rule,
            action="passed on " + describe.delivered_text(result, self._virtual),
            charges=("trap-reflect",),
            native_charges=(native,),
            changes=changes_between(before, self._virtual, is_real=False),
            resume=self._virtual.eip,
        )
        return event, TRIPLE_FAULT if isinstance(result, Shutdown) else RESUME

    def _fpu_error(self, stop: Fault, real: CpuState) -> tuple[Event | None, Outcome]:
        """An FPU error of a guest with CR0.NE = 0, which expects it as an interrupt and not as #MF.

        The real NE is the VMM's, and 1. The VMM raises the virtual FERR line, where nobody listens, and lets the
        instruction run with the error held back.

        Source: Intel SDM Vol. 1, "MS-DOS Compatibility Sub-mode".
        """
        at = self.machine.retired
        event = self._event(
            stop.instruction,
            self._virtual,
            real,
            at,
            Kind.TRAP,
            describe.fault_name(stop),
            "the VMM's own CR0.NE is 1; the guest's is 0",
            action="virtual FERR line raised; the instruction is carried out",
            charges=("trap-emulate",),
        )
        self.events.append(event)
        self._holds_fpu_error = True
        self.machine.state.cr0 &= ~Cr0.NE
        weight = self.machine.weight
        inner = self.machine.step_over()
        if isinstance(inner, (BudgetSpent, Paused)):
            self._catch_up()
            outcome: Outcome = RESUME
        else:
            outcome = self.handle(inner)
        self._holds_fpu_error = False
        if has_completed(inner) and self._running is not Running.INTERPRETED:
            self.emulated += 1
            self._ran_for_vmm(weight)
        return None, outcome

    # ---- interrupts --------------------------------------------------------------------------------------------------

    def _device_calls(self, stop: ExternalInterrupt, real: CpuState) -> tuple[Event, Outcome]:
        """A device interrupts whatever runs: it is the VMM's, and the guest hears of it when its virtual IF allows."""
        if self.machine.can_interrupt():
            rule = f"an interrupt enters ring 0 through the VMM's table; {_WINDOW}"
            return self._interrupt(stop, real, rule, ("trap-reflect",))
        event = self._event(
            stop.instruction,
            self._virtual,
            real,
            self.machine.retired,
            Kind.TRAP,
            describe.EXTERNAL,
            "an interrupt enters ring 0 through the VMM's table, whatever the guest thinks of IF",
            action="noted for the virtual interrupt controller; the guest lets nothing in just now",
            charges=("trap-emulate",),
            resume=self._virtual.eip,
        )
        return replace(event, is_between=True), RESUME

    def _interrupt(
        self, stop: ExternalInterrupt | InterruptWindow, real: CpuState, rule: str, charges: tuple[str, ...]
    ) -> tuple[Event, Outcome]:
        """Deliver what the virtual interrupt controller requests."""
        vector = self.machine.acknowledge()
        cause, native = describe.interrupt_request(vector, self.machine.bus), "native-interrupt"
        event, outcome = self._reflect(
            Interruption(vector, is_external=True), stop.instruction, cause, rule, native, real
        )
        return replace(event, charges=charges, is_between=True), outcome

    def _outside_access(self, stop: Fault | ProtectedAccess, real: CpuState) -> tuple[Event | None, Outcome]:
        """A memory access that the VMM's page tables or the cut-off segments refused: find out whose fault it is."""
        linear = stop.linear or 0
        answer = self._shadow.fault(self._virtual, linear, access_of(stop))
        instruction = self._instruction_of(stop)
        if isinstance(answer, Elsewhere) and instruction is not None and self._must_not_be_lent(instruction, linear):
            name = describe.fault_name(stop) if isinstance(stop, Fault) else "#GP(0)"
            return self._interpret(instruction, name, "the VMM's own tables lie there", real)
        match answer:
            case Refused(error_code):
                return self._true_fault(instruction, linear, error_code, real)
            case Filled():
                return self._hidden_fault(stop, linear, answer, real, self.machine.retired), RESUME
            case Traced() | Elsewhere():
                return self._let_through(stop, answer, real)

    def _must_not_be_lent(self, instruction: Instruction, linear: int) -> bool:
        """Tell whether the CPU would take the guest's bytes for descriptors, lent a page where the VMM's tables lie."""
        is_in_hole = linear >= layout.HOLE or self._virtual.linear_eip >= layout.HOLE
        return is_in_hole and instruction.form in LOADS_DESCRIPTORS

    def _true_fault(
        self, instruction: Instruction | None, linear: int, error_code: int, real: CpuState
    ) -> tuple[Event | None, Outcome]:
        """The guest's own tables refuse: its kernel is to hear of it."""
        return self._reflect(
            Interruption(Vector.PF, error_code, linear),
            instruction,
            f"#PF at {linear:08X}",
            refused_text(error_code),
            "native-page-fault",
            real,
        )

    def _hidden_fault(
        self, stop: Fault | ProtectedAccess, linear: int, filled: Filled, real: CpuState, at: int
    ) -> Event:
        """The shadow was out of date and has been filled: the guest tries again and hears of nothing."""
        return self._event(
            self._instruction_of(stop),
            self._virtual,
            real,
            at,
            Kind.TRAP,
            HIDDEN_FAULT,
            HIDDEN_RULE,
            action=filled_text(linear, filled),
            charges=("hidden-fault",),
            resume=self._virtual.eip,
        )

    def _repair_fetch(self, stop: Fault) -> bool:
        """The CPU is to stop before an instruction that it cannot fetch: fill the shadow if that is all that fails."""
        real = self.machine.state
        self._catch_up()
        answer = self._shadow.fault(self._virtual, stop.linear or 0, access_of(stop))
        if not isinstance(answer, Filled):
            return False
        self.events.append(self._hidden_fault(stop, stop.linear or 0, answer, real, self.machine.retired))
        self._let_go()
        return True

    def _let_through(
        self, stop: Fault | ProtectedAccess, answer: Traced | Elsewhere, real: CpuState
    ) -> tuple[Event | None, Outcome]:
        """Run the one instruction with the pages it wants, and look at what it has done."""
        before = self._virtual.copy()
        at = self.machine.retired
        instruction = self._instruction_of(stop)
        is_table = isinstance(answer, Traced) and self._shadow.is_page_table(answer.gpa >> 12)

        def met(refused: Fault | ProtectedAccess, what: Filled | Traced | Elsewhere) -> None:
            if isinstance(what, Filled):
                self.events.append(self._hidden_fault(stop, refused.linear or 0, what, real, at))

        open_bus = layout.OPEN_BUS_PAGE
        weight = self.machine.weight
        passage = let_through(self.machine, self._shadow, self._space, before, stop, open_bus=open_bus, met=met)
        inner = passage.inner
        self._catch_up()
        if has_completed(inner) and self._running is not Running.INTERPRETED:
            self.emulated += 1
            self._ran_for_vmm(weight)
        cause, rule = "#GP(0)", "beyond the limit of the cut-off segment"
        # The emulated CPU checks no limits: a page fault up there is one that the limit would have come before.
        if isinstance(stop, Fault) and (stop.linear or 0) < layout.HOLE:
            cause, rule = describe.fault_name(stop), "the VMM's page tables do not allow it"
        kind, charge = Kind.TRAP, "trap-emulate"
        if isinstance(answer, Elsewhere):
            action = "the VMM's own pages lie there: the guest's page shown for this one instruction"
            register = "" if answer.is_own else describe.register_action(self.machine.bus, answer.gpa)
            if register:
                rule, action = DEVICE_RULE, f"virtual {register}"
            elif not answer.is_own:
                kind = Kind.VIOLATION
                action = f"outside the guest's machine ({answer.gpa:08X}h): nothing answers there"
        elif is_table:
            charge, cause, rule, action = "trace", TRACE_FAULT, TRACE_RULE, TRACE_ACTION
        else:
            action = "the guest writes to its descriptor table: shadow table brought up to date"
        event = self._event(
            instruction,
            before,
            real,
            at,
            kind,
            cause,
            rule,
            action=action,
            charges=(charge,),
            is_attempt=kind is Kind.VIOLATION,
            resume=self._virtual.eip,
        )
        if passage.refused is not None:
            self.events.append(event)
            return self._true_fault(instruction, *passage.refused, real)
        if isinstance(inner, (BudgetSpent, Paused)) or is_memory_refusal(inner):
            return event, RESUME
        self._let_go()
        self.events.append(event)
        return None, self.handle(inner)

    def _instruction_of(self, stop: Fault | ProtectedAccess) -> Instruction | None:
        """The instruction that was refused; as the guest's memory has it where the CPU sees none, or the VMM's code."""
        state = self._virtual
        if stop.instruction is not None and state.linear_eip < layout.HOLE:
            return stop.instruction
        return decode_here(state, self._space)

    # ---- between the two views ---------------------------------------------------------------------------------------

    def _event(
        self,
        instruction: Instruction | None,
        before: CpuState,
        real: CpuState,
        at: int,
        kind: Kind,
        cause: str,
        rule: str,
        **more: Any,
    ) -> Event:
        """Make the record of an event; where `more` does not say otherwise, the VMM answered it."""
        fields: dict[str, Any] = {
            "handler": _HANDLER,
            "via_ring": _VMM_RING,
            "to_ring": real_ring_of(self._virtual),
        }
        fields |= more
        return Event(
            at=at,
            address=before.eip,
            instruction=text_of(instruction),
            form=instruction.form if instruction is not None else None,
            kind=kind,
            cause=cause,
            rule=rule,
            from_ring=real.cpl,
            **fields,
        )

    def _catch_up(self) -> None:
        """Bring the virtual CPU up to what the guest has done by itself, while its tables are as they were then."""
        self._virtual = self.guest_state()
        self._pushed = self.machine.state.copy()
        alone = self._interpreted_since()
        self.emulated += alone
        self._interpreted_alone += alone
        if self._running is Running.INTERPRETED:
            self._ran_for_vmm(self._weight_from)
        self._interpreted_from, self._weight_from = self.machine.retired, self.machine.weight

    def _let_go(self) -> None:
        """Bring the VMM's tables and the real CPU in line with the virtual CPU."""
        self._go(self._running_of(self._virtual))
        root = self._shadow.enter(self._virtual)
        if self._virtual.is_paged:
            self._shadow.prefetch(self._virtual)
        self._trace_tables()
        self._tables.refresh(self._virtual, self._space)
        self._pushed = compress(self._virtual, root)
        if self._holds_fpu_error:
            self._pushed.cr0 &= ~Cr0.NE
        self.machine.cpu.adopt(self._pushed.copy())

    def _running_of(self, virtual: CpuState) -> Running:
        """Tell how the guest can run in a state."""
        if virtual_8086.is_8086(virtual):
            return Running.VIRTUAL_8086 if virtual_8086.fits(virtual) else Running.INTERPRETED
        return Running.INTERPRETED if is_left_over(virtual, self._space) else Running.RING

    def _go(self, running: Running) -> None:
        """Let the guest run like that from here on."""
        self._interpreted_from, self._weight_from = self.machine.retired, self.machine.weight
        if running is not self._running:
            self._running = running
            self.machine.watch(_WATCHED[running])

    def _why_interpreted(self) -> str:
        if self._virtual.is_protected:
            return "CS or SS still holds what real mode left there: no descriptor gives that"
        return "a base or limit left over from protected mode: virtual-8086 mode has no such segment"

    def _watched_frames(self) -> set[int]:
        """Guest frames whose writes the VMM must hear of: its descriptor tables, and the page tables leading there."""
        state = self._virtual
        if self._running is not Running.RING:  # the CPU reads no descriptor
            return set()
        regions = [state.gdtr]
        if state.ldtr.is_usable:
            regions.append(type(state.gdtr)(state.ldtr.base, state.ldtr.limit))
        wanted: set[int] = set()
        for base, limit in regions:
            if not limit:
                continue
            for _, _, done in pages_of(state, self._space, base, limit):
                wanted.update(entry.address >> 12 for entry in done.entries)
                if done.physical is not None:
                    wanted.add(done.physical >> 12)
        return wanted

    def _trace_tables(self) -> None:
        """Watch just those frames."""
        self._shadow.watch(frame for frame in self._watched_frames() if frame << 12 < self.guest_bytes)
