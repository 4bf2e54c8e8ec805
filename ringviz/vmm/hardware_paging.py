"""Shadow page tables under hardware assistance: where second-level paging is missing or not wanted.

The guest's kernel runs in its own ring 0, on the VMM's tables. Every page fault leaves the guest; how that looks in a
control structure is the technique's part, whose fault it is and what it needs is told here.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from ringviz.facts.exceptions import Vector
from ringviz.facts.paging import PagingMode
from ringviz.guest.instruction import Instruction
from ringviz.guest.scenario import Scenario
from ringviz.machine.delivery import Interruption
from ringviz.machine.linear import LinearMemory, NotCanonical, PageFault
from ringviz.machine.memory import PAGE, PAGE_SHIFT
from ringviz.machine.microcode.ports import PORT_FORMS
from ringviz.machine.paging import Access
from ringviz.machine.stops import BudgetSpent, Fault, NestedFault, Paused, ProtectedAccess, Stop, has_completed
from ringviz.vmm.guest_code import decode_here
from ringviz.vmm.guest_space import MOST_PAGES_LENT, GuestSpace
from ringviz.vmm.mmu.answers import Elsewhere, Filled, Refused, Traced
from ringviz.vmm.mmu.comparison import shadow_walk, shadow_walks
from ringviz.vmm.mmu.cpu_memory import ShadowedMemory
from ringviz.vmm.mmu.let_through import access_in, access_of, is_memory_refusal, let_through
from ringviz.vmm.mmu.shadow import Places, ShadowPaging
from ringviz.vmm.outcome import RESUME, Outcome
from ringviz.vmm.setup import Setup
from ringviz.vmm.technique import Technique
from ringviz.vmm.walks import NestedWalk, TableWalk, Walks, two_dimensions

_RUNS_PAGED = (
    "The guest believes paging to be off; this CPU cannot run it so, and really walks a page directory of the VMM's "
    "that maps every address to itself"
)


class SecondLevel(Protocol):
    """Tables by which hardware translates what the guest takes for physical addresses."""

    def map(self, gpa: int, hpa: int | None) -> None:
        """Map one guest-physical page, or unmap it."""


class HardwarePaging(Technique):
    """Base of the techniques that let hardware run the guest's kernel in ring 0."""

    def __init__(self, scenario: Scenario, setup: Setup) -> None:
        super().__init__(scenario, setup)
        self._space = GuestSpace(self.machine.ram, self.guest_base, self.guest_bytes)
        self._shadow: ShadowPaging | None = None
        self.machine.on_fetch_violation = self._bring_back

    def _use_shadows(self, places: Places, table_pages: frozenset[int]) -> None:
        """Build shadow page tables.

        Args:
            places: where.
            table_pages: pages of RAM for them. Accessed and dirty bits are set from the start, so the CPU never writes
                there.
        """
        self._shadow = ShadowPaging(self.machine.ram, self._space, places, self.machine.flush_tlb)
        self.machine.cpu.frames.never_written = table_pages
        self.machine.on_fetch_fault = self._repair_fetch

    def give_up_page(self, page: int) -> bool:
        """Let a page hold zeros; what was derived from it is dropped."""
        self._space.give_up(page)
        return True

    def instruction_here(self) -> Instruction | None:
        """The guest instruction about to run, found through the guest's own tables."""
        if self._shadow is None:
            return super().instruction_here()
        return decode_here(self.guest_state(), self._space)

    def walks(self, linear: int, access: Access) -> Walks:
        """With shadows the CPU walks these; with nested paging it walks the guest's tables in two dimensions."""
        machine = self.machine
        read, guest, real = machine.ram.read_int, self.guest_state(), machine.state
        if self._shadow is not None:
            return shadow_walks(self._shadow, self._space, read, guest, real, linear, access)
        note = _RUNS_PAGED if real.is_paged and not guest.is_paged else ""
        return Walks((self.cpu_walk(linear, access),), note=note)

    def cpu_walk(self, linear: int, access: Access) -> TableWalk:
        """The walk through the shadow, or that in two dimensions."""
        read, real = self.machine.ram.read_int, self.machine.state
        if self._shadow is not None:
            return shadow_walk(self._space, read, real, linear, access)
        return two_dimensions(
            read, real, linear, access,
            nested=self._nested_walk, nested_mode=self.nested_mode, nested_root=self._nested_root(),
        )  # fmt: skip

    # ---- what the technique does -------------------------------------------------------------------------------------

    nested_mode: PagingMode
    """Format of its nested tables."""

    @abstractmethod
    def _nested_root(self) -> int:
        """Host-physical address of the outermost nested table."""

    @abstractmethod
    def _nested_walk(self, gpa: int, access: Access) -> NestedWalk:
        """Translate a guest-physical address through the nested tables, changing nothing."""

    @abstractmethod
    def _bring_back(self, stop: NestedFault) -> bool:
        """If the host has withdrawn the page, have it back, at the price of an exit; tell whether that was it."""

    @abstractmethod
    def _shadow_exit(
        self,
        raised: Interruption,
        answer: Filled | Traced | Elsewhere,
        instruction: Instruction | None,
        during: Interruption | None = None,
    ) -> None:
        """Record the exit for a page fault that is none of the guest's.

        Args:
            raised: the page fault as the CPU raised it.
            answer: what the VMM makes of it.
            instruction: at which.
            during: what the CPU was delivering; the VMM injects it again.
        """

    @abstractmethod
    def _true_fault(self, raised: Interruption, error_code: int, instruction: Instruction | None) -> Outcome:
        """Inject the page fault that the guest's own CPU would have raised.

        Args:
            raised: the page fault as the real CPU raised it.
            error_code: of the guest's own walk.
            instruction: at which.
        """

    @abstractmethod
    def _port_map_outside(self, instruction: Instruction) -> Outcome:
        """Emulate a port instruction whose I/O permission map lies beyond the guest's memory."""

    # ---- page faults -------------------------------------------------------------------------------------------------

    def _page_fault(self, shadow: ShadowPaging, stop: Fault) -> Outcome:
        """The tables that the CPU walks refused: find out whose fault it is."""
        guest = self.guest_state()
        instruction = stop.instruction or decode_here(guest, self._space)
        answer = shadow.fault(guest, stop.linear or 0, access_of(stop))
        match answer:
            case Refused(error_code):
                return self._true_fault(_raised(stop), error_code, instruction)
            case Filled():
                self._shadow_exit(_raised(stop), answer, instruction)
                return RESUME
        if instruction is not None and instruction.form in PORT_FORMS:
            self._shadow_exit(_raised(stop), answer, instruction)
            return self._port_map_outside(instruction)
        return self._let_through(shadow, stop, instruction)

    def _let_through(self, shadow: ShadowPaging, stop: Fault, instruction: Instruction | None) -> Outcome:
        """Run the one instruction with the pages it wants; each real page fault on the way is an exit."""

        def met(refused: Fault | ProtectedAccess, answer: Filled | Traced | Elsewhere) -> None:
            self._shadow_exit(_raised(refused), answer, instruction)

        guest, open_bus = self.guest_state(), self.open_bus
        weight = self.machine.weight
        passage = let_through(self.machine, shadow, self._space, guest, stop, open_bus=open_bus, met=met)
        inner = passage.inner
        if has_completed(inner):
            self._ran_for_the_guest(weight)
        if passage.refused is not None:
            return self._true_fault(_raised(inner), passage.refused[1], instruction)
        if isinstance(inner, (BudgetSpent, Paused)) or is_memory_refusal(inner):
            return RESUME
        return self.handle(inner)

    # ---- beyond the guest's memory, with second-level paging ---------------------------------------------------------

    def _lend(self, tables: SecondLevel, stop: NestedFault, tell: Callable[[NestedFault], None]) -> Outcome:
        """The guest reached beyond its memory: show it a page where nothing answers, for this one instruction.

        Args:
            tables: those of the second level.
            stop: the access.
            tell: records the exit for it, and for each other one that the instruction makes.
        """
        machine = self.machine
        inner: Stop = stop
        lent: list[int] = []
        weight = machine.weight
        while isinstance(inner, NestedFault) and len(lent) < MOST_PAGES_LENT:
            if self._bring_back(inner):
                if not lent:
                    return RESUME
                inner = machine.step_over()
                continue
            tell(inner)
            page = inner.gpa & ~(PAGE - 1)
            shown = machine.show_device(inner.gpa, inner.instruction, is_write=inner.is_write)
            if shown is not None:
                machine.ram.write(self.open_bus, shown)
            tables.map(page, self.open_bus)
            lent.append(page)
            inner = machine.step_over()
        for page in lent:
            tables.map(page, None)
            machine.cpu.frames.drop(page >> PAGE_SHIFT)
        machine.flush_tlb()
        machine.take_from_device(machine.ram.read(self.open_bus, PAGE))
        machine.ram.write(self.open_bus, b"\xff" * PAGE)
        if has_completed(inner):
            self._ran_for_the_guest(weight)
        return RESUME if isinstance(inner, (BudgetSpent, NestedFault, Paused)) else self.handle(inner)

    def _ran_for_the_guest(self, weight_before: int) -> None:
        """Count an instruction that the CPU ran for the VMM, on the guest's behalf.

        Args:
            weight_before: `Machine.weight` before it.
        """
        self.emulated += 1
        self._ran_for_vmm(weight_before)

    open_bus: int
    """RAM address of a page of ones."""

    def _as_raised(self, event: Interruption) -> Interruption:
        """The guest's own page fault as the CPU raises it: with the error code of the tables it really walks."""
        if self._shadow is None or event.vector != Vector.PF or event.linear is None:
            return event
        error_code = self._shadow.refusal(event.linear, access_in(event.error_code or 0))
        return event if error_code is None else Interruption(Vector.PF, error_code, event.linear)

    def _repair_fetch(self, stop: Fault) -> bool:
        """The CPU is to stop before an instruction that it cannot fetch: fill the shadow if that is all that fails."""
        assert self._shadow is not None
        answer = self._shadow.fault(self.guest_state(), stop.linear or 0, access_of(stop))
        if isinstance(answer, Filled):
            self._shadow_exit(_raised(stop), answer, self.instruction_here())
        return isinstance(answer, Filled)

    # ---- accesses that the CPU makes while it delivers an event, or that microcode makes for it ----------------------

    def _memory_of_the_cpu(
        self, instruction: Instruction | None = None, during: Interruption | None = None
    ) -> LinearMemory:
        """Linear memory as the CPU's own accesses reach it; what the shadows do not allow exits on the way."""
        shadow = self._shadow
        seen = self.machine.on_own_access
        if shadow is None:
            return self.guest_memory().told_to(seen)
        guest = self.guest_state()

        def missed(linear: int, access: Access, error_code: int) -> None:
            answer = shadow.fault(guest, linear, access)
            if not isinstance(answer, Refused):
                self._shadow_exit(Interruption(Vector.PF, error_code, linear), answer, instruction, during)

        return ShadowedMemory(guest, self._space, shadow, missed, seen)

    def _prefetch(self) -> None:
        """Let the CPU fetch the next instruction as far as the guest cannot notice: see `Machine.prefetch`."""
        if self._shadow is None:
            self.machine.prefetch()
            return
        state = self.machine.state
        memory = self._memory_of_the_cpu(self.instruction_here()).told_to(None)
        with suppress(PageFault, NotCanonical):
            memory.translate(state.linear_eip, Access(is_user=state.cpl == 3, is_fetch=True))


def _raised(stop: Stop) -> Interruption:
    """The page fault as the CPU raised it."""
    assert isinstance(stop, Fault), "no page of these VMMs is mapped in a guest"
    return Interruption(Vector.PF, stop.error_code, stop.linear)
