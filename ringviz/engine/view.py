"""What a view shows, as frozen rows: the app, pictures and plain text render these and nothing else.

Every row is finished text plus the few facts a renderer needs to choose glyph and colour (`Kind`, `Verdict`).
No renderer computes anything about the machine; no row knows anything about a renderer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from ringviz.engine.ledger_view import LedgerRow as LedgerRow
from ringviz.engine.ledger_view import LedgerView as LedgerView
from ringviz.vmm.events import Kind as Kind
from ringviz.vmm.side import Mark as SideMark
from ringviz.vmm.side import Side as Side
from ringviz.vmm.side import SideRow as SideRow

if TYPE_CHECKING:
    from ringviz.engine.memory_view import MemoryView
    from ringviz.engine.micro_steps import MicroStep
    from ringviz.engine.walks import WalkView

__all__ = ["Kind", "LedgerRow", "LedgerView", "Side", "SideMark", "SideRow"]


class Verdict(Enum):
    """What will happen to an instruction under the current technique, before it runs."""

    RUNS = ""
    TRAPS = "traps"
    SILENT = "silent"
    GATE = "gate"
    EXITS = "exits"
    FAULTS = "faults"
    EMULATED = "emulated"
    TRANSLATED = "translated"
    CALLOUT = "callout"
    CALLS = "calls"


@dataclass(frozen=True, slots=True)
class Seat:
    """One ring of the rings panel and who sits in it."""

    ring: int
    """-1 (host mode / VMX root), 0, 1, 2 or 3."""
    resident: str
    """Who runs there under this technique, for example `VMM`, `guest OS`, `applications`; empty if nobody."""


@dataclass(frozen=True, slots=True)
class Crossing:
    """The last change of ring: an arrow in the rings panel."""

    source: int
    target: int
    via: int | None
    """The ring passed through on the way: where the VMM sits, if it took part; else None."""
    label: str
    """Why, in a word or two: `#GP`, `INT 80h`, `IRET`."""


@dataclass(frozen=True, slots=True)
class RingsView:
    """The rings panel."""

    seats: tuple[Seat, ...]
    """Innermost first; the -1 seat exists only where the hardware has it."""
    real: int
    """The ring the CPU is really in now: its CPL."""
    believed: int
    """The ring the guest believes it is in."""
    real_mode: str
    """The manual's word for the guest's mode under hardware assistance, and the level of a guest that is a hypervisor
    itself; else empty."""
    crossing: Crossing | None
    vmm_mode: str = ""
    """The manual's word for the mode drawn as ring -1, else empty."""
    is_data: bool = False
    """The guest's CPU is a data structure: `believed` is a number in memory; it crosses no ring."""
    lesson: str = ""
    """What the picture is there to teach, one short sentence."""


@dataclass(frozen=True, slots=True)
class CodeRow:
    """One instruction of the code panel."""

    address: int
    raw: bytes
    mnemonic: str
    operands: str
    label: str
    """Symbol that starts here, or empty."""
    source_line: int | None
    source_text: str
    verdict: Verdict
    is_current: bool
    note: str
    """Why it has this verdict, one short sentence; empty for ordinary instructions."""
    source_file: str = ""
    """The file of the source line, where it is not the guest's own source but one that this includes."""


@dataclass(frozen=True, slots=True)
class RegisterRow:
    """One line of `The CPU, twice`. Texts are ready to print; `old` values are None where nothing changed."""

    name: str
    guest: str
    guest_old: str | None
    real: str
    real_old: str | None
    differs: bool
    """The guest's belief and the truth are not the same."""
    note: str
    """What the difference means, one short sentence, or empty."""


@dataclass(frozen=True, slots=True)
class CardPart:
    """One link of the chain of arrows in `What just happened`."""

    text: str
    role: str
    """`instruction`, `rule`, `fault`, `vmm`, `device`, `guest`, `silent`, `resume` or `plain`."""


@dataclass(frozen=True, slots=True)
class Card:
    """What just happened, in plain words."""

    parts: tuple[CardPart, ...]
    why: str
    cycles: int | float | None
    """Modelled price in cycles on the chosen CPU, in whole hundredths; None if nothing is charged or known."""
    price_note: str
    """Where the price comes from, for example `modelled: Adams & Agesen 2006, §3.3`."""
    kind: Kind


@dataclass(frozen=True, slots=True)
class EventRow:
    """One line of `Traps and exits`."""

    number: int
    """1-based."""
    at: int
    """Retired guest instructions when it happened."""
    address: int
    instruction: str
    cause: str
    action: str
    """What was done about it, and by whom."""
    cycles: int | None
    kind: Kind


@dataclass(frozen=True, slots=True)
class Mark:
    """Events of one kind that lie close together on the timeline."""

    at: int
    """Where the first of them is."""
    kind: Kind
    count: int = 1


@dataclass(frozen=True, slots=True)
class TimelineView:
    """The timeline: from 0 to `end` retired guest instructions."""

    position: int
    explored: int
    """How far the run has been executed at least once."""
    end: int | None
    """Where the run ends, once known."""
    marks: tuple[Mark, ...]
    """Thinned to at most one per kind and 1/400 of the line."""


@dataclass(frozen=True, slots=True)
class TextScreen:
    """The screen of a PC in text mode, usually 25 rows of 80 characters."""

    rows: tuple[str, ...]
    """Each row whole, blanks at its end included."""
    cursor: tuple[int, int] | None
    """Row and column of the cursor, from 0; None if it is off."""

    @property
    def written(self) -> tuple[str, ...]:
        """The rows without blanks at their ends, and without empty rows at the end."""
        rows = [row.rstrip() for row in self.rows]
        while rows and not rows[-1]:
            rows.pop()
        return tuple(rows)


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """Everything one screen shows at one moment. `eq=False`: it is large, and a new one is a new moment."""

    scenario_id: str
    scenario_title: str
    technique_id: str
    technique_title: str
    mmu: str
    cpu_id: str
    cpu_title: str
    cpu_year: int
    position: int
    """Retired guest instructions."""
    outcome: str
    """Empty while the run goes on; else how it ended, in words."""
    console: str
    """What the guest has printed so far."""
    rings: RingsView
    code: tuple[CodeRow, ...]
    source_name: str
    registers: tuple[RegisterRow, ...]
    card: Card
    events: Sequence[EventRow]
    """Lazy: rows are made when indexed; only events up to `position`."""
    ledger: LedgerView
    timeline: TimelineView
    controls: tuple[str, ...] = ()
    """Settings of the technique that were changed from its own choice, `+name` or `-name`."""
    screen: TextScreen | None = None
    """What stands on the guest's text screen; None if nothing does."""
    side: Side | None = None
    """What the VMM has beside the guest's code: translated code, hypercalls, a control structure."""
    micro: tuple[MicroStep, ...] = ()
    """The event that the card tells, taken apart."""
    has_crossed: bool = False
    """The last crossing of the rings panel belongs to the last step."""
    memory: MemoryView | None = None
    """Memory, if somebody looks at it."""
    walk: WalkView | None = None
    """The translation of an address, if somebody looks at one."""
    build: str = ""
    """Tells one build of the guest from another: in each, addresses and steps mean something else."""
