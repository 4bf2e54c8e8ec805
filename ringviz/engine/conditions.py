"""Where a run may be asked to stop."""

from __future__ import annotations

from dataclasses import dataclass

from ringviz.vmm.events import Kind


@dataclass(frozen=True, slots=True)
class AtAddress:
    """Before the instruction at an address (offset in the code segment, which is flat in most guests)."""

    address: int


@dataclass(frozen=True, slots=True)
class OnRingChange:
    """After an event that took the CPU to another ring."""


@dataclass(frozen=True, slots=True)
class OnKind:
    """After an event of one kind."""

    kind: Kind


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


StopCondition = AtAddress | OnRingChange | OnKind | OnEvent | OnNth
"""What `Session.run_to` waits for."""
