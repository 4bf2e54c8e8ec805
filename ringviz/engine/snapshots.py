"""From a session to what a screen shows: every text and every judgement a view needs, made in one place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, overload

from ringviz.engine.card import build_card
from ringviz.engine.code_rows import build_code
from ringviz.engine.event_log import EventLog
from ringviz.engine.micro_steps import build_micro_steps
from ringviz.engine.recording import Cancelled, Recording
from ringviz.engine.register_rows import build_registers
from ringviz.engine.rings import build_rings
from ringviz.engine.text_screen import text_screen
from ringviz.engine.view import Card, EventRow, RegisterRow, RingsView, Snapshot, TimelineView
from ringviz.facts.instruction_weights import HUNDREDTHS
from ringviz.guest.instruction import Instruction
from ringviz.machine.state import CpuState
from ringviz.vmm.technique import Technique

if TYPE_CHECKING:
    from ringviz.engine.session import Session


@dataclass(frozen=True, slots=True)
class Moment:
    """The two truths about the CPU, and the instruction about to run."""

    guest: CpuState
    real: CpuState
    instruction: Instruction | None
    verdict: tuple[str, str] = ("", "")
    """What will become of it, in the word and the reason that the technique gives."""
    weight: int = 0
    """Of all instructions that the CPU has run up to here, in hundredths of a cycle."""
    tallies: Mapping[str, int] = field(default_factory=dict)
    """What has come without an event up to here, by cause."""

    @classmethod
    def of(cls, technique: Technique) -> Moment:
        """Look at a technique's CPU."""
        guest, instruction = technique.guest_state(), technique.instruction_here()
        verdict = ("", "") if instruction is None else technique.verdict(instruction, guest.cpl)
        weight, tallies = technique.guest_weight(), technique.tallies()
        return cls(guest, technique.real_state(), instruction, verdict, weight, tallies)


class EventRows(Sequence[EventRow]):
    """The events up to a moment, as rows made on demand."""

    def __init__(self, log: EventLog, count: int) -> None:
        self._log = log
        self._count = count

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> EventRow: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[EventRow]: ...
    def __getitem__(self, index: int | slice) -> EventRow | Sequence[EventRow]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self._count))]
        if index < 0:
            index += self._count
        if not 0 <= index < self._count:
            raise IndexError(index)
        raw = self._log.raw[index]
        cycles = self._log.cycles(index)
        action = f"ESCAPED: {raw.action}" if raw.escaped else raw.action
        # An interrupt comes between two instructions; the one that would have been next is not to be blamed for it.
        instruction = f"before {raw.instruction}" if raw.is_between else raw.instruction
        return EventRow(index + 1, raw.at, raw.address, instruction, raw.cause, action, cycles, raw.kind)


def build_snapshot(session: Session, recording: Recording, before: Moment | None, cancelled: Cancelled) -> Snapshot:
    """Make the snapshot of a moment; cancelled, it is without what bare metal would have paid."""
    technique = recording.technique
    now = Moment.of(technique)
    log = recording.log
    count = session.event_count()
    first = log.before(session.position - 1) if session.position else 0
    last_step = log.raw[first:count]
    recording.marks.widen(session.end or max(session.explored, 1))
    return Snapshot(
        scenario_id=session.scenario.id,
        scenario_title=session.scenario.title,
        technique_id=session.technique.id,
        technique_title=session.technique.title,
        mmu=session.mmu,
        controls=session.setup.controls,
        cpu_id=session.cpu.id,
        cpu_title=session.cpu.title,
        cpu_year=session.cpu.year,
        position=session.position,
        outcome=recording.end.text if recording.end is not None and session.is_over else "",
        console=technique.machine.bus.console,
        rings=build_rings(session.technique, now.guest, now.real, log.raw[max(0, count - 200) : count]),
        code=build_code(technique, session.source, now.guest),
        source_name=session.scenario.guest.source,
        registers=build_registers(session.technique, now, before),
        card=build_card(session, before, now, last_step, log.cycles(count - 1) if last_step else None),
        events=EventRows(log, count),
        ledger=session.ledger(cancelled),
        timeline=TimelineView(session.position, session.explored, session.end, recording.marks.all()),
        screen=text_screen(technique),
        side=technique.side(),
        micro=build_micro_steps(technique, last_step[-1] if last_step else None),
        build=session.build,
        has_crossed=any(event.from_ring != event.to_ring or event.via_ring is not None for event in last_step),
    )


@dataclass(frozen=True, slots=True)
class Glance:
    """What a step shows, without what takes long to make: no code around it, no rows of events, no comparison."""

    rings: RingsView
    registers: tuple[RegisterRow, ...]
    card: Card
    address: int
    """Of the next instruction."""
    instruction: str
    verdict: str
    printed: int
    """Characters that the guest has printed."""
    guest_cycles: int
    overhead_cycles: int


def build_glance(session: Session, recording: Recording, before: Moment | None) -> Glance:
    """Look at a moment."""
    technique, log = recording.technique, recording.log
    now = Moment.of(technique)
    count = session.event_count()
    first = log.before(session.position - 1) if session.position else 0
    last_step = log.raw[first:count]
    tallies = technique.tallies()
    return Glance(
        rings=build_rings(session.technique, now.guest, now.real, log.raw[max(0, count - 200) : count]),
        registers=build_registers(session.technique, now, before),
        card=build_card(session, before, now, last_step, log.cycles(count - 1) if last_step else None),
        address=now.guest.eip,
        instruction="" if now.instruction is None else now.instruction.text,
        verdict=now.verdict[0],
        printed=len(technique.machine.bus.console),
        guest_cycles=technique.guest_weight() // HUNDREDTHS + log.native_cycles(count),
        overhead_cycles=log.event_cycles(count) + log.tally_cycles(tallies),
    )
