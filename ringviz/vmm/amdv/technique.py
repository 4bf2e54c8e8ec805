"""The AMD-V VMM: what it intercepts, and what it does at each #VMEXIT.

The guest runs in guest mode with its kernel in ring 0. The CPU itself handles the guest's privileged instructions,
exceptions and page tables; it leaves guest mode only for what the VMCB intercepts and for nested page faults.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from ringviz.facts.instructions import INSTRUCTIONS
from ringviz.guest.image import Image
from ringviz.guest.instruction import Instruction
from ringviz.guest.scenario import Scenario
from ringviz.machine.delivery import Shutdown
from ringviz.machine.linear import LinearMemory
from ringviz.machine.machine import Completion
from ringviz.machine.memory import PAGE
from ringviz.machine.microcode import Effect
from ringviz.machine.state import ECX, CpuState
from ringviz.machine.stops import BudgetSpent, NestedFault, Paused, PortIo, SensitiveInsn, Stop, Watched, has_completed
from ringviz.vmm import describe
from ringviz.vmm.amdv.control_block import ControlBlock
from ringviz.vmm.amdv.nested_tables import NestedTables
from ringviz.vmm.events import Event, Kind
from ringviz.vmm.guest_space import MOST_PAGES_LENT
from ringviz.vmm.hardware import HALTED, RETURNS, TRIPLE_FAULT, hardware_event, outcome_of, watched_return
from ringviz.vmm.outcome import RESUME, Outcome
from ringviz.vmm.setup import Setup
from ringviz.vmm.technique import Technique, changes_between, text_of
from ringviz.vmm.verdicts import on_bare_cpu

INTERCEPTS = (
    "VMRUN", "VMLOAD", "VMSAVE", "STGI", "CLGI", "SKINIT", "INVLPGA", "VMMCALL",
    "CPUID", "HLT", "IOIO_PROT", "MSR_PROT", "SHUTDOWN", "INVD", "TASK_SWITCH",
    "INTR", "NMI", "SMI", "INIT",
)  # fmt: skip
"""What this VMM lets exit: the SVM instructions, which the guest does not have; what belongs to the whole machine
(ports, model-specific registers, caches, external interrupts); and what tells it that the guest is idle or dead."""

_EXIT_BY_FORM = {
    "cpuid": ("CPUID", "VMEXIT_CPUID"),
    "hlt": ("HLT", "VMEXIT_HLT"),
    "rdmsr": ("MSR_PROT", "VMEXIT_MSR"),
    "wrmsr": ("MSR_PROT", "VMEXIT_MSR"),
}
_SVM_FORMS = frozenset({"vmrun", "vmload", "vmsave", "stgi", "clgi", "skinit", "invlpga"})

_VMCB_AT, _IO_MAP_AT, _MSR_MAP_AT = 0x0000_1000, 0x0000_2000, 0x0000_6000
_OPEN_BUS_AT = 0x0000_8000
_TABLES_AT = 0x0010_0000
_IO_MAP_BYTES, _MSR_MAP_BYTES = 0x3000, 0x2000
_HOST = -1
_HANDLER = "VMM in host mode (“ring −1”)"


class AmdV(Technique):
    """Hardware assistance as AMD built it, with nested paging."""

    id: ClassVar[str] = "amd-v"
    mmus: ClassVar[tuple[str, ...]] = ("nested",)
    guest_base: ClassVar[int] = 0x0100_0000

    def __init__(self, scenario: Scenario, setup: Setup) -> None:
        super().__init__(scenario, setup)
        ram = self.machine.ram
        self.vmcb = ControlBlock(ram, _VMCB_AT, INTERCEPTS)
        ram.write(_IO_MAP_AT, b"\xff" * _IO_MAP_BYTES)  # every port is the VMM's
        ram.write(_MSR_MAP_AT, b"\xff" * _MSR_MAP_BYTES)
        ram.write(_OPEN_BUS_AT, b"\xff" * PAGE)
        self.nested = NestedTables(ram, _TABLES_AT, self.guest_base, self.guest_bytes)
        self.vmcb.put("IOPM_BASE_PA", _IO_MAP_AT)
        self.vmcb.put("MSRPM_BASE_PA", _MSR_MAP_AT)
        self.vmcb.put("NP_CONTROL", 1)
        self.vmcb.put("N_CR3", self.nested.root)
        self.machine.second_level = self.nested
        self.machine.watch(RETURNS)

    def boot(self, image: Image) -> None:
        """Put the guest into memory and enter it with VMRUN."""
        super().boot(image)
        self.vmcb.store_guest(self.machine.state)

    def power_on(self, state: CpuState) -> None:
        """The state save area decides where the guest starts."""
        self.machine.cpu.load(state)

    def guest_state(self) -> CpuState:
        """In guest mode the CPU is what the guest believes it to be: that is the point."""
        return self.machine.state.copy()

    def guest_memory(self) -> LinearMemory:
        """Likewise; nested paging is behind it."""
        return self.machine.memory

    def save_vmm(self) -> int:
        """How far the nested tables reach; they themselves are in memory."""
        return self.nested.next_table

    def restore_vmm(self, saved: Any) -> None:
        """Take it back, or tables built since would be built elsewhere the next time."""
        self.nested.next_table = saved

    def handle(self, stop: Stop) -> Outcome:
        """Decide as the CPU does whether the stop leaves guest mode; if so, the VMM answers it."""
        match stop:
            case PortIo():
                return self._port(stop)
            case SensitiveInsn() if stop.form in _EXIT_BY_FORM:
                return self._instruction(stop)
            case NestedFault():
                return self._nested_fault(stop)
            case Watched():
                inner = watched_return(self, stop)
                return RESUME if inner is None else self.handle(inner)
            case _:
                return self._in_guest(stop)

    def verdict(self, instruction: Instruction, cpl: int) -> tuple[str, str]:
        """The CPU's own rules in guest mode, and the intercepts where they come after the privilege checks."""
        form = instruction.form
        word, why = on_bare_cpu(form, cpl)
        if form is None or word == "faults":
            return word, why
        intercept = INSTRUCTIONS[form].on_amd_v_intercept
        if intercept in self.vmcb.intercepts:
            return "exits", f"the VMCB intercepts {intercept}"
        return word, why

    def _in_guest(self, stop: Stop) -> Outcome:
        """The CPU goes on in guest mode: the event is the guest's own affair."""
        before, at = self.machine.state.copy(), self.machine.retired
        completion = self.complete(stop)
        after = self.machine.state
        if isinstance(completion, Shutdown):
            event = self._exit("VMEXIT_SHUTDOWN", 0, 0, before, at, getattr(stop, "instruction", None), "SHUTDOWN")
            self._tell(event, "the guest is dead: nothing to resume", before, after)
            return TRIPLE_FAULT
        told = hardware_event(self, stop, before, after, at, completion)
        if told is not None:
            self.events.append(told)
        return outcome_of(self, completion)

    def _port(self, stop: PortIo) -> Outcome:
        """Port I/O: the VMM owns the ports and plays the device."""
        before, at = self.machine.state.copy(), self.machine.retired
        next_eip = before.eip + stop.instruction.size
        event = self._exit("VMEXIT_IOIO", _ioio_info(stop), next_eip, before, at, stop.instruction, "IOIO_PROT")
        # The VMM reaches the device on the guest's behalf: bare metal pays for that access too.
        event = replace(event, native_charges=("native-port-io",))
        completion = self.complete(stop)
        after = self.machine.state
        return self._finish(event, before, completion, "virtual " + describe.port_action(self.machine.bus, stop, after))

    def _instruction(self, stop: SensitiveInsn) -> Outcome:
        """CPUID, HLT, RDMSR, WRMSR: the VMM answers for the virtual machine."""
        before, at = self.machine.state.copy(), self.machine.retired
        intercept, name = _EXIT_BY_FORM[stop.form]
        event = self._exit(name, int(stop.form == "wrmsr"), 0, before, at, stop.instruction, intercept)
        completion = self.complete(stop)
        what = {
            "cpuid": "CPUID of the virtual machine",
            "hlt": "the virtual CPU waits for an interrupt",
            "rdmsr": f"virtual MSR {before.gpr[ECX]:X}h read",
            "wrmsr": f"virtual MSR {before.gpr[ECX]:X}h written",
        }[stop.form]
        return self._finish(event, before, completion, what)

    def _finish(self, event: Event, before: CpuState, completion: Completion, action: str) -> Outcome:
        """Record an exit that the VMM answered; if its answer was an exception for the guest, say that."""
        after = self.machine.state
        if completion is Effect.UNFINISHED:
            self.vmcb.store_guest(after)
            return self.conclude()
        if not isinstance(completion, Effect):
            action = f"exception injected, {describe.delivered_text(completion, after)}"
        else:
            self.emulated += 1
        self._tell(event, action, before, after)
        if isinstance(completion, Shutdown):
            return TRIPLE_FAULT
        if completion is Effect.HALTED:
            return HALTED
        return self.conclude()

    def _nested_fault(self, stop: NestedFault) -> Outcome:
        """The guest reached beyond its memory: show it a page where nothing answers, for this one instruction."""
        before, at = self.machine.state.copy(), self.machine.retired
        inner: Stop = stop
        lent: list[int] = []
        while isinstance(inner, NestedFault) and len(lent) < MOST_PAGES_LENT:
            info1 = inner.is_present | inner.is_write << 1 | 1 << 2 | inner.is_fetch << 4 | 1 << 32
            event = self._exit("VMEXIT_NPF", info1, inner.gpa, before, at, inner.instruction, "nested paging")
            event = replace(event, is_attempt=True, kind=Kind.VIOLATION, rule="no nested page there")
            page = inner.gpa & ~0xFFF
            self._tell(event, f"outside the guest's memory ({inner.gpa:08X}h): nothing answers there", before, before)
            self.nested.map(page, _OPEN_BUS_AT)
            lent.append(page)
            inner = self.machine.step_over()
        for page in lent:
            self.nested.map(page, None)
            self.machine.cpu.frames.drop(page >> 12)
        self.machine.cpu.flush_tlb()
        self.machine.ram.write(_OPEN_BUS_AT, b"\xff" * PAGE)
        if has_completed(inner):
            self.emulated += 1
        if isinstance(inner, BudgetSpent):
            return RESUME
        return RESUME if isinstance(inner, (NestedFault, Paused)) else self.handle(inner)

    def _exit(
        self, name: str, info1: int, info2: int, state: CpuState, at: int, instruction: Instruction | None, why: str
    ) -> Event:
        """Do the hardware's part of #VMEXIT, and start the record of it."""
        self.vmcb.report(name, info1, info2, state)
        code = self.vmcb.get("EXITCODE")
        return Event(
            at=at,
            address=state.eip,
            instruction=text_of(instruction),
            form=instruction.form if instruction is not None else None,
            kind=Kind.EXIT,
            cause=name,
            rule=f"the VMCB intercepts it: {why}",
            handler=_HANDLER,
            action="",
            charges=("exit", "vmm-work"),
            from_ring=state.cpl,
            via_ring=_HOST,
            detail=(("EXITCODE", f"{code:03X}h"), ("EXITINFO1", f"{info1:X}h"), ("EXITINFO2", f"{info2:X}h")),
        )

    def _tell(self, event: Event, action: str, before: CpuState, after: CpuState) -> None:
        """Complete the record and let the guest go on: VMRUN loads the state save area."""
        self.vmcb.store_guest(after)
        changes = changes_between(before, after, is_real=True)
        self.events.append(replace(event, action=action, to_ring=after.cpl, resume=after.eip, changes=changes))


def _ioio_info(stop: PortIo) -> int:
    """EXITINFO1 of an IOIO exit: type, string, REP, operand size, address size, port."""
    instruction = stop.instruction
    return (
        int(stop.is_input)
        | instruction.is_string << 2
        | bool(instruction.rep) << 3
        | stop.size << 4
        | (1 << 9 if instruction.address_size_bits == 32 else 1 << 8 if instruction.address_size_bits == 64 else 1 << 7)
        | stop.port << 16
    )
