"""A laboratory in which it is always the same moment: for one picture, or a row of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ringviz.engine.looks import NOTHING, Looks
from ringviz.engine.view import Snapshot
from ringviz.errors import UnsupportedError
from ringviz.record.replay import Replay
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

if TYPE_CHECKING:
    from ringviz.engine.contest import Contest
    from ringviz.engine.derivation import Derivation
    from ringviz.engine.generations import Generations
    from ringviz.engine.hit_count import Hits


def exhibit(snapshot: Snapshot) -> Laboratory:
    """Give a laboratory in which it is always the same moment."""
    return _Exhibit(snapshot)


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
        controls: Sequence[str] | None,
        cancelled: Cancelled,
    ) -> Sitting:
        return sitting

    def machine(self, technique: str, mmu: str | None, cpu: str | None, controls: Sequence[str]) -> MachineChoice:
        raise UnsupportedError("a picture has nothing to change")

    def run_to_place(self, sitting: Sitting, text: str, cancelled: Cancelled) -> bool:
        return False

    def check_place(self, sitting: Sitting, text: str) -> str:
        raise UnsupportedError("this is a picture: it does not run")

    def run_to_breakpoint(self, sitting: Sitting, texts: Sequence[str], cancelled: Cancelled) -> str | None:
        return None

    def run_back_to_breakpoint(self, sitting: Sitting, texts: Sequence[str], cancelled: Cancelled) -> str | None:
        return None

    def hits(self, sitting: Sitting, cancelled: Cancelled) -> Hits | None:
        return None

    def look(self, sitting: Sitting, text: str) -> tuple[str, int]:
        raise UnsupportedError("this is a picture: it has no memory")

    def pair(self, sitting: Sitting, cancelled: Cancelled) -> Pair:
        raise UnsupportedError("this picture has no second session")

    def group(self, sitting: Sitting, techniques: Sequence[str], cancelled: Cancelled) -> Group:
        raise UnsupportedError("this picture has no second session")

    def lessons(self) -> Sequence[LessonChoice]:
        return ()

    def read(self, lesson: str, seed: int, cpu: str | None) -> Reading:
        raise UnsupportedError("this is a picture, and no lesson")

    def lecture(self, scenario: str) -> Replay:
        raise UnsupportedError("this is a picture, and no lecture")

    def compare(self, scenario: str, cpu: str | None, progress: Progress) -> ComparedRuns:
        raise UnsupportedError("this picture has nothing to compare")

    def contest(self, scenario: str, cpu: str, progress: Progress) -> Contest:
        raise UnsupportedError("this picture has no runs to price anew")

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
