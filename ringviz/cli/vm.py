"""`ringviz vm`: machines that are kept, the host they share, and every operation of their lives."""

import textwrap
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ringviz.cli import vm_migrate
from ringviz.cli.automation_report import audit_lines
from ringviz.cli.exits import Exit, one_line
from ringviz.cli.migrate import AutoConverge, Bandwidth, Rounds, Rules
from ringviz.cli.options import Json
from ringviz.cli.output import print_json, print_lines, strong, width_cells
from ringviz.cli.run import has_terminal
from ringviz.cli.table import Column, table
from ringviz.cli.vm_demo import DryRun, demo, open_room_of
from ringviz.cli.vm_migrate import After, ForCycles, Listen, PeerPort, PeerShared, Port, Shared, To, peer_of
from ringviz.cli.vm_operations import PATIENCE_S, Wait, look_into_room, open_room, operate, tell
from ringviz.cli.vm_pages import allotment_words, memory_words, pages
from ringviz.cli.vm_policy import policy
from ringviz.engine.automation.rules import Deed
from ringviz.errors import InputError
from ringviz.facts.host_memory import HOST_MEMORY_NUMBERS, HostMemoryNumber
from ringviz.facts.migration import DEFAULT_MBIT, DEFAULT_ROUNDS
from ringviz.facts.scheduling import SCHEDULERS, SCHEDULING_NUMBERS, SchedulingNumber
from ringviz.guest.schema import clipped, did_you_mean
from ringviz.record.machines.life_cycle import OPERATIONS, Life, state_rows
from ringviz.record.machines.store import FOLDER_VARIABLE

if TYPE_CHECKING:
    from ringviz.engine.automation.rules import Automation
    from ringviz.record.machines.contents import Contents
    from ringviz.record.machines.kept import Kept
    from ringviz.record.machines.room import Room
    from ringviz.vmm.host.allotment import MemoryRules

SCHEMA = 1
_SETTINGS = {"memory": "balloon", "weight": "weight", "cap": "cap"}
_MOST_DIGITS = 9
DEFAULT_CYCLES = 10_000_000

vm = typer.Typer(
    rich_markup_mode=None,
    help="Keep virtual machines, let them share a host, and lead each through its life. "
    f"They are kept in the folder that {FOLDER_VARIABLE} names, or in the user's data folder.",
)

vm.command()(demo)
vm.command()(pages)
vm.add_typer(policy, name="policy")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The machine.")]
Weight = Annotated[
    int | None, typer.Option("--weight", metavar="N", help="Its weight against the others; usual is 256.")
]
Cap = Annotated[
    int | None, typer.Option("--cap", metavar="PERCENT", help="The most it may have of the CPU; 0: no cap.")
]
Policy = Annotated[
    Path | None,
    typer.Option("--policy", metavar="FILE", help="Rules and orders, in TOML; see `ringviz vm policy`."),
]
Snapshot = Annotated[str, typer.Argument(metavar="SNAPSHOT", help="Name of the snapshot.")]


@vm.command()
def define(
    name: Name,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The definition, in TOML.")],
) -> int:
    """Take in a new machine, switched off; its disks are copied."""
    from ringviz.record.machines.definition import read_definition
    from ringviz.record.machines.host_file import read_file

    definition = read_definition(read_file(file), file.name, file.resolve().parent)
    with open_room() as room:
        room.define(name, definition)
        tell(room, name)
    return Exit.DONE


@vm.command("list")
def list_machines(json: Json = False) -> int:
    """Show all machines, and the host; of a host at work, as it was kept last."""
    room, is_at_work = look_into_room()
    if json:
        print_json(_room_json(room) | {"is_at_work": is_at_work})
    else:
        print_lines([*_at_work_lines(is_at_work), *_list_lines(room)])
    return Exit.DONE


@vm.command()
def show(name: Name, json: Json = False) -> int:
    """Show one machine: its definition, its state and what can be done with it, its snapshots, its console.

    Of a host at work it is shown as it was kept last.
    """
    room, is_at_work = look_into_room()
    kept = room.kept(name)
    if json:
        print_json({"schema": SCHEMA, "name": name} | _machine_json(kept) | {"is_at_work": is_at_work})
    else:
        print_lines([*_at_work_lines(is_at_work), *_show_lines(name, kept)])
    return Exit.DONE


@vm.command()
def states() -> int:
    """Show the life of a machine as a state machine: state, operation, next state."""
    print_lines(table((Column("State"), Column("Operation"), Column("Next"), Column("What it is", wraps=True)),
                      [(state.strip(), operation, target, OPERATIONS[operation].title)
                       for state, operation, target in state_rows()], width_cells()))  # fmt: skip
    return Exit.DONE


