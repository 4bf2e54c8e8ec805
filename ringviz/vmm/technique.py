"""What every technique answers, and what all of them share.

A technique owns one machine. It boots a guest on it, answers the machine's stops, and can always say what the guest
believes the computer to be (`guest_state`) and what it really is (`real_state`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

from ringviz.errors import InputError, UnsupportedError
from ringviz.facts.registers import EFLAGS_FIXED, GPR_NAMES, Cr0, Cr4, Efer, Eflags
from ringviz.facts.segments import SegmentCache, null_cache
from ringviz.facts.techniques import TECHNIQUES, TechniqueFacts
from ringviz.guest import long_start
from ringviz.guest.disk import read_disks
from ringviz.guest.image import Image, StartState
from ringviz.guest.instruction import Instruction
from ringviz.guest.scenario import Scenario
from ringviz.machine import microcode
from ringviz.machine.bus import Bus, Device
from ringviz.machine.cpuid import profile_cpuid, svm_cpuid
from ringviz.machine.delivery import TaskGateError
from ringviz.machine.devices import Balloon, pc_devices
from ringviz.machine.linear import LinearMemory
from ringviz.machine.machine import Completion, Machine
from ringviz.machine.memory import PAGE_SHIFT
from ringviz.machine.paging import Access
from ringviz.machine.state import (
    CS,
    CpuState,
    LongRegisters,
    TableRegister,
    fields_of,
    flags_name,
    instruction_pointer_name,
    real_mode_cache,
    same_but_plain,
)
from ringviz.machine.stops import Stop
from ringviz.machine.svm.registers import SvmRegisters
from ringviz.vmm.controls import Control, take
from ringviz.vmm.events import Change, Event, Kind
from ringviz.vmm.outcome import RESUME, Ended, Outcome
from ringviz.vmm.setup import Setup
from ringviz.vmm.side import Side
from ringviz.vmm.walks import TableWalk, Walks

RESET = Ended("reset", "the guest had the processor reset, through the keyboard controller or port 92h")
HOST_TIMER = "host timer"
TURN_ENDS = "the turn ends; the guest goes on from here when it has the CPU again"

_PIECE_BYTES = 1 << 16
"""Of guest memory read at a time: little enough for a cache."""


class Technique(ABC):
    """Base of all techniques; one instance runs one guest."""

    id: ClassVar[str]
    mmus: ClassVar[tuple[str, ...]]
    """Ways of memory virtualization that it has; the first is the default."""
    no_long_mode: ClassVar[str] = ""
    """Why it cannot run a 64-bit guest; empty where it can."""
    no_svm: ClassVar[str] = ""
    """Why it does not lend AMD-V on to a guest that is a hypervisor itself; empty where it does."""
    guest_base: ClassVar[int] = 0
    """RAM address at which guest-physical 0 lies."""

    def __init__(self, scenario: Scenario, setup: Setup) -> None:
        self.scenario = scenario
        self.setup = setup
        self.guest_bytes = scenario.guest.memory_mib << 20
        ram_bytes = self.guest_base + self.guest_bytes
        is_long = scenario.guest.long
        cpuid = profile_cpuid(setup.cpu, has_long_mode=is_long)
        if self.lends_svm:
            cpuid = svm_cpuid(cpuid)
        self.machine = Machine(
            Bus(_devices_of(scenario)), ram_bytes, cpuid, has_long_mode=is_long, weights=setup.cpu.weights
        )
        self.events: list[Event] = []
        """Filled by `handle`; whoever runs the technique takes them out."""
        self.balloon = self.machine.bus.find(Balloon)
        """The guest's balloon; None where the scenario has none."""
        if self.balloon is not None:
            self.balloon.connect(
                self.give_up_page,
                self.give_page_back,
                lambda address, size: self.machine.ram.read(self.guest_base + address, size),
            )
        self.emulated = 0
        """Instructions completed by the VMM and not by the CPU."""
        self._weight_of_vmm = 0
        """Of the machine's weight, that of instructions which the CPU ran for the VMM."""

    @property
    def facts(self) -> TechniqueFacts:
        """The table row of this technique."""
        return TECHNIQUES[self.id]

    @property
    def lends_svm(self) -> bool:
        """The guest is a hypervisor, and finds AMD-V on its CPU."""
        return self.scenario.guest.svm and not self.no_svm and "amd-v" in self.setup.cpu.features

    @classmethod
    def controls(cls, setup: Setup) -> Mapping[str, Control]:
        """The settings that a user may change, by id, as they stand on this CPU; none by default."""
        del setup
        return {}

    @classmethod
    def check_setup(cls, setup: Setup) -> None:
        """Refuse choices that do not go together.

        Raises:
            InputError: a control is unknown.
            UnsupportedError: with the rule, in one line.
        """
        take(cls.id, setup.controls, cls.controls(setup))

    # ---- the calls ---------------------------------------------------------------------------------------------------

    def boot(self, image: Image) -> None:
        """Put the guest into memory and the CPU at its entry."""
        for segment in image.segments:
            self.machine.ram.write(self.guest_base + segment.address, segment.data)
        for port, value in image.ports:
            self.machine.bus.write(port, 1, value, 0)
        state = initial_state(image, has_long_mode=self.scenario.guest.long)
        state.svm = SvmRegisters() if self.lends_svm else None
        self.power_on(state)

    @abstractmethod
    def power_on(self, state: CpuState) -> None:
        """Start the guest in the state that it should believe to be in."""

    @abstractmethod
    def handle(self, stop: Stop) -> Outcome:
        """Answer one stop."""

    preemption_charges: ClassVar[tuple[str, ...]] = ("trap-emulate",)
    """What it costs that the host's timer ends a turn: an interrupt enters ring 0 through the VMM's own table."""
    preemption_rule: ClassVar[str] = (
        "an interrupt enters ring 0 through the VMM's table, whatever the guest thinks of IF"
    )

    def preempt(self) -> None:
        """Take the CPU from the guest between two instructions, for the host's timer has interrupted it.

        The guest's state stays as it is; the price holds the way back to the guest as well.
        """
        state, instruction = self.machine.state, self.instruction_here()
        self.events.append(
            Event(
                at=self.machine.retired,
                address=state.eip,
                instruction=text_of(instruction),
                form=instruction.form if instruction is not None else None,
                kind=Kind.TRAP,
                cause=HOST_TIMER,
                rule=self.preemption_rule,
                handler="the host's scheduler",
                action=TURN_ENDS,
                charges=self.preemption_charges,
                from_ring=state.cpl,
                to_ring=state.cpl,
                via_ring=0,
                resume=state.eip,
                is_between=True,
            )
        )

    def no_preemption(self) -> str:
        """Say why the host's timer could not end this guest's turn; empty if it can."""
        return ""

    @property
    def is_entangled(self) -> bool:
        """The VMM is in the middle of something that `guest_state` does not tell: the guest cannot move just now."""
        return False

    @abstractmethod
    def guest_state(self) -> CpuState:
        """The CPU as the guest believes it to be. A copy."""

    def real_state(self) -> CpuState:
        """The CPU as it really is. A copy."""
        return self.machine.state.copy()

    @abstractmethod
    def guest_memory(self) -> LinearMemory:
        """Linear memory as the guest believes it to be."""

    @abstractmethod
    def cpu_walk(self, linear: int, access: Access) -> TableWalk | None:
        """Give the walk of the CPU itself, as `walks` has it; None where no CPU translates the guest's addresses."""

    @abstractmethod
    def walks(self, linear: int, access: Access) -> Walks:
        """Show how a linear address is translated now, and by whom, changing nothing."""

    def save(self) -> Any:
        """Give the technique's state without RAM, for `restore` in the same process."""
        return self.machine.save(), (self.emulated, self._weight_of_vmm), self.save_vmm()

    def restore(self, saved: Any) -> None:
        """Return to a saved state; RAM has been restored before."""
        machine, (self.emulated, self._weight_of_vmm), vmm = saved
        self.machine.restore(machine)
        self.restore_vmm(vmm)
        self.events.clear()

    def save_vmm(self) -> Any:
        """Give what the VMM itself keeps; nothing by default."""
        return None

    def restore_vmm(self, saved: Any) -> None:
        """Take back what `save_vmm` gave; nothing by default."""
        del saved

    # ---- the guest's balloon -----------------------------------------------------------------------------------------

    def give_up_page(self, page: int) -> bool:
        """Let a page of the guest's, by its number, hold zeros and have no frame; tell whether that can be."""
        self.machine.ram.inflate((self.guest_base >> PAGE_SHIFT) + page)
        return True

    def give_page_back(self, page: int) -> None:
        """Let the guest use such a page again."""
        self.machine.ram.deflate((self.guest_base >> PAGE_SHIFT) + page)

    # ---- shared ------------------------------------------------------------------------------------------------------

    def guest_ram(self) -> bytes:
        """All guest-physical memory."""
        return b"".join(self.guest_ram_pieces())

    def guest_ram_pieces(self) -> Iterator[bytes]:
        """The same from its beginning on, piece by piece: whoever only goes through it needs no copy of all of it."""
        for start in range(0, self.guest_bytes, _PIECE_BYTES):
            yield self.machine.ram.read(self.guest_base + start, min(_PIECE_BYTES, self.guest_bytes - start))

    def complete(self, stop: Stop) -> Completion:
        """Let the hardware carry a stop out.

        Raises:
            UnsupportedError: it needs a hardware task switch, which this machine does not have.
        """
        with self.saying_where():
            return self.machine.complete(stop)

    @contextmanager
    def saying_where(self, then: str = "") -> Iterator[None]:
        """Tell the user, in one line with the place, what this machine does not have: hardware task switches.

        Args:
            then: what to say behind that.

        Raises:
            UnsupportedError: in place of the error of whoever met it.
        """
        where = self.machine.state.eip
        try:
            yield
        except (microcode.UnsupportedError, TaskGateError) as error:
            raise UnsupportedError(f"{self.scenario.id}, at {where:08X}h: {error}{then}") from None

    @abstractmethod
    def verdict(self, instruction: Instruction, cpl: int) -> tuple[str, str]:
        """Say what will happen to an instruction in a guest ring, before it runs.

        Returns:
            A word (`traps`, `silent`, `gate`, `exits`, `faults` or empty) and a short reason.
        """

    def instruction_here(self) -> Instruction | None:
        """The guest instruction about to run; None where there is none."""
        return self.machine.instruction_here()

    def stop_before(self, addresses: frozenset[int]) -> None:
        """Let the machine stop with `Breakpoint` before the guest instructions at these addresses, and no others."""
        self.machine.breakpoints = addresses

    def guest_weight(self) -> int:
        """Hundredths of a cycle of the instructions that are not among `completed_by_vmm`."""
        return self.machine.weight - self._weight_of_vmm

    def _ran_for_vmm(self, weight_before: int) -> None:
        """Count what the CPU has run since then as the VMM's work, which has its own price.

        Args:
            weight_before: `Machine.weight` then.
        """
        self._weight_of_vmm += self.machine.weight - weight_before

    def completed_by_vmm(self) -> int:
        """Guest instructions that no CPU ran, so far."""
        return self.emulated

    def tallies(self) -> Mapping[str, int]:
        """Causes of cost that come without an event, and how often each has come so far."""
        return {}

    def side(self) -> Side | None:
        """What the VMM has beside the guest's code just now; None where there is nothing to see."""
        return None

    def conclude(self) -> Outcome:
        """Do what follows at once from an instruction completed on the guest's behalf.

        The run ends if the guest has asked for that through a port; if it single-steps itself, its #DB comes now.
        """
        outcome = self._asked_end()
        step_trap = self.machine.take_step_trap()
        return outcome if step_trap is None or isinstance(outcome, Ended) else self.handle(step_trap)

    def _asked_end(self) -> Outcome:
        """End the run if the guest has written to the exit port, or has had the processor reset."""
        code = self.machine.bus.exit_code
        if code is not None:
            return Ended("exit", f"the guest ended the run through port F4h, exit code {code}")
        return RESET if self.machine.bus.has_reset else RESUME


