"""The pictures of the documentation: which there are, the keys that lead to each, and whether one is stale."""

import asyncio
import hashlib
import html
import os
import re
import tempfile
import threading
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

from textual.app import App
from textual.pilot import Pilot

from ringviz.errors import RingvizError
from ringviz.record.replay import Replay
from ringviz.record.state_folder import STATE_VARIABLE
from ringviz.ui.app import RingvizApp
from ringviz.ui.host_thread import HostShown
from ringviz.ui.laboratory import Laboratory
from ringviz.ui.picture import LARGE, NORMAL, SMALL, svg_of, unfocus
from ringviz.ui.requests import OpenLesson, Refresh, Settled
from ringviz.ui.themes import CONTRAST, DARK, LIGHT

if TYPE_CHECKING:
    from ringviz.ui.engine_laboratory import EngineLaboratory
    from ringviz.ui.machine_room import OtherHostSeen
    from ringviz.vmm.migration.source import Plan

COMMAND = "ringviz screenshots"
"""Makes all of them."""
DIGESTS = "digests.txt"
"""Beside the pictures: what each was when the command had made it."""
NO_COLOUR = "no colour"
"""In a theme's place: as under NO_COLOR."""
_SETTLING_SECONDS = 300
"""Comparing all techniques takes a while on a slow machine."""
_PATIENCE_SECONDS = 0.02
"""Between two looks at whether a host is done."""


@dataclass(frozen=True, slots=True)
class AtHome:
    """Begin on the home screen."""


@dataclass(frozen=True, slots=True)
class WithGuest:
    """Begin with a guest under a technique."""

    scenario: str
    technique: str


@dataclass(frozen=True, slots=True)
class ToEdit:
    """Begin with a guest whose source may be changed; nothing of it is kept."""

    scenario: str
    technique: str


@dataclass(frozen=True, slots=True)
class InLesson:
    """Begin on a page of a lesson."""

    lesson: str
    page: int


@dataclass(frozen=True, slots=True)
class InLecture:
    """Begin the lecture of a scenario."""

    scenario: str


@dataclass(frozen=True, slots=True)
class InMachineRoom:
    """Begin with a host that comes with ringviz."""

    host: str


@dataclass(frozen=True, slots=True)
class InHostLecture:
    """Begin the lecture of a host; each key is pressed when the beat before stands."""

    host: str


Start = AtHome | WithGuest | ToEdit | InLesson | InLecture | InMachineRoom | InHostLecture


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture."""

    name: str
    start: Start
    keys: tuple[str, ...] = ()
    """Pressed one after the other before the picture is taken, in Textual's names."""
    size: tuple[int, int] = NORMAL
    theme: str = DARK.name
    has_png: bool = False
    """Kept as PNG, too, for places that show no SVG."""

    @property
    def script(self) -> str:
        """How it is made, as one line: it stands in the picture itself."""
        start = re.sub(r"[()=']", " ", repr(self.start))
        return (
            f"{COMMAND}: {' '.join(start.split())}; {self.size[0]}x{self.size[1]}; {self.theme}; {' '.join(self.keys)}"
        )


def _guest(technique: str) -> WithGuest:
    return WithGuest("popf-hole", technique)


def _typed(text: str) -> tuple[str, ...]:
    """Give the keys of a word."""
    return tuple({"-": "minus", "_": "underscore"}.get(letter, letter) for letter in text)


def _go_to(place: str) -> tuple[str, ...]:
    return ("colon", *_typed(place), "enter")


_LIE = ("end", *_go_to("1764"))
"""After PUSHF has shown the real IF; the end first, so that the timeline knows where that is."""
_BEFORE_THE_LIE = (*_LIE, "b")
_CHOOSE = ("slash", *"popf", "tab", "down", "down", "down")
_RUN = (*_CHOOSE, "enter", "d")
_SWITCHED = (*_RUN, "b", "m", "end", "enter")

