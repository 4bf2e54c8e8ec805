"""A host at work takes machines in from another one when its accounting periods are over, and its own run on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ringviz.engine.automation.rules import Deed
from ringviz.engine.migration import ending_of, new_machine
from ringviz.record.machines.audit import DONE
from ringviz.record.machines.host_run import HostRun
from ringviz.record.machines.leaving import Peer
from ringviz.record.machines.life_cycle import Life
from ringviz.record.machines.receiving import Receiving
from ringviz.record.machines.room import Room
from ringviz.record.machines.shared import SharedFolder
from ringviz.vmm.migration import tcp
from ringviz.vmm.migration.source import Plan
from ringviz.vmm.registry import choose
from tests.record.machines.test_moving import LONG, PERIOD, PLAN, ended, make_room, move
from tests.vmm.migration.guests import writer

SLICE = 20_000


@pytest.fixture
def rooms(tmp_path: Path) -> Iterator[tuple[Room, Room, Receiving]]:
    """One with machines a and b, and one with machine own, to which a port leads."""
    writer(tmp_path / "guest", 60, 20, 50)
    here = make_room(tmp_path / "here", tmp_path / "guest", "a", "b")
    there = make_room(tmp_path / "there", tmp_path / "guest", "own")
    receiving = Receiving(there, SharedFolder(tmp_path / "shared"), 0)
    yield here, there, receiving
    receiving.close()
    here.close()
    there.close()


class Source:
    """The other host, in a thread of its own."""

    def __init__(self, room: Room, name: str, receiving: Receiving, folder: Path, plan: Plan = PLAN) -> None:
        self.outcome = ""
        self._work = room, name, Peer(receiving.port, folder / "shared", plan)
        self._thread = threading.Thread(target=self._move)
        self._thread.start()

    def _move(self) -> None:
        room, name, peer = self._work
        try:
            outcome = move(room, name, peer, 5_000).outcome
            self.outcome = "" if outcome is None else outcome.result.name
        except AssertionError as error:  # refused before it began
            self.outcome = str(error)

    @property
    def is_over(self) -> bool:
        return not self._thread.is_alive()

    def join(self) -> str:
        self._thread.join(60)
        return self.outcome


def _told(run: HostRun) -> list[tuple[str, str]]:
    return [(entry.what, entry.result) for entry in run.audit]


def _run_until_told(run: HostRun, receiving: Receiving, count: int = 1) -> None:
    for _ in range(1_000):
        if len(run.audit) >= count:
            return
        run.advance(run.host.clock + PERIOD)
        receiving.wait(0.05)
    raise AssertionError("nothing has come")


def test_a_machine_comes_while_the_hosts_own_run_and_all_end_as_if_nobody_had_moved(
    rooms: tuple[Room, Room, Receiving], tmp_path: Path
) -> None:
    here, there, receiving = rooms
    run = there.prepare(receiving=receiving)
    run.begin()
    run.advance(PERIOD)
    stood = run.host.clock
    source = Source(here, "a", receiving, tmp_path)
    _run_until_told(run, receiving)
    assert source.join() == "MOVED"
    assert _told(run) == [("let a come", DONE)]
    assert run.audit[0].at > stood
    assert run.audit[0].at % PERIOD < SLICE  # at the end of an accounting period
    assert run.machines["a"].state is Life.RUNNING
    assert there.kept("a").state is Life.RUNNING  # and kept so: it is nowhere else any more
    while run._running:
        run.advance(run.host.clock + PERIOD)
    run.finish()
    there.keep(run)
    alone = ending_of(new_machine(there.scenario(there.kept("a")), "vt-x", choose("vt-x", None, "haswell")))
    assert {name: kept.console for name, kept in there.machines.items()} == dict.fromkeys(("own", "a"), alone.console)
    assert ended(here, "b") == alone


def test_a_host_on_which_nothing_is_on_waits_for_a_machine(rooms: tuple[Room, Room, Receiving], tmp_path: Path) -> None:
    here, there, receiving = rooms
    there.stop("own")
    source = Source(here, "a", receiving, tmp_path)
    host = there.run(LONG, receiving=receiving)
    assert source.join() == "MOVED"
    assert there.kept("a").ended
    assert there.audit[0].at == 0
    assert host.clock < LONG


def test_what_may_not_come_is_told_on_both_sides(rooms: tuple[Room, Room, Receiving], tmp_path: Path) -> None:
    here, there, receiving = rooms
    there.define("a", here.kept("a").definition)
    run = there.prepare(receiving=receiving)
    run.begin()
    source = Source(here, "a", receiving, tmp_path)
    _run_until_told(run, receiving)
    assert 'a machine "a" is there already' in source.join()
    assert _told(run) == [("let a machine come", 'refused: a machine "a" is there already')]
    tcp.connect(receiving.port).close()
    _run_until_told(run, receiving, 2)
    assert "the link was lost while this host waits for a greeting" in run.audit[1].result
    run.finish()
    there.keep(run)
    assert there.kept("a").state is Life.STOPPED
    assert here.kept("a").state is Life.RUNNING


def test_a_run_that_is_over_before_all_has_come_leaves_the_machine_where_it_was(
    rooms: tuple[Room, Room, Receiving], tmp_path: Path
) -> None:
    here, there, receiving = rooms
    run = there.prepare(receiving=receiving)
    run.begin()
    other = here.prepare(peer=Peer(receiving.port, tmp_path / "shared", Plan(3)))
    other.begin()
    connected = threading.Thread(target=lambda: other.order(Deed("migrate", "a")))
    connected.start()
    while connected.is_alive():
        run.advance(run.host.clock + PERIOD)
        receiving.wait(0.05)
    run.finish()
    there.keep(run)
    assert list(there.machines) == ["own"]
    assert "the link was lost" in run.audit[-1].result
    while other.migrations[0].outcome is None:
        other.advance(LONG)
    other.finish()
    here.keep(other)
    assert here.kept("a").state is Life.RUNNING
    assert not list(there.folder.glob("*.arrived"))


def test_two_machines_come_one_after_the_other(rooms: tuple[Room, Room, Receiving], tmp_path: Path) -> None:
    here, there, receiving = rooms
    run = there.prepare(receiving=receiving)
    run.begin()
    for number, name in enumerate("ab", 1):
        source = Source(here, name, receiving, tmp_path)
        _run_until_told(run, receiving, number)
        assert source.join() == "MOVED"
    run.finish()
    there.keep(run)
    assert list(there.machines) == ["own", "a", "b"]
    assert here.machines == {}
    there.run(1_000)
