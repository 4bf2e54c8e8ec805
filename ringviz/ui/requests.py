"""What the screens ask of the engine thread, and what it answers: a closed set each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.message import Message

from ringviz.engine.looks import Looks
from ringviz.errors import Complaint
from ringviz.record.played import Played
from ringviz.record.replay import Replay
from ringviz.ui.laboratory import ComparedRuns, Source

if TYPE_CHECKING:
    from ringviz.engine.contest import Contest
    from ringviz.engine.derivation import Derivation
    from ringviz.engine.generations import Generations
    from ringviz.engine.group import GroupView
    from ringviz.engine.hit_count import Hits
    from ringviz.engine.source_lines import SourceLines
    from ringviz.engine.vendors import VendorsView
    from ringviz.engine.view import Snapshot
    from ringviz.lessons.follow import Page
    from ringviz.record.workbench import Workbench


@dataclass(frozen=True, slots=True)
class Open:
    """Load a scenario and stand at its first instruction."""

    scenario: str
    technique: str
    mmu: str | None = None
    cpu: str | None = None


@dataclass(frozen=True, slots=True)
class Refresh:
    """Nowhere: only show again where the session stands."""


@dataclass(frozen=True, slots=True)
class Step:
    """One guest instruction forward."""


@dataclass(frozen=True, slots=True)
class Back:
    """One guest instruction back."""


@dataclass(frozen=True, slots=True)
class NextEvent:
    """Forward to the next event."""


@dataclass(frozen=True, slots=True)
class PreviousEvent:
    """Back to the event before."""


@dataclass(frozen=True, slots=True)
class Run:
    """To the end of the run."""


@dataclass(frozen=True, slots=True)
class RunBack:
    """Back to where a breakpoint was last met."""


@dataclass(frozen=True, slots=True)
class Seek:
    """To a number of retired instructions."""

    position: int


@dataclass(frozen=True, slots=True)
class GoTo:
    """To an address or symbol, as the user typed it."""

    text: str


@dataclass(frozen=True, slots=True)
class AddBreakpoint:
    """Understand a new breakpoint; if it is one, `BreakpointAdded` answers."""

    text: str


@dataclass(frozen=True, slots=True)
class UseBreakpoints:
    """Stop runs at these places from now on, and at no others."""

    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CountHits:
    """Count how often each fragment of the code cache has been entered; `HitsCounted` answers."""


@dataclass(frozen=True, slots=True)
class Look:
    """Show from now on what somebody looks at besides: memory, a page walk."""

    looks: Looks


@dataclass(frozen=True, slots=True)
class LookAt:
    """Let the look at memory and at a page walk go to a place, as the user typed it."""

    text: str


@dataclass(frozen=True, slots=True)
class Swap:
    """To another technique, or another machine under the same, at the same retired instruction."""

    technique: str
    cpu: str | None = None
    """The CPU the user asked for; None leaves the choice to the technique."""
    mmu: str | None = None
    controls: tuple[str, ...] | None = None
    """Settings to change from the technique's own choice, `+name` or `-name`; None is what the user started with."""


@dataclass(frozen=True, slots=True)
class Compare:
    """Run all techniques of a scenario to the end."""

    scenario: str
    cpu: str | None


@dataclass(frozen=True, slots=True)
class AskWhatIf:
    """Run the techniques that compete for a scenario to the end and count, so that they can be priced anew."""

    scenario: str
    cpu: str


@dataclass(frozen=True, slots=True)
class AskYears:
    """Run a scenario under the usual techniques, and price the runs for every CPU."""

    scenario: str


@dataclass(frozen=True, slots=True)
class OpenPair:
    """Put the guest under VT-x and AMD-V as well, side by side; every move is then theirs."""


@dataclass(frozen=True, slots=True)
class ClosePair:
    """Leave the pair; the session stands where it was."""


@dataclass(frozen=True, slots=True)
class PlayReplay:
    """Power on the guest of a scripted replay, before its first beat."""

    replay: Replay


@dataclass(frozen=True, slots=True)
class ToBeat:
    """To the next beat of the replay (1), the one before (-1), or back into the one that was left (0)."""

    by: int


@dataclass(frozen=True, slots=True)
class OpenGroup:
    """Put the guest under several techniques, side by side; every move is then theirs."""

    techniques: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CloseGroup:
    """Leave the group; the session stands where it was."""


@dataclass(frozen=True, slots=True)
class NextDivergence:
    """Take the group to the next place where a guest gets something else than on bare metal."""


@dataclass(frozen=True, slots=True)
class OpenSource:
    """Give the guest's source, to be edited; `SourceShown` answers."""


@dataclass(frozen=True, slots=True, eq=False)
class RunEdited:
    """Assemble texts, and run the guest beside the original, or alone; `Assembled` or `NotAssembled` answers first."""

    bench: Workbench
    texts: Mapping[str, str]
    technique: str | None = None
    """For both; None is the present one."""
    is_alone: bool = False


@dataclass(frozen=True, slots=True)
class AskWhy:
    """Derive what becomes of the next instruction, and why."""


@dataclass(frozen=True, slots=True)
class OpenLesson:
    """Open a lesson at a page, with the guest that it speaks of."""

    lesson: str
    page: int = 1
    seed: int = 0
    cpu: str | None = None


