"""A machine moves from one room's host to another's, and is in exactly one room whatever happens on the way."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from ringviz.engine.automation.reading import read_automation
from ringviz.engine.automation.rules import Deed
from ringviz.engine.frame_map import page_states
from ringviz.engine.migration import Ending, ending_of, new_machine
from ringviz.engine.state_hash import guest_state_sha256
from ringviz.errors import MigrationError, RingvizError
from ringviz.guest.disks import open_disk
from ringviz.record.machines.arrival import receive
from ringviz.record.machines.audit import DONE
from ringviz.record.machines.definition import Definition
from ringviz.record.machines.leaving import Leaving, Peer
from ringviz.record.machines.life_cycle import Life
from ringviz.record.machines.room import Room
from ringviz.record.machines.shared import SharedFolder
from ringviz.vmm.host.allotment import MemoryRules
from ringviz.vmm.migration.decision import FileRecord
from ringviz.vmm.migration.source import Plan
from ringviz.vmm.migration.tcp import SocketWire
from ringviz.vmm.registry import choose
from tests.cli.guests import needs_nasm
from tests.record.machines import guests
from tests.vmm.migration.guests import writer

PERIOD = 1_000_000
LONG = 1_000 * PERIOD
PLAN = Plan(1000)


def make_room(folder: Path, scenario: Path, *names: str) -> Room:
    """Machines that are on, on a host that has just been switched on."""
    room = Room(folder, lambda: 0)
    for name in names:
        room.define(name, Definition(str(scenario), "vt-x"))
        room.start(name)
    return room


class OtherHost:
    """A room that waits for a machine, in a thread of its own."""

    def __init__(self, folder: Path) -> None:
        self.room = Room(folder / "there", lambda: 0)
        self.shared = SharedFolder(folder / "shared")
        self.shared.make()
        self.refusal = ""
        self._port = 0
        self._is_listening = threading.Event()
        self._thread = threading.Thread(target=self._wait)
        self._thread.start()
        assert self._is_listening.wait(30)

    def _wait(self) -> None:
        try:
            receive(self.room, self.shared, 0, self._listens)
        except RingvizError as error:
            self.refusal = str(error)

    def _listens(self, port: int) -> None:
        self._port = port
        self._is_listening.set()

    def over(self) -> Room:
        """Wait until something has come, or will not."""
        self._thread.join(30)
        return self.room

    def peer(self, plan: Plan = PLAN) -> Peer:
        return Peer(self._port, self.shared.path, plan)


def move(room: Room, name: str, peer: Peer, after: int) -> Leaving:
    """Let a host run, and move one of its machines; then keep what is left."""
    run = room.prepare(peer=peer)
    run.begin()
    run.advance(after)
    assert run.order(Deed("migrate", name)).result == DONE
    while run.migrations[0].outcome is None:
        run.advance(LONG)
    run.finish()
    room.keep(run)
    return run.migrations[0]


def ended(room: Room, name: str) -> Ending:
    """Let a host run until one of its machines has ended."""
    host = room.run(LONG)
    machine = host.machine(name)
    assert machine.end is not None
    technique = machine.technique
    console = technique.machine.bus.console
    return Ending(machine.end.how, machine.end.text, console, guest_state_sha256(technique), technique.machine.now)


def test_a_machine_that_has_moved_is_gone_here_and_ends_there_as_if_it_had_not(tmp_path: Path) -> None:
    scenario = writer(tmp_path / "guest", 60, 20, 50)
    here, other = make_room(tmp_path / "here", tmp_path / "guest", "a", "b"), OtherHost(tmp_path)
    outcome = move(here, "a", other.peer(), 30_000).outcome
    assert outcome is not None
    assert outcome.moved
    assert list(here.machines) == ["b"]
    there = other.over()
    assert there.kept("a").state is Life.RUNNING
    there.run(5_000)  # from now on it stands behind the place where it came
    there.close()
    there = Room(tmp_path / "there", lambda: 0)
    alone = ending_of(new_machine(scenario, "vt-x", choose("vt-x", None, "haswell")))
    assert ended(there, "a") == alone
    assert ended(here, "b") == alone


def test_a_machine_whose_pages_are_shared_and_swapped_moves_whole(tmp_path: Path) -> None:
    """The host has less memory than its machines believe to have, and looks for pages of the same bytes."""
    scenario = writer(tmp_path / "guest", 30, 200, 50)
    here, other = Room(tmp_path / "here", lambda: 0), OtherHost(tmp_path)
    here.set_host(None, 1, None, MemoryRules(overcommits=True, shares_pages=True))
    for name in "ab":
        here.define(name, Definition(str(tmp_path / "guest"), "vt-x"))
        here.start(name)
    run = here.prepare(peer=other.peer())
    run.begin()
    run.advance(PERIOD)
    run.advance(2 * PERIOD)
    assert {"private", "swapped"} <= set(page_states(run.host.machine("b").pages))
    run.order(Deed("migrate", "b"))
    while run.migrations[0].outcome is None:
        run.advance(LONG)
    run.finish()
    here.keep(run)
    assert list(here.machines) == ["a"]
    alone = ending_of(new_machine(scenario, "vt-x", choose("vt-x", None, "haswell")))
    assert ended(other.over(), "b") == alone


@needs_nasm
def test_disks_move_with_what_is_on_them_and_what_was_written_since(tmp_path: Path) -> None:
    here, other = make_room(tmp_path / "here", guests.writer(tmp_path / "guest"), "a"), OtherHost(tmp_path)
    move(here, "a", other.peer(), 2 * PERIOD)
    there = other.over()
    disk = there.kept("a").disks[0]
    assert disk is not None
    assert [path.name for path in here.folder.glob("*.vhd")] == []
    there.ask_to_shut_down("a")
    there.run(PERIOD)
    assert there.kept("a").ended == "the guest ended the run through port F4h, exit code 7"
    written = there.kept("a").disks[0]
    assert written is not None
    image = open_disk(there.folder / written)
    counters = [int.from_bytes(image.read(sector, 1)[:4], "little") for sector in range(8)]
    had = sum(counter < 100 for counter in counters)
    assert had >= 4
    assert counters[1 : had + 1] == list(range(1, had + 1))
    assert image.read(100, 1) == b"\xee" * 512
    image.close()


def test_a_rule_moves_a_machine_and_another_helps_it_to_converge(tmp_path: Path) -> None:
    writer(tmp_path / "guest", 100_000, 100, 1_000)
    here, other = make_room(tmp_path / "here", tmp_path / "guest", "a"), OtherHost(tmp_path)
    rules = read_automation(
        'schema = 1\n[[rules]]\nname = "leave"\nmachine = "a"\nwhen = "share"\nover = 50\n'
        'do = "migrate"\ncool_down_cycles = 900_000_000\n'
        '[[orders]]\nat = 4_000_000\nmachine = "a"\ndo = "auto-converge"\n'
        '[[orders]]\nat = 3_000_000\nmachine = "a"\ndo = "snapshot"\n',
        "test",
    )
    here.run(40 * PERIOD, rules, peer=other.peer(Plan(3)))
    told = [(entry.who, entry.what, entry.result) for entry in here.audit]
    assert told[0] == ("leave", "begin to move a", DONE)
    assert told[1][2].startswith("refused: a is migrating: snapshot is not possible; possible are stay")
    assert told[2] == ("(order)", "auto-converge a", DONE)
    assert told[3] == ("(migration)", "move a", DONE)
    assert here.last_run is not None
    rounds = here.last_run.migrations[0].view().rounds
    before = [done.due_pages for done in rounds[1:] if not done.throttle_percent]
    assert len(before) >= 3
    assert min(before) >= 100
    assert rounds[-1].due_pages < 100
    assert other.over().kept("a").state is Life.RUNNING


def test_what_cannot_move_stays_and_says_why(tmp_path: Path) -> None:
    writer(tmp_path / "guest", 60, 20, 50)
    here, other = make_room(tmp_path / "here", tmp_path / "guest", "a", "b"), OtherHost(tmp_path)
    here.snapshot("b", "once")
    run = here.prepare()
    run.begin()
    assert run.order(Deed("migrate", "a")).result == "refused: this host knows of no other"
    run.finish()
    run = here.prepare(peer=other.peer())
    run.begin()
    assert "b has snapshots, which would stay behind" in run.order(Deed("migrate", "b")).result
    other.room.define("a", here.kept("a").definition)
    assert run.order(Deed("migrate", "a")).result == 'refused: a machine "a" is there already'
    run.finish()
    here.keep(run)
    assert here.kept("a").state is Life.RUNNING
    other.over()
    assert other.refusal == 'nothing has come: a machine "a" is there already'


def test_a_migration_that_is_called_off_leaves_the_machine_here(tmp_path: Path) -> None:
    writer(tmp_path / "guest", 100_000, 100, 1_000)
    here, other = make_room(tmp_path / "here", tmp_path / "guest", "a"), OtherHost(tmp_path)
    run = here.prepare(peer=other.peer(Plan(1)))
    run.begin()
    run.advance(PERIOD)
    run.order(Deed("migrate", "a"))
    assert run.machines["a"].state is Life.MIGRATING
    run.advance(2 * PERIOD)
    assert run.order(Deed("stay", "a")).is_done
    run.advance(3 * PERIOD)
    run.finish()
    here.keep(run)
    assert here.kept("a").state is Life.RUNNING
    assert other.over().machines == {}
    assert "link was lost" in other.refusal


# ---- kill -9 ---------------------------------------------------------------------------------------------------------


class Killer:
    """Ends this process at its n-th step of a migration, as kill -9 does: before or after whatever lasts or is sent."""

    def __init__(self, at: int) -> None:
        self.steps, self._at = 0, at

    def around(self, owner: type, name: str) -> None:
        plain: Callable[..., object] = getattr(owner, name)

        def stepped(*arguments: object, **keywords: object) -> object:
            self._step()
            try:
                return plain(*arguments, **keywords)
            finally:
                self._step()

        setattr(owner, name, stepped)

    def _step(self) -> None:
        self.steps += 1
        if self.steps == self._at:
            os.kill(os.getpid(), 9)


def forked(work: Callable[[Killer], None], kill_at: int, report: int) -> int:
    """Do something in a process of its own, and have it say how many steps it had."""
    child = os.fork()
    if child:
        return child
    try:
        killer = Killer(kill_at)
        for owner, name in ((FileRecord, "decide"), (Room, "_commit"), (SocketWire, "send"), (SocketWire, "receive")):
            killer.around(owner, name)
        work(killer)
        os.write(report, f"{killer.steps}\n".encode())
    finally:
        os._exit(0)


def migrated_by_two_processes(folder: Path, kill_source_at: int, kill_destination_at: int) -> tuple[int, int]:
    """Move machine a between two processes, and give their steps; 0 for one that was killed."""
    shared = SharedFolder(folder / "shared")
    shared.make()
    ports, tell_port = os.pipe()
    counts = [os.pipe(), os.pipe()]

    def destination(killer: Killer) -> None:
        room = Room(folder / "there", lambda: 0)
        killer.steps = 0

        def tell(port: int) -> None:
            os.write(tell_port, f"{port}\n".encode())

        with suppress(MigrationError):
            receive(room, shared, 0, tell)

    def source(killer: Killer) -> None:
        with os.fdopen(os.dup(ports)) as told:
            port = int(told.readline())
        room = Room(folder / "here", lambda: 0)
        killer.steps = 0
        move(room, "a", Peer(port, shared.path, PLAN), 5_000)

    children = [
        forked(destination, kill_destination_at, counts[1][1]),
        forked(source, kill_source_at, counts[0][1]),
    ]
    for child in children:
        os.waitpid(child, 0)
    steps = []
    for reading, writing in counts:
        os.close(writing)
        with os.fdopen(reading) as told:
            steps.append(int(told.readline() or 0))
    os.close(ports)
    os.close(tell_port)
    return steps[0], steps[1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
def test_killed_at_any_moment_either_host_leaves_exactly_one_machine(tmp_path: Path) -> None:
    scenario = writer(tmp_path / "guest", 8, 3, 4000)
    alone = ending_of(new_machine(scenario, "vt-x", choose("vt-x", None, "haswell")))

    def places(number: int, source_at: int, destination_at: int) -> tuple[tuple[int, int], bool]:
        folder = tmp_path / f"{number}"
        make_room(folder / "here", tmp_path / "guest", "a").close()
        steps = migrated_by_two_processes(folder, source_at, destination_at)
        # Whoever comes back first asks the record first; it does not matter who that is.
        order = ("here", "there") if number % 2 else ("there", "here")
        rooms = {name: Room(folder / name, lambda: 0) for name in order}
        states = [rooms[name].machines["a"].state for name in order if "a" in rooms[name].machines]
        assert states == [Life.RUNNING], (source_at, destination_at)
        has_moved = "a" in rooms["there"].machines
        assert ended(rooms["there" if has_moved else "here"], "a") == alone
        for room in rooms.values():
            room.close()
        return steps, has_moved

    (of_source, of_destination), has_moved = places(0, 0, 0)
    assert has_moved
    number, outcomes = 1, set()
    for who, steps in ((0, of_source), (1, of_destination)):
        for at in sorted({1, 2, steps // 2, *range(max(1, steps - 11), steps + 1)}):
            kills = (at, 0) if who == 0 else (0, at)
            outcomes.add((who, places(number, *kills)[1]))
            number += 1
    assert outcomes == {(0, False), (0, True), (1, False), (1, True)}
