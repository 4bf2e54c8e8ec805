"""Orders for a host at work: taken when its accounting period is over, answered when they are kept, and never twice."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ringviz.engine.automation.rules import Deed
from ringviz.record.machines.audit import DONE
from ringviz.record.machines.definition import Definition
from ringviz.record.machines.host_run import HostRun
from ringviz.record.machines.inbox import (
    LIFE,
    MOST_ANSWERS,
    Answer,
    find_answer,
    give_answer,
    leave_order,
    take_orders,
    waiting_orders,
    withdraw_order,
)
from ringviz.record.machines.life_cycle import Life
from ringviz.record.machines.room import Room
from tests.cli.guests import needs_nasm
from tests.record.machines.guests import writer
from tests.record.machines.killing import killed_at
from tests.vmm.host.guests import busy

pytestmark = needs_nasm
PERIOD = 1_000_000


@pytest.fixture(scope="module")
def scenario(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(writer(tmp_path_factory.mktemp("guests") / "writer"))


@pytest.fixture(autouse=True)
def no_drive(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for the drive here: processes are killed, the computer is not."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def room(tmp_path: Path, scenario: str) -> Iterator[Room]:
    """Machines a and b are on."""
    made = _room(tmp_path / "room", scenario)
    yield made
    made.close()


def _room(folder: Path, scenario: str) -> Room:
    made = _opened(folder)
    for name in "ab":
        made.define(name, Definition(scenario, "vt-x"))
        made.start(name)
    return made


def _opened(folder: Path) -> Room:
    return Room(folder, lambda: 0)


def _ordered(run: HostRun, folder: Path, deed: Deed, number: int) -> Answer:
    """Leave an order, let the host run to the end of its accounting period, and give the answer."""
    order = leave_order(folder, [deed], number, wants_answer=True)
    assert find_answer(folder, order) is None
    end = (run.host.clock // PERIOD + 1) * PERIOD
    while run.host.clock < end:
        run.advance(end)
    answer = find_answer(folder, order)
    assert answer is not None
    assert end <= answer.clock < end + 50_000
    return answer


LIFE_OF_A = (
    (Deed("pause", "a"), DONE, "paused"),
    (Deed("pause", "a"), "refused: a is paused: pause is not possible; possible are resume", "paused"),
    (Deed("clone", "a", named="twin"), DONE, "paused"),
    (Deed("clone", "a", named="twin"), 'refused: a machine "twin" is defined already', "paused"),
    (Deed("resume", "a"), DONE, "running"),
    (Deed("snapshot", "a", named="here"), DONE, "running"),
    (Deed("snapshot", "a", named="here"), 'refused: a: there is a snapshot "here" already', "running"),
    (Deed("snapshot", "a", named="No"), 'refused: name: found "No"', "running"),
    (Deed("reset", "a"), DONE, "running"),
    (Deed("revert", "a", named="there"), 'refused: a: no snapshot "there"; there are here', "running"),
    (Deed("revert", "a", named="here"), DONE, "running"),
    (Deed("shutdown", "a"), DONE, "shutting-down"),
    (Deed("destroy", "b"), "refused: b is running: destroy is not possible", "running"),
    (Deed("stop", "b"), DONE, "stopped"),
    (Deed("destroy", "b"), DONE, ""),
    (Deed("start", "a"), DONE, "running"),
    (Deed("start", "b"), 'refused: no machine "b"', ""),
)
"""The life of a machine as orders, what comes of each, and the state afterwards."""


def test_a_machine_is_led_through_its_life_by_orders_to_a_host_at_work(room: Room) -> None:
    assert {deed.action for deed, _, _ in LIFE_OF_A} == set(LIFE)
    run = room.prepare()
    run.begin()
    for number, (deed, result, state) in enumerate(LIFE_OF_A):
        answer = _ordered(run, room.folder, deed, number)
        assert answer.results[0].startswith(result), deed
        assert answer.state == state, deed
    assert run.audit[-1].what == "start b"
    run.finish()
    room.keep(run)
    assert not list(waiting_orders(room.folder))
    assert not list(room.folder.glob("answer-*"))
    again = _reopened(room)
    assert list(again.machines) == ["a", "twin"]
    assert again.kept("twin").state is Life.PAUSED
    assert again.clock == run.clock
    assert [entry.what for entry in again.audit] == [deed.text for deed, _, _ in LIFE_OF_A]
    again.run(PERIOD)  # all stand where they can be found again
    again.close()


def test_what_was_answered_is_kept_though_the_host_is_killed_right_after(room: Room) -> None:
    run = room.prepare()
    run.begin()
    _ordered(run, room.folder, Deed("pause", "a"), 1)
    clock = run.clock
    taken = run.standing()
    run.advance(5 * PERIOD)  # and now it is gone: nothing is kept of this
    again = _reopened(room)
    assert again.clock == clock
    assert again.machines == taken
    assert again.kept("a").state is Life.PAUSED
    again.run(PERIOD)
    again.close()


def test_the_same_orders_do_the_same_at_the_same_times(tmp_path: Path, scenario: str) -> None:
    stories = []
    for name in ("one", "two"):
        room = _room(tmp_path / name, scenario)
        run = room.prepare()
        run.begin()
        for number, (deed, _, _) in enumerate(LIFE_OF_A[:5]):
            _ordered(run, room.folder, deed, number)
        stories.append((run.audit, run.host.events, run.standing()))
        room.close()
    assert stories[0] == stories[1]


ORDERS = (
    Deed("pause", "a"),
    Deed("clone", "a", named="twin"),
    Deed("snapshot", "b", named="here"),
    Deed("cap", "b", 40),
    Deed("resume", "a"),
)
"""None of which could be done twice without a refusal, but for the cap."""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that can be forked")
@pytest.mark.parametrize("is_at_work", [True, False])
def test_killed_at_any_step_every_order_is_carried_out_once(tmp_path: Path, is_at_work: bool) -> None:
    """By the host at work, or where it is gone by whoever opens the folder, who is killed too."""
    busy(tmp_path / "guest")
    room = _room(tmp_path / "room", str(tmp_path / "guest"))
    room.close()
    step = 0
    finished = False
    while not finished:
        step += 1
        folder = tmp_path / f"{step}"
        shutil.copytree(room.folder, folder)
        left: list[str] = []

        def work(opened: Room, folder: Path = folder) -> None:
            run = opened.prepare()
            run.begin()
            for number, deed in enumerate(ORDERS):
                leave_order(folder, [deed], number, wants_answer=True)
            run.advance(PERIOD)
            run.finish()
            opened.keep(run)

        if is_at_work:
            finished = killed_at(step, lambda folder=folder: _opened(folder), work)  # type: ignore[misc]
            left = [order.id for order in waiting_orders(folder)]
            left += [path.stem.removeprefix("answer-") for path in folder.glob("answer-*.json")]
            left = list(dict.fromkeys(left))  # killed between the two, an order has its answer and still waits
        else:
            left = [leave_order(folder, [deed], number, wants_answer=True) for number, deed in enumerate(ORDERS)]
            finished = killed_at(step, lambda folder=folder: _opened(folder), Room.close)  # type: ignore[misc]
        again = _opened(folder)
        answers = [find_answer(folder, order) for order in left]
        assert all(answer is not None and answer.results == (DONE,) for answer in answers), (step, answers)
        if len(left) == len(ORDERS):
            assert list(again.machines) == ["a", "b", "twin"]
            assert list(again.kept("b").snapshots) == ["here"]
            assert again.kept("b").definition.cap_percent == 40
            assert [again.kept(name).state.value for name in ("a", "twin")] == ["running", "paused"]
        else:
            assert is_at_work
            assert not finished
        assert not list(waiting_orders(folder))
        again.run(1_000)
        again.close()
    assert step > 10


def test_an_order_is_either_withdrawn_or_taken(tmp_path: Path) -> None:
    one, two = (leave_order(tmp_path, [Deed("pause", "a")], number) for number in (1, 2))
    assert withdraw_order(tmp_path, one)
    assert not withdraw_order(tmp_path, one)
    assert [order.id for order in take_orders(tmp_path)] == [two]
    assert not withdraw_order(tmp_path, two)


def test_answers_that_nobody_fetches_do_not_pile_up(tmp_path: Path) -> None:
    for number in range(MOST_ANSWERS + 5):
        order = leave_order(tmp_path, [Deed("pause", "a")], number, wants_answer=True)
        take_orders(tmp_path)
        assert give_answer(tmp_path, order, Answer((DONE,), "paused", 7))
    assert find_answer(tmp_path, order) == Answer((DONE,), "paused", 7)
    assert len(list(tmp_path.iterdir())) == MOST_ANSWERS - 1


def _reopened(room: Room) -> Room:
    room.close()
    return _opened(room.folder)
