"""VM exits for memory: EPT violations beyond the guest's own, and page faults of the VMM's shadow page tables."""

from __future__ import annotations

from dataclasses import replace

from ringviz.facts.vmx import (
    Reason,
)
from ringviz.guest.instruction import Instruction
from ringviz.machine.delivery import Interruption
from ringviz.machine.memory import PAGE_SHIFT
from ringviz.machine.stops import (
    NestedFault,
)
from ringviz.vmm import describe
from ringviz.vmm.events import Kind
from ringviz.vmm.mmu.answers import Elsewhere, Filled, Traced
from ringviz.vmm.mmu.telling import WITHDRAWN_READ, WITHDRAWN_RULE, WITHDRAWN_WRITE, words
from ringviz.vmm.outcome import Outcome
from ringviz.vmm.vtx.ept import ExtendedTables, violation_qualification
from ringviz.vmm.vtx.exits import VmExit, exception_exit, interruption_information
from ringviz.vmm.vtx.guest_linear import linear_behind
from ringviz.vmm.vtx.transitions import Transitions


class MemoryExits(Transitions):
    """What the second level of address translation, or the VMM's first, does not allow."""

    # ---- beyond the guest's memory, with EPT -------------------------------------------------------------------------

    def _outside(self, ept: ExtendedTables, stop: NestedFault) -> Outcome:
        """The guest reached beyond its memory: show it a page where nothing answers, for this one instruction."""
        return self._lend(ept, stop, lambda met: self._violation(self._ept_violation(met), met.instruction, met.gpa))

    def _bring_back(self, stop: NestedFault) -> bool:
        """If the host has withdrawn the page, have it back, at the price of this exit; tell whether that was it."""
        ept = self.ept
        if ept is None or stop.gpa >> PAGE_SHIFT not in ept.withdrawn:
            return False
        before = self.machine.state.copy()
        event, guest = self._leave(self._ept_violation(stop), stop.instruction), self.guest_state()
        page = (self.guest_base + stop.gpa) >> PAGE_SHIFT
        ept.give_back(stop.gpa, may_write=self.machine.ram.may_write(page, is_write=stop.is_write))
        self.machine.cpu.frames.drop(stop.gpa >> PAGE_SHIFT)
        self.machine.flush_tlb()
        self._resume(guest)
        action = WITHDRAWN_WRITE if stop.is_write else WITHDRAWN_READ
        self._tell(replace(event, rule=WITHDRAWN_RULE), action, before, guest)
        return True

    def _violation(self, leaves: VmExit, instruction: Instruction | None, address: int) -> None:
        """Record an exit for an access to what is not the guest's."""
        before = self.machine.state.copy()
        event, guest = self._leave(leaves, instruction), self.guest_state()
        register = describe.register_action(self.machine.bus, address)
        action = f"virtual {register}"
        if not register:
            event = replace(event, is_attempt=True, kind=Kind.VIOLATION)
            action = f"outside the guest's memory ({address:08X}h): nothing answers there"
        self._resume(guest)
        self._tell(event, action, before, guest)

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

    # ---- shadow page tables ------------------------------------------------------------------------------------------

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
        register = describe.register_action(self.machine.bus, answer.gpa) if isinstance(answer, Elsewhere) else ""
        cause, rule, action = words(answer, raised.linear or 0, register)
        if isinstance(answer, Elsewhere) and not register:
            event = replace(event, kind=Kind.VIOLATION, is_attempt=True)
        else:
            event = replace(event, cause=cause, rule=f"{leaves.rule}; {rule}")
        self._tell(event, action, before, guest)
