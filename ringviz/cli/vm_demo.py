"""`ringviz vm demo`: a whole host from one file, in a room of its own that is gone afterwards."""

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ringviz.cli.automation_report import audit_lines, automation_lines, chapter_json, chapter_lines
from ringviz.cli.exits import Exit
from ringviz.cli.migrate import outcome_lines
from ringviz.cli.options import Json
from ringviz.cli.output import print_json, print_lines, strong, width_cells
from ringviz.cli.table import Column, table
from ringviz.cli.vm_migrate import migration_json
from ringviz.machine.memory import PAGE

if TYPE_CHECKING:
    from ringviz.record.machines.host_file import HostDefinition
    from ringviz.record.machines.host_run import HostRun

SCHEMA = 1
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Only tell what rules and orders would have done; the machines run on.")
]


def demo(
    host: Annotated[
        str | None, typer.Argument(metavar="[HOST]", help="A host's id, or a TOML file; without it they are listed.")
    ] = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> int:
    """Run a whole host from one file, with its orders and rules, and print what came of it; nothing of it is kept."""
    if host is None:
        _print_hosts(json=json)
        return Exit.DONE
    return show_host(host, dry_run=dry_run, json=json)


def show_host(host: str, *, dry_run: bool = False, json: bool = False) -> int:
    """Run a host and print what came of it.

    Raises:
        RingvizError: there is none such, or it cannot be run; one line.
    """
    from ringviz.record.machines.host_file import find_host
    from ringviz.record.machines.other_host import opened_host

    definition = find_host(host)
    with opened_host(definition) as (room, other):
        room.run(
            definition.cycles, definition.automation, is_dry=dry_run, peer=None if other is None else other.peer
        )  # fmt: skip
        run = room.last_run
        assert run is not None
        moved = [leaving for leaving in run.migrations if leaving.outcome is not None and leaving.outcome.moved]
        there = [] if other is None or not moved else other.over()
        if json:
            print_json(_run_json(definition, run, there))
        else:
            print_lines(_run_lines(definition, run, there))
    return Exit.DONE


def open_room_of(host: str) -> int:
    """Open the machine room of a host from a file; nothing of it is kept.

    Raises:
        RingvizError: there is none such, or it cannot be run; one line.
    """
    from ringviz.record.machines.host_file import find_host
    from ringviz.record.machines.other_host import opened_host
    from ringviz.record.state_folder import state_folder
    from ringviz.ui.machine_room import MachineRoomApp, OtherHostSeen

    definition = find_host(host)
    with opened_host(definition) as (room, other):
        seen = None if other is None else OtherHostSeen(other.peer, lambda: other.lines)
        edits = state_folder() / "edits"
        MachineRoomApp(
            room,
            definition.automation,
            definition.title,
            definition.cycles,
            seen,
            edits,
            summary=definition.summary,
        ).run()
    return Exit.DONE


def _print_hosts(*, json: bool) -> None:
    from ringviz.record.machines.host_file import shipped_hosts

    hosts = shipped_hosts()
    if json:
        print_json(
            {
                "schema": SCHEMA,
                "hosts": [{"id": host.id, "title": host.title, "summary": host.summary} for host in hosts],
            }
        )
    else:
        rows = [(host.id, str(len(host.machines)), host.summary) for host in hosts]
        columns = (Column("Host"), Column("Machines", is_number=True), Column("What it shows", wraps=True))
        print_lines(table(columns, rows, width_cells()))


def _run_lines(definition: "HostDefinition", run: "HostRun", there: Sequence[str]) -> Iterator[str]:
    yield strong(definition.title)
    yield from textwrap.wrap(definition.summary, width_cells())
    yield ""
    yield f"Host: {definition.cpu}, {definition.memory_mib:,} MiB, scheduler {definition.scheduler}"
    for name, machine in definition.machines.items():
        cap = f", cap {machine.cap_percent} %" if machine.cap_percent else ""
        off = ", off at first" if name in definition.off else ""
        scenario = Path(machine.scenario).name
        yield f"Machine {name}: {scenario} under {machine.technique}, weight {machine.weight}{cap}{off}"
    yield from automation_lines(definition.automation)
    yield ""
    yield from chapter_lines(run)
    for leaving in run.migrations:
        view = leaving.view()
        if view.outcome is not None:
            yield ""
            yield strong(f"How {view.machine} moved to the other host" if view.outcome.moved else
                         f"How {view.machine} was to move to the other host")  # fmt: skip
            yield from outcome_lines(view.outcome, view.memory_pages * PAGE, has_help=view.has_help)
    if there:
        yield ""
        yield strong("The other host, a process of its own, says")
        yield from there
    undone = [entry for entry in run.audit if not entry.is_done]
    if undone:
        yield ""
        yield strong("Not done")
        yield from audit_lines(undone)


def _run_json(definition: "HostDefinition", run: "HostRun", there: Sequence[str]) -> dict[str, object]:
    from ringviz.record.machines.chapters import chapters

    return {
        "schema": SCHEMA,
        "host": definition.id,
        "chapters": [chapter_json(chapter) for chapter in chapters(run)],
        "migrations": [migration_json(leaving.view()) for leaving in run.migrations],
        "other_host": list(there),
        "audit": [asdict(entry) for entry in run.audit],
        "machines": {
            name: {"state": kept.state.value, "ended": kept.ended or None, "console": kept.console}
            for name, kept in run.machines.items()
        },
    }
