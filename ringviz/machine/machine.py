"""The physical computer: CPU, RAM, port bus. `run` goes until something happens that software could answer.

What stops the CPU is a `Stop`, before it has any effect. `complete` does what bare hardware does next; a VMM that
caught the stop may do something else. Second-level paging, where a VMM has set it up, is hardware too and is walked
here. Nothing in this file knows which technique is running.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol

from ringviz.facts.exceptions import EXCEPTIONS, Vector
from ringviz.facts.registers import Eflags
from ringviz.guest.decode import LEGACY_PREFIXES, decode
from ringviz.guest.instruction import Instruction
from ringviz.machine import layout
from ringviz.machine.bus import Bus
from ringviz.machine.code_cache import CodeCache
from ringviz.machine.cpu import GATES, Cpu
from ringviz.machine.cpuid import Cpuid, host_cpuid
from ringviz.machine.delivery import Delivered, Interruption, Shutdown, deliver
from ringviz.machine.device_window import DeviceWindow
from ringviz.machine.linear import LinearMemory, NotCanonical, PageFault, PhysicalSpace
from ringviz.machine.long_cpu import LongCpu
from ringviz.machine.memory import PAGE, PAGE_SHIFT, Ram
from ringviz.machine.microcode import Effect, GuestFault, execute, holds_interrupts, owes_step_trap
from ringviz.machine.microcode.canonical import vector_of
from ringviz.machine.microcode.operands import linear_address
from ringviz.machine.microcode.ports import PORT_FORMS, may_use_port, port_of, transfer
from ringviz.machine.native_hooks import Reason
from ringviz.machine.observation import FLUSHING_FORMS, Observer
from ringviz.machine.paging import Access, walk
from ringviz.machine.real_environment import RealEnvironment
from ringviz.machine.state import ADDRESS_32, ADDRESS_64, ESP, SS, CpuState
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
)
from ringviz.machine.svm.exits import SHUTDOWN_EXIT, Entered, Exited, exit_for, injection_of
from ringviz.machine.svm.intercepts import exception_exit, watched_forms
from ringviz.machine.svm.registers import GuestMode
from ringviz.machine.svm.report import SvmReport
from ringviz.machine.svm.world_switch import has_interrupt_shadow, injected, leave, why_refused

_NOT_OFFERED = frozenset(
    {"rdrand", "rdseed", "clac", "stac", "monitor", "mwait", "xsetbv"}
    | {"vmrun", "vmload", "vmsave", "stgi", "clgi", "skinit", "invlpga"}
)
"""The emulated CPU has them; the machine's does not, and says so in CPUID. Where it offers AMD-V all the same, the
emulated CPU's own is taken: it holds this machine."""
_MICROCODED = _NOT_OFFERED | {"sysenter", "syscall", "rdpmc", "call-far", "jmp-far", "iret", "ret-far"}
"""Far transfers: the emulator aborts the whole process at a call gate to an inner ring, switches tasks by itself, marks
no code segment accessed, and leaves null selectors in FS and GS as they are on the way to an outer ring."""
_LONG_MICROCODED = frozenset({"sysret", "sysexit", "lgdt", "lidt", "lldt", "lar", "lsl"})
"""What the emulator has wrong besides on a CPU with long mode: canonical addresses, and which descriptors there are."""
_ALWAYS_WATCHED = PORT_FORMS | _MICROCODED | {"int1"}
"""Forms the emulator has wrong or cannot stop at by itself."""

_EXCEPTION, _SWINT, _NPF = 0x140, 0x175, 0x500
LOADS_DESCRIPTORS = frozenset(
    {"mov-to-sreg", "pop-sreg", "load-far-pointer", "lar", "lsl", "verr", "verw", "iret", "ret-far", "jmp-far"}
    | {"call-far", "sysexit", "lldt", "ltr"}
)
"""Forms by which the CPU itself reads a descriptor table."""
_USES_STACK = frozenset({"pop-sreg", "iret", "ret-far", "call-far"})
_LONGEST_OPERAND = 0x40
_DR6_BS = 0x4000
_LOCK = b"\xf0"
_PATIENCE_PAGES = 1024
"""Pages met for the first time in one `run` before it gives way."""
_MOST_FALSE_ALARMS = 100_000
"""Actions of devices that request nothing, after which a CPU that sleeps in HLT is given up."""


class SecondLevel(Protocol):
    """Second-level paging as a VMM has set it up: guest-physical to host-physical."""

    def translate(self, gpa: int, *, is_write: bool, is_fetch: bool) -> int | NestedFault:
        """Give the host-physical address, or the fault the CPU raises."""


@dataclass(frozen=True, slots=True)
class MachineState:
    """A saved machine without its RAM, for `Machine.restore` in the same process."""

    cpu: Any
    bus: Any
    step_trap_due: bool
    idle: int
    is_halted: bool
    inhibited_at: int
    bus_settled_at: int


Completion = Delivered | Shutdown | Effect | Exited | Entered
"""What bare hardware did about a stop."""


class _Intercepted(Exception):  # noqa: N818 - control flow, never an error of ours
    """An exception on the way to a handler leaves guest mode."""

    def __init__(self, report: SvmReport) -> None:
        super().__init__(report.exit_name)
        self.report = report