@vm.command()
def start(name: Name, wait: Wait = PATIENCE_S) -> int:
    """Switch a machine on; it runs whenever the host does."""
    return operate(name, [Deed("start", name)], wait)


@vm.command()
def pause(name: Name, wait: Wait = PATIENCE_S) -> int:
    """Let a machine stand still."""
    return operate(name, [Deed("pause", name)], wait)


@vm.command()
def resume(name: Name, wait: Wait = PATIENCE_S) -> int:
    """Let a paused machine go on."""
    return operate(name, [Deed("resume", name)], wait)


@vm.command()
def reset(name: Name, wait: Wait = PATIENCE_S) -> int:
    """Switch a machine off and on again; its disks stay as they are."""
    return operate(name, [Deed("reset", name)], wait)


@vm.command()
def shutdown(name: Name, wait: Wait = PATIENCE_S) -> int:
    """Ask a guest to end its run, through port F4h; the host switches it off if it has not when its time is up.

    A guest that does not look there is switched off then; so is one under paravirt, which no port can reach.
    """
    return operate(name, [Deed("shutdown", name)], wait)


@vm.command()
def stop(name: Name, wait: Wait = PATIENCE_S) -> int:
    """Switch a machine off at once; what it has written to its disks is kept."""
    return operate(name, [Deed("stop", name)], wait)


@vm.command()
def snapshot(name: Name, snapshot: Snapshot, wait: Wait = PATIENCE_S) -> int:
    """Keep what a machine is now: its disks, and where its guest stands."""
    return operate(name, [Deed("snapshot", name, named=snapshot)], wait)


@vm.command()
def revert(name: Name, snapshot: Snapshot, wait: Wait = PATIENCE_S) -> int:
    """Let a machine be again what it was; what it has become since is lost."""
    return operate(name, [Deed("revert", name, named=snapshot)], wait)


@vm.command()
def clone(
    name: Name,
    other: Annotated[str, typer.Argument(metavar="OTHER", help="Name of the new machine.")],
    wait: Wait = PATIENCE_S,
) -> int:
    """Make another machine that stands where this one does."""
    return operate(name, [Deed("clone", name, named=other)], wait)


@vm.command()
def receive(
    shared: Shared,
    port: Port = 0,
    for_cycles: ForCycles = 0,
) -> int:
    """Be the other host: wait for one machine that moves here, over TCP within this computer."""
    with open_room() as room:
        vm_migrate.receive(room, shared, port, for_cycles)
    return Exit.DONE


@vm.command()
def migrate(
    name: Name,
    to: To,
    shared: Shared,
    bandwidth: Bandwidth = DEFAULT_MBIT,
    rules: Rules = "qemu",
    auto_converge: AutoConverge = False,
    rounds: Rounds = DEFAULT_ROUNDS,
    after: After = 0,
    json: Json = False,
) -> int:
    """Move a machine to the host that listens at a port, while all machines here run on.

    Exit code 1 says that it stayed here. Whatever happens on the way, it is at one of the two hosts, and not at both.
    """
    peer = peer_of(to, shared, bandwidth, rules, rounds, auto_converge=auto_converge)
    assert peer is not None
    with open_room() as room:
        return vm_migrate.migrate(room, name, peer, after, json=json)


@vm.command()
def destroy(name: Name, wait: Wait = PATIENCE_S) -> int:
    """Forget a machine that is switched off, with its disks and snapshots."""
    return operate(name, [Deed("destroy", name)], wait)


@vm.command()
def share(name: Name, weight: Weight = None, cap: Cap = None, wait: Wait = PATIENCE_S) -> int:
    """Change a machine's share of the host's CPU; a host at work takes it when its accounting period is over."""
    given = (("weight", weight), ("cap", cap))
    return operate(name, [Deed(action, name, value) for action, value in given if value is not None], wait)


@vm.command("set")
def set_values(
    name: Name,
    values: Annotated[
        list[str],
        typer.Argument(metavar="KEY=VALUE ...", help="memory=MIB (0: all of it), weight=N, cap=PERCENT (0: none)."),
    ],
    wait: Wait = PATIENCE_S,
) -> int:
    """Change what a machine may have of the host; a host at work takes it when its accounting period is over.

    Less memory means that the guest's balloon driver is asked for the rest.
    """
    return operate(name, [_deed(name, value) for value in values], wait)


