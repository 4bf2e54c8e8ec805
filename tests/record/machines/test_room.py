"""Machines go through their lives; a crash at any step of an operation leaves them before it or after it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ringviz.engine.state_hash import guest_state_sha256
from ringviz.errors import InputError, UnsupportedError
from ringviz.facts.scheduling import PERIOD_CYCLES
from ringviz.guest.disks import open_disk
from ringviz.guest.disks.checking import check_disk
from ringviz.record.machines.definition import Definition, read_definition
from ringviz.record.machines.host_file import find_host, open_host
from ringviz.record.machines.kept import Kept
from ringviz.record.machines.life_cycle import OPERATIONS, Life, state_rows
from ringviz.record.machines.room import Room
from ringviz.vmm.host.shares import Share
from tests.cli.guests import needs_nasm
from tests.record.machines.guests import writer
from tests.record.machines.killing import killed_at
from tests.vmm.host.guests import busy

pytestmark = needs_nasm
NOW = 1_700_000_000
CYCLES = 500_000


@pytest.fixture(scope="module")
def scenario(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return writer(tmp_path_factory.mktemp("guests") / "writer")


@pytest.fixture
def room(tmp_path: Path, scenario: Path) -> Room:
    """A room with one machine, switched on."""
    made = _open(tmp_path / "room")
    made.define("vm", Definition(str(scenario), "vt-x"))
    made.start("vm")
    return made


def _open(folder: Path) -> Room:
    return Room(folder, lambda: NOW)


def _reopened(room: Room) -> Room:
    room.close()
    return _open(room._store.folder)


def _sectors(room: Room, name: str) -> set[int]:
    """What the guest's counter was when it wrote the sectors of its disk; 0xEE everywhere is none."""
    disk = room.kept(name).disks[0]
    assert disk is not None
    image = open_disk(room._store.folder / disk)
    words = {int.from_bytes(image.read(number, 1)[:4], "little") for number in range(8)}
    image.close()
    return words - {0xEEEE_EEEE}


def _stands(kept: Kept) -> tuple[object, ...]:
    assert kept.run is not None
    return kept.run.place.retired, kept.run.guest_state_sha256


def test_a_machine_stands_where_it_stood_however_often_the_room_is_opened(room: Room) -> None:
    room.run(CYCLES)
    first = _stands(room.kept("vm"))
    again = _reopened(room)
    assert _stands(again.kept("vm")) == first
    again.run(CYCLES)
    assert again.clock >= 2 * CYCLES
    assert _stands(again.kept("vm")) > first
    again.close()


def test_a_snapshot_is_gone_back_to_and_the_same_future_comes_again(room: Room) -> None:
    room.run(CYCLES)
    room.snapshot("vm", "here")
    here = _stands(room.kept("vm"))
    room.run(CYCLES)
    then = _stands(room.kept("vm"))
    room.stop("vm")
    assert room.kept("vm").state is Life.STOPPED
    assert _sectors(room, "vm")
    room.revert("vm", "here")
    assert (_stands(room.kept("vm")), room.kept("vm").state) == (here, Life.RUNNING)
    room.run(CYCLES)
    assert _stands(room.kept("vm")) == then
    room.close()