def _devices_of(scenario: Scenario) -> tuple[Device, ...]:
    """Every device of the scenario's machine.

    Raises:
        InputError: there is no key for something that is to be typed.
    """
    try:
        return pc_devices(
            scenario.guest.memory_bytes,
            read_disks(scenario.disks),
            scenario.console_input,
            scenario.keys,
            scenario.guest.balloon_orders,
        )
    except ValueError as error:
        raise InputError(f"{scenario.id}: keys: {error}") from None


def text_of(instruction: Instruction | None) -> str:
    """An instruction in a list of events; code that cannot be fetched or decoded has no text of its own."""
    return instruction.text if instruction is not None else "(no instruction)"


def changes_between(before: CpuState, after: CpuState, *, is_real: bool) -> tuple[Change, ...]:
    """List the registers that differ between two states, EIP apart."""
    if same_but_plain(before, after):
        old_gpr, new_gpr = before.gpr, after.gpr
        changes = [
            Change(name, is_real, old, new)
            for name, old, new in zip(before.gpr_names, old_gpr, new_gpr, strict=True)
            if old != new
        ]
        if before.eflags != after.eflags:
            changes.append(Change(flags_name(before), is_real, before.eflags, after.eflags))
        if before.cr2 != after.cr2:
            changes.append(Change("cr2", is_real, before.cr2, after.cr2))
        return tuple(changes)
    old, new = fields_of(before), fields_of(after)
    place = instruction_pointer_name(before)
    return tuple(
        Change(name, is_real, old[name], new[name]) for name in old if old[name] != new[name] and name != place
    )


