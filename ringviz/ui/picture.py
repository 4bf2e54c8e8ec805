"""The app's screens as SVG pictures, drawn by the app itself without a terminal."""

import asyncio
import html
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ringviz.engine.contest import Contest
from ringviz.engine.derivation import Derivation
from ringviz.engine.generations import Generations
from ringviz.engine.hit_count import Hits
from ringviz.engine.looks import NOTHING, Looks
from ringviz.engine.vendors import VendorsView
from ringviz.engine.view import Kind, Snapshot
from ringviz.errors import UnsupportedError
from ringviz.record.replay import Replay
from ringviz.ui.app import RingvizApp
from ringviz.ui.laboratory import (
    Cancelled,
    ComparedRuns,
    Group,
    Laboratory,
    LessonChoice,
    MachineChoice,
    Pair,
    Progress,
    Reading,
    ScenarioChoice,
    Sitting,
    TechniqueChoice,
)
from ringviz.ui.requests import Refresh, Settled
from ringviz.ui.screens.explore import ExploreScreen

NORMAL = (120, 40)
SMALL = (80, 24)
LARGE = (200, 60)


_DARK, _LIGHT = "ringviz-dark", "ringviz-light"


@dataclass(frozen=True, slots=True)
class Moment:
    """The first instruction of a name that is an event of a kind under a technique."""

    technique: str
    kind: Kind
    instruction: str


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture of the documentation."""

    name: str
    scenario: str
    technique: str
    size: tuple[int, int] = NORMAL
    theme: str = _DARK
    keys: tuple[str, ...] = ()
    """Pressed one after the other before the picture is taken."""
    moment: Moment = Moment("trap-emulate", Kind.SILENT, "popf")


_GUEST = "popf-hole"
_ALL_CONTENDERS = "nehalem"
"""A CPU on which software, shadow page tables and nested paging can all be had."""
SHOTS: tuple[Shot, ...] = (
    Shot("explore-native", _GUEST, "native"),
    Shot("explore-emulation", _GUEST, "emulation"),
    Shot("explore-trap-emulate", _GUEST, "trap-emulate"),
    Shot("explore-binary-translation", _GUEST, "binary-translation", keys=("v",)),
    # A recompiled kernel has other instructions, so it has a moment of its own.
    Shot(
        "explore-paravirt",
        "rings-tour",
        "paravirt",
        keys=("v",),
        moment=Moment("paravirt", Kind.HYPERCALL, "int"),
    ),
    Shot("explore-vt-x", _GUEST, "vt-x", keys=("v",)),
    Shot("explore-amd-v", _GUEST, "amd-v"),
    Shot("explore-binary-translation-200x60", _GUEST, "binary-translation", LARGE),
    Shot("explore-trap-emulate-80x24", _GUEST, "trap-emulate", SMALL),
    Shot("explore-trap-emulate-light", _GUEST, "trap-emulate", theme=_LIGHT),
    Shot("vendors", _GUEST, "vt-x", keys=("V",)),
    Shot("scorecard", _GUEST, "trap-emulate", keys=("c", "down", "down", "down")),
    Shot("what-if", _GUEST, "vt-x", keys=("dollar_sign",)),
)
"""All that can show the same guest at the same instruction do."""


def render_picture(
    snapshot: Snapshot, size: tuple[int, int] = NORMAL, theme: str = _DARK, keys: Sequence[str] = ()
) -> str:
    """Give the explore screen for one snapshot as SVG text; the same snapshot gives the same text.

    Args:
        snapshot: the moment.
        size: columns and rows.
        theme: name of a theme.
        keys: pressed before the picture is taken, in Textual's names.
    """
    return asyncio.run(draw_picture(snapshot, size, theme, keys))


async def draw_picture(
    snapshot: Snapshot,
    size: tuple[int, int] = NORMAL,
    theme: str = _DARK,
    keys: Sequence[str] = (),
    vendors: VendorsView | None = None,
    runs: ComparedRuns | None = None,
    contest: Contest | None = None,
) -> str:
    """As `render_picture`, for callers that already run an event loop; the other screens need something to show."""
    # A picture is the same on every machine, whatever its terminal is set to.
    os.environ.pop("NO_COLOR", None)
    app = RingvizApp(snapshot.scenario_id, snapshot.technique_id, laboratory=_Exhibit(snapshot, vendors, runs, contest))
    app.theme = theme
    app.animation_level = "none"
    settled = asyncio.Event()

    def notice(message: object) -> None:
        if isinstance(message, Settled):
            settled.set()

    async with app.run_test(size=size, message_hook=notice) as pilot:
        await asyncio.wait_for(settled.wait(), timeout=10)
        for key in keys:
            await pilot.press(key)
            # The engine thread may have something to say to that, and then to draw.
            settled.clear()
            app.engine.submit(Refresh())
            await asyncio.wait_for(settled.wait(), timeout=10)
            await pilot.pause()
        # Nothing has the focus in a picture: no frame should look chosen.
        if isinstance(app.screen, ExploreScreen):
            app.screen.set_focus(None)
        await pilot.pause()
        title = f"ringviz · {snapshot.scenario_id} · {snapshot.technique_title}"
        return _with_places_for_spaces(app.export_screenshot(title=title))


_TEXT = re.compile(r'(<text [^>]*?\bx=")([0-9.]+)(" y="[^"]*" textLength=")([0-9.]+)("[^>]*>)((?:&#160;)+)([^<]+)<')


def _with_places_for_spaces(svg: str) -> str:
    """Begin each text at its first visible character.

    Not every program that draws SVG keeps spaces at the beginning of a text; all of them keep its place.
    """

    def moved(match: re.Match[str]) -> str:
        head, x, middle, length, tail, spaces, text = match.groups()
        count = spaces.count("&#160;")
        cells = count + len(html.unescape(text))
        step = float(length) / cells * count
        return f"{head}{float(x) + step:g}{middle}{float(length) - step:g}{tail}{text}<"

    return _TEXT.sub(moved, svg)


def make_screenshots(folder: Path, laboratory: Laboratory | None = None) -> tuple[Path, ...]:
    """Draw every picture of the documentation from real runs.

    Args:
        folder: where to write; made if it is not there.
        laboratory: opens the sessions; the real one if not given.

    Returns:
        The files written.
    """
    world = laboratory if laboratory is not None else _engine()
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    positions: dict[tuple[str, Moment], int] = {}
    for shot in SHOTS:
        place = (shot.scenario, shot.moment)
        if place not in positions:
            positions[place] = _position_of(world, shot.scenario, shot.moment)
        path = folder / f"{shot.name}.svg"
        path.write_text(asyncio.run(_take(world, shot, positions[place])), encoding="utf-8")
        written.append(path)
    return tuple(written)


async def _take(world: Laboratory, shot: Shot, position: int) -> str:
    """Take one picture."""
    sitting = world.open(shot.scenario, shot.technique, None, None)
    # To the end first, so that the timeline knows where that is.
    sitting.run()
    sitting.seek(position)
    vendors = world.pair(sitting, bool).view() if "V" in shot.keys else None
    runs = world.compare(shot.scenario, None, _unheard) if "c" in shot.keys else None
    contest = world.contest(shot.scenario, _ALL_CONTENDERS, _unheard) if "dollar_sign" in shot.keys else None
    return await draw_picture(sitting.snapshot(), shot.size, shot.theme, shot.keys, vendors, runs, contest)


def _unheard(_what: str, _done: int, _limit: int | None) -> None:
    """Progress for nobody."""


def _position_of(world: Laboratory, scenario: str, moment: Moment) -> int:
    sitting = world.open(scenario, moment.technique, None, None)
    while sitting.next_event():
        event = sitting.snapshot().events[-1]
        if event.kind is moment.kind and event.instruction.startswith(moment.instruction):
            break
    return sitting.position


def _engine() -> Laboratory:
    from ringviz.ui.engine_laboratory import EngineLaboratory

    return EngineLaboratory()


def exhibit(snapshot: Snapshot) -> Laboratory:
    """Give a laboratory in which it is always the same moment."""
    return _Exhibit(snapshot, None, None, None)


class _ExhibitedPair:
    """A pair in which it is always the same moment."""

    position = 0
    is_over = True

    def __init__(self, view: VendorsView) -> None:
        self._view = view

    def view(self) -> VendorsView:
        return self._view

    def step(self) -> None:
        pass

    def back(self) -> None:
        pass

    def run(self, cancelled: Cancelled = bool) -> None:
        pass

    def next_event(self, cancelled: Cancelled = bool) -> bool:
        return False

    def previous_event(self, cancelled: Cancelled = bool) -> bool:
        return False

    def seek(self, position: int, cancelled: Cancelled = bool) -> None:
        pass


class _Exhibit:
    """A laboratory, and a session in it, in which it is always the same moment."""

    position = 0
    is_over = True

    def __init__(
        self, snapshot: Snapshot, vendors: VendorsView | None, runs: ComparedRuns | None, contest: Contest | None
    ) -> None:
        self._snapshot = snapshot
        self._contest = contest
        self._vendors = vendors
        self._runs = runs

    def scenarios(self) -> Sequence[ScenarioChoice]:
        return ()

    def techniques(self) -> Sequence[TechniqueChoice]:
        return ()

    def open(self, scenario: str, technique: str, mmu: str | None, cpu: str | None) -> Sitting:
        return self

    def swapped(
        self,
        sitting: Sitting,
        technique: str,
        mmu: str | None,
        cpu: str | None,
        controls: Sequence[str] | None,
        cancelled: Cancelled,
    ) -> Sitting:
        return sitting

    def machine(self, technique: str, mmu: str | None, cpu: str | None, controls: Sequence[str]) -> MachineChoice:
        raise UnsupportedError("a picture has nothing to change")

    def run_to_place(self, sitting: Sitting, text: str, cancelled: Cancelled) -> bool:
        return False

    def check_place(self, sitting: Sitting, text: str) -> None:
        raise UnsupportedError("this is a picture: it does not run")

    def run_to_breakpoint(self, sitting: Sitting, texts: Sequence[str], cancelled: Cancelled) -> str | None:
        return None

    def hits(self, sitting: Sitting, cancelled: Cancelled) -> Hits | None:
        return None

    def look(self, sitting: Sitting, text: str) -> tuple[str, int]:
        raise UnsupportedError("this is a picture: it has no memory")

    def pair(self, sitting: Sitting, cancelled: Cancelled) -> Pair:
        if self._vendors is None:
            raise UnsupportedError("this picture has no second session")
        return _ExhibitedPair(self._vendors)

    def group(self, sitting: Sitting, techniques: Sequence[str], cancelled: Cancelled) -> Group:
        raise UnsupportedError("this picture has no second session")

    def lessons(self) -> Sequence[LessonChoice]:
        return ()

    def read(self, lesson: str, seed: int, cpu: str | None) -> Reading:
        raise UnsupportedError("this is a picture, and no lesson")

    def lecture(self, scenario: str) -> Replay:
        raise UnsupportedError("this is a picture, and no lecture")

    def compare(self, scenario: str, cpu: str | None, progress: Progress) -> ComparedRuns:
        if self._runs is None:
            raise UnsupportedError("this picture has nothing to compare")
        return self._runs

    def contest(self, scenario: str, cpu: str, progress: Progress) -> Contest:
        if self._contest is None:
            raise UnsupportedError("this picture has no runs to price anew")
        return self._contest

    def generations(self, scenario: str, progress: Progress) -> Generations:
        raise UnsupportedError("this picture has no runs to price for other CPUs")

    def step(self) -> None:
        pass

    def back(self) -> None:
        pass

    def run(self, cancelled: Cancelled = bool) -> None:
        pass

    def next_event(self, cancelled: Cancelled = bool) -> bool:
        return False

    def previous_event(self, cancelled: Cancelled = bool) -> bool:
        return False

    def seek(self, position: int, cancelled: Cancelled = bool) -> None:
        pass

    def why(self) -> Derivation | None:
        return None

    def snapshot(self, cancelled: Cancelled = bool, looks: Looks = NOTHING) -> Snapshot:
        return self._snapshot


if __name__ == "__main__":
    for file in make_screenshots(Path("screenshots")):
        print(file)