def test_what_a_guest_has_written_is_on_its_disk_when_it_is_switched_off(room: Room) -> None:
    room.run(CYCLES)
    before = room.kept("vm").disks[0]
    room.stop("vm")
    written = _sectors(room, "vm")
    assert written
    assert room.kept("vm").disks[0] != before
    assert check_disk(room._store.folder / str(room.kept("vm").disks[0])) == ()
    room.start("vm")
    room.run(3 * CYCLES)
    room.reset("vm")
    assert min(_sectors(room, "vm")) > min(written)
    for _ in range(9):  # one disk upon the other, until they are made one
        room.run(CYCLES // 4)
        room.reset("vm")
    assert len(list(room._store.folder.glob("*.vhd"))) <= 9
    room.close()


def test_a_clone_goes_its_own_way_from_where_the_other_stands(room: Room) -> None:
    room.run(CYCLES)
    room.pause("vm")
    room.clone("vm", "other")
    assert _stands(room.kept("other")) == _stands(room.kept("vm"))
    room.resume("other")
    room.run(CYCLES)
    assert _stands(room.kept("other")) > _stands(room.kept("vm"))
    room.stop("vm")
    room.destroy("vm")
    assert list(room.machines) == ["other"]
    room.run(CYCLES)
    room.close()


def test_a_guest_that_is_asked_shuts_down_and_one_that_does_not_look_is_switched_off(
    room: Room, tmp_path: Path
) -> None:
    deaf = busy(tmp_path / "deaf")
    room.define("deaf", Definition(str(deaf.path), "trap-emulate", patience_cycles=2 * CYCLES))
    room.start("deaf")
    room.run(CYCLES)
    for name in ("vm", "deaf"):
        room.ask_to_shut_down(name)
    room = _reopened(room)
    assert room.kept("vm").state is Life.SHUTTING_DOWN
    room.run(CYCLES)
    assert (room.kept("vm").state, room.kept("deaf").state) == (Life.STOPPED, Life.SHUTTING_DOWN)
    assert room.kept("vm").console == "!"
    assert "exit code 7" in room.kept("vm").ended
    room = _reopened(room)
    room.run(3 * CYCLES)
    assert "not shut down in time" in room.kept("deaf").ended
    room.close()


def test_what_is_not_possible_in_a_state_is_one_line_that_says_what_is(room: Room) -> None:
    with pytest.raises(InputError, match="vm is running: start is not possible; possible are pause, reset, shutdown"):
        room.start("vm")
    with pytest.raises(InputError, match="vm is running: destroy is not possible"):
        room.destroy("vm")
    with pytest.raises(InputError, match='no machine "vn"; there are vm'):
        room.pause("vn")
    with pytest.raises(InputError, match='vm: no snapshot "x"; there are none'):
        room.revert("vm", "x")
    with pytest.raises(InputError, match='a machine "vm" is defined already'):
        room.define("vm", room.kept("vm").definition)
    with pytest.raises(InputError, match="the host cannot change while machines are on: vm"):
        room.set_host("p4-672", None, None)
    room.close()


def test_the_state_machine_has_a_way_into_and_out_of_every_state() -> None:
    targets = {row.target for row in OPERATIONS.values()} - {None}
    assert targets == set(Life) - set() - ({Life.STOPPED} - targets)
    for state in Life:
        assert any(state in row.sources and row.target not in (None, state) for row in OPERATIONS.values())
    marked = [row for row in state_rows(Life.PAUSED) if row[0].startswith(">")]
    assert {operation for _, operation, _ in marked} == {"resume", "reset", "stop", "snapshot", "revert", "clone"}


def test_a_room_that_is_open_is_opened_by_nobody_else(room: Room) -> None:
    with pytest.raises(InputError, match="another ringviz is at work"):
        _open(room._store.folder)
    room.close()


def test_a_machine_that_is_not_what_it_was_is_told_and_can_be_switched_off(tmp_path: Path) -> None:
    guest = writer(tmp_path / "guest")
    room = _open(tmp_path / "room")
    room.define("vm", Definition(str(guest), "vt-x"))
    room.start("vm")
    room.run(CYCLES)
    image = guest / "guest.bin"
    image.write_bytes(image.read_bytes().replace(b"\x88\x13\0\0", b"\x80\x13\0\0"))
    before = room.kept("vm")
    with pytest.raises(UnsupportedError, match="vm: "):
        room.run(CYCLES)
    assert room.kept("vm") == before
    room.stop("vm")
    room.start("vm")
    room.run(CYCLES)
    room.close()


def test_a_share_can_be_changed_while_a_machine_runs(room: Room) -> None:
    room.set_share("vm", Share(512, 20))
    host = room.run(3_000_000)
    assert host.periods[1].used["vm"] / host.period == pytest.approx(0.2, abs=0.05)
    with pytest.raises(InputError, match="vm: cap_percent: found 200"):
        room.set_share("vm", Share(cap_percent=200))
    room.close()


OPERATION_STEPS: dict[str, Callable[[Room], object]] = {
    "define": lambda room: room.define("new", room.kept("vm").definition),
    "run": lambda room: room.run(CYCLES),
    "pause": lambda room: room.pause("vm"),
    "stop": lambda room: room.stop("vm"),
    "snapshot": lambda room: room.snapshot("vm", "another"),
    "revert": lambda room: room.revert("vm", "early"),
    "shutdown": lambda room: room.ask_to_shut_down("vm"),
}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that can be forked")
@pytest.mark.parametrize("operation", OPERATION_STEPS)
def test_killed_at_any_step_a_machine_is_where_an_operation_has_left_it(room: Room, operation: str) -> None:
    room.snapshot("vm", "early")
    room.run(CYCLES)
    room = _reopened(room)
    folder = room._store.folder
    before = dict(room.machines)
    room.close()
    steps = 0
    while True:
        steps += 1
        finished = killed_at(steps, lambda: _open(folder), OPERATION_STEPS[operation])
        room = _open(folder)
        after = dict(room.machines)
        disks = {path.name for path in folder.glob("*.vhd*")}
        assert disks == room.needed_disks()
        room.close()
        if after != before or finished:
            break
    assert finished or after != before
    assert steps >= 3
    assert after != before
    room = _open(folder)
    if room.kept("vm").state is not Life.STOPPED:
        room.run(CYCLES // 4)  # it is found again where it stands
    for name in disks:
        assert not any(finding.is_error for finding in check_disk(folder / name))
    room.close()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("schema = 1", "d.toml: scenario: missing, expected a scenario's id"),
        ('schema = 1\nscenario = "x"', "d.toml: technique: missing"),
        ('schema = 2\nscenario = "x"\ntechnique = "vt-x"', "d.toml: schema: found 2, expected 1"),
        ('schema = 1\nscenario = "x"\ntechnique = 7', "d.toml: technique: found 7, expected a technique's id"),
        ('schema = 1\nscenario = "x"\ntechnique = "vt-x"\nwieght = 3', 'unknown key, .*; did you mean "weight"'),
        ('schema = 1\nscenario = "x"\ntechnique = "vt-x"\nweight = 0', "d.toml: weight: found 0"),
        ('schema = 1\nscenario = "x"\ntechnique = "vt-x"\ncontrols = [1]', "d.toml: controls: found"),
        ("schema = ", "d.toml: no TOML"),
    ],
)
def test_a_definition_that_is_none_is_one_line(text: str, why: str) -> None:
    with pytest.raises(InputError, match=why) as caught:
        read_definition(text, "d.toml", Path())
    assert str(caught.value).isprintable()


