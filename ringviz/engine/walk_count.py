"""How often a run misses the TLB, and how many page-table entries the CPU reads for it: in one dimension, in two.

The guest is run once more, from the start, with every fetch, load and store told to a modelled TLB (`engine.tlb`). At
each miss the CPU's walk is made in the tables as they are at that moment, whatever tables they are.

What makes the TLB forget: MOV to CR3 (global pages stay, with CR4.PGE), INVLPG and a page fault (one page), a change of
the paging bits of CR0 and CR4 (everything), a VMM that flushes because it changed its tables; and each VM exit on a CPU
whose TLB entries are not tagged with the guest (everything).

Source: Intel SDM Vol. 3A, "Invalidation of TLBs and Paging-Structure Caches"; Vol. 3C, "Caching Translation
Information".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ringviz.engine.tlb import Tlb
from ringviz.errors import UnsupportedError
from ringviz.facts.paging import decode_entry, entry_format
from ringviz.facts.registers import Cr0, Cr4
from ringviz.facts.tlb import FIRST_LEVEL, TlbShape
from ringviz.guest.scenario import Scenario
from ringviz.machine.access_trace import AccessTrace
from ringviz.machine.memory import PAGE, PAGE_SHIFT
from ringviz.machine.microcode.operands import linear_address
from ringviz.machine.paging import Access
from ringviz.machine.state import CpuState
from ringviz.machine.stops import BudgetSpent, Paused, Stop
from ringviz.vmm.mmu.let_through import access_in
from ringviz.vmm.outcome import Ended
from ringviz.vmm.registry import power_on
from ringviz.vmm.setup import Setup
from ringviz.vmm.stall import Stall
from ringviz.vmm.technique import Technique
from ringviz.vmm.walks import Tables, TableWalk

NESTED_LEVELS = 4
"""Levels of the nested tables that the second dimension is reckoned with where a run has none."""
_PAGING_CR0, _PAGING_CR4 = Cr0.PG | Cr0.WP, Cr4.PSE | Cr4.PAE | Cr4.PGE
_SLICE = 1_000_000


@dataclass(frozen=True, slots=True)
class WalkCount:
    """A whole run."""

    instructions: int
    """Guest instructions retired."""
    accesses: int
    """Loads and stores."""
    code_misses: int
    """TLB misses of instruction fetches that ended in a translation."""
    data_misses: int
    """TLB misses of loads and stores that ended in a translation."""
    failed_walks: int
    """Walks that ended in a page fault: the guest's own, and those by which a VMM fills its shadows."""
    flushes: int
    """How often the TLB lost everything, or all but global pages."""
    references: int
    """Page-table entries that the CPU read, failed walks included."""
    one_dimension: int
    """Of these, for the misses: entries of the tables in which a linear address is looked up."""
    two_dimensions: int
    """For the same misses: all entries with nested tables behind, which have four levels."""
    is_nested: bool
    """The second dimension is there; else `two_dimensions` says what it would take."""
    unresolved: int
    """Accesses whose linear page is a guess."""
    tlb: TlbShape = FIRST_LEVEL
    """What was missed: that of the CPU's profile."""

    @property
    def misses(self) -> int:
        """Both kinds."""
        return self.code_misses + self.data_misses

    def since(self, earlier: WalkCount) -> WalkCount:
        """Give the count of the stretch from the end of an earlier one, of the same run, to the end of this one."""
        return replace(
            self,
            instructions=self.instructions - earlier.instructions,
            accesses=self.accesses - earlier.accesses,
            code_misses=self.code_misses - earlier.code_misses,
            data_misses=self.data_misses - earlier.data_misses,
            failed_walks=self.failed_walks - earlier.failed_walks,
            flushes=self.flushes - earlier.flushes,
            references=self.references - earlier.references,
            one_dimension=self.one_dimension - earlier.one_dimension,
            two_dimensions=self.two_dimensions - earlier.two_dimensions,
            unresolved=self.unresolved - earlier.unresolved,
        )


