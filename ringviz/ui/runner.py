"""The engine thread: the only place of the app that touches a session, and so the emulated CPU.

Requests come in by a queue, snapshots go out as messages. A long run is cut into slices, after each of which the guest
stands still for the time of one snapshot: the screen moves, and Escape is heard.
"""

import gc
import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, assert_never

from textual.message import Message

from ringviz.engine.looks import NOTHING, Looks, WalkLook
from ringviz.engine.memory_look import MemoryLook, MemoryMode
from ringviz.engine.places import DIVERGENCE
from ringviz.engine.view import Snapshot
from ringviz.errors import AssemblyError, InputError, RingvizError
from ringviz.record.made_with import told_changes
from ringviz.ui.laboratory import Editing, Group, Laboratory, Movable, Pair, Progress, Reading, Sitting
from ringviz.ui.requests import (
    AddBreakpoint,
    AskWhatIf,
    AskWhy,
    AskYears,
    Assembled,
    Back,
    BeatShown,
    Began,
    BreakpointAdded,
    CloseGroup,
    ClosePair,
    Compare,
    Compared,
    Counted,
    CountHits,
    Derived,
    Failed,
    GoTo,
    GroupShown,
    HitsCounted,
    Look,
    LookAt,
    Move,
    NextDivergence,
    NextEvent,
    NotAssembled,
    Open,
    Opened,
    OpenGroup,
    OpenLesson,
    OpenPair,
    OpenSource,
    PageShown,
    PairShown,
    PlayReplay,
    PreviousEvent,
    Priced,
    Progressed,
    Refresh,
    Remarked,
    Request,
    Run,
    RunBack,
    RunEdited,
    Seek,
    Settled,
    Shown,
    SourceShown,
    Stale,
    Step,
    Swap,
    ToBeat,
    TurnTo,
    UseBreakpoints,
)

if TYPE_CHECKING:
    from ringviz.record.player import ReplayPlayer

FRAME_SECONDS = 1 / 30
"""How long one slice of a run lasts, and how often at most the screen is told."""

_GIVES_UP_SESSIONS = (Open, PlayReplay, OpenLesson, Swap, OpenPair, ClosePair, OpenGroup, CloseGroup, RunEdited)
"""Requests after which sessions may be of no use any more."""

_RUNNING_SHARE = 4
"""A run spends at least so many times as long on running as on being shown."""

_COMPARING_SECONDS = FRAME_SECONDS / 4
"""How long at most a picture waits for what bare metal would have paid; standing still, it comes later."""

_LAST_BEAT = "This was the last beat of the replay."
_FIRST_BEAT = "There is no beat before this one."
_OVER = "The run is over: b goes back one step, g to the start."
_NO_MORE_EVENTS = "The run ended before another event."
_NO_DIVERGENCE_HERE = (
    "From there to the end, the guest got nothing else than on bare metal. p goes back event by event, g to the start."
)
_NO_BREAKPOINT = "There is no breakpoint to go back to: B sets one."
_NONE_EARLIER = "No breakpoint was met before this step."
_NO_EARLIER_EVENT = "There is no event before this one."


def _not_reached(place: str) -> str:
    return f"The run ended before it came to {place}."


Noted = Callable[[Sitting, bool], None]


class _Interrupted(Exception):  # noqa: N818 - not an error: the user asked for it
    """Raised inside a comparison's progress call to leave it."""


