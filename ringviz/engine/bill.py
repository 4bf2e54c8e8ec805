"""What has happened on a stretch of a run, counted by cause and not yet priced.

A bill holds no prices: the same one can be priced for any CPU that weighs instructions alike, or with any price
changed. Bills add up: that of a stretch is the bill at its end less the bill at its beginning.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from ringviz.engine.event_log import EventLog
from ringviz.engine.recording import Recording
from ringviz.engine.walk_count import WalkCount
from ringviz.facts.costs import CpuProfile, cost_of
from ringviz.facts.instruction_weights import HUNDREDTHS

WALK_REFERENCE, NESTED_WALK = "walk-reference", "nested-walk"


@dataclass(frozen=True, slots=True)
class Bill:
    """Counts of a stretch of a run."""

    retired: int
    """Guest instructions completed."""
    by_vmm: int
    """Of these, by the VMM: they are in the price of their trap or exit, or have a cause of their own."""
    vmm: Mapping[str, int]
    """How often each cause came on the VMM's account."""
    native: Mapping[str, int]
    """How often each cause came that bare metal pays for as well; instructions are not among them."""
    guest_weight: int
    """Weights of the instructions that the CPU ran by itself, added up, in hundredths of a cycle."""

    @property
    def direct(self) -> int:
        """Guest instructions that the CPU ran by itself."""
        return self.retired - self.by_vmm

    @property
    def causes(self) -> Counter[str]:
        """Both accounts together, instructions left out."""
        return Counter(self.vmm) + Counter(self.native)

    def since(self, earlier: Bill) -> Bill:
        """Give the bill of the stretch from the end of an earlier one, of the same run, to the end of this one."""
        return Bill(
            self.retired - earlier.retired,
            self.by_vmm - earlier.by_vmm,
            _less(self.vmm, earlier.vmm),
            _less(self.native, earlier.native),
            self.guest_weight - earlier.guest_weight,
        )

    def with_walks(self, count: WalkCount) -> Bill:
        """Give the bill of a whole run with the page-table entries that the CPU read at TLB misses."""
        charges = walk_charges(count)
        native, vmm = (
            Counter(account) + Counter(more) for account, more in zip((self.native, self.vmm), charges, strict=True)
        )
        return replace(self, native=_frozen(native), vmm=_frozen(vmm))

    @property
    def instruction_cycles(self) -> int:
        """What the instructions come to that the CPU ran by itself; hundredths are left off."""
        return self.guest_weight // HUNDREDTHS

    def guest_cycles(self, cpu: CpuProfile) -> int:
        """Price what bare metal pays as well."""
        return self.instruction_cycles + _priced(self.native, cpu)

    def overhead_cycles(self, cpu: CpuProfile) -> int:
        """Price what is on the VMM's account."""
        return _priced(self.vmm, cpu)

    def total_cycles(self, cpu: CpuProfile) -> int:
        """Price both."""
        return self.guest_cycles(cpu) + self.overhead_cycles(cpu)


def walk_charges(count: WalkCount) -> tuple[Mapping[str, int], Mapping[str, int]]:
    """Give the page-table entries read at TLB misses as causes.

    Returns:
        Entries of the tables in which linear addresses are looked up, which bare metal reads as well; and those of the
        second dimension, which are there for the VMM.
    """
    nested = count.two_dimensions - count.one_dimension if count.is_nested else 0
    return {WALK_REFERENCE: count.references - nested}, {NESTED_WALK: nested}


def bill_of(
    log: EventLog,
    count: int,
    retired: int,
    by_vmm: int,
    tallies: Mapping[str, int],
    guest_weight: int,
) -> Bill:
    """Count the first events of a run, and what has come without an event.

    Args:
        log: the events.
        count: how many of them have happened.
        retired: guest instructions completed.
        by_vmm: of these, by the VMM.
        tallies: what has come without an event, by cause: on the VMM's account.
        guest_weight: of the instructions that the CPU ran by itself, in hundredths of a cycle.
    """
    counts = log.accounts(count)
    counts.vmm.update(tallies)
    return Bill(retired, by_vmm, _frozen(counts.vmm), _frozen(counts.native), guest_weight)


def bill_at(recording: Recording) -> Bill:
    """Give the bill from power-on to where a recording stands."""
    technique, log = recording.technique, recording.log
    count = len(log) if recording.is_at_end else log.before(recording.position)
    retired, by_vmm = recording.position, technique.completed_by_vmm()
    return bill_of(log, count, retired, by_vmm, technique.tallies(), technique.guest_weight())


def between(recording: Recording, first: int, last: int) -> Bill:
    """Give the bill of the stretch between two positions; the recording is left standing at `last`, or at its end."""
    recording.seek(first)
    earlier = bill_at(recording)
    recording.seek(last)
    return bill_at(recording).since(earlier)


def _less(later: Mapping[str, int], earlier: Mapping[str, int]) -> Mapping[str, int]:
    return _frozen({cause: count - earlier.get(cause, 0) for cause, count in later.items()})


def _frozen(counts: Mapping[str, int]) -> Mapping[str, int]:
    return MappingProxyType({cause: count for cause, count in sorted(counts.items()) if count})


def _priced(counts: Mapping[str, int], cpu: CpuProfile) -> int:
    return sum(count * cost_of(cpu, cause).charged_cycles for cause, count in counts.items())
