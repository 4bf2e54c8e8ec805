"""Not compatible, but similar: one guest at one instruction under VT-x and AMD-V, field beside field.

Both sessions run the same code, instruction by instruction, so they can always be brought to the same place; what
differs is what each vendor's CPU writes down when the guest is left, and where.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from ringviz.engine.events import VMM_KINDS
from ringviz.engine.recording import Cancelled, never
from ringviz.engine.session import Session
from ringviz.engine.view import Card, Side, SideMark, SideRow, Snapshot
from ringviz.facts.vendors import VENDOR_PAIRS
from ringviz.facts.vmx import FIELDS_BY_NAME

INTEL, AMD = "vt-x", "amd-v"


@dataclass(frozen=True, slots=True)
class FieldPair:
    """A field of the VMCS and the field of the VMCB that serves the same purpose."""

    what: str
    """The purpose, in the words of neither vendor."""
    intel: str
    """Place or name of the VMCS's field; empty if Intel has none."""
    amd: str
    """Place or name of the VMCB's field; empty if AMD has none."""
    note: str = ""
    """What is different all the same, one sentence."""


@dataclass(frozen=True, slots=True)
class VendorField:
    """One field as it stands."""

    name: str
    value: str
    old: str
    mark: SideMark


@dataclass(frozen=True, slots=True)
class VendorRow:
    """One purpose, and the fields for it."""

    what: str
    intel: VendorField | None
    amd: VendorField | None
    note: str


@dataclass(frozen=True, slots=True)
class VendorColumn:
    """One vendor's half of the screen."""

    technique_id: str
    title: str
    cpu: str
    structure: str
    """`VMCS`, `VMCB`."""
    card: Card
    exits: int
    """How many exits there have been."""
    last_exit: str
    """The last exit: its cause, and what the VMM did."""
    last_exit_at: int | None
    """Retired guest instructions when it happened."""
    overhead_cycles: int


@dataclass(frozen=True, slots=True, eq=False)
class VendorsView:
    """Everything the screen shows at one moment."""

    scenario_id: str
    position: int
    end: int | None
    outcome: str
    instruction: str
    """The guest instruction about to run; the same on both sides."""
    intel: VendorColumn
    amd: VendorColumn
    rows: tuple[VendorRow, ...]


def _field_pairs() -> Iterator[FieldPair]:
    """Give the fields that the facts pair, one line each; the first line of a concept says what it is."""
    for row in VENDOR_PAIRS.values():
        if row.aspect != "field":
            continue
        for number, (intel, amd) in enumerate(zip_longest(row.intel, row.amd, fillvalue="")):
            place = f"{FIELDS_BY_NAME[intel].encoding:04X}h" if intel else ""
            yield FieldPair(row.title, place, amd, "" if number else row.note)


FIELD_PAIRS: tuple[FieldPair, ...] = tuple(_field_pairs())
"""The fields of the VMCS and the VMCB that serve the same purpose, what a learner looks at first before the rest."""