class Machine:
    """One computer. The CPU's physical addresses are RAM from 0 up, unless second-level paging is on."""

    def __init__(
        self,
        bus: Bus,
        ram_bytes: int,
        cpuid: Cpuid = host_cpuid,
        *,
        has_long_mode: bool = False,
        weights: Mapping[str, int] | None = None,
    ) -> None:
        """Power on.

        Args:
            bus: port devices.
            ram_bytes: size of RAM, a multiple of 4096.
            cpuid: what the CPU says of itself.
            has_long_mode: the CPU can run 64-bit code. Without it the registers are those of a 32-bit CPU.
            weights: of classes of instructions, where this CPU has its own: see `facts.instruction_weights`.
        """
        self.bus = bus
        self.cpuid = cpuid
        self.ram = Ram(ram_bytes)
        self.cpu: Cpu = (LongCpu if has_long_mode else Cpu)(self.ram, self._fetch, weights)
        self._always_watched = _ALWAYS_WATCHED | _LONG_MICROCODED if has_long_mode else _ALWAYS_WATCHED
        self.cpu.check_layout()
        if self.ram.keeper is not None:
            self.ram.keeper.attach(self.withdraw)
        self.second_level: SecondLevel | None = None
        self.protected_pages: frozenset[int] = frozenset()
        """Physical pages beyond the limit of every segment a guest can load: see `ProtectedAccess`."""
        self.code_cache: CodeCache | None = None
        self._watched: frozenset[str] = frozenset()
        self.watch(frozenset())
        self._breakpoints: frozenset[int] = frozenset()
        self._more_breakpoints: frozenset[int] = frozenset()
        self._is_at_gate = self._has_risen = False
        self.step_trap_due = False
        """TF was set when an instruction began that was then completed by microcode: its #DB is still to come."""
        self._window = DeviceWindow(bus)
        self.idle = 0
        """Device time that has passed while the CPU slept in HLT."""
        self.is_halted = False
        """The CPU sleeps in HLT until an interrupt comes."""
        self.inhibited_at = -1
        """Count of retired instructions at which interrupts wait for one instruction more: STI or a load of SS was the
        last one."""
        self.reports_devices = False
        """A VMM owns the hardware: `run` stops with `ExternalInterrupt` when a device requests an interrupt by itself,
        whatever the guest's IF says."""
        self.interrupt_flag: Callable[[], bool] = self._has_interrupt_flag
        """Tells whether the guest's IF is set; a VMM that keeps a virtual IF puts its own answer here."""
        self.next_instruction: Callable[[], Instruction | None] = self.instruction_here
        """Gives the guest's instruction about to run; a VMM that runs other code in its place knows better."""
        self._broke_at: tuple[int, int] | None = None
        """Address and count of retired instructions at which the breakpoint stopped last: it is passed once."""

    # ---- what everything else looks at -------------------------------------------------------------------------------

    @property
    def retired(self) -> int:
        """Guest instructions completed."""
        return self.cpu.retired

    @property
    def now(self) -> int:
        """Device time: see `devices.device_time`. The time-stamp counter counts it too."""
        return self.cpu.retired + self.idle

    def take_back(self, weight: int) -> None:
        """Undo the count of a translated instruction of which only a part has run (see `code_cache`)."""
        self.cpu.take_back(weight)

    @property
    def weight(self) -> int:
        """Hundredths of a cycle of the instructions that the CPU has run: see `facts.instruction_weights`."""
        return self.cpu.work

    def retire(self, instruction: Instruction | None = None) -> None:
        """Count one instruction that was completed by microcode of ours.

        Args:
            instruction: the one, where it stands for the CPU's own, which has run it; None where a VMM emulates.
        """
        self.cpu.retire(instruction)

    @property
    def state(self) -> CpuState:
        """The real CPU's state; change it freely between runs."""
        return self.cpu.state

    @property
    def memory(self) -> LinearMemory:
        """Linear memory as the real CPU sees it now."""
        return LinearMemory(self.cpu.state, self, self.on_own_access)

    def watch(self, forms: frozenset[str]) -> None:
        """Ask for a `Watched` stop before instructions of these forms."""
        self._watched = forms
        self.cpu.watch(forms | self._always_watched | (frozenset() if self.observer is None else FLUSHING_FORMS))

    observer: Observer | None = None
    """Told of what a run does to translations."""

    def observe(self, observer: Observer) -> None:
        """Tell somebody, from the start of a run on, what it does to translations; such a run is not saved.

        Every page gets its frame at once: an access that finds none is begun anew, and would be seen twice.
        """
        self.observer = observer
        self.watch(self._watched)
        self._fill_frames()

    @property
    def on_own_access(self) -> Callable[[int, Access], None] | None:
        """What to tell of accesses that the CPU makes on its own account."""
        return None if self.observer is None else self.observer.accessed

    def flush_tlb(self) -> None:
        """Forget cached translations of linear pages, because the guest or a VMM asks the CPU to."""
        self.cpu.flush_tlb()
        if self.observer is not None:
            self.observer.flushed()

    def lose_translations(self) -> None:
        """Say that this CPU forgets all translations here, as one without tags does between guest and VMM.

        The emulated CPU keeps them: nobody could tell.
        """
        if self.observer is not None:
            self.observer.flushed(everything=True)

    @contextmanager
    def looked_at(self) -> Iterator[None]:
        """For an observer: `state` is that of the moment, also while the CPU is running."""
        if not self.is_running:
            yield
            return
        with self.cpu.looked_at():
            yield

    @property
    def is_running(self) -> bool:
        """The emulated CPU is executing at this moment: somebody is asking from within a callback."""
        return self.cpu.is_running

    def _fill_frames(self) -> None:
        """Let every page of RAM that belongs to no VMM be reached without a first stop."""
        for page in range(self.ram.size >> PAGE_SHIFT):
            target: int | NestedFault = page << PAGE_SHIFT
            if self.second_level is not None:
                target = self.second_level.translate(page << PAGE_SHIFT, is_write=True, is_fetch=False)
            is_own = self.code_cache is not None and (
                self.code_cache.may_be_mapped(page << PAGE_SHIFT, is_fetch=True, is_write=False)
                or self.code_cache.may_be_mapped(page << PAGE_SHIFT, is_fetch=False, is_write=True)
            )
            if isinstance(target, int) and target < self.ram.size and page not in self.protected_pages and not is_own:
                self.ram.dirty.add(target >> PAGE_SHIFT)
                self.cpu.frames.fill(page, target >> PAGE_SHIFT, writable=True)

    def guard(self, cache: CodeCache) -> None:
        """Let translated code run from a code cache, count it by weight, and keep everybody else out of there."""
        self.code_cache = cache
        self.cpu.guard(cache)

    @property
    def breakpoints(self) -> frozenset[int]:
        """Offsets in the code segment before which `run` stops with `Breakpoint`."""
        return self._breakpoints

    @breakpoints.setter
    def breakpoints(self, addresses: frozenset[int]) -> None:
        if addresses != self._breakpoints:
            self._breakpoints = addresses
            self._set_breakpoints()

    @property
    def more_breakpoints(self) -> frozenset[int]:
        """Linear addresses in a code cache at which the instructions at `breakpoints` are to be stopped before too."""
        return self._more_breakpoints

    @more_breakpoints.setter
    def more_breakpoints(self, linear: frozenset[int]) -> None:
        if linear != self._more_breakpoints:
            self._more_breakpoints = linear
            self._set_breakpoints()

    def _set_breakpoints(self) -> None:
        base, mask = self.cpu.state.segments[1].base, self.cpu.state.address_mask
        own = {(base + at) & mask for at in self._breakpoints}
        self.cpu.set_breakpoints(self._more_breakpoints | own)

    def instruction_here(self) -> Instruction | None:
        """Decode the instruction at EIP; None where there is none."""
        return self.instruction_at(self.cpu.state.eip)

    def instruction_at(self, eip: int) -> Instruction | None:
        """Decode the instruction at an offset of the code segment; addresses in it are such offsets."""
        state = self.cpu.state
        memory = self.memory
        linear = (state.segments[1].base + eip) & state.address_mask
        code = memory.peek(linear, 15)
        if code is None:
            code = memory.peek(linear, PAGE - (linear & 0xFFF)) if linear & 0xFFF > PAGE - 15 else None
        return None if code is None else decode(code, eip, state.code_bits)

    # ---- PhysicalSpace: memory as the CPU's own accesses see it ------------------------------------------------------

    def read_physical(self, address: int, size: int) -> bytes:
        """Read bytes at one of the CPU's physical addresses; they do not cross a page."""
        frame = self._frame_address(address, is_write=False)
        return b"\xff" * size if frame is None else self.ram.read(frame, size)

    def write_physical(self, address: int, data: bytes) -> None:
        """Write bytes at one of the CPU's physical addresses; they do not cross a page."""
        frame = self._frame_address(address, is_write=True)
        if frame is not None:
            self.ram.write(frame, data)

    def _frame_address(self, address: int, *, is_write: bool) -> int | None:
        if self.second_level is None:
            return address
        target = self.second_level.translate(address, is_write=is_write, is_fetch=False)
        if isinstance(target, int):
            return target
        return None if self.ram.withdrawn_at is None else self.ram.withdrawn_at(address)

    # ---- running -----------------------------------------------------------------------------------------------------

    def run(self, limit: int, *, skip: bool = False) -> Stop:
        """Run until the count of retired instructions reaches `limit`, or something happens.

        Devices act at their time, and what they request is answered before the next instruction begins.

        Args:
            limit: value of `retired` at which to stop with `BudgetSpent`.
            skip: do not stop at the instruction at EIP for being watched, nor for an interrupt before it.
        """
        step_trap = self.take_step_trap()
        if step_trap is not None:
            return step_trap
        while True:
            interruption = None if skip else self._interruption()
            if interruption is not None:
                return interruption
            before = self.retired
            goal, holds = self._goal(limit)
            stop = self._run(goal, skip=skip or self._is_at_gate)
            if holds and self.retired == before + 1:
                self.inhibited_at = self.retired
            if not isinstance(stop, BudgetSpent) or self.retired >= limit:
                return stop
            skip = False

    def _goal(self, limit: int) -> tuple[int, bool]:
        """Say how far the CPU may run before interrupts have to be looked at again.

        Returns:
            The count of retired instructions, and whether the one next instruction will hold interrupts off after it.
        """
        self._is_at_gate = False
        guest = self.guest_mode
        offers = guest is not None and guest.offers_interrupt
        self.cpu.stops_at_gates = waits = self.bus.is_requesting or offers
        due = self.bus.next_event()
        event = None if due is None else due - self.idle
        following = self.retired + 1
        # Whether the last instruction before an event holds interrupts off is to be seen before it runs.
        goal = following if event == following else limit if event is None or event > limit else event - 1
        if not waits and event != following:
            return goal, False
        instruction = self.next_instruction()
        if instruction is None or instruction.form not in GATES:
            return (following if self.inhibited_at == self.retired else goal), False
        eip = self.cpu.state.eip
        is_breakpoint = eip in self._breakpoints and (eip, self.retired) != self._broke_at
        is_stop = is_breakpoint or instruction.form in self._watched or instruction.form in self._always_watched
        self._is_at_gate = self.cpu.stands_at_gate and not is_stop
        had_if = self.interrupt_flag() if guest is None else bool(self.cpu.state.eflags & Eflags.IF)
        return following, holds_interrupts(instruction, had_if=had_if)

    def _interruption(self) -> Stop | None:
        """Let devices act, and say what comes before the next instruction: an interrupt, or nothing."""
        was_halted = self.is_halted
        if was_halted and not self._sleep():
            return Halted()
        has_risen, self._has_risen = self.bus.advance(self.now) or self._has_risen, False
        if has_risen and self.reports_devices and not was_halted:
            return ExternalInterrupt(self.next_instruction())
        if self.can_interrupt():
            return InterruptWindow(self.next_instruction())
        return InterruptWindow(self.next_instruction(), is_virtual=True) if self._can_interrupt_virtually() else None

    def catch_up_with_devices(self) -> None:
        """Let devices do what is due now, as `run` would first do; whoever is to hear of it does so all the same."""
        self._has_risen = self.bus.advance(self.now) or self._has_risen

    def can_interrupt(self) -> bool:
        """Tell whether INTR is asserted and the guest lets interrupts in."""
        if not self.bus.is_requesting or not self.interrupt_flag():
            return False
        # What the guest of a hypervisor does to its own IF does not hold off what is masked by the hypervisor's.
        guest = self.guest_mode
        return self.inhibited_at != self.retired or (guest is not None and guest.v_intr_masking)

    def _can_interrupt_virtually(self) -> bool:
        """Tell whether a hypervisor's guest takes the virtual interrupt that its VMCB holds."""
        guest = self.guest_mode
        if guest is None or not guest.offers_interrupt or self.inhibited_at == self.retired:
            return False
        state = self.cpu.state
        return bool(state.eflags & Eflags.IF) and state.svm is not None and state.svm.gif

    def acknowledge(self) -> int:
        """Take the interrupt that is requested: give its vector; a CPU that slept is awake."""
        self.is_halted = False
        return self.bus.acknowledge()

    def halt(self) -> bool:
        """Let the CPU sleep, HLT having completed; False if nothing can ever wake it."""
        self.is_halted = self.can_wake()
        return self.is_halted

    def can_wake(self) -> bool:
        """Tell whether an interrupt could wake the CPU, if it slept now."""
        guest = self.guest_mode
        if guest is not None and guest.offers_interrupt and self.cpu.state.eflags & Eflags.IF:
            return True
        is_expected = self.bus.is_requesting or self.bus.next_wake(self.now) is not None
        return is_expected and self.interrupt_flag()

    def _sleep(self) -> bool:
        """Let time pass until an interrupt wakes the CPU; False if none will come."""
        for _ in range(_MOST_FALSE_ALARMS):
            if self.can_interrupt() or self._can_interrupt_virtually():
                return True
            wakes = self.bus.next_wake(self.now)
            if wakes is None:
                return False
            self.idle = wakes - self.retired
            self.bus.advance(wakes)
        return False

    def _has_interrupt_flag(self) -> bool:
        svm = self.cpu.svm
        if svm is not None and not svm.gif:
            return False
        if svm is not None and svm.guest is not None and svm.guest.v_intr_masking:
            return svm.guest.host_if
        return bool(self.cpu.state.eflags & Eflags.IF)

    @property
    def guest_mode(self) -> GuestMode | None:
        """What VMRUN has read, while the guest of a hypervisor in this machine runs; else None."""
        svm = self.cpu.svm
        return None if svm is None else svm.guest

    def _run(self, limit: int, *, skip: bool) -> Stop:
        """Run until `limit` with `BudgetSpent`, or until something other than a device needs an answer.

        `BudgetSpent` also says that interrupts are to be looked at: a device has been reached through its registers in
        memory, or one waits and an instruction is to come that may let it in.
        """
        skip_here = (self.cpu.state.linear_eip, self.retired) if skip else None
        start, has_rf = self.retired, self._take_resume_flag()
        borrowed: dict[int, bool] = {}
        patience = _PATIENCE_PAGES
        must_refetch = False
        try:
            while True:
                goal = min(limit, self.retired + 1) if borrowed or has_rf else limit
                here = (self.cpu.state.linear_eip, self.retired) if skip_here else None
                skip_now = skip_here is not None and skip_here == here
                raw = self.cpu.refetch() if must_refetch else self.cpu.go(goal, skip=skip_now)
                must_refetch = False
                if has_rf and self.retired > start:
                    self.cpu.clear_resume_flag()
                    has_rf = False
                is_due = self.retired >= limit and not self.cpu.is_inside_sequence()
                if raw.reason is Reason.EXIT and is_due and raw.number != _EXCEPTION + Vector.DB:
                    # The next instruction cannot be fetched: that belongs to the way to the next one retired. But what
                    # the guest cannot notice is done now, so that its page tables are marked alike however it is run.
                    if not self._is_fetch_repaired(raw.number, borrowed):
                        return BudgetSpent()
                    must_refetch = self.code_cache is None  # translated code is not fetched by the guest's page tables
                    continue
                if raw.reason is Reason.EXIT and raw.number == _NPF:
                    stop = self._physical_access(borrowed)
                    if stop is not None:
                        return stop
                    patience -= 1
                    if not patience:  # a string instruction may walk through all of an empty address space
                        return Paused()
                    continue
                reached_device = self._window.is_open
                self._give_back(borrowed)
                match raw.reason:
                    case Reason.LIMIT:
                        if self.retired >= limit or reached_device:
                            return BudgetSpent()
                    case Reason.PAUSE:
                        return Paused()
                    case Reason.GUARD:
                        refused = self.cpu.refused_access
                        linear = self._protected_linear(refused.physical)
                        return ProtectedAccess(linear, refused.is_write, self._stopped_instruction())
                    case Reason.POINT:
                        if self._is_callout_answered():
                            continue
                        stop = self._at_point()
                        if stop is not None:
                            return stop
                        skip_here = (self.cpu.state.linear_eip, self.retired)
                    case _:
                        self._tell_refusal(raw.number)
                        return self._at_exit(raw.number)
        finally:
            self._give_back(borrowed)

    def _is_fetch_repaired(self, number: int, borrowed: dict[int, bool]) -> bool:
        """Do what it takes to fetch the instruction at which `run` stops, if that is nothing to the guest."""
        if number == _NPF:
            stop = self.code_cache is None and self._physical_access(borrowed)
            if isinstance(stop, NestedFault) and self.on_fetch_violation is not None:
                return self.on_fetch_violation(stop)
            return stop is None and not borrowed
        if number != _EXCEPTION + Vector.PF or self.on_fetch_fault is None:
            return False
        stop = self._at_exit(number)
        is_repaired = isinstance(stop, Fault) and self.on_fetch_fault(stop)
        if is_repaired:
            self._tell_refusal(number)
        return is_repaired

    def _tell_refusal(self, number: int) -> None:
        """Tell the observer of a page fault."""
        if self.observer is not None and number == _EXCEPTION + Vector.PF:
            self.observer.refused(self.cpu.exit_info_2 & self._linear_mask(), self.cpu.error_code)

    on_fetch_violation: Callable[[NestedFault], bool] | None = None
    """The same for a fault of second-level paging."""
    on_fetch_fault: Callable[[Fault], bool] | None = None
    """Takes a page fault in fetching the instruction at which `run` is to stop, and tells whether it is repaired."""

    def _is_callout_answered(self) -> bool:
        """Let a binary translator answer a callout for code that has no translation yet: no affair of the guest's."""
        return self.on_callout is not None and self.on_callout()

    on_callout: Callable[[], bool] | None = None
    """Called where translated code calls the VMM; tells whether the CPU may go on at once."""

    def step_over(self, limit: int | None = None) -> Stop:
        """Run the one instruction at EIP even if it is watched; `BudgetSpent` says it has retired."""
        return self.run(self.retired + 1 if limit is None else limit, skip=True)

    def _take_resume_flag(self) -> bool:
        """Tell whether the next instruction has RF to shield it; PUSHF goes without, for it must not store it."""
        if not self.cpu.has_resume_flag:
            return False
        instruction = self.instruction_here()
        if instruction is not None and instruction.form == "pushf":
            self.cpu.clear_resume_flag()
            return False
        return True

    def take_step_trap(self) -> Fault | None:
        """Give the single-step #DB that the last instruction completed by microcode owes, if any."""
        if not self.step_trap_due:
            return None
        self.step_trap_due = False
        self.state.dr[6] |= _DR6_BS
        return Fault(Vector.DB, None, None, self.instruction_here(), is_trap=True)

    def _physical_access(self, borrowed: dict[int, bool]) -> Stop | None:
        """Answer an access to a physical page that has no frame yet, or none to write to; None means try again."""
        gpa = self.cpu.exit_info_2 & 0xFFFF_FFFF
        error = self.cpu.error_code
        is_write, is_fetch = bool(error & 2), bool(error & 0x10)
        page, target = gpa >> PAGE_SHIFT, gpa
        if self.second_level is not None:
            translated = self.second_level.translate(gpa, is_write=is_write, is_fetch=is_fetch)
            if isinstance(translated, NestedFault):
                return NestedFault(
                    gpa, is_write, is_fetch, translated.is_table_walk, translated.is_present, self.instruction_here()
                )
            target = translated
        frame = target >> PAGE_SHIFT
        is_free = target >= self.ram.size or self.ram.may_write(frame, is_write=is_write)
        if self.code_cache is not None and self.code_cache.may_be_mapped(gpa, is_fetch=is_fetch, is_write=is_write):
            self.cpu.frames.fill(page, frame, writable=not is_fetch)
            if not is_fetch:
                self.ram.dirty.add(frame)
        elif page in self.protected_pages:
            linear = self._protected_linear(gpa)
            instruction = None if is_fetch else self.instruction_here()
            if instruction is None or not self._is_descriptor_load(instruction, linear):
                return ProtectedAccess(linear, is_write, instruction)
            self.cpu.frames.fill(page, frame, writable=False)
            borrowed[page] = False
        elif target < self.ram.size:
            if is_write:
                self.ram.dirty.add(frame)
            self.cpu.frames.fill(page, frame, writable=(is_write or frame in self.ram.dirty) and is_free)
        else:
            # A device or nothing answers there: lend a page for this one instruction, of ones if it is nothing.
            shown = None if is_fetch else self.show_device(gpa, self.instruction_here(), is_write=is_write)
            if shown is not None:
                self.cpu.uc.mem_write(layout.OPEN_BUS, shown)
            self.cpu.frames.fill(page, layout.OPEN_BUS >> PAGE_SHIFT, writable=True)
            borrowed[page] = True
        return None

    def _is_descriptor_load(self, instruction: Instruction, linear: int) -> bool:
        """Tell whether the CPU reads there on its own account, for a descriptor, and not for an operand."""
        if instruction.form not in LOADS_DESCRIPTORS:
            return False
        state = self.cpu.state
        bits = instruction.address_size_bits
        operands = [linear_address(state, operand, bits) for operand in instruction.ops if operand.kind == "mem"]
        if instruction.form in _USES_STACK:
            operands.append((state.segments[SS].base + state.gpr[ESP]) & state.address_mask)
        return not any((linear - operand) & 0xFFFF_FFFF < _LONGEST_OPERAND for operand in operands)

    def _protected_linear(self, physical: int) -> int:
        """Linear address of an access to a protected page; those pages are mapped once, by the VMM."""
        return self.protected_linear(physical) if self.protected_linear is not None else physical

    protected_linear: Callable[[int], int] | None = None
    """Gives the linear address at which a protected physical address is mapped."""

    def show_device(self, gpa: int, instruction: Instruction | None, *, is_write: bool) -> bytes | None:
        """Give a page with the device registers that an instruction reaches for; None where no device has any.

        Lend it for that one instruction, and give it to `take_from_device` afterwards.
        """
        return self._window.open(gpa, instruction, is_write=is_write, retired=self.retired, now=self.now)

    def take_from_device(self, page: bytes) -> None:
        """Pass on to the device what the instruction has stored in the page that was lent to it, if one was."""
        self._window.close(page, self.retired)

    def _give_back(self, borrowed: dict[int, bool]) -> None:
        """Take back the pages lent for one instruction."""
        if not borrowed:
            return
        for page in borrowed:
            self.cpu.frames.drop(page)
        if any(borrowed.values()):
            if self._window.is_open:
                self.take_from_device(bytes(self.cpu.uc.mem_read(layout.OPEN_BUS, PAGE)))
            self.cpu.uc.mem_write(layout.OPEN_BUS, b"\xff" * PAGE)
        borrowed.clear()
        self.cpu.flush_tlb()

    def _at_point(self) -> Stop | None:
        """Say what the stop point at EIP means; None if it means nothing any more."""
        here = (self.cpu.state.eip, self.retired)
        is_breakpoint = here[0] in self._breakpoints or self.cpu.state.linear_eip in self._more_breakpoints
        if is_breakpoint and here != self._broke_at:
            self._broke_at = here
            return Breakpoint(here[0])
        instruction = self._stopped_instruction()
        if instruction is None and self._is_locked_here():
            return Fault(Vector.UD, None, None, None)
        if self.cpu.stops_at_gates:
            following = self.next_instruction()
            if following is not None and following.form in GATES - self._watched - self._always_watched:
                return BudgetSpent()
        if (
            instruction is not None
            and instruction.form == "pushf"
            and "pushf" not in self._watched | self._always_watched
        ):
            # A point that the CPU has by itself: see `block_scan.SHOWS_VM`.
            return SensitiveInsn("pushf", instruction) if self.cpu.state.eflags & Eflags.VM else None
        if instruction is None or instruction.form not in self._watched | self._always_watched:
            # The breakpoint itself, or other code has come to lie at a watched address: nothing to see.
            if self.observer is not None and instruction is not None and instruction.form in FLUSHING_FORMS:
                self.observer.passing(instruction)
            return None
        form = instruction.form
        assert form is not None
        if form in self._watched and form not in PORT_FORMS:
            return Watched(form, instruction)
        if form == "int1":
            return SoftInterrupt(Vector.DB, instruction)
        if form in PORT_FORMS:
            return self._port_stop(instruction)
        return SensitiveInsn(form, instruction)

    def _linear_mask(self) -> int:
        """Linear addresses that the CPU can translate now: its own tables may lie high in compatibility mode, too."""
        return ADDRESS_64 if self.cpu.state.is_long_active else ADDRESS_32

    def _is_locked_here(self) -> bool:
        """Tell whether the bytes at EIP are an instruction but for a LOCK prefix, which the emulator lets pass."""
        state = self.cpu.state
        code = self.memory.peek(state.linear_eip, 15) or b""
        prefixes = len(code) - len(code.lstrip(LEGACY_PREFIXES))
        without = code[:prefixes].replace(_LOCK, b"") + code[prefixes:]
        return len(without) < len(code) and decode(without, state.eip, state.code_bits) is not None

    def _stopped_instruction(self) -> Instruction | None:
        """Decode the instruction the CPU has just stopped at."""
        code = self.cpu.code_here()
        if code is not None:
            state = self.cpu.state
            instruction = decode(code[:15], state.eip, state.code_bits)
            if instruction is not None:
                return instruction
        # Not in the last block, or the block ends within it: the emulator stops reading an instruction that must fault.
        return self.instruction_here()

    def _port_stop(self, instruction: Instruction) -> Stop:
        state = self.state
        port, size, is_input = port_of(state, instruction)
        try:
            allowed = may_use_port(state, self.memory, port, size)
        except PageFault as fault:
            return Fault(Vector.PF, fault.error_code, fault.linear, instruction)
        if not allowed:
            return Fault(Vector.GP, 0, None, instruction)
        return PortIo(is_input, port, size, instruction)

    def _at_exit(self, number: int) -> Stop:
        """Say in the manuals' words why the emulated CPU left the guest."""
        instruction = self._stopped_instruction()
        if _EXCEPTION <= number < _EXCEPTION + 32:
            vector = number - _EXCEPTION
            if vector == Vector.PF:
                return Fault(vector, self.cpu.error_code, self.cpu.exit_info_2 & self._linear_mask(), instruction)
            code = self.cpu.error_code if EXCEPTIONS[vector].has_error_code else None
            if vector == Vector.GP and code == 0 and instruction is not None and self.state.is_64bit:
                vector = vector_of(self.state, instruction)
            is_trap = vector == Vector.DB and bool(self.state.dr[6] & _DR6_BS)
            return Fault(vector, code, None, instruction, is_trap)
        if instruction is None or instruction.form is None:
            # The emulator takes prefixes that the manual forbids (LOCK HLT): #UD.
            return Fault(Vector.UD, None, None, instruction)
        if number == _SWINT:
            vectors = {"int3": Vector.BP, "into": Vector.OF}
            named = vectors.get(instruction.form)
            return SoftInterrupt(int(instruction.ops[0].value or 0) if named is None else int(named), instruction)
        return SensitiveInsn(instruction.form, instruction)

    # ---- what bare hardware does -------------------------------------------------------------------------------------

    def complete(self, stop: Stop) -> Completion:
        """Do what the CPU does about a stop when no VMM is in the way.

        Raises:
            TaskGateError, UnsupportedError: a hardware task switch, which this machine does not have.
        """
        state = self.state
        guest = self.guest_mode
        report = None if guest is None else exit_for(stop, state, guest, self._byte)
        if report is not None:
            return self.leave_guest(report)
        match stop:
            case Fault():
                return self.raise_event(Interruption(stop.vector, stop.error_code, stop.linear))
            case SoftInterrupt():
                event = Interruption(
                    stop.vector,
                    is_software=not stop.is_privileged_gate_exempt,
                    next_eip=(state.eip + stop.instruction.size) & state.address_mask,
                )
                # INT1 is no exception to the intercepts: it has one of its own, and that has been asked.
                outcome = self.raise_event(event) if guest is None else self._deliver_in_guest(guest, event)
                if isinstance(outcome, Delivered) and len(outcome.chain) == 1:
                    self.retire(stop.instruction)
                    self.prefetch()
                return outcome
            case PortIo():
                return self._perform(stop.instruction, lambda env: transfer(env, stop.instruction))
            case SensitiveInsn():
                return self._perform(stop.instruction, lambda env: execute(env, stop.instruction))
            case ProtectedAccess():
                return self.raise_event(Interruption(Vector.GP, 0))
            case InterruptWindow():
                vector = self.take_virtual_interrupt() if stop.is_virtual else self.acknowledge()
                return self.raise_event(Interruption(vector, is_external=True))
            case _:
                raise ValueError(f"bare hardware has nothing to complete at {stop}")

    def raise_event(self, event: Interruption) -> Delivered | Shutdown | Exited:
        """Deliver an event through the real interrupt descriptor table; in a hypervisor's guest it may exit instead."""
        guest = self.guest_mode
        if guest is None:
            return deliver(self.cpu.state, self.memory, event)
        report = None if event.is_external else exception_exit(guest.intercepts, event)
        return self._deliver_in_guest(guest, event) if report is None else self.leave_guest(report)

    # ---- guests of a hypervisor in this machine ----------------------------------------------------------------------

    def _deliver_in_guest(self, guest: GuestMode, event: Interruption) -> Delivered | Shutdown | Exited:
        """Deliver an event to a hypervisor's guest; an exception on the way may be intercepted."""

        def met(first: Interruption, second: Interruption) -> None:
            report = exception_exit(guest.intercepts, second, first)
            if report is not None:
                raise _Intercepted(report)

        try:
            outcome = deliver(self.cpu.state, self.memory, event, met)
        except _Intercepted as intercepted:
            return self.leave_guest(intercepted.report)
        if isinstance(outcome, Shutdown) and SHUTDOWN_EXIT.intercept in guest.intercepts:
            return self.leave_guest(SHUTDOWN_EXIT)
        return outcome

    def leave_guest(self, report: SvmReport) -> Exited | Shutdown:
        """Carry #VMEXIT out: the hypervisor goes on behind its VMRUN, if it can be taken up again."""
        attempt = self.cpu.state.copy()
        is_up = leave(attempt, self, report, interrupt_shadow=self.has_interrupt_shadow)
        self.cpu.adopt(attempt)
        self.is_halted = self.step_trap_due = False
        self.flush_tlb()
        return Exited(report) if is_up else Shutdown(())

    @property
    def has_interrupt_shadow(self) -> bool:
        """The last instruction, STI or a load of SS, keeps interrupts out until the next one has completed."""
        return self.inhibited_at == self.retired or self.cpu.interrupt_shadow

    def _after_vmrun(self, broken: str) -> Entered:
        """Begin a guest: with interrupts held off if its VMCB says so, and with the event that it is to be given."""
        guest = self.guest_mode
        if guest is None:
            return Entered(broken)
        event = self.begin_guest(guest, self)
        return Entered() if event is None else Entered("", event, self._deliver_in_guest(guest, event))

    def begin_guest(self, guest: GuestMode, space: PhysicalSpace) -> Interruption | None:
        """Stop at what a VMCB intercepts from now on; give the event that it injects, which is still to be delivered.

        Args:
            guest: that VMRUN has just entered.
            space: the physical memory in which its VMCB lies.
        """
        forms = watched_forms(guest.intercepts)
        if not forms <= self._always_watched:
            self._always_watched |= forms
            self.watch(self._watched)
        if has_interrupt_shadow(space, guest.vmcb):
            self.inhibited_at = self.retired
        return injection_of(injected(space, guest.vmcb))

    def take_virtual_interrupt(self) -> int:
        """Take the virtual interrupt of the guest's VMCB: give its vector; a CPU that slept is awake."""
        state = self.cpu.state
        assert state.svm is not None
        assert state.svm.guest is not None
        guest = state.svm.guest
        state.svm = state.svm._replace(guest=guest._replace(v_irq=False))
        self.is_halted = False
        return guest.v_vector

    def _byte(self, address: int) -> int:
        return self.read_physical(address, 1)[0]

    def _perform(self, instruction: Instruction, routine: Callable[[RealEnvironment], Effect | None]) -> Completion:
        """Execute an instruction by microcode on the real CPU; what it raises is delivered."""
        state = self.cpu.state
        attempt = state.copy()
        env = RealEnvironment(self, attempt)
        broken = why_refused(self, state) if instruction.form == "vmrun" and state.svm is not None else ""
        try:
            effect = routine(env) or Effect.DONE
        except GuestFault as fault:
            if fault.vector == Vector.DB:  # general detect shows in DR6, and has switched itself off
                self.cpu.adopt(attempt)
            return self.raise_event(Interruption(fault.vector, fault.error_code))
        except PageFault as fault:
            if instruction.is_string:
                self.cpu.adopt(attempt)
            return self.raise_event(Interruption(Vector.PF, fault.error_code, fault.linear))
        self.conclude_instruction(state, instruction, effect)
        self.cpu.adopt(attempt)
        done: Completion = effect
        if effect is not Effect.UNFINISHED:
            self.retire(instruction)
            if instruction.form == "vmrun":
                done = self._after_vmrun(broken)
            self.prefetch()
        return done

    def conclude_instruction(self, before: CpuState, instruction: Instruction, effect: Effect) -> None:
        """Note what follows at the boundary behind an instruction that microcode has executed, before it is retired.

        Args:
            before: the CPU, real or virtual, before it.
            instruction: the one that was executed, and did not fault.
            effect: how it ended.
        """
        self.step_trap_due = owes_step_trap(before, instruction, effect)
        if holds_interrupts(instruction, had_if=bool(before.eflags & Eflags.IF)):
            self.inhibited_at = self.retired + 1

    def prefetch(self) -> None:
        """Translate the address of the next instruction.

        The emulated CPU has done so whenever it stops after an instruction of its own; what is completed for it must
        leave the same accessed bits behind.
        """
        state = self.cpu.state
        if state.is_paged:
            with suppress(PageFault, NotCanonical):
                memory = LinearMemory(state, self)
                memory.translate(state.linear_eip, Access(is_user=state.cpl == 3, is_fetch=True))

    # ---- saving ------------------------------------------------------------------------------------------------------

    def save(self) -> MachineState:
        """Give the machine's state without RAM."""
        return MachineState(
            self.cpu.save(),
            self.bus.save(),
            self.step_trap_due,
            self.idle,
            self.is_halted,
            self.inhibited_at,
            self.bus.settled_at,
        )

    def restore(self, saved: MachineState) -> None:
        """Return to a saved state; RAM is the caller's to restore, through `ram.write`."""
        self.cpu.restore(saved.cpu)
        self.bus.restore(saved.bus)
        self.step_trap_due, self.idle = saved.step_trap_due, saved.idle
        self.is_halted, self.inhibited_at = saved.is_halted, saved.inhibited_at
        self.bus.settled_at = saved.bus_settled_at
        if self.second_level is not None:
            self.forget_translations()  # its tables' accessed and dirty bits are to be set again as they were

    def collect_dirty(self) -> set[int]:
        """Give the RAM pages written since the last call, and start anew."""
        dirty, self.ram.dirty = self.ram.dirty, set()
        self.cpu.frames.watch_writes()
        self.cpu.flush_tlb()
        return dirty

    def withdraw(self, frames: Set[int], may_read: bool) -> None:
        """Let the CPU ask before it next uses these pages of RAM, or before it next writes to them.

        For whoever has the frames behind them: what the guest can see stays as it is.
        """
        if self.ram.on_withdraw is not None:
            self.ram.on_withdraw(frames, may_read)
        self.cpu.frames.withdraw(frames, may_read=may_read)
        self.cpu.flush_tlb()

    def forget_translations(self) -> None:
        """Drop everything cached about physical pages: after second-level tables or protected pages changed."""
        self.cpu.frames.drop_all()
        self.cpu.flush_tlb()
        if self.observer is not None:
            self._fill_frames()

    # ---- for the CPU -------------------------------------------------------------------------------------------------

    def _fetch(self, linear: int, size: int) -> tuple[bytes, int]:
        """Read code as the CPU is about to fetch it; give it and its RAM address."""
        cr0, cr3, cr4, efer = self.cpu.paging_registers()
        room = PAGE - (linear & 0xFFF)
        done = walk(self._read_entry, cr0, cr3, cr4, efer, linear, Access())
        if done.physical is None:
            return b"\xff" * size, 0
        frame = self._frame_address(done.physical, is_write=False)
        if frame is None:
            return b"\xff" * size, 0
        data = self.ram.read(frame, min(size, room))
        if size > room:
            data += self._fetch((linear + room) & self.cpu.address_mask, size - room)[0]
        return data, frame

    def _read_entry(self, address: int, size: int) -> int:
        return int.from_bytes(self.read_physical(address, size), "little")
