"""What is shown of a host at work: its machines as rows, who had the CPU of late, and what the host has done itself."""

from __future__ import annotations

from dataclasses import dataclass

from ringviz.engine.frame_map import frame_cells, host_pages, legend
from ringviz.engine.host_view import gantt_rows
from ringviz.engine.rings import build_rings
from ringviz.facts.techniques import TECHNIQUES
from ringviz.facts.vhd import SECTOR_BYTES
from ringviz.record.machines.host_run import HostRun
from ringviz.record.machines.leaving import MigrationView
from ringviz.record.machines.life_cycle import Life
from ringviz.vmm.host.virtual_machine import VirtualMachine

_OFF = "-"


@dataclass(frozen=True, slots=True)
class RoomRow:
    """One machine."""

    name: str
    scenario: str
    technique: str
    state: str
    where: str
    """The mode and the ring in which its CPU is."""
    weight: int
    cap_percent: int
    share: float
    share_before: float | None
    """In the period before; None if there was none."""
    ready: float
    """Per cent of the last accounting period."""
    exits: float | None
    """For each million cycles that it had the CPU in it."""
    memory_mib: int
    ballooned_pages: int | None
    """That its balloon has taken; None without a driver for one."""
    shared_pages: int
    """Behind which a frame stands that stands behind others too."""
    written_bytes: int | None
    """To its disks since it was switched on; None without disks."""
    life: Life
    snapshots: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MemoryMap:
    """Who has which frame of the host's memory."""

    head: str
    picture: str
    """A glyph for each cell; see `engine.frame_map`."""
    legend: str


@dataclass(frozen=True, slots=True, eq=False)
class RoomView:
    """The whole host at one moment."""

    clock: int
    cpu: str
    scheduler: str
    rows: tuple[RoomRow, ...]
    gantt_from: int
    gantt: tuple[tuple[str, str], ...]
    audit: tuple[str, ...]
    to_come: tuple[str, ...]
    """Orders that are still to be carried out, and the rules in force."""
    is_over: bool
    migration: MigrationView | None
    """The last that has begun."""
    has_peer: bool
    """There is another host to which machines can move."""
    memory: MemoryMap | None
    """If it was asked for."""


def room_view(run: HostRun, cells: int, periods: int, map_cells: int = 0) -> RoomView:
    """Take a picture of a run.

    Args:
        run: between two of its steps.
        cells: width of the Gantt picture.
        periods: how many accounting periods it covers.
        map_cells: size of the picture of the host's memory; 0 for none, as it takes a while with much memory.
    """
    host = run.host
    start = max(0, host.clock - periods * host.period)
    pictures = dict(gantt_rows(host, start, max(start + 1, host.clock), cells))
    return RoomView(
        run.clock,
        host.cpu.id,
        host.scheduler,
        tuple(_row(run, name) for name in run.machines),
        run.start + start,
        tuple((name, pictures[name]) for name in run.machines if name in pictures),
        tuple(entry.line().strip() for entry in run.audit),
        run.to_come,
        run.is_over,
        run.migrations[-1].view() if run.migrations else None,
        run.has_peer,
        _memory_map(run, map_cells) if map_cells else None,
    )


def _memory_map(run: HostRun, cells: int) -> MemoryMap:
    shown = host_pages(run.host)
    cells = min(shown.frames, cells)
    head = f"{shown.frames:,} frames of 4 KiB, {shown.free:,} free ({shown.state}); "
    head += f"sharing saves {shown.saved_by_sharing:,}, {shown.swap_pages:,} pages swapped"
    return MemoryMap(
        head, frame_cells(shown, cells), f"{shown.frames / cells:,.3g} frames a cell; {legend(shown.guests)}"
    )


def _row(run: HostRun, name: str) -> RoomRow:
    kept = run.machines[name]
    is_on = name in run.host.names and kept.state is not Life.STOPPED
    reading = run.latest.get(name)
    machine = run.host.machine(name) if name in run.host.names else None
    return RoomRow(
        name,
        run.host.machine(name).technique.scenario.id if name in run.host.names else kept.definition.scenario,
        kept.definition.technique,
        run.host.state_of(name).value if is_on else kept.state.value,
        _where(run.host.machine(name)) if is_on else _OFF,
        kept.definition.weight,
        run.host.share_of(name).cap_percent if is_on else kept.definition.cap_percent,
        0.0 if reading is None else reading.share,
        run.before[name].share if name in run.before else None,
        0.0 if reading is None else reading.ready,
        None if reading is None else reading.exits,
        machine.technique.guest_bytes >> 20 if machine is not None else kept.definition.memory_mib or 0,
        None if machine is None or machine.technique.balloon is None else len(machine.pages.balloon),
        0 if machine is None or not run.host.memory.rules.shares_pages else _shared(machine),
        None if kept.disks == (None, None) else _written(machine) if is_on else 0,
        kept.state,
        tuple(kept.snapshots),
    )


def _shared(machine: VirtualMachine) -> int:
    return sum(len(frame.uses) > 1 for frame in machine.pages.frames.values())


def _written(machine: VirtualMachine | None) -> int:
    return 0 if machine is None else sum(len(machine.written_to_disk(number)) for number in range(2)) * SECTOR_BYTES


def _where(machine: VirtualMachine) -> str:
    technique = machine.technique
    rings = build_rings(TECHNIQUES[technique.id], technique.guest_state(), technique.real_state(), ())
    mode = f"{rings.real_mode}, " if rings.real_mode else ""
    believed = "" if rings.believed == rings.real else f" (guest: {rings.believed})"
    return f"{mode}ring {rings.real}{believed}"
