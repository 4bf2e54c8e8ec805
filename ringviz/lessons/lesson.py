"""What a lesson is: sections of text beside a guest that stands where the text speaks of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ringviz.guest.scenario import Scenario
from ringviz.lessons.asked import Asked


@dataclass(frozen=True, slots=True)
class Move:
    """Where the guest is taken before a section is read."""

    technique: str | None
    """None: the one before."""
    mmu: str | None
    cpu: str | None
    controls: tuple[str, ...]
    """Settings of the technique changed from its own choice; they hold until the technique is chosen anew."""
    to: str | None
    """A place as `ringviz.lessons.place` understands it; None: the same guest instruction as before."""
    look: str | None
    """Panel to look at."""
    host: str | None = None
    """Host that is shown beside the text; then there is `after`."""
    after: str = ""
    """At which moment: after so many accounting periods, or `end`."""


@dataclass(frozen=True, slots=True)
class Section:
    """One screenful of a lesson."""

    title: str
    move: Move | None
    """None: the guest stays where it is."""
    text: str
    """Markdown, with figures in double braces; read before the question."""
    question: Asked | None
    reveal: str
    """Markdown, read after the question is answered."""
    line: int = 0
    """Line of the file that its heading stands in; 0 where that is of no use."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """One lesson, checked as far as that needs no run."""

    id: str
    path: Path
    """`lesson.md`."""
    title: str
    summary: str
    order: int
    """Place in the course."""
    is_core: bool
    minutes: int
    goals: tuple[str, ...]
    scenario: Scenario
    technique: str
    """Where the lesson begins."""
    sections: tuple[Section, ...]
    misconception: Section
    your_turn: Section
    read_next: str
    """Markdown."""
    teacher: str
    """Markdown: notes with timings."""

    @property
    def quiz_path(self) -> Path:
        """The quiz beside the lesson."""
        return self.path.with_name("quiz.toml")

    @property
    def host(self) -> str | None:
        """The host that the lesson is about; None if it is about a guest alone."""
        return next((part.move.host for part in self.sections if part.move is not None and part.move.host), None)

    @property
    def questions(self) -> tuple[Asked, ...]:
        """Every question that the lesson itself asks."""
        sections = (*self.sections, self.misconception, self.your_turn)
        return tuple(section.question for section in sections if section.question is not None)


@dataclass(frozen=True, slots=True)
class Quiz:
    """The questions at the end of a lesson."""

    path: Path
    title: str
    pass_percent: int
    """Share of right answers from which on it is passed."""
    questions: tuple[Asked, ...]
