"""What is shown of a host: its machines as rows, how fair it has been, and who had the CPU when, as a Gantt picture."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from ringviz.vmm.host.host import Host
from ringviz.vmm.host.records import HostTurn, State
from ringviz.vmm.migration.rounds import CYCLES_PER_SECOND

RUNNING_GLYPH, PART_GLYPH = "█", "▄"
GLYPHS: Mapping[State, str] = {
    State.READY: "·",
    State.SLEEPING: " ",
    State.PARKED: "x",
    State.PAUSED: "-",
    State.ENDED: " ",
}
MODELLED = (
    f"Cycles and times are modelled: {CYCLES_PER_SECOND:,} cycles of the host make a second on every CPU, and work "
    "costs what `ringviz cpus` says, with its sources"
)
"""What has to stand where cycles of a host, or times by its clock, are told."""
LEGEND = (
    f"{RUNNING_GLYPH} has the CPU for most of the time, {PART_GLYPH} for a part of it, "
    f"{GLYPHS[State.READY]} waits for it, {GLYPHS[State.PARKED]} may not for its cap, "
    f"{GLYPHS[State.PAUSED]} paused, blank: sleeps or has ended"
)
_STATES = {
    "start": State.READY,
    "sleep": State.SLEEPING,
    "wake": State.READY,
    "park": State.PARKED,
    "block": State.PARKED,
    "release": State.READY,
    "pause": State.PAUSED,
    "resume": State.READY,
    "off": State.ENDED,
    "end": State.ENDED,
    "remove": State.ENDED,
}
"""The state that an event of the host leads to; between events a machine that wants the CPU has it or waits."""


@dataclass(frozen=True, slots=True)
class MachineRow:
    """One machine of a host."""

    name: str
    scenario: str
    technique: str
    mmu: str
    state: str
    weight: int
    cap_percent: int
    running_cycles: int
    share: float
    """Of the host's time."""
    ideal_share: float
    deviation: float
    """How far what it got is from what an ideal host would have given, as a part of that; 0 where that is nothing."""
    stolen_cycles: int
    sleeping_cycles: int
    guest_ticks: int
    retired: int


def machine_rows(host: Host) -> tuple[MachineRow, ...]:
    """Give all machines, in the order in which they came."""
    rows = []
    for name in host.names:
        machine, times, share = host.machine(name), host.times_of(name), host.share_of(name)
        running = times.spent[State.RUNNING]
        rows.append(
            MachineRow(
                name,
                machine.technique.scenario.id,
                machine.technique.id,
                machine.technique.setup.mmu,
                host.state_of(name).value,
                share.weight,
                share.cap_percent,
                running,
                running / max(1, host.clock),
                times.ideal / max(1, host.clock),
                running / times.ideal - 1 if times.ideal >= 1 else 0.0,
                times.stolen,
                times.spent[State.SLEEPING],
                machine.guest_ticks,
                machine.technique.machine.retired,
            )
        )
    return tuple(rows)


def unfairness(host: Host) -> float:
    """Give how far the machine that is furthest from its ideal is from it, as a part of the ideal; 0 is fair."""
    return max((abs(row.deviation) for row in machine_rows(host)), default=0.0)


def gantt_rows(
    host: Host, start: int, end: int, cells: int, names: Collection[str] | None = None
) -> Iterator[tuple[str, str]]:
    """Give each machine's row of the picture.

    Args:
        host: whose past it is.
        start: host clock at the left edge.
        end: and at the right one.
        cells: how many there are between.
        names: of machines; None for all that are on the host now.
    """
    names = host.names if names is None else names
    turns_of: dict[str, list[HostTurn]] = {name: [] for name in names}
    for turn in reversed(host.turns):
        if turn.end <= start:
            break
        if turn.start < end and turn.machine in turns_of:
            turns_of[turn.machine].append(turn)
    changes_of: dict[str, list[tuple[int, State]]] = {name: [] for name in names}
    for event in host.events:
        if event.what in _STATES and event.machine in changes_of:
            changes_of[event.machine].append((event.at, _STATES[event.what]))
    for name in names:
        turns, changes = turns_of[name][::-1], changes_of[name]
        moments = [at for at, _ in changes]
        row, index = [], 0
        for cell in range(cells):
            left, right = start + (end - start) * cell // cells, start + (end - start) * (cell + 1) // cells
            had = 0
            while index < len(turns) and turns[index].end <= left:
                index += 1
            for turn in turns[index:]:
                if turn.start >= right:
                    break
                had += min(turn.end, right) - max(turn.start, left)
            found = bisect_right(moments, left) - 1
            state = changes[found][1] if found >= 0 else State.ENDED
            row.append(_glyph(had, max(1, right - left), state))
        yield name, "".join(row)


def _glyph(had: int, cycles: int, state: State) -> str:
    if 2 * had >= cycles:
        return RUNNING_GLYPH
    return PART_GLYPH if had else GLYPHS[state]
