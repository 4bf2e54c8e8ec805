"""`ringviz vm receive` and `ringviz vm migrate`: a kept machine moves from one host to another, each a process."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ringviz.cli.exits import Exit
from ringviz.cli.migrate import MOST_MBIT, outcome_lines, tell_round
from ringviz.cli.output import print_json, print_lines
from ringviz.errors import InputError
from ringviz.facts.migration import DEFAULT_MBIT, DEFAULT_ROUNDS

if TYPE_CHECKING:
    from ringviz.record.machines.leaving import Leaving, MigrationView, Peer
    from ringviz.record.machines.receiving import Receiving
    from ringviz.record.machines.room import Room

SCHEMA = 1
MOST_PORT = 65_535
LONGEST_MOVE_CYCLES = 1_000_000_000
"""Ours: nobody waits longer for a machine that goes on and on."""

Shared = Annotated[
    Path, typer.Option("--shared", metavar="FOLDER", help="Folder that both hosts see: a secret, and who has what.")
]
To = Annotated[int, typer.Option("--to", metavar="PORT", help="Where the other host listens.")]
Port = Annotated[int, typer.Option("--port", metavar="PORT", help="Where to listen; 0: any port that is free.")]
ForCycles = Annotated[
    int, typer.Option("--for", metavar="CYCLES", help="Let the host run for so long once the machine is there.")
]
After = Annotated[int, typer.Option("--after", metavar="CYCLES", help="When to begin, on the host's clock from now.")]
PeerPort = Annotated[
    int | None, typer.Option("--peer", metavar="PORT", help="Machines can move to the host that listens there.")
]
PeerShared = Annotated[
    Path | None, typer.Option("--shared", metavar="FOLDER", help="Folder that this host and the other one see.")
]
Listen = Annotated[
    int | None,
    typer.Option("--listen", metavar="PORT", help="Machines may come from another host; 0: any free port."),
]


def receive(room: Room, shared: Path, port: int, for_cycles: int) -> None:
    """Wait for a machine, tell where, and let the host run with it.

    Raises:
        RingvizError: none has come; one line.
    """
    from ringviz.record.machines.arrival import receive as take
    from ringviz.record.machines.shared import SharedFolder

    _check_port(port, "--port")
    if for_cycles < 0:
        raise InputError(f"--for: found {for_cycles}, expected 0 or more")
    folder = SharedFolder(shared)
    folder.make()
    name = take(room, folder, port, lambda at: print_lines([f"Listening at port {at}"]))
    kept = room.kept(name)
    assert kept.run is not None
    print_lines([f"{name} has come, and stands at {kept.run.place.retired:,} instructions"])
    if for_cycles:
        room.run(for_cycles)
        kept = room.kept(name)
        print_lines([f"{name}: {kept.state.value}{f', {kept.ended}' if kept.ended else ''}"])


@contextmanager
def receiving_at(room: Room, port: int | None, shared: Path | None) -> Iterator[Receiving | None]:
    """Give a port at which machines may come, if one is named, and say on stderr which it is.

    Raises:
        RingvizError: it is taken, or no shared folder is named; one line.
    """
    if port is None:
        yield None
        return
    if shared is None:
        raise InputError("--listen and --shared: whoever lets machines come needs both")
    from ringviz.record.machines.receiving import Receiving
    from ringviz.record.machines.shared import SharedFolder

    _check_port(port, "--listen")
    receiving = Receiving(room, SharedFolder(shared), port)
    print(f"Listening at port {receiving.port}", file=sys.stderr, flush=True)
    try:
        yield receiving
    finally:
        receiving.close()


def move(room: Room, name: str, peer: Peer, after: int) -> Leaving:
    """Let the host run, and move one of its machines to another.

    Raises:
        RingvizError: the machine cannot move, or the other host cannot be reached; one line.
    """
    from ringviz.engine.automation.rules import Deed

    room.kept(name)
    run = room.prepare(peer=peer)
    run.begin()
    while run.host.clock < after and not run.is_over:
        run.advance(after)
    begun = run.order(Deed("migrate", name))
    if not begun.is_done:
        raise InputError(begun.result.removeprefix("refused: "))
    leaving = run.migrations[-1]
    told = 0
    while leaving.outcome is None and run.host.clock < after + LONGEST_MOVE_CYCLES:
        run.advance(after + LONGEST_MOVE_CYCLES)
        for done in leaving.view().rounds[told:]:
            tell_round(done)
            told += 1
    run.finish()
    room.keep(run)
    return leaving


def migrate(room: Room, name: str, peer: Peer, after: int, *, json: bool) -> int:
    """Move a machine, and tell the rounds and what came of them."""
    if after < 0:
        raise InputError(f"--after: found {after}, expected 0 or more")
    leaving = move(room, name, peer, after)
    outcome, view = leaving.outcome, leaving.view()
    if outcome is None:
        raise InputError(f"{name}: is not there after {LONGEST_MOVE_CYCLES:,} cycles; it stays here")
    if json:
        print_json({"schema": SCHEMA} | migration_json(view))
    else:
        lines = list(outcome_lines(outcome, view.memory_pages * 4096, has_help=view.has_help))
        where = "is at the other host, and not here any more" if outcome.moved else "stays here"
        print_lines([*lines, f"{name} {where}"])
    return Exit.DONE if outcome.moved else Exit.FAILED


def peer_of(
    port: int | None, shared: Path | None, mbit: int = DEFAULT_MBIT, rules: str = "qemu", rounds: int = DEFAULT_ROUNDS,
    *, auto_converge: bool = False, listens: bool = False,
) -> Peer | None:  # fmt: skip
    """Give the other host, if one is named.

    Raises:
        InputError: only a half of what is needed is given, or a number is out of range.
    """
    if port is None and (shared is None or listens):
        return None
    if port is None or shared is None:
        raise InputError("--peer and --shared: the other host needs both, or none of the two")
    from ringviz.record.machines.leaving import Peer
    from ringviz.vmm.migration.source import Plan

    _check_port(port, "port")
    for option, value, most in (("--bandwidth", mbit, MOST_MBIT), ("--rounds", rounds, 10_000)):
        if not 1 <= value <= most:
            raise InputError(f"{option}: found {value}, expected 1 to {most:,}")
    return Peer(port, shared, Plan(mbit, rules, auto_converge, rounds))


def _check_port(port: int, option: str) -> None:
    if not 0 <= port <= MOST_PORT:
        raise InputError(f"{option}: found {port}, expected 0 to {MOST_PORT:,}")


def migration_json(view: MigrationView) -> dict[str, Any]:
    """Give a migration as values; the result is null while it goes on."""
    outcome = view.outcome
    return {
        "machine": view.machine,
        "result": None if outcome is None else outcome.result.name.lower().replace("_", "-"),
        "why": None if outcome is None else outcome.why,
        "rounds": [asdict(done) for done in view.rounds],
        "downtime_cycles": None if outcome is None else outcome.downtime_cycles,
        "total_cycles": None if outcome is None else outcome.total_cycles,
        "sent_bytes": view.sent_bytes,
    }
