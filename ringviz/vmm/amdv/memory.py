"""#VMEXITs for memory: nested page faults beyond the guest's own, and page faults of the VMM's shadow page tables."""

from __future__ import annotations

from dataclasses import replace

from ringviz.guest.instruction import Instruction
from ringviz.machine.delivery import Interruption
from ringviz.machine.memory import PAGE_SHIFT
from ringviz.machine.stops import (
    NestedFault,
)
from ringviz.machine.svm.intercepts import event_word, exception_exit
from ringviz.machine.svm.report import SvmReport
from ringviz.vmm import describe
from ringviz.vmm.amdv.levels import Levels
from ringviz.vmm.amdv.nested_tables import NestedTables
from ringviz.vmm.events import Kind
from ringviz.vmm.mmu.answers import Elsewhere, Filled, Traced
from ringviz.vmm.mmu.telling import DEVICE_RULE, WITHDRAWN_READ, WITHDRAWN_RULE, WITHDRAWN_WRITE, words
from ringviz.vmm.outcome import Outcome

SHADOW_NEEDS = "page faults exit while the real page tables are the VMM's"


class MemoryExits(Levels):
    """What the second level of address translation, or the VMM's first, does not allow."""

    # ---- beyond the guest's memory, with nested paging ---------------------------------------------------------------

    def _nested_fault(self, nested: NestedTables, stop: NestedFault) -> Outcome:
        """The guest reached beyond its memory: show it a page where nothing answers, for this one instruction."""
        return self._lend(nested, stop, self._nested_exit)

    def _nested_exit(self, met: NestedFault) -> None:
        """Record the exit for an access to what is not the guest's."""
        before = self.machine.state.copy()
        event = self._exit(_report(met), met.instruction)
        register = describe.register_action(self.machine.bus, met.gpa)
        if register:
            self._tell(replace(event, rule=f"no nested page there: {DEVICE_RULE}"), f"virtual {register}", before)
        else:
            event = replace(event, is_attempt=True, kind=Kind.VIOLATION, rule="no nested page there")
            self._tell(event, f"outside the guest's memory ({met.gpa:08X}h): nothing answers there", before)

    def _bring_back(self, stop: NestedFault) -> bool:
        """If the host has withdrawn the page, have it back, at the price of this exit; tell whether that was it."""
        nested = self.nested
        if nested is None or stop.gpa >> PAGE_SHIFT not in nested.withdrawn:
            return False
        before = self.machine.state.copy()
        event = self._exit(_report(stop), stop.instruction)
        page = (self.guest_base + stop.gpa) >> PAGE_SHIFT
        nested.give_back(stop.gpa, may_write=self.machine.ram.may_write(page, is_write=stop.is_write))
        self.machine.cpu.frames.drop(stop.gpa >> PAGE_SHIFT)
        self.machine.flush_tlb()
        action = WITHDRAWN_WRITE if stop.is_write else WITHDRAWN_READ
        self._tell(replace(event, rule=WITHDRAWN_RULE), action, before)
        return True

    # ---- shadow page tables ------------------------------------------------------------------------------------------

    def _shadow_exit(
        self,
        raised: Interruption,
        answer: Filled | Traced | Elsewhere,
        instruction: Instruction | None,
        during: Interruption | None = None,
    ) -> None:
        """Record the exit for a page fault that is none of the guest's; what was being delivered is injected again."""
        report = exception_exit(self.vmcb.intercepts, raised, during)
        assert report is not None, SHADOW_NEEDS
        before = self.machine.state.copy()
        event = self._exit(report, instruction)
        if during is not None:
            self.vmcb.put("EVENTINJ", event_word(during))
        register = describe.register_action(self.machine.bus, answer.gpa) if isinstance(answer, Elsewhere) else ""
        cause, rule, action = words(answer, raised.linear or 0, register)
        if isinstance(answer, Elsewhere) and not register:
            event = replace(event, kind=Kind.VIOLATION, is_attempt=True)
        else:
            event = replace(event, cause=cause, rule=f"{event.rule}; {rule}")
        self._tell(event, action, before)


def _report(stop: NestedFault) -> SvmReport:
    """Give what a nested page fault writes into the VMCB."""
    info1 = stop.is_present | stop.is_write << 1 | 1 << 2 | stop.is_fetch << 4 | 1 << 32
    return SvmReport("VMEXIT_NPF", "nested paging", info1, stop.gpa)
