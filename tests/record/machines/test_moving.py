"""A machine moves from one room's host to another's, and is in exactly one room whatever happens on the way."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable, Mapping
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
from ringviz.guest.disks.content import content_sha256
from ringviz.record.machines import host_run
from ringviz.record.machines.arrival import receive
from ringviz.record.machines.arriving_files import ArrivingFiles
from ringviz.record.machines.audit import DONE
from ringviz.record.machines.definition import Definition
from ringviz.record.machines.kept import Snapshot
from ringviz.record.machines.leaving import Leaving, Peer
from ringviz.record.machines.life_cycle import Life
from ringviz.record.machines.offer import OfferedFile, read_offer
from ringviz.record.machines.receiving import Receiving
from ringviz.record.machines.room import Room
from ringviz.record.machines.shared import SharedFolder
from ringviz.vmm.host.allotment import MemoryRules
from ringviz.vmm.migration import plain
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


@needs_nasm
def test_snapshots_move_with_the_machine_each_on_its_own_disks(tmp_path: Path) -> None:
    """There, going back to one leads to where it leads here; from there it moves back with all of them."""
    here = make_room(tmp_path / "here", guests.writer(tmp_path / "guest"), "a")
    here.snapshot("a", "fresh")
    here.run(2 * PERIOD)
    here.snapshot("a", "early")
    here.stop("a")
    here.snapshot("a", "off")
    here.start("a")
    here.run(PERIOD)
    here.snapshot("a", "late")
    taken = here.kept("a").snapshots
    contents = {name: _disk_sha256(here, snapshot) for name, snapshot in taken.items()}
    assert len(set(contents.values())) == 2
    other = OtherHost(tmp_path)
    assert move(here, "a", other.peer(), PERIOD).outcome is not None
    assert here.machines == {}
    assert list(here.folder.glob("*.vhd")) == []
    there = other.over()
    _check_snapshots(there, taken, contents)
    there.snapshot("a", "came")  # stands where it came, and that is in a file of its own
    stood = there.kept("a")
    again = OtherHost(tmp_path / "again")
    move(there, "a", again.peer(), PERIOD)
    back = again.over()
    came = back.kept("a").snapshots["came"]
    assert came.run is not None
    assert stood.run is not None
    assert (came.run.arrived is None, came.run.guest_state_sha256) == (False, stood.run.guest_state_sha256)
    _check_snapshots(back, taken, contents)
    for name in ("came", "late", "early", "fresh", "off"):
        back.revert("a", name)
        if name != "off":
            back.run(1_000)  # it is found there: its state has the hash that it had when the snapshot was taken
    there.close()
    back.close()
    here.close()


def _check_snapshots(room: Room, taken: Mapping[str, Snapshot], contents: Mapping[str, bytes]) -> None:
    """See that they are those which were taken, on disks with the same content, and nothing else is in the folder."""
    kept = room.kept("a")
    assert kept.run is not None
    for name, expected in taken.items():
        found = kept.snapshots[name]
        assert _disk_sha256(room, found) == contents[name]
        assert found.is_from_elsewhere
        assert (found.state, found.clock) == (expected.state, expected.clock)
        assert (found.run is None) is (expected.run is None)
        if found.run is not None and expected.run is not None:
            assert (found.run.place, found.run.guest_state_sha256) == (
                expected.run.place, expected.run.guest_state_sha256,
            )  # fmt: skip
    files = {path.name for suffix in ("vhd", "arrived") for path in room.folder.glob(f"*.{suffix}")}
    assert files == room.needed_disks()


def _disk_sha256(room: Room, snapshot: Snapshot) -> bytes:
    disk = snapshot.disks[0]
    assert disk is not None
    return content_sha256(room.folder / disk, 0)


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
    run = here.prepare()
    run.begin()
    assert run.order(Deed("migrate", "a")).result == "refused: this host knows of no other"
    run.finish()
    run = here.prepare(peer=other.peer())
    run.begin()
    other.room.define("a", here.kept("a").definition)
    assert run.order(Deed("migrate", "a")).result == 'refused: a machine "a" is there already'
    run.finish()
    here.keep(run)
    assert here.kept("a").state is Life.RUNNING
    other.over()
    assert other.refusal == 'nothing has come: a machine "a" is there already'


@needs_nasm
def test_a_machine_that_may_not_come_is_told_before_its_disks_are_sent(tmp_path: Path) -> None:
    here, other = make_room(tmp_path / "here", guests.writer(tmp_path / "guest"), "a"), OtherHost(tmp_path)
    other.room.define("a", here.kept("a").definition)
    run = here.prepare(peer=other.peer())
    run.begin()
    assert run.order(Deed("migrate", "a")).result == 'refused: a machine "a" is there already'
    run.finish()
    here.keep(run)
    assert here.kept("a").state is Life.RUNNING
    here.run(1_000)


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


def _offer(files: tuple[object, ...], snapshots: object = None) -> bytes:
    text = '{"schema": 1, "scenario": "hello-serial", "technique": "vt-x", "controls": []}'
    told = json.dumps(snapshots or {})
    return plain.encode(("a", text, "move-" + "0" * 32, (), ("d", None), files, told))


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ((("d", 8, 0),), "file 0 has a parent that is none"),
        ((("d", 8, None), ("e", 8, 5)), "file 1 has a parent that is none"),
        ((("d", None, None), ("e", 8, 0)), "file 1 has a parent that is none"),
        ((("d", "8", None),), "file 0 is not one"),
        ((("d", 8),), "cannot be understood"),
    ],
)
def test_files_that_cannot_be_are_refused(files: tuple[object, ...], why: str) -> None:
    with pytest.raises(MigrationError, match=why):
        read_offer(_offer(files))


def test_snapshots_that_cannot_be_are_refused() -> None:
    run = {"place": {}, "disks": ["x", None]}
    values: tuple[object, ...] = (
        {"state": "stopped", "disks": ["x", None], "run": None, "clock": 1},
        {"state": "migrating", "disks": ["d", None], "run": None, "clock": 1},
        {"state": "running", "disks": ["d", None], "run": run, "clock": 1},
        {"state": "stopped", "disks": ["d"], "run": None, "clock": 1},
        [],
    )
    for taken in values:
        offered = read_offer(_offer((("d", 8, None),), {"s": taken}))
        with pytest.raises(MigrationError, match="the snapshots that are offered cannot be understood"):
            offered.snapshots_with({"d": "disk-1.vhd"})


def test_pieces_of_files_come_in_turn_and_lie_within_them(tmp_path: Path) -> None:
    numbers = iter(range(100))
    files = (OfferedFile("d", 68, None), OfferedFile("e", 68, 0), OfferedFile("s", None))

    def made() -> ArrivingFiles:
        return ArrivingFiles(files, lambda suffix: tmp_path / f"{next(numbers)}{suffix}", lambda: 0)

    coming = made()
    coming.write(0, 1, b"a" * 512)
    coming.write(1, 2, b"b" * 1024)
    for number, place, data, why in (
        (0, 0, b"x" * 512, "a piece of file 1 comes out of turn"),
        (3, 0, b"x" * 512, "a piece of file 4 comes out of turn"),
        (1, 1_000_000, b"x" * 512, "a piece of disk 2 lies outside of it"),
        (1, 0, b"x" * 511, "a piece of a disk cannot be understood"),
        (2, 7, b"x", "a piece for byte 7 comes at byte 0"),
    ):
        with pytest.raises(MigrationError, match=why):
            coming.write(number, place, data)
    coming.write(2, 0, b"state")
    coming.write(2, 5, b" of it")
    names = coming.finish()
    assert (tmp_path / names["s"]).read_bytes() == b"state of it"
    disk = open_disk(tmp_path / names["e"])
    assert disk.read(0, 4) == bytes(512) + b"a" * 512 + b"b" * 1024
    disk.close()
    with pytest.raises(MigrationError, match="disk 1 is said to have 0 sectors"):
        ArrivingFiles((OfferedFile("d", 0),), Path, lambda: 0)


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


def migrated_by_two_processes(
    folder: Path, kill_source_at: int, kill_destination_at: int, *, is_at_work: bool = False
) -> tuple[int, int]:
    """Move machine a between two processes, and give their steps; 0 for one that was killed.

    The destination only waits for it, or is a host at work, which lets it run a little and keeps that.
    """
    shared = SharedFolder(folder / "shared")
    shared.make()
    ports, tell_port = os.pipe()
    counts = [os.pipe(), os.pipe()]

    def destination(killer: Killer) -> None:
        room = Room(folder / "there", lambda: 0)
        killer.steps = 0

        def tell(port: int) -> None:
            os.write(tell_port, f"{port}\n".encode())

        if is_at_work:
            receiving = Receiving(room, shared, 0)
            tell(receiving.port)
            room.run(5_000, receiving=receiving)
            return
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


@needs_nasm
@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
def test_killed_at_any_moment_the_one_machine_has_its_snapshots_and_its_disks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And neither host has files that nobody needs; the one that it comes to is at work."""
    monkeypatch.setattr(host_run, "PATIENCE_S", 1)  # for a source that is killed before it comes
    first = make_room(tmp_path / "first", guests.writer(tmp_path / "guest"), "a")
    first.run(PERIOD)
    first.stop("a")
    first.start("a")
    first.snapshot("a", "once")
    first.close()
    once = first.kept("a").snapshots["once"]
    content = _disk_sha256(first, once)

    def places(number: int, source_at: int, destination_at: int) -> tuple[tuple[int, int], bool]:
        folder = tmp_path / f"{number}"
        folder.mkdir()
        shutil.copytree(first.folder, folder / "here")
        steps = migrated_by_two_processes(folder, source_at, destination_at, is_at_work=True)
        rooms = {name: Room(folder / name, lambda: 0) for name in ("there", "here")}
        holders = [room for room in rooms.values() if "a" in room.machines]
        assert len(holders) == 1, (source_at, destination_at)
        assert holders[0].kept("a").state is Life.RUNNING
        assert _disk_sha256(holders[0], holders[0].kept("a").snapshots["once"]) == content
        for room in rooms.values():
            files = {path.name for suffix in ("vhd", "arrived") for path in room.folder.glob(f"*.{suffix}*")}
            assert files == room.needed_disks()
        holders[0].run(1_000)
        for room in rooms.values():
            room.close()
        return steps, holders[0] is rooms["there"]

    (of_source, of_destination), has_moved = places(0, 0, 0)
    assert has_moved
    kills = [(at, 0) for at in (3, of_source // 2, *range(of_source - 6, of_source))]
    kills += [(0, at) for at in range(1, of_destination + 1)]
    assert {places(number, *kill)[1] for number, kill in enumerate(kills, 1)} == {False, True}


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