class TranslationCounter:
    """Sits where the CPU's page walker sits: takes the pages that a run touches, and counts."""

    def __init__(self, technique: Technique) -> None:
        self._technique = technique
        self._machine = technique.machine
        shape = technique.setup.cpu.tlb
        self.code_tlb, self.data_tlb = Tlb(shape), Tlb(shape)
        self.code_misses = self.data_misses = self.failed_walks = self.flushes = 0
        self.references = self.one_dimension = self.two_dimensions = 0
        self.page_at_hand: int | None = None
        """Linear address of an INVLPG that a VMM carries out."""

    # ---- Sink --------------------------------------------------------------------------------------------------------

    def fetched(self, page: int) -> None:
        """Take a fetch of code."""
        linear = page << PAGE_SHIFT
        if self.code_tlb.use(linear) is None:
            self.code_misses += self._miss(self.code_tlb, linear) is not None

    def touched(self, page: int) -> int | None:
        """Take a load or store; give the set of the TLB that the page is now the latest of."""
        linear = page << PAGE_SHIFT
        found = self.data_tlb.use(linear)
        if found is None:
            found = self._miss(self.data_tlb, linear)
            self.data_misses += found is not None
        return found

    def refused(self, linear: int, error_code: int) -> None:
        """Take a page fault: the walk has read entries in vain, if the TLB did not know the page; now it does not."""
        access = access_in(error_code)
        tlb = self.code_tlb if access.is_fetch else self.data_tlb
        if tlb.use(linear) is None:
            walked = self._walk(linear, access)
            self.failed_walks += 1
            self.references += 0 if walked is None else len(walked.reads)
        self.invalidated(linear)

    def flushed(self, *, everything: bool) -> None:
        """Take a flush that the guest's own code did not make."""
        if self.page_at_hand is not None and not everything:
            self.invalidated(self.page_at_hand)
            return
        self.flush(everything=everything)

    def reloaded(self) -> None:
        """Take MOV to CR3."""
        self.flush(everything=False)

    def invalidated(self, linear: int) -> None:
        """Forget one page."""
        self.code_tlb.drop(linear)
        self.data_tlb.drop(linear)

    def flush(self, *, everything: bool) -> None:
        """Forget."""
        self.flushes += 1
        self.code_tlb.flush(everything=everything)
        self.data_tlb.flush(everything=everything)

    # ---- counting ----------------------------------------------------------------------------------------------------

    def _miss(self, tlb: Tlb, linear: int) -> int | None:
        """Walk the tables for a page that the TLB does not have; give its set, or None if they do not translate it."""
        walked = self._walk(linear, Access())
        if walked is None or (walked.hpa is None and walked.done.physical is None):
            return None
        own = sum(read.tables is not Tables.NESTED for read in walked.reads)
        nested = len(walked.reads) - own
        self.references += len(walked.reads)
        self.one_dimension += own
        self.two_dimensions += own + (nested or (own + 1) * NESTED_LEVELS)
        page_bytes, is_global = self._page(walked)
        return tlb.fill(linear, page_bytes, is_global=is_global)

    def _walk(self, linear: int, access: Access) -> TableWalk | None:
        with self._machine.looked_at():
            return self._technique.cpu_walk(linear, access)

    def _page(self, walked: TableWalk) -> tuple[int, bool]:
        """Say how much one TLB entry covers, and whether it outlives a load of CR3: the smaller of both dimensions."""
        sizes: list[int] = []
        is_global = False
        with self._machine.looked_at():
            cr4 = self._machine.state.cr4
        for read in walked.reads:
            kind = entry_format(read.mode, read.entry.level, read.entry.value, has_large_pages=bool(cr4 & Cr4.PSE))
            if kind.page_bytes is None or (read.translates is not None and read.translates != walked.done.physical):
                continue
            sizes.append(kind.page_bytes)
            if read.tables is not Tables.NESTED:
                is_global = bool(cr4 & Cr4.PGE and decode_entry(kind, read.entry.value).is_global)
        return min(sizes, default=PAGE), is_global


def count_walks(
    scenario: Scenario, technique: str, setup: Setup, progress: Callable[[int], None] = lambda _done: None
) -> WalkCount:
    """Run a guest to its end and count.

    Args:
        scenario: the guest.
        technique: id.
        setup: as `choose` gives it.
        progress: told now and then how many instructions have retired.

    Raises:
        UnsupportedError: no CPU translates the addresses of a guest under this technique.
    """
    counts = counts_at(scenario, technique, setup, (scenario.limits.instructions,), progress)
    if counts is None:
        raise UnsupportedError(
            f"{technique} has no page walks to count: the guest's page tables are data of the emulator, and what the"
            " CPU below translates are the emulator's own addresses"
        )
    return counts[0]