SHOTS: tuple[Shot, ...] = (
    Shot("home", AtHome()),
    Shot("home-80x24", AtHome(), size=SMALL),
    # The same guest at the same instruction, under one technique after the other.
    Shot("explore-trap-emulate", _guest("trap-emulate"), _LIE, has_png=True),
    Shot("explore-trap-emulate-80x24", _guest("trap-emulate"), _LIE, SMALL),
    Shot("explore-trap-emulate-200x60", _guest("trap-emulate"), _LIE, LARGE),
    Shot("explore-trap-emulate-light", _guest("trap-emulate"), _LIE, theme=LIGHT.name),
    Shot("explore-trap-emulate-contrast", _guest("trap-emulate"), _LIE, theme=CONTRAST.name),
    Shot("explore-trap-emulate-no-colour", _guest("trap-emulate"), _LIE, theme=NO_COLOUR),
    Shot("explore-binary-translation", _guest("binary-translation"), (*_LIE, "v")),
    Shot("explore-binary-translation-200x60", _guest("binary-translation"), _LIE, LARGE),
    Shot("explore-vt-x", _guest("vt-x"), (*_LIE, "p", "v")),
    Shot("explore-amd-v", _guest("amd-v"), (*_LIE, "p", "v")),
    # A recompiled kernel has other instructions, so it has a moment of its own.
    Shot("explore-paravirt", WithGuest("rings-tour", "paravirt"), (*_go_to("hypercall int"), "v")),
    # What can stand in the place of the events, and over the screen.
    Shot("memory", WithGuest("paging-tour", "trap-emulate"), (*_go_to("reflect"), "x")),
    Shot("page-walk", WithGuest("paging-tour", "amd-v"), (*_go_to("fault"), "w")),
    Shot("page-walk-shadow", WithGuest("paging-tour", "vt-x"), (*_go_to("fault"), "w")),
    Shot("micro-steps", _guest("trap-emulate"), (*_go_to("trap cli"), "u", "space", "space")),
    Shot("go-to", _guest("trap-emulate"), (*_LIE, "colon")),
    Shot("breakpoints", _guest("amd-v"), (*_LIE, "B")),
    Shot("explain", _guest("trap-emulate"), (*_LIE, "question_mark")),
    Shot("why", _guest("trap-emulate"), (*_BEFORE_THE_LIE, "i")),
    Shot("editor", ToEdit("popf-hole", "trap-emulate"), (*_LIE, "e")),
    # Techniques beside each other.
    Shot("side-by-side", _guest("trap-emulate"), (*_BEFORE_THE_LIE, "C"), LARGE),
    Shot("divergence", _guest("trap-emulate"), ("C", "d")),
    Shot("vendors", _guest("vt-x"), (*_LIE, "p", "V")),
    Shot("scorecard", _guest("trap-emulate"), ("c", "down", "down", "down")),
    Shot("what-if", WithGuest("forkwait", "vt-x"), ("dollar_sign",)),
    # Pricing a guest for every CPU takes its time; this one is short.
    Shot("years", WithGuest("rings-tour", "vt-x"), ("y",)),
    # Learning, teaching, keeping machines.
    Shot("lesson", InLesson("x86-hole", 2)),
    Shot("lecture", InLecture("popf-hole"), ("space", "space", "space")),
    Shot("machine-room", InMachineRoom("noisy-neighbour"), ("n",) * 5),
    Shot("machine-room-migration", InMachineRoom("migration-writer"), ("n",) * 14),
    Shot("machine-room-memory", InMachineRoom("overcommit"), (*("n",) * 12, "x")),
    Shot("machine-room-light", InMachineRoom("policy-failover"), ("n",) * 6, SMALL, LIGHT.name),
    Shot("host-lecture", InHostLecture("noisy-neighbour"), ("space",) * 5),
    Shot("host-lecture-migration", InHostLecture("migration-writer"), ("space",) * 7),
    Shot("lesson-of-a-host", InLesson("live-migration", 5)),
    # The way of somebody who has never seen ringviz: run a guest, see where trap-and-emulate goes wrong, step back over
    # it, put the guest under AMD-V at that point, compare.
    Shot("path-1-home", AtHome(), _CHOOSE, has_png=True),
    Shot("path-2-goes-wrong", AtHome(), _RUN, has_png=True),
    Shot("path-3-stepped-back", AtHome(), (*_RUN, "b")),
    Shot("path-4-under-amd-v", AtHome(), _SWITCHED, has_png=True),
    Shot("path-5-step-over-it", AtHome(), (*_SWITCHED, "space")),
    Shot("path-6-compared", AtHome(), (*_SWITCHED, "c", "down", "down", "down"), has_png=True),
)
"""All of them."""