def initial_state(image: Image, *, has_long_mode: bool = False) -> CpuState:
    """The CPU at the guest's first instruction, as the image's format defines it."""
    gpr = [0] * (16 if has_long_mode else 8)
    for name, value in image.registers:
        gpr[GPR_NAMES.index(name)] = value
    eflags = EFLAGS_FIXED | (Eflags.IF if image.interrupts_on else 0)
    table = null_cache()
    task = SegmentCache(0, 0, 0xFFFF, 0x8B)
    if image.start is StartState.REAL:
        cs = real_mode_cache(0, 0x9B)
        segments = [real_mode_cache(0)] * 6
        segments[CS] = cs
        cr0, idtr = 0x10, TableRegister(0, 0x3FF)
    else:
        data = SegmentCache(0x10, 0, 0xFFFF_FFFF, 0xC93)
        segments = [data] * 6
        segments[CS] = SegmentCache(0x08, 0, 0xFFFF_FFFF, 0xC9B)
        cr0, idtr = 0x11, TableRegister(0, 0)
    cr3 = cr4 = efer = 0
    if image.start is StartState.LONG:
        segments[CS] = SegmentCache(0x08, 0, 0xFFFF_FFFF, 0xA9B)
        cr0, cr3, cr4 = cr0 | Cr0.PG, long_start.ADDRESS, int(Cr4.PAE)
        efer = Efer.LME | Efer.LMA
    return CpuState(
        gpr, image.entry, eflags, segments, table, task, TableRegister(0, 0), idtr, cr0, 0, cr3, cr4, 0,
        [0, 0, 0, 0, 0, 0, 0xFFFF_0FF0, 0x400], efer, [0, 0, 0], LongRegisters() if has_long_mode else None,
    )  # fmt: skip
