"""A host at work does what rules, orders for set times and orders from outside tell it, and says so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ringviz.engine.automation.reading import read_automation
from ringviz.engine.automation.rules import Automation, Deed
from ringviz.engine.frame_map import page_states
from ringviz.record.machines.audit import Audited
from ringviz.record.machines.chapters import chapters
from ringviz.record.machines.definition import Definition
from ringviz.record.machines.host_run import HostRun
from ringviz.record.machines.inbox import leave_order, waiting_orders
from ringviz.record.machines.life_cycle import Life
from ringviz.record.machines.room import Room
from ringviz.vmm.host.allotment import MemoryRules
from tests.cli.guests import needs_nasm
from tests.record.machines.guests import writer
from tests.vmm.migration.guests import writer as page_writer

pytestmark = needs_nasm
PERIOD = 1_000_000


@pytest.fixture(scope="module")
def scenario(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(writer(tmp_path_factory.mktemp("guests") / "writer"))


@pytest.fixture
def room(tmp_path: Path, scenario: str) -> Iterator[Room]:
    """Machines a and b are on, c is off."""
    made = Room(tmp_path / "room", lambda: 0)
    for name in "abc":
        made.define(name, Definition(scenario, "vt-x"))
    made.start("a")
    made.start("b")
    yield made
    made.close()


def _automation(*tables: str) -> Automation:
    return read_automation("schema = 1\n" + "\n".join(tables), "test")


def _rule(name: str, machine: str, condition: str, deed: str) -> str:
    return f'[[rules]]\nname = "{name}"\nmachine = "{machine}"\n{condition}\n{deed}\n'


def _order(at: int, machine: str, deed: str) -> str:
    return f'[[orders]]\nat = {at}\nmachine = "{machine}"\n{deed}\n'


def _done(room: Room) -> list[tuple[str, str]]:
    return [(entry.who, entry.what) for entry in room.audit if entry.is_done]


def _run(room: Room) -> HostRun:
    assert room.last_run is not None
    return room.last_run


def test_a_cap_for_a_set_time_holds_from_then_on(room: Room) -> None:
    room.run(4 * PERIOD, _automation(_order(2 * PERIOD, "a", 'do = "cap"\nvalue = 20')))
    before, after = chapters(_run(room))
    assert [before.readings[name].share for name in "abc"] == pytest.approx([50, 50, 0], abs=2)
    assert after.readings["a"].share == pytest.approx(20, abs=2)
    assert after.readings["b"].share == pytest.approx(80, abs=2)
    assert 0 <= before.end - 2 * PERIOD < 100_000
    assert before.readings["a"].ready == pytest.approx(100 - before.readings["a"].share)
    assert room.kept("a").definition.cap_percent == 20


def test_an_order_from_outside_is_taken_within_an_accounting_period(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is left by another hand while the host is in its second period."""
    look_after = HostRun._look_after
    left: list[int] = []

    def and_leave(run: HostRun, name: str) -> None:
        look_after(run, name)
        if run.host.clock > PERIOD and not left:
            left.append(run.host.clock)
            leave_order(room.folder, [Deed("weight", "a", 768), Deed("cap", "b", 10)], 1)

    monkeypatch.setattr(HostRun, "_look_after", and_leave)
    room.run(4 * PERIOD)
    assert [(entry.who, entry.what) for entry in room.audit] == [
        ("(from outside)", "weight a 768"),
        ("(from outside)", "cap b 10 %"),
    ]
    assert left[0] <= room.audit[0].at <= left[0] + PERIOD
    assert list(chapters(_run(room)))[-1].readings["a"].share == pytest.approx(90, abs=3)
    assert not list(waiting_orders(room.folder))
    assert room.kept("a").definition.weight == 768


def test_an_order_that_no_host_has_taken_is_carried_out_when_the_room_is_opened(room: Room) -> None:
    folder = room.folder
    leave_order(folder, [Deed("cap", "a", 30)], 1)
    leave_order(folder, [Deed("cap", "a", 40), Deed("weight", "gone", 1), Deed("weight", "b", 0)], 2)
    (folder / "order-0.json").write_text("[[1]]")
    room.close()
    again = Room(folder, lambda: 0)
    assert (again.kept("a").definition.cap_percent, again.kept("b").definition.weight) == (40, 256)
    assert not list(waiting_orders(folder))
    again.close()