@contextmanager
def _own_state() -> Iterator[None]:
    """Let nobody's progress, and nobody's terminal, show in a picture."""
    kept = {name: os.environ.pop(name, None) for name in (STATE_VARIABLE, "NO_COLOR")}
    with tempfile.TemporaryDirectory(prefix="ringviz-") as folder:
        os.environ[STATE_VARIABLE] = folder
        try:
            yield
        finally:
            for name, value in kept.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value


async def take(shot: Shot, laboratory: Laboratory | None = None) -> str:
    """Draw one picture from a real run; the same shot gives the same text."""
    with _own_state():
        if shot.theme == NO_COLOUR:
            os.environ["NO_COLOR"] = "1"
        async with _running(shot, laboratory) as (app, pilot):
            unfocus(app)
            await pilot.pause()
            return svg_of(app, "ringviz").replace("<style>", f"<!-- {shot.script} -->\n    <style>", 1)


@asynccontextmanager
async def _running(shot: Shot, laboratory: Laboratory | None) -> AsyncIterator[tuple[App[None], Pilot[None]]]:
    """The app, with all keys pressed and everything done that they ask for."""
    quiet = asyncio.Event()

    def notice(message: object) -> None:
        if isinstance(message, (Settled, HostShown)):
            quiet.set()

    with _opened(shot, laboratory) as app:
        app.animation_level = "none"
        if shot.theme != NO_COLOUR:
            app.theme = shot.theme
        async with app.run_test(size=shot.size, message_hook=notice) as pilot:
            for key in ("", *shot.keys):
                quiet.clear()
                if key:
                    await pilot.press(key)
                if isinstance(app, RingvizApp):
                    app.engine.submit(Refresh())
                await asyncio.wait_for(quiet.wait(), _SETTLING_SECONDS)
                if isinstance(shot.start, InMachineRoom | InHostLecture):
                    await _until_done(app)
                await pilot.pause()
            yield app, pilot


async def _until_done(app: App[None]) -> None:
    """Until a host has done all that was asked of it; what says so is another thread's."""
    host = getattr(app, "room" if hasattr(app, "room") else "lecture").host
    async with asyncio.timeout(_SETTLING_SECONDS):
        while not host.is_idle:
            await asyncio.sleep(_PATIENCE_SECONDS)


@contextmanager
def _opened(shot: Shot, laboratory: Laboratory | None) -> Iterator[App[None]]:
    """The app, as somebody starts it who begins there."""
    match shot.start:
        case AtHome():
            yield RingvizApp(laboratory=laboratory)
        case WithGuest(scenario, technique):
            yield RingvizApp(scenario, technique, laboratory=laboratory)
        case ToEdit(scenario, technique):
            from ringviz.ui.engine_editing import EngineEditing

            here = _engine()
            yield RingvizApp(scenario, technique, laboratory=here, editing=EngineEditing(here))
        case InLesson(lesson, page):
            yield RingvizApp(laboratory=laboratory, lesson=OpenLesson(lesson, page))
        case InLecture(scenario):
            world = laboratory or _engine()
            replay = world.lecture(scenario)
            assert isinstance(replay, Replay), scenario
            yield RingvizApp(laboratory=world, replay=replay, is_lecture=True)
        case InHostLecture(host):
            from ringviz.ui.host_lecture import HostLectureApp
            from ringviz.ui.host_rooms import host_lecture

            yield HostLectureApp(host_lecture(host))
        case InMachineRoom(host):
            with _host(host) as room:
                yield room


@contextmanager
def _host(name: str) -> Iterator[App[None]]:
    from ringviz.record.machines.host_file import find_host, open_host
    from ringviz.ui.machine_room import MachineRoomApp

    definition = find_host(name)
    with tempfile.TemporaryDirectory(prefix="ringviz-", ignore_cleanup_errors=True) as folder:
        room = open_host(definition, Path(folder) / "here", lambda: 0)
        try:
            other = None if definition.other_host is None else _other_host(definition.other_host, Path(folder))
            yield MachineRoomApp(
                room,
                definition.automation,
                definition.title,
                definition.cycles,
                other,
                summary=definition.summary,
            )
        finally:
            room.close()


