"""What the app needs from the world below, as protocols; tests give a fake, `engine_laboratory.py` the real one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ringviz.record.replay import Replay

if TYPE_CHECKING:
    from ringviz.engine.contest import Contest
    from ringviz.engine.derivation import Derivation
    from ringviz.engine.generations import Generations
    from ringviz.engine.group import GroupView
    from ringviz.engine.hit_count import Hits
    from ringviz.engine.looks import Looks
    from ringviz.engine.scorecard import Scorecard
    from ringviz.engine.source_lines import SourceLines
    from ringviz.engine.vendors import VendorsView
    from ringviz.engine.view import Snapshot
    from ringviz.lessons.follow import Page
    from ringviz.record.machines.host_lecture import HostLecture
    from ringviz.record.workbench import Workbench

Cancelled = Callable[[], bool]
"""Polled every few milliseconds by long calls; True makes them return normally, wherever they have got to."""

Progress = Callable[[str, int, int | None], None]
"""Told what is being done, how many instructions of it are done, and the limit if known."""


@dataclass(frozen=True, slots=True)
class ScenarioChoice:
    """One line of the home screen's left list."""

    id: str
    title: str
    level: str
    summary: str


@dataclass(frozen=True, slots=True)
class TechniqueChoice:
    """One line of the home screen's right list, and of the technique chooser."""

    id: str
    title: str
    seat: str
    """Where the VMM sits."""


@dataclass(frozen=True, slots=True)
class ComparedRun:
    """One technique's line of the compare screen, as finished text and plain numbers."""

    technique: str
    outcome: str
    retired: int
    total_cycles: int
    slowdown: float | None
    card: Scorecard
    """The three properties of a virtual machine monitor, and whether this run kept them."""
    events: str
    """The most expensive causes with their counts."""
    cpu: str = ""
    """The cost profile of this run: no CPU has every feature, so they may differ."""
    divergences: tuple[str, ...] = ()
    """Every instruction after which the guest knew something else than on bare metal, one line each."""


@dataclass(frozen=True, slots=True)
class ComparedRuns:
    """What the compare screen shows."""

    scenario: str
    cpu: str
    runs: tuple[ComparedRun, ...]
    refused: tuple[tuple[str, str], ...]
    """Techniques that do not go with this scenario, each with the reason."""


@dataclass(frozen=True, slots=True)
class CpuChoice:
    """One CPU that a guest can be put on."""

    id: str
    title: str
    year: int
    refusal: str
    """Why it does not go with the technique and the paging, or empty."""


@dataclass(frozen=True, slots=True)
class ControlChoice:
    """One setting of a technique, on or off."""

    id: str
    title: str
    """What it does while on."""
    group: str
    is_on: bool
    is_on_by_default: bool
    """The technique's own choice."""
    rule: str
    """Why it cannot be changed, or empty."""


@dataclass(frozen=True, slots=True)
class MachineChoice:
    """How the machine below is built, and how else it could be."""

    technique: str
    title: str
    cpu: str
    mmu: str
    cpus: tuple[CpuChoice, ...]
    mmus: tuple[str, ...]
    controls: tuple[ControlChoice, ...]

    @property
    def changed(self) -> tuple[str, ...]:
        """Controls that are not as the technique would have them, `+name` or `-name`."""
        return tuple(f"{'+' if c.is_on else '-'}{c.id}" for c in self.controls if c.is_on != c.is_on_by_default)


class Movable(Protocol):
    """What can be moved along a guest's run. Only the engine thread may touch it."""

    @property
    def position(self) -> int:
        """Retired guest instructions."""
        ...

    @property
    def is_over(self) -> bool:
        """Standing at the end of the run."""
        ...

    def step(self) -> None:
        """Execute one guest instruction."""

    def back(self) -> None:
        """Go back by exactly one guest instruction."""

    def run(self, cancelled: Cancelled = ...) -> None:
        """Run to the end."""

    def next_event(self, cancelled: Cancelled = ...) -> bool:
        """Run to the next event; False if the run ended (or was cancelled) before one."""
        ...

    def previous_event(self, cancelled: Cancelled = ...) -> bool:
        """Go back to the event before; False if there is none."""
        ...

    def seek(self, position: int, cancelled: Cancelled = ...) -> None:
        """Stand at `position` retired instructions, or at the end if that comes first."""


class Sitting(Movable, Protocol):
    """One guest under one technique, standing at one retired instruction."""

    def snapshot(self, cancelled: Cancelled = ..., looks: Looks = ...) -> Snapshot:
        """All that one screen shows; cancelled, without the comparison with bare metal, which may take a while."""
        ...

    def why(self) -> Derivation | None:
        """Derive what becomes of the next instruction; None where there is none."""
        ...


class Pair(Movable, Protocol):
    """One guest under both vendors' hardware assistance, standing at one retired instruction."""

    def view(self) -> VendorsView:
        """All that the vendors' screen shows."""
        ...


