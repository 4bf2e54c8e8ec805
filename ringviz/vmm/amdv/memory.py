"""#VMEXITs for memory: nested page faults beyond the guest's own, and page faults of the VMM's shadow page tables."""

from __future__ import annotations

from dataclasses import replace

from ringviz.guest.instruction import Instruction
from ringviz.machine.delivery import Interruption
from ringviz.machine.memory import PAGE, PAGE_SHIFT
from ringviz.machine.stops import (
    BudgetSpent,
    NestedFault,
    Paused,
    Stop,
    has_completed,
)
from ringviz.machine.svm.intercepts import event_word, exception_exit
from ringviz.machine.svm.report import SvmReport
from ringviz.vmm import describe
from ringviz.vmm.amdv import layout
from ringviz.vmm.amdv.levels import Levels
from ringviz.vmm.amdv.nested_tables import NestedTables
from ringviz.vmm.events import Kind
from ringviz.vmm.guest_space import MOST_PAGES_LENT
from ringviz.vmm.mmu.answers import Elsewhere, Filled, Traced
from ringviz.vmm.mmu.telling import DEVICE_RULE, WITHDRAWN_READ, WITHDRAWN_RULE, WITHDRAWN_WRITE, words
from ringviz.vmm.outcome import RESUME, Outcome

SHADOW_NEEDS = "page faults exit while the real page tables are the VMM's"


class MemoryExits(Levels):
    """What the second level of address translation, or the VMM's first, does not allow."""

    # ---- beyond the guest's memory, with nested paging ---------------------------------------------------------------

    def _nested_fault(self, nested: NestedTables, stop: NestedFault) -> Outcome:
        """The guest reached beyond its memory: show it a page where nothing answers, for this one instruction."""
        inner: Stop = stop
        lent: list[int] = []
        weight = self.machine.weight
        while isinstance(inner, NestedFault) and len(lent) < MOST_PAGES_LENT:
            if self._bring_back(inner):
                if not lent:
                    return RESUME
                inner = self.machine.step_over()
                continue
            before = self.machine.state.copy()
            info1 = inner.is_present | inner.is_write << 1 | 1 << 2 | inner.is_fetch << 4 | 1 << 32
            report = SvmReport("VMEXIT_NPF", "nested paging", info1, inner.gpa)
            event = self._exit(report, inner.instruction)
            page = inner.gpa & ~0xFFF
            register = describe.register_action(self.machine.bus, inner.gpa)
            if register:
                self._tell(replace(event, rule=f"no nested page there: {DEVICE_RULE}"), f"virtual {register}", before)
            else:
                event = replace(event, is_attempt=True, kind=Kind.VIOLATION, rule="no nested page there")
                self._tell(event, f"outside the guest's memory ({inner.gpa:08X}h): nothing answers there", before)
            shown = self.machine.show_device(inner.gpa, inner.instruction, is_write=inner.is_write)
            if shown is not None:
                self.machine.ram.write(layout.OPEN_BUS, shown)
            nested.map(page, layout.OPEN_BUS)
            lent.append(page)
            inner = self.machine.step_over()
        for page in lent:
            nested.map(page, None)
            self.machine.cpu.frames.drop(page >> 12)
        self.machine.flush_tlb()
        self.machine.take_from_device(self.machine.ram.read(layout.OPEN_BUS, PAGE))
        self.machine.ram.write(layout.OPEN_BUS, b"\xff" * PAGE)
        if has_completed(inner):
            self._ran_for_the_guest(weight)
        if isinstance(inner, BudgetSpent):
            return RESUME
        return RESUME if isinstance(inner, (NestedFault, Paused)) else self.handle(inner)

    def _bring_back(self, stop: NestedFault) -> bool:
        """If the host has withdrawn the page, have it back, at the price of this exit; tell whether that was it."""
        nested = self.nested
        if nested is None or stop.gpa >> PAGE_SHIFT not in nested.withdrawn:
            return False
        before = self.machine.state.copy()
        info1 = stop.is_present | stop.is_write << 1 | 1 << 2 | stop.is_fetch << 4 | 1 << 32
        event = self._exit(SvmReport("VMEXIT_NPF", "nested paging", info1, stop.gpa), stop.instruction)
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
