"""`ringviz vm demo`: a whole host from one file, in a room of its own that is gone afterwards."""

import tempfile
import textwrap
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ringviz.cli.automation_report import audit_lines, automation_lines, chapter_json, chapter_lines
from ringviz.cli.exits import Exit
from ringviz.cli.options import Json
from ringviz.cli.output import print_json, print_lines, strong, width_cells
from ringviz.cli.table import Column, table

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
    from ringviz.record.machines.host_file import find_host, open_host

    definition = find_host(host)
    with tempfile.TemporaryDirectory(prefix="ringviz-", ignore_cleanup_errors=True) as folder:
        room = open_host(definition, Path(folder), lambda: 0)
        try:
            room.run(definition.cycles, definition.automation, is_dry=dry_run)
        finally:
            room.close()
        assert room.last_run is not None
        if json:
            print_json(_run_json(definition, room.last_run))
        else:
            print_lines(_run_lines(definition, room.last_run))
    return Exit.DONE


def open_room_of(host: str) -> int:
    """Open the machine room of a host from a file; nothing of it is kept.

    Raises:
        RingvizError: there is none such, or it cannot be run; one line.
    """
    from ringviz.record.machines.host_file import find_host, open_host
    from ringviz.ui.machine_room import MachineRoomApp

    definition = find_host(host)
    with tempfile.TemporaryDirectory(prefix="ringviz-", ignore_cleanup_errors=True) as folder:
        room = open_host(definition, Path(folder), lambda: 0)
        try:
            MachineRoomApp(room, definition.automation, definition.title, definition.cycles).run()
        finally:
            room.close()
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


def _run_lines(definition: "HostDefinition", run: "HostRun") -> Iterator[str]:
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
    undone = [entry for entry in run.audit if not entry.is_done]
    if undone:
        yield ""
        yield strong("Not done")
        yield from audit_lines(undone)


def _run_json(definition: "HostDefinition", run: "HostRun") -> dict[str, object]:
    from ringviz.record.machines.chapters import chapters

    return {
        "schema": SCHEMA,
        "host": definition.id,
        "chapters": [chapter_json(chapter) for chapter in chapters(run)],
        "audit": [asdict(entry) for entry in run.audit],
        "machines": {
            name: {"state": kept.state.value, "ended": kept.ended or None, "console": kept.console}
            for name, kept in run.machines.items()
        },
    }