def _deed(name: str, given: str) -> Deed:
    key, _, text = given.partition("=")
    if key not in _SETTINGS:
        expected = ", ".join(f"{each}=" for each in _SETTINGS)
        raise InputError(f"{clipped(given)}: expected one of {expected}{did_you_mean(key, _SETTINGS)}")
    if not text.isascii() or not text.isdecimal() or len(text) > _MOST_DIGITS:
        raise InputError(f"{key}: found {clipped(repr(text))}, expected a whole number")
    return Deed(_SETTINGS[key], name, int(text))


@vm.command()
def host(
    cpu: Annotated[str | None, typer.Option("--cpu", metavar="ID", help="The CPU; see `ringviz cpus`.")] = None,
    memory: Annotated[int | None, typer.Option("--memory", metavar="MIB", help="Size of its memory.")] = None,
    scheduler: Annotated[
        str | None, typer.Option("--scheduler", metavar="ID", help="credit, stride or round-robin.")
    ] = None,
    overcommit: Annotated[
        bool | None,
        typer.Option("--overcommit/--no-overcommit", help="Machines may have more memory together than the host."),
    ] = None,
    sharing: Annotated[
        bool | None, typer.Option("--sharing/--no-sharing", help="Keep pages of the same bytes once.")
    ] = None,
    idle_tax: Annotated[
        int | None, typer.Option("--idle-tax", metavar="PERCENT", help="Tax on memory that a machine does not use.")
    ] = None,
) -> int:
    """Show the host, or change it while all machines are off."""
    with open_room() as room:
        if any(value is not None for value in (cpu, memory, scheduler, overcommit, sharing, idle_tax)):
            room.set_host(cpu, memory, scheduler, _with_rules(room.memory_rules, overcommit, sharing, idle_tax))
        print_lines([_host_line(room), *_scheduling_lines(room)])
    return Exit.DONE


@vm.command()
def run(
    cycles: Annotated[
        int,
        typer.Option("--for", metavar="CYCLES", help="For how long, in cycles of the host: a million make a second."),
    ] = DEFAULT_CYCLES,
    events: Annotated[bool, typer.Option("--events", help="Print every decision of the host.")] = False,
    policy: Policy = None,
    dry_run: DryRun = False,
    peer: PeerPort = None,
    shared: PeerShared = None,
    listen: Listen = None,
    json: Json = False,
) -> int:
    """Let the host run, with all machines that are switched on and not paused.

    With --listen machines may come meanwhile; while none is on and none has come, the host waits.
    """
    if cycles < 1:
        raise InputError(f"--for: found {cycles}, expected at least 1")
    if dry_run and policy is None:
        raise InputError("--dry-run: is for the rules of a policy, expected --policy FILE too")
    with open_room() as room:
        before = room.clock
        automation = None if policy is None else _automation(policy, room)
        other = peer_of(peer, shared, listens=listen is not None)
        with vm_migrate.receiving_at(room, listen, shared) as receiving:
            room.run(cycles, automation, is_dry=dry_run, peer=other, receiving=receiving)
        if json:
            print_json(_run_json(room, before))
        else:
            print_lines(_run_lines(room, before, events=events))
    return Exit.DONE


@vm.command()
def room(
    host: Annotated[
        str | None,
        typer.Argument(metavar="[HOST]", help="A host from `ringviz vm demo`, or a TOML file, in place of your own."),
    ] = None,
    policy: Policy = None,
    peer: PeerPort = None,
    shared: PeerShared = None,
    listen: Listen = None,
) -> int:
    """Open the machine room: the machines as rows, who had the CPU when, and keys to change their shares."""
    if not has_terminal():
        raise InputError("the machine room needs a terminal; without one use `ringviz vm run` or `ringviz vm demo`")
    if host is not None:
        if policy is not None:
            raise InputError(f"--policy: {host} has its own, expected only one of the two")
        if peer is not None or shared is not None or listen is not None:
            raise InputError(f"--peer and --listen: {host} says itself whether there is another host")
        return open_room_of(host)
    from ringviz.record.state_folder import state_folder
    from ringviz.ui.machine_room import MachineRoomApp, OtherHostSeen

    other = peer_of(peer, shared, listens=listen is not None)

    with open_room() as opened:
        automation = None if policy is None else _automation(policy, opened)
        with vm_migrate.receiving_at(opened, listen, shared) as receiving:
            seen, edits = None if other is None else OtherHostSeen(other), state_folder() / "edits"
            MachineRoomApp(opened, automation, other=seen, edits=edits, receiving=receiving).run()
    return Exit.DONE