class Group(Movable, Protocol):
    """One guest under two to four techniques, or the original beside an edited guest."""

    @property
    def NO_DIVERGENCE(self) -> str:  # noqa: N802 - a constant of the class
        """What to say where `next_divergence` finds none."""
        ...

    def next_divergence(self, progress: Progress, cancelled: Cancelled = ...) -> bool:
        """To just after the next place where a guest gets something else than on bare metal; False if none is left."""
        ...

    def view(self, cancelled: Cancelled = ...) -> GroupView:
        """All that the screen shows; cancelled, without the comparison with bare metal's cycles."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """The source of the guest on the screen, ready to be edited."""

    bench: Workbench
    lines: SourceLines


@dataclass(frozen=True, slots=True)
class LessonChoice:
    """One line of the list of lessons."""

    id: str
    order: int
    title: str
    summary: str
    minutes: int
    pages: int
    is_core: bool


class Reading(Protocol):
    """A lesson, open at a page, with the guest that it speaks of. Only the engine thread may touch it."""

    @property
    def id(self) -> str:
        """The lesson's, whatever name it was opened by."""
        ...

    @property
    def title(self) -> str:
        """The lesson's."""
        ...

    @property
    def scenario(self) -> str:
        """Id of the guest."""
        ...

    @property
    def sitting(self) -> Sitting:
        """The guest, where the page speaks of; another one after a page under another technique."""
        ...

    def open(self, number: int, cancelled: Cancelled = ...) -> None:
        """Open a page and take the guest there; raises RingvizError."""

    def page(self) -> Page:
        """Give the open page."""
        ...


class Laboratory(Protocol):
    """The world below the app."""

    def scenarios(self) -> Sequence[ScenarioChoice]:
        """Give the scenarios that can be opened, easiest first."""
        ...

    def techniques(self) -> Sequence[TechniqueChoice]:
        """Give the techniques that are implemented, bare metal first."""
        ...

    def open(self, scenario: str, technique: str, mmu: str | None, cpu: str | None) -> Sitting:
        """Load a scenario; raises RingvizError if these do not go together."""
        ...

    def swapped(
        self,
        sitting: Sitting,
        technique: str,
        mmu: str | None,
        cpu: str | None,
        controls: Sequence[str] | None,
        cancelled: Cancelled,
    ) -> Sitting:
        """Open the same guest at the same retired instruction, on a machine built otherwise; raises RingvizError."""
        ...

    def machine(self, technique: str, mmu: str | None, cpu: str | None, controls: Sequence[str]) -> MachineChoice:
        """Settle how a machine would be built, and what else could be chosen; None leaves it to the technique.

        Raises RingvizError, with the rule in one line, if these do not go together. Touches no sitting.
        """
        ...

    def run_to_place(self, sitting: Sitting, text: str, cancelled: Cancelled) -> bool:
        """Run to the place or kind of event that `text` names; False if the run ended first; raises InputError."""
        ...

    def check_place(self, sitting: Sitting, text: str) -> str:
        """Understand a place to stop at, with its conditions; raises InputError if it is none.

        Gives how it is called in other builds of the guest; empty if the text holds in every build.
        """
        ...

    def run_to_breakpoint(self, sitting: Sitting, texts: Sequence[str], cancelled: Cancelled) -> str | None:
        """Run to the first of several places; give its text, or None if the run ended (or was cancelled) first."""
        ...

    def run_back_to_breakpoint(self, sitting: Sitting, texts: Sequence[str], cancelled: Cancelled) -> str | None:
        """Go back to the last of several places before here; give its text, or None if there is none."""
        ...

    def hits(self, sitting: Sitting, cancelled: Cancelled) -> Hits | None:
        """Count how often each fragment of a code cache has been entered; None where there is no cache."""
        ...

    def look(self, sitting: Sitting, text: str) -> tuple[str, int]:
        """Understand what to look at: a register to follow or an address; raises InputError."""
        ...

    def pair(self, sitting: Sitting, cancelled: Cancelled) -> Pair:
        """Open the same guest at the same instruction under VT-x and AMD-V; raises RingvizError."""
        ...

    def group(self, sitting: Sitting, techniques: Sequence[str], cancelled: Cancelled) -> Group:
        """Open the same guest at the same instruction under several techniques; raises RingvizError."""
        ...

    def lessons(self) -> Sequence[LessonChoice]:
        """Give the lessons in their order."""
        ...

    def read(self, lesson: str, seed: int, cpu: str | None) -> Reading:
        """Open a lesson; raises RingvizError."""
        ...

    def lecture(self, subject: str) -> Replay | HostLecture:
        """Give the first replay that a scenario or a lesson has; raises RingvizError."""
        ...

    def compare(self, scenario: str, cpu: str | None, progress: Progress) -> ComparedRuns:
        """All techniques to the end of the scenario; an exception raised by `progress` passes through."""
        ...

    def contest(self, scenario: str, cpu: str, progress: Progress) -> Contest:
        """Run the techniques that compete for a scenario on a CPU, and count; `progress` as in `compare`."""
        ...

    def generations(self, scenario: str, progress: Progress) -> Generations:
        """Count the usual techniques on a scenario, priced for every CPU; `progress` may raise to leave it."""
        ...


class Editing(Protocol):
    """What is needed to change a guest and run it beside the original. Only the engine thread may touch it."""

    def source(self, sitting: Sitting) -> Source:
        """Give the source of a guest, with what the user has changed in it before; raises RingvizError."""
        ...

    def edited(self, sitting: Sitting, bench: Workbench, texts: Mapping[str, str], technique: str | None) -> Sitting:
        """Assemble texts, and power the guest on, on the machine of a sitting or under another technique.

        Raises RingvizError; of NASM's complaints an AssemblyError.
        """
        ...

    def beside(self, sitting: Sitting, edited: Sitting, cancelled: Cancelled) -> Group:
        """Put an edited guest beside the original, both where a sitting stands; raises RingvizError."""
        ...

    def lines(self, sitting: Sitting) -> SourceLines:
        """Give which line of the source became which bytes."""
        ...

    def place_name(self, sitting: Sitting) -> str:
        """Give the id or path by which the guest of a sitting is opened."""
        ...
