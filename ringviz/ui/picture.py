"""The explore screen as an SVG picture, drawn by the app itself without a terminal."""

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ringviz.engine.view import Kind, Snapshot
from ringviz.errors import UnsupportedError
from ringviz.ui.app import RingvizApp
from ringviz.ui.laboratory import (
    Cancelled,
    ComparedRuns,
    Laboratory,
    MachineChoice,
    Pair,
    Progress,
    ScenarioChoice,
    Sitting,
    TechniqueChoice,
)
from ringviz.ui.requests import Settled

NORMAL = (120, 40)
SMALL = (80, 24)


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture of the documentation."""

    name: str
    scenario: str
    technique: str
    size: tuple[int, int]
    theme: str


SHOTS: tuple[Shot, ...] = (
    Shot("explore-native", "popf-hole", "native", NORMAL, "ringviz-dark"),
    Shot("explore-trap-emulate", "popf-hole", "trap-emulate", NORMAL, "ringviz-dark"),
    Shot("explore-amd-v", "popf-hole", "amd-v", NORMAL, "ringviz-dark"),
    Shot("explore-trap-emulate-80x24", "popf-hole", "trap-emulate", SMALL, "ringviz-dark"),
    Shot("explore-trap-emulate-light", "popf-hole", "trap-emulate", NORMAL, "ringviz-light"),
)
"""All of them show the same guest at the same instruction."""

_TELLING = ("trap-emulate", Kind.SILENT, "popf")
"""The moment to show: the first instruction of this name that is an event of this kind under this technique."""


def render_picture(snapshot: Snapshot, size: tuple[int, int] = NORMAL, theme: str = "ringviz-dark") -> str:
    """Give the explore screen for one snapshot as SVG text; the same snapshot gives the same text.

    Args:
        snapshot: the moment.
        size: columns and rows.
        theme: name of a theme.
    """
    return asyncio.run(draw_picture(snapshot, size, theme))


async def draw_picture(snapshot: Snapshot, size: tuple[int, int] = NORMAL, theme: str = "ringviz-dark") -> str:
    """As `render_picture`, for callers that already run an event loop."""
    # A picture is the same on every machine, whatever its terminal is set to.
    os.environ.pop("NO_COLOR", None)
    app = RingvizApp(snapshot.scenario_id, snapshot.technique_id, laboratory=_Exhibit(snapshot))
    app.theme = theme
    shown = asyncio.Event()

    def notice(message: object) -> None:
        if isinstance(message, Settled):
            shown.set()

    async with app.run_test(size=size, message_hook=notice) as pilot:
        await asyncio.wait_for(shown.wait(), timeout=10)
        # Nothing has the focus in a picture: no frame should look chosen.
        app.screen.set_focus(None)
        await pilot.pause()
        return app.export_screenshot(title=f"ringviz · {snapshot.scenario_id} · {snapshot.technique_title}")


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
    positions: dict[str, int] = {}
    for shot in SHOTS:
        if shot.scenario not in positions:
            positions[shot.scenario] = _telling_position(world, shot.scenario)
        sitting = world.open(shot.scenario, shot.technique, None, None)
        # To the end first, so that the timeline knows where that is.
        sitting.run()
        sitting.seek(positions[shot.scenario])
        path = folder / f"{shot.name}.svg"
        path.write_text(render_picture(sitting.snapshot(), shot.size, shot.theme), encoding="utf-8")
        written.append(path)
    return tuple(written)


def _telling_position(world: Laboratory, scenario: str) -> int:
    technique, kind, instruction = _TELLING
    sitting = world.open(scenario, technique, None, None)
    while sitting.next_event():
        event = sitting.snapshot().events[-1]
        if event.kind is kind and event.instruction.startswith(instruction):
            break
    return sitting.position


def _engine() -> Laboratory:
    from ringviz.ui.engine_laboratory import EngineLaboratory

    return EngineLaboratory()


class _Exhibit:
    """A laboratory, and a session in it, in which it is always the same moment."""

    position = 0
    is_over = True

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

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
        controls: Sequence[str],
        cancelled: Cancelled,
    ) -> Sitting:
        return sitting

    def machine(self, technique: str, mmu: str | None, cpu: str | None, controls: Sequence[str]) -> MachineChoice:
        raise UnsupportedError("a picture has nothing to change")

    def run_to_place(self, sitting: Sitting, text: str, cancelled: Cancelled) -> bool:
        return False

    def pair(self, sitting: Sitting, cancelled: Cancelled) -> Pair:
        raise UnsupportedError("a picture has no second session")

    def compare(self, scenario: str, cpu: str | None, progress: Progress) -> ComparedRuns:
        raise UnsupportedError("a picture has nothing to compare")

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

    def snapshot(self) -> Snapshot:
        return self._snapshot


if __name__ == "__main__":
    for file in make_screenshots(Path("screenshots")):
        print(file)