@vm.command()
def audit(json: Json = False) -> int:
    """Show what the host has done by itself in its runs so far, and why; of a host at work, what was kept last."""
    room, is_at_work = look_into_room()
    if json:
        print_json({"schema": SCHEMA, "audit": [asdict(entry) for entry in room.audit], "is_at_work": is_at_work})
        return Exit.DONE
    print_lines(_at_work_lines(is_at_work))
    if room.audit:
        print_lines(("At cycles of the host, modelled", *audit_lines(room.audit)))
    else:
        print_lines(["The host has done nothing by itself yet: `ringviz vm run --policy FILE` gives it rules"])
    return Exit.DONE


def _with_rules(
    rules: "MemoryRules", overcommit: bool | None, sharing: bool | None, idle_tax: int | None
) -> "MemoryRules":
    return replace(
        rules,
        overcommits=rules.overcommits if overcommit is None else overcommit,
        shares_pages=rules.shares_pages if sharing is None else sharing,
        tax_percent=rules.tax_percent if idle_tax is None else idle_tax,
    )


def _automation(file: Path, room: "Room") -> "Automation":
    """Give the rules and orders of a file, all about machines that are there."""
    from ringviz.engine.automation.reading import check_machines, read_automation
    from ringviz.record.machines.host_file import read_file

    automation = read_automation(read_file(file), file.name)
    check_machines(automation, tuple(room.machines), file.name)
    return automation


# ---- texts -----------------------------------------------------------------------------------------------------------

_MACHINES = (
    Column("Machine"),
    Column("State"),
    Column("Scenario"),
    Column("Technique"),
    Column("Weight", is_number=True),
    Column("Cap", is_number=True),
    Column("Instructions", is_number=True),
    Column("Snapshots", wraps=True),
)
_SHARES = (
    Column("Machine"),
    Column("State"),
    Column("CPU", is_number=True),
    Column("Ideal", is_number=True),
    Column("Off by", is_number=True),
    Column("Stolen", is_number=True),
    Column("Slept", is_number=True),
    Column("Guest's clock", is_number=True),
)


def _at_work_lines(is_at_work: bool) -> Iterator[str]:
    if is_at_work:
        yield from textwrap.wrap(
            "The host is at work: this is how all stood when it was kept last, which is at every order and at the end",
            width_cells(),
        )


def _host_line(room: "Room | Contents") -> str:
    return (
        f"Host: {room.cpu}, {room.memory_mib:,} MiB{memory_words(room.memory_rules)}, scheduler {room.scheduler}; "
        f"its clock stands at {room.clock:,} modelled cycles"
    )


def _scheduling_lines(room: "Room") -> Iterator[str]:
    """Say how the CPU is divided, and where the numbers come from."""
    scheduler = SCHEDULERS[room.scheduler]
    yield from textwrap.wrap(f"{scheduler.title}: {scheduler.text}", width_cells())
    yield f"Source: {scheduler.source}"
    yield ""
    columns = (
        Column("Number"),
        Column("Value", is_number=True),
        Column("What it is", wraps=True),
        Column("Source", wraps=True),
    )
    numbers: tuple[SchedulingNumber | HostMemoryNumber, ...]
    numbers = (*SCHEDULING_NUMBERS.values(), *HOST_MEMORY_NUMBERS.values())
    rows = [(row.id, f"{row.value:,}", row.title, str(row.source)) for row in numbers]
    yield from table(columns, rows, width_cells())


def _list_lines(room: "Room | Contents") -> Iterator[str]:
    yield _host_line(room)
    if not room.machines:
        yield "No machines yet: `ringviz vm define NAME FILE` takes one in"
        return
    rows = []
    for name, kept in room.machines.items():
        definition = kept.definition
        cap = f"{definition.cap_percent} %" if definition.cap_percent else "-"
        retired = "-" if kept.run is None else f"{kept.run.place.retired:,}"
        scenario, names = Path(definition.scenario).name, ", ".join(kept.snapshots)
        rows.append(
            (name, kept.state.value, scenario, definition.technique, str(definition.weight), cap, retired, names)
        )
    yield from table(_MACHINES, rows, width_cells())