class EngineThread:
    """One long-lived thread that owns the session.

    Args:
        laboratory: opens sessions.
        post: takes messages from this thread to the app; must be thread-safe.
        noted: told on this thread where the session has come to rest, and whether by a single step.
        editing: changes guests; None, and none can be changed.
    """

    def __init__(
        self,
        laboratory: Laboratory,
        post: Callable[[Message], object],
        noted: Noted | None = None,
        editing: Editing | None = None,
    ) -> None:
        self._editing = editing
        self._laboratory = laboratory
        self._noted = noted
        self._player: ReplayPlayer | None = None
        self._post = post
        self._requests: queue.Queue[tuple[int, Request] | None] = queue.Queue()
        # Escape raises the generation: whatever was asked for in an older one stops, or is never begun. A number
        # instead of a flag, because a flag would have to be lowered again, and could be lowered at the wrong moment.
        self._generation = 0
        self._serving = 0
        self._stopping = threading.Event()
        self._sitting: Sitting | None = None
        self._pair: Pair | None = None
        self._breakpoints: tuple[str, ...] = ()
        """Where runs stop."""
        self._looks = NOTHING
        """What the screen shows besides."""
        self._group: Group | None = None
        self._reading: Reading | None = None
        self._last_shown = 0.0
        self._not_compared: tuple[Sitting, int] | None = None
        """Where the user did not want to wait for the comparison with bare metal."""
        # A daemon, so that not even an engine that never comes back can keep the app from quitting.
        self._thread = threading.Thread(target=self._serve, name="ringviz-engine", daemon=True)

    def start(self) -> None:
        """Begin to serve requests."""
        self._thread.start()

    def submit(self, request: Request) -> None:
        """Ask for something; returns at once."""
        self._requests.put((self._generation, request))

    def cancel(self) -> None:
        """Stop what is going on, forget what was asked for after it, and show where that leaves us."""
        self._generation += 1
        self.submit(Refresh())

    def stop(self, wait_seconds: float = 0.5) -> None:
        """End the thread; waits for it a moment at most."""
        self._stopping.set()
        self.cancel()
        self._requests.put(None)
        if self._thread.is_alive():
            self._thread.join(wait_seconds)

    def _serve(self) -> None:
        while (item := self._requests.get()) is not None and not self._stopping.is_set():
            self._serving, request = item
            if self._is_cancelled():
                continue
            try:
                self._carry_out(request)
            except RingvizError as error:
                self._tell(Failed(str(error), request))
            except Exception as error:
                # A mistake of ours below: the user keeps the screen and can still go elsewhere.
                self._tell(Failed(f"ringviz failed inside: {type(error).__name__}: {error}", request))
            if self._requests.empty():
                self._tell(Settled())
                if isinstance(request, _GIVES_UP_SESSIONS):
                    gc.collect()  # they are full of circles, and may be large

    def _carry_out(self, request: Request) -> None:
        match request:
            case Open(scenario, technique, mmu, cpu):
                self._tell(Began())
                self._pair = self._group = self._reading = None
                self._breakpoints, self._looks = (), NOTHING
                self._sitting = self._laboratory.open(scenario, technique, mmu, cpu)
                self._tell(Opened(request))
            case PlayReplay(replay):
                self._tell(Began())
                from ringviz.record.player import ReplayPlayer  # and with it the emulator, which tests do without

                self._pair = self._group = self._reading = None
                self._player = ReplayPlayer(replay)
                self._sitting = self._player.session
                if self._player.changes:
                    self._tell(Stale(told_changes(self._player.changes)))
            case Compare(scenario, cpu):
                self._tell(Began())
                self._with_progress(lambda progress: Compared(self._laboratory.compare(scenario, cpu, progress)))
                return
            case AskWhatIf(scenario, asked_cpu):
                self._tell(Began())
                self._with_progress(lambda progress: Counted(self._laboratory.contest(scenario, asked_cpu, progress)))
                return
            case AskYears(scenario):
                self._tell(Began())
                self._with_progress(lambda progress: Priced(self._laboratory.generations(scenario, progress)))
                return
            case OpenLesson(lesson, page, seed, lesson_cpu):
                self._tell(Began())
                reading = self._laboratory.read(lesson, seed, lesson_cpu)
                self._pair = self._group = None
                self._reading = reading
                self._breakpoints, self._looks = (), NOTHING
                self._turn_to(reading, page)
            case TurnTo(page):
                self._tell(Began())
                if self._reading is not None:
                    self._turn_to(self._reading, page)
            case _ if self._sitting is None:
                return
            case Refresh():
                pass
            case OpenPair():
                self._tell(Began())
                pair = self._laboratory.pair(self._sitting, self._is_cancelled)
                self._pair = self._pair if self._is_cancelled() else pair
            case ClosePair():
                self._pair = None
            case OpenGroup(techniques):
                self._tell(Began())
                group = self._laboratory.group(self._sitting, techniques, self._is_cancelled)
                self._group = self._group if self._is_cancelled() else group
            case CloseGroup():
                self._group = None
            case OpenSource():
                self._tell(Began())
                if self._editing is None:
                    raise InputError("no guest can be edited here")
                self._tell(SourceShown(self._editing.source(self._sitting)))
                return
            case RunEdited():
                self._tell(Began())
                if self._editing is None or not self._run_edited(self._editing, self._sitting, request):
                    return
            case AskWhy():
                self._tell(Derived(self._sitting.why()))
                return
            case NextDivergence():
                self._tell(Began())
                if self._group is not None:
                    self._next_divergence(self._group)
            case Step() | Back() | NextEvent() | PreviousEvent() | Run() | Seek():
                self._move(request, self._pair or self._group or self._sitting)
            case GoTo(text):
                self._tell(Began())
                reached = self._laboratory.run_to_place(self._sitting, text, self._is_cancelled)
                if not reached and not self._is_cancelled():
                    self._tell(Remarked(_NO_DIVERGENCE_HERE if text == DIVERGENCE else _not_reached(text)))
            case RunBack():
                self._tell(Began())
                self._run_back(self._sitting)
            case AddBreakpoint(text):
                self._tell(BreakpointAdded(text, self._laboratory.check_place(self._sitting, text)))
                return
            case UseBreakpoints(texts):
                self._breakpoints = texts
                self._tell_of_nowhere(self._sitting, texts)
                return
            case CountHits():
                self._tell(Began())
                hits = self._laboratory.hits(self._sitting, self._is_cancelled)
                if hits is not None and not self._is_cancelled():
                    self._tell(HitsCounted(hits))
                return
            case Look(looks):
                self._looks = looks
            case LookAt(text):
                self._look_at(*self._laboratory.look(self._sitting, text))
            case Swap(technique, cpu, mmu, controls):
                self._tell(Began())
                swapped = self._laboratory.swapped(self._sitting, technique, mmu, cpu, controls, self._is_cancelled)
                # Cancelled on its way, it has not come to the same place: then the old one stays.
                self._sitting = self._sitting if self._is_cancelled() else swapped
            case ToBeat(by):
                self._tell(Began())
                self._to_beat(by)
            case _:
                assert_never(request)
        self._show_if_due()
        is_alone = self._pair is None and self._group is None
        if self._noted is not None and self._sitting is not None and is_alone and self._requests.empty():
            self._noted(self._sitting, isinstance(request, (Step, Back)))

    def _tell_of_nowhere(self, sitting: Sitting, texts: tuple[str, ...]) -> None:
        """Say which breakpoints mean nothing in this build of the guest: they are kept, and stop nowhere here."""
        nowhere = []
        for text in texts:
            try:
                self._laboratory.check_place(sitting, text)
            except InputError:
                nowhere.append(text)
        if nowhere:
            what = "breakpoint" if len(nowhere) == 1 else "breakpoints"
            self._tell(
                Remarked(f"Not in this build of the guest, and kept for one that has it: {what} {', '.join(nowhere)}.")
            )

    def _run_edited(self, editing: Editing, sitting: Sitting, request: RunEdited) -> bool:
        """Assemble and open; False if NASM refuses, or the user has left."""
        try:
            edited = editing.edited(sitting, request.bench, request.texts, request.technique)
        except AssemblyError as error:
            self._tell(NotAssembled(str(error), error.complaints))
            return False
        if not request.is_alone:
            group = editing.beside(sitting, edited, self._is_cancelled)
            if self._is_cancelled():
                return False
            self._group = group
            self._tell(Assembled(editing.lines(edited), None))
            return True
        edited.seek(sitting.position, self._is_cancelled)
        if self._is_cancelled():
            return False
        self._pair = self._group = self._reading = None
        self._sitting = edited
        shown = edited.snapshot(self._is_cancelled)
        opened = Open(editing.place_name(edited), shown.technique_id, shown.mmu, shown.cpu_id)
        self._tell(Assembled(editing.lines(edited), opened))
        return True

    def _look_at(self, follow: str, base: int) -> None:
        """Let every look there is go to a place."""
        memory, walk = self._looks.memory, self._looks.walk
        if memory is not None:
            # Descriptor tables have their own place: an address is one of bytes.
            mode = memory.mode if memory.mode is MemoryMode.STACK and follow == "esp" else MemoryMode.HEX
            memory = MemoryLook(mode, follow, base)
        self._looks = Looks(memory, None if walk is None else WalkLook(follow, base))

    def _turn_to(self, reading: Reading, number: int) -> None:
        """Open a page of the lesson; the guest is from then on the one that it speaks of."""
        reading.open(number, self._is_cancelled)
        if self._is_cancelled():
            return
        self._sitting = reading.sitting
        self._tell(PageShown(reading.id, reading.title, reading.page(), reading.scenario))

    def _next_divergence(self, group: Group) -> None:
        try:
            found = group.next_divergence(self._throttled(), self._is_cancelled)
        except _Interrupted:
            return
        if not found and not self._is_cancelled():
            self._tell(Remarked(group.NO_DIVERGENCE))

    def _move(self, request: Move, movable: Movable) -> None:
        match request:
            case Step() | Run() if movable.is_over:
                self._tell(Remarked(_OVER))
            case Step():
                movable.step()
            case Back():
                movable.back()
            case NextEvent():
                self._next_event(movable)
            case PreviousEvent():
                self._tell(Began())
                if not movable.previous_event(self._is_cancelled) and not self._is_cancelled():
                    self._tell(Remarked(_NO_EARLIER_EVENT))
            case Run():
                self._run(movable)
            case Seek(position):
                self._tell(Began())
                movable.seek(position, self._is_cancelled)
            case _:
                assert_never(request)

    def _to_beat(self, by: int) -> None:
        """Let the player turn a page; the session is then the player's again, wherever the user has been."""
        player = self._player
        if player is None:
            return
        match by:
            case 0:
                played = player.current if player.resume(self._is_cancelled) else None
            case -1:
                played = player.previous(self._is_cancelled)
            case _:
                played = player.next(self._is_cancelled)
        self._pair = self._group = None
        self._sitting = player.session
        if played is not None:
            self._tell(BeatShown(played))
        elif not self._is_cancelled():
            self._tell(Remarked(_LAST_BEAT if by > 0 else _FIRST_BEAT))

    def _is_cancelled(self) -> bool:
        return self._serving != self._generation

    def _run(self, movable: Movable) -> None:
        self._tell(Began())
        for end_of_slice in self._slices(movable):
            if not self._breakpoints or movable is not self._sitting or self._sitting is None:
                movable.run(end_of_slice)
                continue
            met = self._laboratory.run_to_breakpoint(self._sitting, self._breakpoints, end_of_slice)
            if met is not None:
                self._tell(Remarked(f"Breakpoint: {met}"))
                return

    def _run_back(self, sitting: Sitting) -> None:
        if not self._breakpoints:
            self._tell(Remarked(_NO_BREAKPOINT))
            return
        met = self._laboratory.run_back_to_breakpoint(sitting, self._breakpoints, self._is_cancelled)
        if not self._is_cancelled():
            self._tell(Remarked(_NONE_EARLIER if met is None else f"Breakpoint: {met}"))

    def _next_event(self, movable: Movable) -> None:
        self._tell(Began())
        for end_of_slice in self._slices(movable):
            if movable.next_event(end_of_slice):
                return
        if not self._is_cancelled():
            self._tell(Remarked(_NO_MORE_EVENTS))

    def _with_progress(self, work: Callable[[Progress], Message]) -> None:
        """Do something long that tells how far it is, and give its answer; Escape leaves it."""
        try:
            self._tell(work(self._throttled()))
        except _Interrupted:
            return

    def _throttled(self) -> Progress:
        """Give something that tells how far a long work is, not too often, and leaves it when the user asks to."""
        last = 0.0

        def progress(what: str, done: int, limit: int | None) -> None:
            nonlocal last
            if self._is_cancelled():
                raise _Interrupted
            if time.monotonic() - last >= FRAME_SECONDS:
                last = time.monotonic()
                self._tell(Progressed(what, done, limit))

        return progress

    def _slices(self, movable: Movable) -> Iterator[Callable[[], bool]]:
        """Give the end of one slice after the other until the run is over or the user stops it; show each result."""
        seconds = FRAME_SECONDS
        while not movable.is_over and not self._is_cancelled():
            began = time.monotonic()
            yield self._end_of_slice(seconds)
            self._show(in_motion=True)
            # Coming to rest and looking around cost time too: run so long in between that it is a small part.
            resting = time.monotonic() - began - seconds
            seconds = max(FRAME_SECONDS, _RUNNING_SHARE * resting)

    def _end_of_slice(self, seconds: float) -> Callable[[], bool]:
        """Give a question that is answered yes once so much time has passed from now, or the user asked to stop."""
        deadline = time.monotonic() + seconds
        return lambda: self._is_cancelled() or time.monotonic() >= deadline

    def _show_if_due(self) -> None:
        """Show where the session stands, unless more requests wait and the screen was told a moment ago."""
        if self._sitting is None:
            return
        if self._requests.empty() or time.monotonic() - self._last_shown >= FRAME_SECONDS:
            self._show(in_motion=False)

    def _show(self, in_motion: bool) -> None:
        self._last_shown = time.monotonic()
        if self._pair is not None:
            self._tell(PairShown(self._pair.view(), in_motion))
        elif self._group is not None:
            wait = self._end_of_slice(_COMPARING_SECONDS)
            self._tell(GroupShown(self._group.view(wait if in_motion else self._is_wanted_elsewhere), in_motion))
        elif self._sitting is not None:
            shown = self._sitting.snapshot(self._end_of_slice(_COMPARING_SECONDS), self._looks)
            self._remember_places(shown)
            self._tell(Shown(shown, in_motion))
            is_wanted = self._not_compared != (self._sitting, self._sitting.position)
            if not in_motion and shown.ledger.native_cycles is None and is_wanted:
                self._compare_with_bare_metal(self._sitting)

    def _remember_places(self, shown: Snapshot) -> None:
        """Where the next step accesses nothing, what follows accesses stays where it is."""
        memory, walk = self._looks.memory, self._looks.walk
        if memory is not None and shown.memory is not None:
            memory = replace(memory, base=shown.memory.look.base)
        if walk is not None and shown.walk is not None:
            walk = replace(walk, base=shown.walk.linear)
        self._looks = Looks(memory, walk)

    def _compare_with_bare_metal(self, sitting: Sitting) -> None:
        """Standing still, find out what bare metal would have paid, until the user wants something else."""
        compared = sitting.snapshot(self._is_wanted_elsewhere, self._looks)
        if compared.ledger.native_cycles is not None:
            self._tell(Shown(compared, in_motion=False))
        elif self._is_cancelled():
            self._not_compared = (sitting, sitting.position)

    def _is_wanted_elsewhere(self) -> bool:
        """The user wants something else, or to stop."""
        return self._is_cancelled() or not self._requests.empty()

    def _tell(self, message: Message) -> None:
        if not self._stopping.is_set():
            try:
                self._post(message)
            except RuntimeError:
                # The app's event loop closed between the check and the call; nobody is left to tell.
                return