def _other_host(plan: "Plan", folder: Path) -> "OtherHostSeen":
    """Have a room wait for a machine, in a thread: for a picture a process would be too much."""
    from ringviz.record.machines.arrival import receive
    from ringviz.record.machines.leaving import Peer
    from ringviz.record.machines.room import Room
    from ringviz.record.machines.shared import SharedFolder
    from ringviz.ui.machine_room import OtherHostSeen

    shared, ports = SharedFolder(folder / "shared"), SimpleQueue[int]()
    shared.make()
    said: list[str] = []

    def wait() -> None:
        room = Room(folder / "there", lambda: 0)
        with suppress(RingvizError):  # the picture may be done before
            said.append(f"{receive(room, shared, 0, ports.put)} has come")
        room.close()

    threading.Thread(target=wait, daemon=True).start()
    return OtherHostSeen(Peer(ports.get(), shared.path, plan), lambda: said)


def _engine() -> "EngineLaboratory":
    from ringviz.ui.engine_laboratory import EngineLaboratory

    return EngineLaboratory()


def make_screenshots(
    folder: Path, shots: Iterable[Shot] = SHOTS, laboratory: Laboratory | None = None
) -> Iterator[Path]:
    """Draw pictures of the app; gives each file once it is written.

    Args:
        folder: where to write; made if it is not there.
        shots: which.
        laboratory: opens the sessions; the real one if not given.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for shot in shots:
        path = folder / f"{shot.name}.svg"
        path.write_text(asyncio.run(take(shot, laboratory)), encoding="utf-8", newline="\n")
        yield path


def write_digests(folder: Path) -> None:
    """Write down what each picture is, so that it is noticed if one is changed by hand or lost."""
    text = "".join(f"{_digest(path)}  {path.name}\n" for path in sorted(folder.glob("*.svg")))
    (folder / DIGESTS).write_text(text, encoding="utf-8", newline="\n")


def _digest(path: Path) -> str:
    # Text, whatever a checkout has made of the ends of its lines.
    return hashlib.sha256(path.read_text(encoding="utf-8").encode()).hexdigest()


def stale(folder: Path, redrawn: Iterable[Shot] = (), laboratory: Laboratory | None = None) -> list[str]:
    """Tell what is wrong with the pictures in a folder, a line for each; empty if nothing is.

    Args:
        folder: where they are.
        redrawn: these are drawn anew and compared, which takes a second or two each.
        laboratory: opens the sessions for those.
    """
    noted = (folder / DIGESTS).read_text(encoding="utf-8") if (folder / DIGESTS).exists() else ""
    known = {name: digest for digest, name in (line.split() for line in noted.splitlines())}
    there = {path.name for path in folder.glob("*.svg")}
    wrong = [f"{name}: it is in {DIGESTS}, but not in the folder" for name in sorted(known.keys() - there)]
    wrong += [f"{name}: nobody makes it" for name in sorted(there - known.keys())]
    wrong += [
        f"{name}: changed since" for name in sorted(there & known.keys()) if _digest(folder / name) != known[name]
    ]
    for shot in SHOTS:
        name = f"{shot.name}.svg"
        if name not in there:
            wrong.append(f"{name}: not there yet")
        elif f"<!-- {shot.script} -->" not in (folder / name).read_text(encoding="utf-8"):
            wrong.append(f"{name}: is made in another way by now")
    for shot in redrawn:
        path = folder / f"{shot.name}.svg"
        if path.exists() and (change := _first_change(path, asyncio.run(take(shot, laboratory)))):
            wrong.append(f"{path.name}: the app draws {change} by now")
    return wrong


def _first_change(path: Path, now: str) -> str:
    """Say what is different in a picture drawn anew, or nothing."""
    before, after = drawn(path.read_text(encoding="utf-8")), drawn(now)
    for old, new in zip(before, after, strict=False):
        if old != new:
            return f"“{new[2]}” in {new[3]}, not “{old[2]}” in {old[3]}"
    return "" if len(before) == len(after) else "more" if len(after) > len(before) else "less"


_DRAWN = re.compile(r'<text class="t-(r\d+)" x="([0-9.]+)" y="([0-9.]+)"[^>]*>([^<]*)</text>')
_LOOK = re.compile(r"\.t-(r\d+) \{ ([^}]*) \}")


def drawn(svg: str) -> Sequence[tuple[float, float, str, str]]:
    """Give what a picture shows: place, letters and look of every stretch of text, free of the writer's own names."""
    looks = dict(_LOOK.findall(svg))
    return [
        (float(y), float(x), html.unescape(text).replace("\xa0", " "), looks.get(look, ""))
        for look, x, y, text in _DRAWN.findall(svg)
    ]
