"""Not compatible, but similar: one guest at one instruction under VT-x and AMD-V, field beside field.

Both sessions run the same code, instruction by instruction, so they can always be brought to the same place; what
differs is what each vendor's CPU writes down when the guest is left, and where.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import assert_never

from ringviz.engine.events import VMM_KINDS
from ringviz.engine.recording import Cancelled, never
from ringviz.engine.session import Session
from ringviz.engine.view import Card, Side, SideMark, SideRow, Snapshot
from ringviz.facts.svm import INTERCEPTS, SVM_EXITS
from ringviz.facts.vendors import VENDOR_PAIRS, Aspect, VendorPair
from ringviz.facts.vmx import CONTROL_FIELDS, EXIT_REASONS, FIELDS_BY_NAME, VMX_CONTROLS

INTEL, AMD = "vt-x", "amd-v"


@dataclass(frozen=True, slots=True)
class VendorField:
    """One field as it stands."""

    name: str
    value: str
    old: str
    mark: SideMark


@dataclass(frozen=True, slots=True)
class VendorRow:
    """One concept, and what each vendor has for it."""

    section: str
    """What sort of concept; rows of a section stand together."""
    what: str
    """The concept, in the words of neither vendor."""
    intel: VendorField | None
    amd: VendorField | None
    note: str
    """What is different all the same, or empty."""


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
    """The last exit: its cause, and what the VMM did; empty if the card tells it, or there was none."""
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


class SessionPair:
    """Two sessions that stand at the same retired instruction. Not thread-safe: one thread owns it."""

    def __init__(self, intel: Session, amd: Session, cancelled: Cancelled = never) -> None:
        """Bring both to the same place.

        Args:
            intel: a session under VT-x.
            amd: one of the same guest under AMD-V.
            cancelled: polled on the way.
        """
        self.intel, self.amd = intel, amd
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
        # What bare metal would have paid is not on this screen.
        return build_vendors(self.intel.snapshot(_at_once), self.amd.snapshot(_at_once))


def pair_sessions(session: Session, cancelled: Cancelled = never) -> SessionPair:
    """Open the guest of a session under both vendors' assistance, at the same retired instruction.

    Raises:
        RingvizError: one of them cannot run this guest; one line says why.
    """
    # Both with second-level paging, so that nothing but the vendors' own ways is different.
    intel, amd = (session.swapped(technique, "nested", cancelled=cancelled) for technique in (INTEL, AMD))
    return SessionPair(intel, amd, cancelled)


def build_vendors(intel: Snapshot, amd: Snapshot) -> VendorsView:
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
        rows=tuple(_rows(intel.side, amd.side)),
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
        last_exit="" if last is None or last[2] == snapshot.position - 1 else f"{last[0]}: {last[1]}",
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


# ---- the table -------------------------------------------------------------------------------------------------------

_SECTIONS: Mapping[Aspect, str] = {
    "field": "what the structures hold",
    "control": "what makes the guest exit",
    "exit": "why a guest exits",
    "instruction": "what the VMM executes",
}
"""In the order to show them."""


def _rows(vmcs: Side | None, vmcb: Side | None) -> Iterator[VendorRow]:
    """Give the rows of the facts with what the two structures hold just now."""
    for aspect, section in _SECTIONS.items():
        for pair in (pair for pair in VENDOR_PAIRS.values() if pair.aspect == aspect):
            match aspect:
                case "field":
                    intel, amd = _intel_fields(vmcs, pair), _amd_fields(vmcb, pair)
                case "control":
                    intel, amd = _intel_controls(vmcs, pair), _amd_controls(vmcb, pair)
                case "exit":
                    intel, amd = _intel_exits(vmcs, pair), _amd_exits(vmcb, pair)
                case "instruction":
                    intel, amd = _named(pair.intel), _named(pair.amd)
                case _:
                    assert_never(aspect)
            # Where one vendor needs several for the other's one, the first line says what they are for.
            for number, (left, right) in enumerate(zip_longest(intel, amd)):
                yield VendorRow(section, pair.title if number == 0 else "", left, right, pair.note)


def _row_at(side: Side | None, key: str) -> SideRow | None:
    """Find a row by its place or its name."""
    if side is None:
        return None
    return next((row for row in side.rows if key in (row.place, row.name)), None)


def _value(side: Side | None, key: str) -> int | None:
    row = _row_at(side, key)
    return None if row is None else int(row.value, 16)


def _place_of(field: str) -> str:
    """Give the place of a VMCS field in its panel."""
    return f"{FIELDS_BY_NAME[field].encoding:04X}h"


def _intel_fields(vmcs: Side | None, pair: VendorPair) -> list[VendorField]:
    """Give those of the fields that this CPU has."""
    return [_as_field(row) for name in pair.intel if (row := _row_at(vmcs, _place_of(name))) is not None]


def _amd_fields(vmcb: Side | None, pair: VendorPair) -> list[VendorField]:
    return [_as_field(row) for name in pair.amd if (row := _row_at(vmcb, name)) is not None]


def _as_field(row: SideRow) -> VendorField:
    return VendorField(row.name, row.value, row.old, row.mark)


def _intel_controls(vmcs: Side | None, pair: VendorPair) -> list[VendorField]:
    controls = [VMX_CONTROLS[name] for name in pair.intel]
    words = [_value(vmcs, _place_of(CONTROL_FIELDS[control.word])) for control in controls]
    return [_switch(control.name, word, control.mask) for control, word in zip(controls, words, strict=True)]


def _amd_controls(vmcb: Side | None, pair: VendorPair) -> list[VendorField]:
    intercepts = [INTERCEPTS[name] for name in pair.amd]
    words = [_value(vmcb, f"{intercept.offset:03X}h") for intercept in intercepts]
    return [_switch(row.name, word, 1 << row.bit) for row, word in zip(intercepts, words, strict=True)]


def _switch(name: str, word: int | None, mask: int) -> VendorField:
    """Give one bit of a word; a word that the CPU does not have is off."""
    return VendorField(name, "on" if word is not None and word & mask else "off", "", SideMark.NONE)


_BASIC_REASON = 0xFFFF


def _intel_exits(vmcs: Side | None, pair: VendorPair) -> list[VendorField]:
    last = _value(vmcs, _place_of("VM_EXIT_REASON"))
    names = [f"{number} {EXIT_REASONS[int(number)].name}" for number in pair.intel]
    is_last = last is not None and str(last & _BASIC_REASON) in pair.intel
    return _exits(names, is_last)


def _amd_exits(vmcb: Side | None, pair: VendorPair) -> list[VendorField]:
    last = _value(vmcb, "EXITCODE")
    row = None if last is None else SVM_EXITS.get(last)
    return _exits(list(pair.amd), row is not None and row.name in pair.amd)


def _exits(names: Sequence[str], is_last: bool) -> list[VendorField]:
    """All on one line: some concepts have a dozen."""
    return _named(names, SideMark.CURRENT if is_last else SideMark.NONE)


def _named(names: Sequence[str], mark: SideMark = SideMark.NONE) -> list[VendorField]:
    return [VendorField(", ".join(names), "", "", mark)] if names else []


def _at_once() -> bool:
    """Cancel what takes long from the start."""
    return True