def counts_at(
    scenario: Scenario,
    technique: str,
    setup: Setup,
    positions: Sequence[int],
    progress: Callable[[int], None] = lambda _done: None,
) -> list[WalkCount] | None:
    """Run a guest and give what has been counted at each of these positions, in their order, or at its end.

    None where no CPU translates the addresses of a guest under this technique.
    """
    made = power_on(scenario, technique, setup)
    if made.cpu_walk(0, Access()) is None:
        return None
    counter = TranslationCounter(made)
    base = made.guest_base if made.machine.second_level is not None else 0
    trace = AccessTrace(made.machine, base, counter)
    counts = []
    for position in positions:
        _play(made, counter, trace, position, progress)
        counts.append(_count(made, counter, trace))
    return counts


def _count(made: Technique, counter: TranslationCounter, trace: AccessTrace) -> WalkCount:
    return WalkCount(
        instructions=made.machine.retired,
        accesses=trace.accesses,
        code_misses=counter.code_misses,
        data_misses=counter.data_misses,
        failed_walks=counter.failed_walks,
        flushes=counter.flushes,
        references=counter.references,
        one_dimension=counter.one_dimension,
        two_dimensions=counter.two_dimensions,
        is_nested=made.machine.second_level is not None,
        unresolved=trace.unresolved,
        tlb=made.setup.cpu.tlb,
    )


def count_json(count: WalkCount) -> dict[str, object]:
    """Give the field `walks` of `stat --json`."""
    return {
        "tlb": {
            "entries": count.tlb.entries,
            "ways": count.tlb.ways,
            "replacement": "lru",
            "separate": ["code", "data"],
            "source": str(count.tlb.source),
        },
        "accesses": count.accesses,
        "misses": {"code": count.code_misses, "data": count.data_misses},
        "failed_walks": count.failed_walks,
        "flushes": count.flushes,
        "references": {
            "cpu": count.references,
            "one_dimension": count.one_dimension,
            "two_dimensions": count.two_dimensions,
        },
        "nested": count.is_nested,
        "unresolved": count.unresolved,
    }


def _play(
    made: Technique, counter: TranslationCounter, trace: AccessTrace, limit: int, progress: Callable[[int], None]
) -> None:
    """Run to the end as a recording does, and watch the control registers where a VMM may have changed them."""
    machine = made.machine
    stall = Stall()
    while machine.retired < limit and not stall.is_stuck:
        before = machine.retired
        stop = machine.run(min(limit, before + _SLICE))
        progress(machine.retired)
        if isinstance(stop, (BudgetSpent, Paused)):
            stall.clear()
            made.events.clear()
            continue
        old = machine.state.copy()
        counter.page_at_hand = _invlpg_address(made, stop)
        flushes = counter.flushes
        outcome = made.handle(stop)
        counter.page_at_hand = None
        trace.forget()
        _note_changes(counter, old, machine.state)
        counter.flushes = min(counter.flushes, flushes + 1)  # one occasion, however many reasons
        stall.note(made.events, has_completed=machine.retired > before)
        made.events.clear()
        if isinstance(outcome, Ended):
            return


def _invlpg_address(made: Technique, stop: Stop) -> int | None:
    """Give the address that an INVLPG in the hands of a VMM or of microcode is about; None for all else."""
    instruction = getattr(stop, "instruction", None)
    if instruction is None or instruction.form != "invlpg":
        return None
    return linear_address(made.guest_state(), instruction.ops[0], instruction.address_size_bits)


def _note_changes(counter: TranslationCounter, old: CpuState, new: CpuState) -> None:
    """Flush for what the answer to a stop has loaded into control registers."""
    if (old.cr0 ^ new.cr0) & _PAGING_CR0 or (old.cr4 ^ new.cr4) & _PAGING_CR4:
        counter.flush(everything=True)
    elif old.cr3 != new.cr3:
        counter.flush(everything=False)