def test_what_does_not_fit_together_is_refused_when_it_is_defined(room: Room) -> None:
    definition = room.kept("vm").definition
    for changed, why in (
        (replace(definition, technique="amd-v"), "amd-v needs a CPU with it"),
        (replace(definition, memory_mib=100_000), "--memory: found"),
        (replace(definition, disk="nothing.img"), "--disk: found"),
        (replace(definition, technique="native"), "native cannot share a host"),
    ):
        with pytest.raises(Exception, match=why):
            room.define("x", changed)
    with pytest.raises(InputError, match='name: found "a/b"'):
        room.define("a/b", definition)
    assert list(room.machines) == ["vm"]
    room.close()


def test_balloons_and_shares_are_as_they_were_after_a_run_and_swapped_pages_make_no_difference(tmp_path: Path) -> None:
    """A crowded host is stopped and runs on; which pages are shared and swapped begins anew, and no guest can tell."""
    room = open_host(find_host("overcommit"), tmp_path, lambda: NOW)
    room.run(9_000_000)
    room.set_definition("reader", replace(room.kept("reader").definition, memory_max_mib=3, weight=300, cap_percent=60))
    memory = room.run(3_000_000).memory
    before = {name: (len(pages.balloon), pages.has_driver) for name, pages in memory.maps.items()}
    assert before["reader"][0] >= 256
    assert memory.swap.used > 0
    assert memory.sharing.saved_frames > 0
    definitions = {name: kept.definition for name, kept in room.machines.items()}
    room.close()
    room = _open(tmp_path)
    run = room.prepare()
    run.begin()
    again = run.host.memory
    assert {name: (len(pages.balloon), pages.has_driver) for name, pages in again.maps.items()} == before
    assert {name: kept.definition for name, kept in room.machines.items()} == definitions
    assert run.host.share_of("reader") == Share(300, 60)
    assert (again.sharing.saved_frames, again.swap.used) != (memory.sharing.saved_frames, memory.swap.used)
    for name, kept in room.machines.items():
        assert kept.run is not None
        assert guest_state_sha256(run.host.machine(name).technique) == kept.run.guest_state_sha256
    run.advance(PERIOD_CYCLES)
    assert len(again.maps["reader"].balloon) >= 256  # and it is not emptied only to be filled again
    room.close()