def test_a_machine_that_stops_is_replaced_by_another(room: Room) -> None:
    failover = _rule("failover", "a", 'when = "state"\nis = "stopped"', 'do = "start"\ntarget = "c"')
    room.run(3 * PERIOD, _automation(_order(PERIOD // 2, "a", 'do = "stop"'), failover))
    assert _done(room) == [("(order)", "stop a"), ("failover", "start c")]
    assert [room.kept(name).state for name in "abc"] == [Life.STOPPED, Life.RUNNING, Life.RUNNING]
    run = room.kept("c").run
    assert run is not None
    assert run.place.retired > 0
    retired = run.place.retired
    room.run(PERIOD // 4)  # it is found again where it stands
    run = room.kept("c").run
    assert run is not None
    assert run.place.retired > retired


def test_a_guest_that_ends_is_restarted_though_nothing_else_is_on(room: Room) -> None:
    room.stop("b")
    room.ask_to_shut_down("a")
    again = _rule("again", "a", 'when = "state"\nis = "exit-7"', 'do = "restart"')
    room.run(3 * PERIOD, _automation(again))
    assert _done(room) == [("again", "restart a")]
    assert "it is ended, exit-7, stopped" in room.audit[0].why
    assert room.kept("a").state is Life.RUNNING


def test_a_snapshot_taken_while_the_host_runs_is_gone_back_to(room: Room) -> None:
    keep = _order(PERIOD, "a", 'do = "snapshot"')
    paused = [_order(PERIOD, "b", 'do = "pause"'), _order(2 * PERIOD, "b", 'do = "resume"')]
    room.run(3 * PERIOD, _automation(keep, *paused))
    assert _done(room) == [("(order)", "snapshot a"), ("(order)", "pause b"), ("(order)", "resume b")]
    taken = room.kept("a").snapshots["order-1"]
    assert taken.run is not None
    _, middle, _ = chapters(_run(room))
    assert (round(middle.readings["a"].share), middle.readings["b"].exits) == (100, None)
    room.stop("b")
    room.revert("a", "order-1")
    room.run(1)  # the hash of what the guest can see is compared
    run = room.kept("a").run
    assert run is not None
    assert taken.run.place.retired <= run.place.retired < taken.run.place.retired + 10_000


def test_a_paused_machine_stands_still_after_the_run_too(room: Room) -> None:
    room.run(2 * PERIOD, _automation(_order(PERIOD, "b", 'do = "pause"')))
    assert room.kept("b").state is Life.PAUSED
    stood = room.kept("b").run
    room.run(PERIOD)
    assert room.kept("b").run == stood
    room.resume("b")
    room.run(PERIOD)
    assert room.kept("b").run != stood


def test_what_cannot_be_done_is_told_and_the_run_goes_on(room: Room) -> None:
    orders = [
        _order(1, "c", 'do = "pause"'),
        _order(2, "a", 'do = "start"'),
        _order(3, "a", 'do = "weight"\nvalue = 256'),
    ]
    room.run(PERIOD, _automation(*orders))
    assert [entry.result.split(";")[0] for entry in room.audit] == [
        "refused: c is stopped: pause is not possible",
        "refused: a is running: start is not possible",
        "nothing to change",
    ]
    assert room.clock >= PERIOD


def test_a_dry_run_only_tells(room: Room) -> None:
    calm = _rule("calm", "a", 'when = "share"\nover = 40', 'do = "cap"\nvalue = 10')
    room.run(3 * PERIOD, _automation(calm, _order(5, "b", 'do = "stop"')), is_dry=True)
    assert [(entry.who, entry.result) for entry in room.audit] == [
        ("(order)", "not done: dry run"),
        ("calm", "not done: dry run"),
    ]
    assert room.kept("a").definition.cap_percent == 0
    assert room.kept("b").state is Life.RUNNING


def test_the_same_rules_do_the_same_things_at_the_same_times(tmp_path: Path, scenario: str) -> None:
    def audited(folder: Path) -> tuple[list[Audited], list[str]]:
        room = Room(folder, lambda: 0)
        for name in "ab":
            room.define(name, Definition(scenario, "vt-x"))
            room.start(name)
        calm = 'do = "cap"\nvalue = 10\nrelease_value = 0'
        rules = [
            _rule("calm", "a", 'when = "share"\nover = 45\nrelease = 5', calm),
            _rule("relief", "b", 'when = "ready"\nunder = 20\nfor_cycles = 1_000_000', 'do = "snapshot"'),
        ]
        host = room.run(3 * PERIOD, _automation(*rules))
        room.close()
        return room.audit, [event.line() for event in host.events]

    first = audited(tmp_path / "one")
    assert first == audited(tmp_path / "two")
    assert [(entry.who, entry.what) for entry in first[0]] == [("calm", "cap a 10 %"), ("relief", "snapshot b")]


def test_rules_can_ask_for_what_has_become_of_memory(tmp_path: Path) -> None:
    """On a host with less memory than its machines believe to have, which looks for pages of the same bytes."""
    page_writer(tmp_path / "guest", 30, 200, 50)
    room = Room(tmp_path / "room", lambda: 0)
    room.set_host(None, 1, None, MemoryRules(overcommits=True, shares_pages=True))
    for name in "ab":
        room.define(name, Definition(str(tmp_path / "guest"), "vt-x"))
        room.start(name)
    full = _rule("full", "b", 'when = "free-memory"\nunder = 10', 'do = "snapshot"\ntarget = "b"').replace(
        'machine = "b"\n', "", 1
    )
    run = room.prepare(
        _automation(
            _rule("crowded", "a", 'when = "swapped"\nover = 0.01', 'do = "cap"\nvalue = 70'),
            _rule("alike", "b", 'when = "shared"\nover = 0', 'do = "weight"\nvalue = 100'),
            full,
        )
    )
    run.begin()
    while run.host.clock < 3 * PERIOD:
        run.advance(3 * PERIOD)
    assert {(entry.who, entry.what) for entry in run.audit} >= {("crowded", "cap a 70 %"), ("full", "snapshot b")}
    for name, pages in run.host.memory.maps.items():
        reading = run.latest[name]
        assert reading.swapped == len(pages.slots) / 256
        assert reading.ballooned == len(pages.balloon) / 256 == 0
        states = list(page_states(pages))
        assert reading.shared == states.count("shared") / 256
        assert states.count("swapped") == len(pages.slots)
    assert sum(reading.swapped or 0 for reading in run.latest.values()) > 0
    room.close()
