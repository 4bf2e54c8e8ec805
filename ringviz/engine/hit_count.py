"""How often each fragment of a code cache has been entered: counted by running the guest once more up to here.

The counters are callbacks at the first translated instruction of each fragment, put there when the fragment is made.
They stay out of every other run, which neither pays for them nor has to keep them for going back.
"""

from __future__ import annotations

import ctypes
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ringviz.engine.recording import Cancelled, never
from ringviz.guest.instruction import Instruction
from ringviz.guest.scenario import Scenario
from ringviz.machine.paging import Access
from ringviz.machine.stops import BudgetSpent, Paused
from ringviz.vmm.mmu.telling import HIDDEN_FAULT
from ringviz.vmm.outcome import Ended
from ringviz.vmm.registry import power_on
from ringviz.vmm.setup import Setup
from ringviz.vmm.stall import Stall

if TYPE_CHECKING:
    from ringviz.vmm.translation.fragment import Fragment
    from ringviz.vmm.translation.technique import BinaryTranslation

TECHNIQUE = "binary-translation"


@dataclass(frozen=True, slots=True)
class FragmentHits:
    """One fragment that is in the cache."""

    address: int
    """Where it begins in the code cache."""
    eip: int
    """The guest code it was made from."""
    hits: int
    """How often it was entered."""


@dataclass(frozen=True, slots=True)
class Hits:
    """All fragments that are in the cache at a moment, the most often entered first."""

    position: int
    fragments: tuple[FragmentHits, ...]

    def at(self, address: int) -> int | None:
        """Give the hits of the fragment that begins at an address; None where none does."""
        return next((fragment.hits for fragment in self.fragments if fragment.address == address), None)


class _Nobody:
    """An `Observer` who does not listen."""

    def accessed(self, linear: int, access: Access) -> None:
        """Nothing."""

    def refused(self, linear: int, error_code: int) -> None:
        """Nothing."""

    def passing(self, instruction: Instruction) -> None:
        """Nothing."""

    def flushed(self, *, everything: bool = False) -> None:
        """Nothing."""


def count_hits(scenario: Scenario, setup: Setup, position: int, cancelled: Cancelled = never) -> Hits:
    """Run a guest under binary translation from its start, and count.

    Args:
        scenario: the guest.
        setup: the machine.
        position: retired guest instructions at which to stop counting.
        cancelled: polled on the way; then the figures are those of the place it has come to.
    """
    # Loaded here: only who counts needs the translator.
    from ringviz.vmm.translation.technique import BinaryTranslation

    technique = power_on(scenario, TECHNIQUE, setup)
    assert isinstance(technique, BinaryTranslation)
    counters: dict[int, ctypes.c_uint64] = {}

    def watch(fragment: Fragment) -> None:
        counters[fragment.number] = technique.machine.cpu.hooks.count_at(fragment.address)

    # With an observer every page has its frame at once; else an access that finds none would be begun anew.
    technique.machine.observe(_Nobody())
    technique.on_fragment = watch
    begun_anew: Counter[int] = Counter()
    _run(technique, position, cancelled, begun_anew)
    found = [
        FragmentHits(fragment.address, fragment.eip, counters[fragment.number].value - begun_anew[fragment.address])
        for fragment in technique.fragments()
    ]
    return Hits(technique.machine.retired, tuple(sorted(found, key=lambda hit: (-hit.hits, hit.address))))


def _run(technique: BinaryTranslation, position: int, cancelled: Cancelled, begun_anew: Counter[int]) -> None:
    """Run in one go: where a run is interrupted, a sequence of translated code may be undone and begun anew.

    The same happens where the shadow page tables did not know a page yet: those times are noted by address.
    """
    machine = technique.machine
    stall = Stall()
    while machine.retired < position and not stall.is_stuck and not cancelled():
        before = machine.retired
        stop = machine.run(position)
        if not isinstance(stop, (BudgetSpent, Paused)):
            outcome = technique.handle(stop)
            if any(event.cause == HIDDEN_FAULT for event in technique.events):
                begun_anew[technique.real_state().eip] += 1
            stall.note(technique.events, has_completed=machine.retired > before)
            technique.events.clear()
            if isinstance(outcome, Ended):
                return