def _show_lines(name: str, kept: "Kept") -> Iterator[str]:
    definition = kept.definition
    how = definition.technique if definition.mmu is None else f"{definition.technique}, memory: {definition.mmu}"
    yield strong(f"{name}: {kept.state.value}")
    yield f"Scenario {definition.scenario} under {how}"
    cap = f"{definition.cap_percent} %" if definition.cap_percent else "none"
    yield f"Weight {definition.weight}, cap {cap}"
    yield from textwrap.wrap(allotment_words(definition.allotment), width_cells())
    if kept.run is not None:
        place = kept.run.place
        yield f"Stands at {place.retired:,} instructions, which have cost {place.spent_cycles:,} modelled cycles"
        if kept.run.deadline is not None:
            yield f"Asked to shut down; switched off when the host's clock comes to {kept.run.deadline:,}"
    if kept.ended:
        yield f"Its last run: {kept.ended}"
    for number, disk in enumerate(kept.disks):
        if disk is not None:
            yield f"Disk {number + 1}: {disk}"
    for snapshot_name, taken in kept.snapshots.items():
        whose = "another host, from which the machine has come" if taken.is_from_elsewhere else "the host"
        yield f"Snapshot {snapshot_name}: {taken.state.value}, at {taken.clock:,} modelled cycles of {whose}"
    yield ""
    columns = (Column("State"), Column("Operation"), Column("Next"))
    yield from table(columns, list(state_rows(kept.state)), width_cells())
    if kept.console:
        yield ""
        yield "The guest has printed:"
        yield from (f"  {one_line(line)}" for line in kept.console.splitlines())


def _run_lines(room: "Room", before: int, *, events: bool) -> Iterator[str]:
    from ringviz.engine.host_view import LEGEND, MODELLED, gantt_rows, machine_rows, unfairness

    ran = room.last_host
    assert ran is not None
    yield f"The host ran for {ran.clock:,} modelled cycles, from {before:,} to {room.clock:,}"
    rows = machine_rows(ran)
    if rows:
        yield from table(_SHARES, [
            (row.name, row.state, f"{row.share:.1%}", f"{row.ideal_share:.1%}", f"{row.deviation:+.1%}",
             f"{row.stolen_cycles:,}", f"{row.sleeping_cycles:,}", f"{row.guest_ticks:,}")
            for row in rows
        ], width_cells())  # fmt: skip
        yield f"Unfairness: {unfairness(ran):.2%} at most from what an ideal host would have given"
        yield ""
        longest = max(len(row.name) for row in rows)
        for name, picture in gantt_rows(ran, 0, max(1, ran.clock), width_cells() - longest - 3):
            yield f"{name:<{longest}} |{picture}|"
        yield from textwrap.wrap(LEGEND, width_cells())
    yield from textwrap.wrap(MODELLED, width_cells())
    assert room.last_run is not None
    if room.last_run.audit:
        yield ""
        yield strong("What the host has done by itself")
        yield from audit_lines(room.last_run.audit)
    for name, kept in room.machines.items():
        if name not in ran.names and kept.state is Life.STOPPED and kept.ended and kept.spent:
            yield f"{name} is stopped: {kept.ended}"
    if events:
        yield ""
        yield from (event.line() for event in ran.events)


# ---- JSON ------------------------------------------------------------------------------------------------------------


def _machine_json(kept: "Kept") -> dict[str, Any]:
    definition, run_now = kept.definition, kept.run
    return {
        "state": kept.state.value,
        "scenario": Path(definition.scenario).name,
        "technique": definition.technique,
        "mmu": definition.mmu,
        "weight": definition.weight,
        "memory_min_mib": definition.memory_min_mib,
        "memory_max_mib": definition.memory_max_mib,
        "memory_shares": definition.memory_shares,
        "cap_percent": definition.cap_percent,
        "retired": None if run_now is None else run_now.place.retired,
        "spent_cycles": None if run_now is None else run_now.place.spent_cycles,
        "guest_state_sha256": None if run_now is None else run_now.guest_state_sha256 or None,
        "snapshots": {name: taken.state.value for name, taken in kept.snapshots.items()},
        "ended": kept.ended or None,
        "host_cycles": kept.spent,
        "console": kept.console,
    }


def _room_json(room: "Room | Contents") -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "host": {
            "cpu": room.cpu, "memory_mib": room.memory_mib, "scheduler": room.scheduler, "clock": room.clock,
        },
        "machines": {name: _machine_json(kept) for name, kept in room.machines.items()},
    }  # fmt: skip


def _run_json(room: "Room", before: int) -> dict[str, Any]:
    from ringviz.engine.host_view import machine_rows, unfairness

    run = room.last_run
    assert run is not None
    ran = run.host
    return {
        "schema": SCHEMA,
        "from": before,
        "to": room.clock,
        "unfairness": unfairness(ran),
        "machines": [asdict(row) for row in machine_rows(ran)],
        "audit": [asdict(entry) for entry in run.audit],
        "turns": [[turn.machine, turn.start, turn.end, turn.ended_by] for turn in ran.turns],
    }