class VendorPair:
    """Two sessions that stand at the same retired instruction. Not thread-safe: one thread owns it."""

    def __init__(self, intel: Session, amd: Session, pairs: Sequence[FieldPair], cancelled: Cancelled = never) -> None:
        """Bring both to the same place.

        Args:
            intel: a session under VT-x.
            amd: one of the same guest under AMD-V.
            pairs: which field serves as which.
            cancelled: polled on the way.
        """
        self.intel, self.amd = intel, amd
        self._pairs = tuple(pairs)
        self._meet(cancelled)

    @property
    def position(self) -> int:
        """Retired guest instructions, the same on both sides."""
        return self.intel.position

    @property
    def is_over(self) -> bool:
        """Standing at the end."""
        return self.intel.is_over and self.amd.is_over

    def step(self) -> None:
        """One instruction forward."""
        self.intel.step()
        self.amd.step()

    def back(self) -> None:
        """One instruction back."""
        self.intel.back()
        self.amd.back()

    def run(self, cancelled: Cancelled = never) -> None:
        """To the end."""
        self.intel.run(cancelled)
        self.amd.run(cancelled)
        self._meet(cancelled)

    def next_event(self, cancelled: Cancelled = never) -> bool:
        """To the next event of either; False if there is none."""
        found = [session.next_event(cancelled) for session in (self.intel, self.amd)]
        self._meet(cancelled)
        return any(found)

    def previous_event(self, cancelled: Cancelled = never) -> bool:
        """Back to the last event of either; False if there is none."""
        found = [session.previous_event(cancelled) for session in (self.intel, self.amd)]
        target = max(self.intel.position, self.amd.position)
        self.seek(target, cancelled)
        return any(found)

    def seek(self, position: int, cancelled: Cancelled = never) -> None:
        """Stand at a position, or at the end if that comes first."""
        self.intel.seek(position, cancelled)
        self.amd.seek(position, cancelled)

    def _meet(self, cancelled: Cancelled) -> None:
        """Go back to where the one that is less far stands: what the other has run is known and not lost."""
        if self.intel.position != self.amd.position:
            self.seek(min(self.intel.position, self.amd.position), cancelled)

    def view(self) -> VendorsView:
        """All that the screen shows of this moment."""
        return build_vendors(self.intel.snapshot(), self.amd.snapshot(), self._pairs)


def pair_sessions(session: Session, pairs: Sequence[FieldPair], cancelled: Cancelled = never) -> VendorPair:
    """Open the guest of a session under both vendors' assistance, at the same retired instruction.

    Raises:
        RingvizError: one of them cannot run this guest; one line says why.
    """
    # Both with second-level paging, so that nothing but the vendors' own ways is different.
    intel, amd = (session.swapped(technique, "nested", cancelled=cancelled) for technique in (INTEL, AMD))
    return VendorPair(intel, amd, pairs, cancelled)


def build_vendors(intel: Snapshot, amd: Snapshot, pairs: Sequence[FieldPair]) -> VendorsView:
    """Put two snapshots of the same moment side by side."""
    current = next((row for row in intel.code if row.is_current), None)
    return VendorsView(
        scenario_id=intel.scenario_id,
        position=intel.position,
        end=intel.timeline.end,
        outcome=intel.outcome,
        instruction="" if current is None else f"{current.mnemonic} {current.operands}".rstrip(),
        intel=_column(intel),
        amd=_column(amd),
        rows=tuple(
            VendorRow(pair.what, _field(intel.side, pair.intel), _field(amd.side, pair.amd), pair.note)
            for pair in pairs
        ),
    )


def _column(snapshot: Snapshot) -> VendorColumn:
    last = _last_exit(snapshot)
    return VendorColumn(
        technique_id=snapshot.technique_id,
        title=snapshot.technique_title,
        cpu=f"{snapshot.cpu_title} ({snapshot.cpu_year}), {snapshot.mmu} paging",
        structure=snapshot.side.title if snapshot.side is not None else "",
        card=snapshot.card,
        exits=sum(row.count for row in snapshot.ledger.rows if row.cause == "exit"),
        last_exit="" if last is None else f"{last[0]}: {last[1]}",
        last_exit_at=None if last is None else last[2],
        overhead_cycles=snapshot.ledger.overhead_cycles,
    )


_LOOK_BACK = 500
"""How many events are looked through for the last exit; gates and faults of the guest's own lie between."""


def _last_exit(snapshot: Snapshot) -> tuple[str, str, int] | None:
    count = len(snapshot.events)
    for index in range(count - 1, max(-1, count - 1 - _LOOK_BACK), -1):
        row = snapshot.events[index]
        if row.kind in VMM_KINDS:
            return row.cause, f"{row.instruction} → {row.action}", row.at
    return None


def _field(side: Side | None, key: str) -> VendorField | None:
    """Find a field by its place or its name; None if the vendor has none."""
    if side is None or not key:
        return None
    row: SideRow | None = next((row for row in side.rows if key in (row.place, row.name)), None)
    return None if row is None else VendorField(row.name, row.value, row.old, row.mark)
