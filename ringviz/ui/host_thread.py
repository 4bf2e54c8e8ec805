"""The thread that a host runs in, so that keys are answered while it does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Literal

from textual.message import Message

from ringviz.engine.automation.rules import Automation, Deed
from ringviz.errors import RingvizError
from ringviz.facts.scheduling import LEAST_WEIGHT, MOST_WEIGHT
from ringviz.guest.scenario import Scenario
from ringviz.record.machines.definition import Definition
from ringviz.record.machines.host_run import HostRun
from ringviz.record.machines.leaving import Peer
from ringviz.record.machines.receiving import Receiving
from ringviz.record.machines.room import Room
from ringviz.record.machines.room_view import RoomView, room_view
from ringviz.vmm.host.shares import FULL_PERCENT

SHORTEST_STEP_S = 0.2
"""Ours: within a period five pictures a second at most, so that one can see what changes."""
PERIOD_S = 0.4
"""Ours: an accounting period stands for so long."""
EVENT_S = 1.5
"""Ours: a period in which the host was told something, or has done something by itself, stands longer: to be read."""
GANTT_PERIODS = 4
CAP_STEP = 10
"""Per cent of the CPU by which a key changes a cap."""


@dataclass(frozen=True, slots=True)
class Nudge:
    """Weight, cap or memory is to be a step higher or lower than it is by then: keys can come faster than that."""

    action: str
    target: str
    by: int
    """1 or -1."""

    def deed(self, now: Definition) -> Deed:
        """Say what that comes to.

        Twice or half the weight; a tenth of the CPU more or less, above all of it no cap; a MiB of memory more or less.
        """
        if self.action == "balloon":
            whole = now.load().guest.memory_mib
            size = min(now.memory_max_mib or whole, whole) + self.by
            return Deed("balloon", self.target, 0 if size >= whole else max(now.memory_min_mib or 1, size))
        if self.action == "weight":
            weight = now.weight * 2 if self.by > 0 else now.weight // 2
            return Deed("weight", self.target, min(MOST_WEIGHT, max(LEAST_WEIGHT, weight)))
        if not now.cap_percent:
            return Deed("cap", self.target, 0 if self.by > 0 else FULL_PERCENT - CAP_STEP)
        cap = (now.cap_percent // CAP_STEP + self.by) * CAP_STEP
        return Deed("cap", self.target, 0 if cap > FULL_PERCENT else max(1, cap))


@dataclass(frozen=True, slots=True)
class Visit:
    """A machine is to be looked at as a guest on its own; the host is held meanwhile."""

    name: str


Command = Deed | Nudge | Visit | Literal["run", "hold", "step", "picture", "end"]


@dataclass
class HostShown(Message):
    """A new picture of the host."""

    view: RoomView
    is_running: bool


@dataclass
class Visited(Message):
    """A machine that somebody wants to look at."""

    name: str
    scenario: Scenario
    technique: str
    mmu: str
    cpu: str
    controls: tuple[str, ...]
    retired: int
    """Where it stands, in guest instructions."""


@dataclass
class HostSaid(Message):
    """One line: what came of an order, or what is wrong."""

    text: str
    is_failure: bool = False


@dataclass(frozen=True, slots=True)
class OpenedHost:
    """A host that can begin."""

    room: Room
    """Whose machines run; nobody else touches it until the thread has ended."""
    automation: Automation | None = None
    """Rules and orders that it lives by."""
    stop_at: int | None = None
    """Cycles after which it is held for the first time; None for never."""
    peer: Peer | None = None
    """The host to which machines can move."""
    there: Callable[[], Sequence[str]] = tuple
    """What that one has said, line by line."""
    receiving: Receiving | None = None
    """A port at which machines may come; it is looked at while the host runs."""


class HostThread:
    """A host at work: commands go in, pictures come out."""

    def __init__(self, opening: AbstractContextManager[OpenedHost] | None, post: Callable[[Message], object]) -> None:
        """Be ready.

        Args:
            opening: gives the host, and is done with it afterwards; both on the thread, for it may take a second. None
                for a kind of thread that has its host from elsewhere.
            post: takes messages, from the thread.
        """
        self._opening, self._post = opening, post
        self._commands: SimpleQueue[Command] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="host", daemon=True)
        self._submitted = self._served = 0
        self._stop_at: int | None = None
        self.there: Callable[[], Sequence[str]] = tuple
        """What the other host has said."""
        self.cells = 60
        """Width of the Gantt picture."""
        self.map_cells = 0
        """Size of the picture of the host's memory; 0 while nobody looks at it."""

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def submit(self, command: Command) -> None:
        """Have something done as soon as the step that goes on now is over."""
        self._submitted += 1
        self._commands.put(command)

    @property
    def is_idle(self) -> bool:
        """All that was asked for has been done, and its picture is on its way."""
        return self._served == self._submitted

    def end(self) -> None:
        """Finish the run and have it kept; nothing if that is done."""
        self._commands.put("end")
        if self._thread.is_alive():
            self._thread.join()

    def _work(self) -> None:
        assert self._opening is not None
        try:
            with self._opening as opened:
                self._stop_at, self.there = opened.stop_at, opened.there
                run = opened.room.prepare(opened.automation, peer=opened.peer, receiving=opened.receiving)
                run.begin()
                self._serve(run)
                run.finish()
                opened.room.keep(run)
        except RingvizError as error:
            self._post(HostSaid(str(error), is_failure=True))
        except Exception as error:  # the thread has nobody else to tell
            self._post(HostSaid(f"internal error: {type(error).__name__}: {error}", is_failure=True))

    def _serve(self, run: HostRun) -> None:
        is_running = False
        self._show(run, is_running=is_running)
        next_step = 0.0
        while True:
            command = self._next(next_step - time.monotonic() if is_running else None)
            match command:
                case "end":
                    return
                case "run" | "hold":
                    is_running = command == "run"
                case "step":
                    self._step(run)
                    is_running = False
                case "picture":
                    pass
                case Deed() | Nudge():
                    self._order(run, command)
                case Visit(name):
                    is_running = False
                    self._visit(run, name)
                case None:
                    began, done = time.monotonic(), len(run.audit)
                    is_running = self._step(run)
                    next_step = began + (PERIOD_S if len(run.audit) == done else EVENT_S)
            self._show(run, is_running=is_running)
            self._served += command is not None

    def _order(self, run: HostRun, command: Deed | Nudge) -> None:
        if command.target not in run.machines:
            self._post(HostSaid(f"{command.target} is not here any more", is_failure=True))
            return
        if isinstance(command, Nudge):
            command = command.deed(run.machines[command.target].definition)
        entry = run.order(command)
        self._post(HostSaid(f"{entry.what}: {entry.result}", is_failure=not entry.is_done))

    def _visit(self, run: HostRun, name: str) -> None:
        if name not in run.host.names:
            self._post(HostSaid(f"{name} is switched off: there is no guest to look at", is_failure=True))
            return
        technique = run.host.machine(name).technique
        setup = technique.setup
        self._post(
            Visited(
                name, technique.scenario, technique.id, setup.mmu, setup.cpu.id,
                run.machines[name].definition.controls, technique.machine.retired,
            )
        )  # fmt: skip

    def _next(self, timeout: float | None) -> Command | None:
        """Give the next command; None if it is time to go on."""
        try:
            return self._commands.get(timeout=None if timeout is None else max(0.0, timeout))
        except Empty:
            return None

    def _step(self, run: HostRun) -> bool:
        """Run for one accounting period, or until something was done; tell whether the host is to run on.

        A machine that moves has many moments within a period; of those as many are shown as one can see.
        """
        end, done = run.host.clock + run.host.period, len(run.audit)
        next_show = time.monotonic() + SHORTEST_STEP_S
        while run.host.clock < end and len(run.audit) == done:
            run.advance(end)
            if run.is_over:
                return False
            if time.monotonic() >= next_show:
                self._show(run, is_running=True)
                next_show = time.monotonic() + SHORTEST_STEP_S
        if self._stop_at is not None and run.host.clock >= self._stop_at:
            self._stop_at = None
            self._post(HostSaid("The demonstration is over: space lets the host run on, q leaves"))
            return False
        return True

    def _show(self, run: HostRun, *, is_running: bool) -> None:
        self._post(HostShown(room_view(run, self.cells, GANTT_PERIODS, self.map_cells), is_running))
