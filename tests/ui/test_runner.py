"""The engine thread by itself, without an app."""

import queue
import threading
import time
from dataclasses import replace

import pytest
from textual.message import Message

from ringviz.engine.looks import NOTHING, Looks
from ringviz.engine.view import Snapshot
from ringviz.ui.laboratory import Cancelled, Sitting
from ringviz.ui.requests import (
    Back,
    Failed,
    GoTo,
    NextEvent,
    Open,
    PreviousEvent,
    Remarked,
    Request,
    Run,
    Seek,
    Settled,
    Shown,
    Step,
    Swap,
)
from ringviz.ui.runner import EngineThread
from tests.ui.fake import FakeLaboratory, FakeSession


class Desk:
    """Stands where the app would."""

    def __init__(self, laboratory: FakeLaboratory) -> None:
        self.inbox: queue.Queue[Message] = queue.Queue()
        self.engine = EngineThread(laboratory, self.inbox.put)
        self.engine.start()

    def ask(self, *requests: Request) -> list[Message]:
        for request in requests:
            self.engine.submit(request)
        return self.until_settled()

    def until_settled(self) -> list[Message]:
        messages: list[Message] = []
        while not messages or not isinstance(messages[-1], Settled):
            messages.append(self.inbox.get(timeout=5))
        return messages


def positions(messages: list[Message]) -> list[int]:
    return [message.snapshot.position for message in messages if isinstance(message, Shown)]


@pytest.fixture
def laboratory() -> FakeLaboratory:
    return FakeLaboratory()


@pytest.fixture
def desk(laboratory: FakeLaboratory) -> Desk:
    desk = Desk(laboratory)
    desk.ask(Open("popf-hole", "trap-emulate"))
    return desk


@pytest.mark.parametrize(
    ("request_", "start", "end"),
    [
        (Step(), 6, 7),
        (Back(), 6, 5),
        (NextEvent(), 6, 8),
        (PreviousEvent(), 6, 4),
        (Run(), 6, 100),
        (Seek(50), 6, 50),
        (GoTo("0x100040"), 6, 40),
        (Swap("amd-v"), 6, 6),
    ],
)
def test_each_request_ends_where_it_should_and_is_shown(desk: Desk, request_: Request, start: int, end: int) -> None:
    desk.ask(Seek(start))
    shown = [message for message in desk.ask(request_) if isinstance(message, Shown)]
    assert shown[-1].snapshot.position == end
    assert not shown[-1].in_motion


def test_many_waiting_steps_are_all_done_but_not_all_shown(desk: Desk) -> None:
    shown = positions(desk.ask(*[Step()] * 60))
    assert shown[-1] == 60
    assert len(shown) < 60


def test_a_run_shows_moments_on_the_way_and_stops_when_cancelled() -> None:
    desk = Desk(FakeLaboratory(FakeSession(endless=True)))
    desk.ask(Open("popf-hole", "native"))
    desk.engine.submit(Run())
    while not isinstance(message := desk.inbox.get(timeout=5), Shown) or not message.in_motion:
        pass
    desk.engine.cancel()
    messages = desk.until_settled()
    last = [message for message in messages if isinstance(message, Shown)][-1]
    assert not last.in_motion
    assert last.snapshot.position >= message.snapshot.position
    desk.engine.stop()


def test_what_waits_when_the_user_cancels_is_forgotten() -> None:
    laboratory = FakeLaboratory(FakeSession(endless=True))
    desk = Desk(laboratory)
    desk.ask(Open("popf-hole", "native"))
    desk.engine.submit(Run())
    desk.engine.submit(Seek(5))
    desk.engine.cancel()
    desk.until_settled()
    assert "seek 5" not in laboratory.session.calls
    desk.engine.stop()


def test_an_engine_error_is_told_and_the_thread_goes_on(desk: Desk) -> None:
    messages = desk.ask(GoTo("nowhere"))
    assert [message.text for message in messages if isinstance(message, Failed)] == [
        'no symbol "nowhere" in this guest'
    ]
    assert positions(desk.ask(Step())) == [1]