@dataclass(frozen=True, slots=True)
class TurnTo:
    """Open another page of the lesson, and take the guest to where it speaks of."""

    page: int


Move = Step | Back | NextEvent | PreviousEvent | Run | Seek
"""What both a session and a pair of them can do."""
Request = (
    Move
    | Open
    | Refresh
    | GoTo
    | RunBack
    | AddBreakpoint
    | UseBreakpoints
    | CountHits
    | Look
    | LookAt
    | Swap
    | Compare
    | AskWhatIf
    | AskYears
    | OpenPair
    | ClosePair
    | PlayReplay
    | ToBeat
    | OpenGroup
    | CloseGroup
    | NextDivergence
    | AskWhy
    | OpenSource
    | RunEdited
    | OpenLesson
    | TurnTo
)


class Opened(Message):
    """A scenario was loaded; its first moment follows."""

    def __init__(self, request: Open) -> None:
        self.request = request
        super().__init__()


class Shown(Message):
    """A new moment to show."""

    def __init__(self, snapshot: Snapshot, in_motion: bool) -> None:
        self.snapshot = snapshot
        self.in_motion = in_motion
        super().__init__()

    def can_replace(self, message: Message) -> bool:
        """Take the place of an older moment still waiting to be shown."""
        return isinstance(message, Shown)


class PairShown(Message):
    """A new moment of the pair to show."""

    def __init__(self, view: VendorsView, in_motion: bool) -> None:
        self.view = view
        self.in_motion = in_motion
        super().__init__()

    def can_replace(self, message: Message) -> bool:
        """Take the place of an older moment still waiting to be shown."""
        return isinstance(message, PairShown)


class BeatShown(Message):
    """A beat of the replay stands; its moment is shown as any other."""

    def __init__(self, played: Played) -> None:
        self.played = played
        super().__init__()


class Stale(Message):
    """The replay was recorded with something else than it is played with."""

    def __init__(self, text: str) -> None:
        self.text = text
        super().__init__()


class GroupShown(Message):
    """A new moment of the group to show."""

    def __init__(self, view: GroupView, in_motion: bool) -> None:
        self.view = view
        self.in_motion = in_motion
        super().__init__()

    def can_replace(self, message: Message) -> bool:
        """Take the place of an older moment still waiting to be shown."""
        return isinstance(message, GroupShown)


class SourceShown(Message):
    """The answer to `OpenSource`."""

    def __init__(self, source: Source) -> None:
        self.source = source
        super().__init__()


class Assembled(Message):
    """Edited texts were assembled; the guest follows."""

    def __init__(self, lines: SourceLines, opened: Open | None) -> None:
        self.lines = lines
        self.opened = opened
        """What the guest is opened by, if it is the one on the screen from now on."""
        super().__init__()


class NotAssembled(Message):
    """NASM refuses edited texts."""

    def __init__(self, text: str, complaints: tuple[Complaint, ...]) -> None:
        self.text = text
        self.complaints = complaints
        super().__init__()


class Derived(Message):
    """The answer to `AskWhy`; None where no instruction comes next."""

    def __init__(self, derivation: Derivation | None) -> None:
        self.derivation = derivation
        super().__init__()


class PageShown(Message):
    """A page of a lesson is open; the moment that it speaks of follows."""

    def __init__(self, lesson: str, title: str, page: Page, scenario: str) -> None:
        self.lesson = lesson
        self.title = title
        """The lesson's."""
        self.page = page
        self.scenario = scenario
        super().__init__()


class Began(Message):
    """The engine thread took up a request that may take a while."""


class Settled(Message):
    """The engine thread has nothing more to do."""


class Failed(Message):
    """A request could not be carried out; the app stays where it was."""

    def __init__(self, text: str, request: Request) -> None:
        self.text = text
        self.request = request
        super().__init__()


class Remarked(Message):
    """Something the user should know although nothing failed, in one line."""

    def __init__(self, text: str) -> None:
        self.text = text
        super().__init__()


class BreakpointAdded(Message):
    """A new breakpoint was understood.

    Args:
        text: as the user wrote it.
        elsewhere: how the place is called in other builds of the guest; empty if the text holds in all.
    """

    def __init__(self, text: str, elsewhere: str = "") -> None:
        self.text, self.elsewhere = text, elsewhere
        super().__init__()


class HitsCounted(Message):
    """How often each fragment of the code cache has been entered."""

    def __init__(self, hits: Hits) -> None:
        self.hits = hits
        super().__init__()


class Compared(Message):
    """The answer to `Compare`."""

    def __init__(self, runs: ComparedRuns) -> None:
        self.runs = runs
        super().__init__()


class Counted(Message):
    """The answer to `AskWhatIf`."""

    def __init__(self, found: Contest) -> None:
        self.found = found
        super().__init__()


class Priced(Message):
    """The answer to `AskYears`."""

    def __init__(self, found: Generations) -> None:
        self.found = found
        super().__init__()


class Progressed(Message):
    """How far a comparison has got."""

    def __init__(self, what: str, done: int, limit: int | None) -> None:
        self.what = what
        self.done = done
        self.limit = limit
        super().__init__()

    def can_replace(self, message: Message) -> bool:
        """Only the newest progress matters."""
        return isinstance(message, Progressed)
