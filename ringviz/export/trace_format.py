"""What every trace format can do: say what is traced, then each event, then the end, one piece of text at a time."""

from dataclasses import dataclass
from typing import Protocol

from ringviz.engine.events import Event
from ringviz.record.made_with import MadeWith


@dataclass(frozen=True, slots=True)
class TraceHead:
    """What is traced."""

    scenario_id: str
    scenario_title: str
    technique_id: str
    technique_title: str
    vmm_seat: str
    mmu: str
    cpu_title: str
    cpu_id: str
    controls: tuple[str, ...]
    made_with: MadeWith


@dataclass(frozen=True, slots=True)
class TraceEnd:
    """How the run that was traced ended."""

    retired: int
    """Guest instructions retired."""
    events: int
    outcome: str
    """In words."""


class TraceFormat(Protocol):
    """A way to write a trace. Pieces of text bring their own line ends and are written as they are."""

    @property
    def id(self) -> str:
        """Name for `--format`."""

    def head(self, head: TraceHead) -> str:
        """Give what stands before the first event; may be empty."""

    def event(self, event: Event) -> str:
        """Give one event."""

    def end(self, end: TraceEnd) -> str:
        """Give what stands behind the last event; may be empty."""