def test_a_mistake_inside_is_told_in_one_line(
    desk: Desk, laboratory: FakeLaboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(laboratory.session, "step", broken)
    failed = [message for message in desk.ask(Step()) if isinstance(message, Failed)]
    assert [message.text for message in failed] == ["ringviz failed inside: ZeroDivisionError: division by zero"]


def test_running_into_the_end_is_remarked_upon(desk: Desk) -> None:
    desk.ask(Seek(100))
    remarks = [message.text for message in desk.ask(NextEvent()) if isinstance(message, Remarked)]
    assert remarks == ["The run ended before another event."]
    desk.ask(Seek(2))
    remarks = [message.text for message in desk.ask(PreviousEvent()) if isinstance(message, Remarked)]
    assert remarks == ["There is no event before this one."]


def test_beyond_the_end_a_step_only_says_so(desk: Desk, laboratory: FakeLaboratory) -> None:
    desk.ask(Run())
    laboratory.session.calls.clear()
    remarks = [message.text for message in desk.ask(Step(), Run()) if isinstance(message, Remarked)]
    assert remarks == ["The run is over: b goes back one step, g to the start."] * 2
    assert laboratory.session.calls == []


def test_a_swap_that_is_cancelled_leaves_the_old_session(
    desk: Desk, laboratory: FakeLaboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = threading.Event()

    def endless(
        sitting: Sitting, technique: str, mmu: object, cpu: object, controls: object, cancelled: Cancelled
    ) -> Sitting:
        begun.set()
        while not cancelled():
            pass
        return FakeSession("amd-v")

    monkeypatch.setattr(laboratory, "swapped", endless)
    desk.ask(Seek(9))
    desk.engine.submit(Swap("amd-v"))
    assert begun.wait(5)
    desk.engine.cancel()
    shown = [message.snapshot for message in desk.until_settled() if isinstance(message, Shown)]
    assert (shown[-1].technique_id, shown[-1].position) == ("trap-emulate", 9)


def test_stop_does_not_wait_for_an_engine_that_never_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    laboratory = FakeLaboratory()
    desk = Desk(laboratory)
    desk.ask(Open("popf-hole", "native"))
    monkeypatch.setattr(laboratory.session, "step", lambda: time.sleep(3))
    desk.engine.submit(Step())
    began = time.monotonic()
    desk.engine.stop(wait_seconds=0.05)
    assert time.monotonic() - began < 1


def test_nothing_is_told_after_stop(desk: Desk) -> None:
    desk.engine.stop()
    desk.engine.submit(Step())
    time.sleep(0.05)
    assert desk.inbox.empty()


class SlowlyCompared(FakeSession):
    """A session whose comparison with bare metal comes only to those who wait."""

    waits = 0

    def snapshot(self, cancelled: Cancelled = bool, looks: Looks = NOTHING) -> Snapshot:
        snapshot = super().snapshot()
        patience = 0
        while not cancelled():
            patience += 1
            time.sleep(0.001)
            if patience > 100:
                return snapshot
        self.waits += 1
        return replace(snapshot, ledger=replace(snapshot.ledger, native_cycles=None))


def test_a_moment_is_shown_at_once_and_its_comparison_with_bare_metal_when_it_is_there() -> None:
    desk = Desk(FakeLaboratory(SlowlyCompared()))
    shown = [m.snapshot for m in desk.ask(Open("popf-hole", "trap-emulate", None, None)) if isinstance(m, Shown)]
    assert [snapshot.ledger.native_cycles is None for snapshot in shown] == [True, False]
    desk.engine.stop()


def test_the_next_request_does_not_wait_for_the_comparison() -> None:
    session = SlowlyCompared()
    desk = Desk(FakeLaboratory(session))
    messages = desk.ask(Open("popf-hole", "trap-emulate", None, None), *(Step() for _ in range(5)))
    assert positions(messages)[-1] == 5
    compared = [m.snapshot for m in messages if isinstance(m, Shown) and m.snapshot.ledger.native_cycles is not None]
    assert [snapshot.position for snapshot in compared] == [5]
    desk.engine.stop()
