"""Where a run may be asked to stop."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ringviz.facts.registers import Eflags
from ringviz.machine.state import CpuState, fields_of
from ringviz.vmm.events import Event, Kind


@dataclass(frozen=True, slots=True)
class AtStep:
    """After so many retired instructions."""

    position: int


@dataclass(frozen=True, slots=True)
class AtAddress:
    """Before the instruction at an address (offset in the code segment, which is flat in most guests)."""

    address: int


@dataclass(frozen=True, slots=True)
class AtEvent:
    """After the event of a number, counted from 1."""

    number: int


@dataclass(frozen=True, slots=True)
class OnRingChange:
    """After an event that took the CPU to another ring."""

    to: int | None = None
    """To this one only."""


@dataclass(frozen=True, slots=True)
class OnDivergence:
    """After an instruction by which the guest got something else than a CPU of its own would have given."""


@dataclass(frozen=True, slots=True)
class OnKind:
    """After an event of one kind."""

    kind: Kind
    words: str = ""
    """What its cause or its instruction must say, in lower case: a number or words; empty for anything."""


@dataclass(frozen=True, slots=True)
class OnEvent:
    """After any event."""


@dataclass(frozen=True, slots=True)
class OnNth:
    """After the n-th event from here that is like this: of a kind, or any; of an instruction whose text begins so."""

    kind: Kind | None = None
    instruction: str = ""
    count: int = 1
    is_ring_change: bool = False
    """Only events that took the CPU to another ring."""


StopCondition = AtStep | AtAddress | AtEvent | OnRingChange | OnDivergence | OnKind | OnEvent | OnNth
"""What `Session.run_to` waits for."""

OPERATORS: Mapping[str, Callable[[int, int], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
"""Longer ones first: they are looked for in this order."""
FLAGS: Mapping[str, Eflags] = {name.lower(): flag for name, flag in Eflags.__members__.items() if name != "IOPL"}


@dataclass(frozen=True, slots=True)
class RegisterTest:
    """A register of the guest compared with a number."""

    register: str
    """A name as `fields_of` has it, or that of a flag."""
    sign: str
    """One of `OPERATORS`."""
    value: int

    def holds(self, guest: CpuState) -> bool:
        """Tell whether it is so."""
        if self.register in FLAGS:
            now = int(bool(guest.eflags & FLAGS[self.register]))
        else:
            now = fields_of(guest)[self.register]
        return OPERATORS[self.sign](now, self.value)

    def __str__(self) -> str:
        return f"{self.register} {self.sign} {self.value:#x}"


@dataclass(frozen=True, slots=True)
class Stop:
    """A place to stop at, if the registers are as they should be."""

    condition: StopCondition
    tests: tuple[RegisterTest, ...] = ()
    """All must hold."""
    text: str = ""
    """As the user wrote it."""

    def allows(self, guest: CpuState) -> bool:
        """Tell whether the registers are as they should be."""
        return all(test.holds(guest) for test in self.tests)


def is_met_by(condition: StopCondition, event: Event, number: int) -> bool:
    """Tell whether an event is what a condition waits for, or one of those that it counts.

    Args:
        condition: what.
        event: the event.
        number: which of the run's, counted from 1.
    """
    match condition:
        case OnEvent():
            return True
        case OnDivergence():
            return event.is_divergence
        case OnKind(kind, words):
            return event.kind is kind and _says(event, words)
        case OnRingChange(to):
            return _came_to_ring(event, to)
        case AtEvent(wanted):
            return number == wanted
        case OnNth(kind_or_any, instruction):
            is_kind = kind_or_any in (None, event.kind) and (not condition.is_ring_change or _came_to_ring(event, None))
            return is_kind and event.instruction.startswith(instruction)
        case AtStep() | AtAddress():
            return False


def _says(event: Event, words: str) -> bool:
    text = f"{event.cause} {event.instruction}".lower()
    return not words or re.search(rf"(?<!\w){re.escape(words)}(?!\w)", text) is not None


def _came_to_ring(event: Event, to: int | None) -> bool:
    """Tell whether the CPU came to another ring: the real one, or that of a guest that is interpreted."""
    virtual = next((change.new for change in event.changes if change.name == "cpl"), None)
    if event.from_ring == event.to_ring and virtual is None:
        return False
    return to is None or to == (event.to_ring if event.from_ring != event.to_ring else virtual)
