"""Somebody following a lesson: which section is open, where the guest stands, what was answered.

The app and the plain text mode are two faces of this; neither knows more of a lesson than this tells.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from ringviz.engine.recording import Cancelled, never
from ringviz.engine.session import Session
from ringviz.errors import LessonError, RingvizError
from ringviz.guest.scenario import shown_path
from ringviz.lessons.figures import Figures
from ringviz.lessons.host_told import told_host
from ringviz.lessons.lesson import Lesson, Section
from ringviz.lessons.make import Maker
from ringviz.lessons.place import go
from ringviz.lessons.question import Question


class Role(Enum):
    """What a page is for; the value is the word above it."""

    SECTION = ""
    MISCONCEPTION = "A misconception"
    YOUR_TURN = "Your turn"
    READ_NEXT = "Read next"


@dataclass(frozen=True, slots=True)
class Page:
    """What a learner reads at once."""

    number: int
    """From 1."""
    of: int
    role: Role
    title: str
    text: str
    """Markdown, figures filled in."""
    question: Question | None
    reveal: str
    """Markdown, for after the answer."""
    look: str | None
    """Panel to look at."""
    host: tuple[str, ...] = ()
    """The host that is to be looked at, in lines; nothing where it is the guest alone."""


class Follower:
    """A place in a lesson. Not thread-safe: the thread that owns its session owns it."""

    def __init__(self, lesson: Lesson, seed: int = 0, cpu: str | None = None) -> None:
        """Open a lesson at its first page.

        Args:
            lesson: the lesson.
            seed: makes the questions.
            cpu: CPU profile of the whole lesson; None: each technique's own.

        Raises:
            RingvizError: the guest cannot be started.
        """
        self.lesson = lesson
        self.seed = seed
        self.answers: dict[str, str] = {}
        """By id of the question."""
        self._cpu = cpu
        self.figures = Figures(lesson.scenario)
        """What the lesson has computed so far."""
        self._maker = Maker(lesson.scenario, seed, self.figures, shown_path(lesson.path.resolve()))
        self._pages = (
            *((Role.SECTION, section) for section in lesson.sections),
            (Role.MISCONCEPTION, lesson.misconception),
            (Role.YOUR_TURN, lesson.your_turn),
            (Role.READ_NEXT, Section("Read next", None, lesson.read_next, None, "")),
        )
        self._index = 0
        self.session = Session(lesson.scenario, lesson.technique, cpu=cpu)
        self._built: tuple[str, str | None, str | None, tuple[str, ...]] = (lesson.technique, None, cpu, ())

    @property
    def number(self) -> int:
        """Page that is open, from 1."""
        return self._index + 1

    @property
    def count(self) -> int:
        """How many pages there are."""
        return len(self._pages)

    def section(self, number: int) -> Section:
        """Give what the file says for a page."""
        return self._pages[number - 1][1]

    def page(self) -> Page:
        """Give the open page.

        Raises:
            LessonError: it names a figure or asks a question that cannot be.
        """
        role, section = self._pages[self._index]
        move = section.move
        try:
            return Page(
                number=self.number,
                of=self.count,
                role=role,
                title=section.title,
                text=self.figures.fill(section.text),
                question=None if section.question is None else self._maker.make(section.question),
                reveal=self.figures.fill(section.reveal),
                look=None if move is None else move.look,
                host=() if move is None or move.host is None else told_host(move.host, move.after),
            )
        except RingvizError as error:
            raise self._fault(section, error) from None

    def open(self, number: int, cancelled: Cancelled = never) -> None:
        """Open a page and take the guest to where it speaks of; beyond the first and last is the first and last.

        Raises:
            LessonError: the guest never comes there.
        """
        self._index = max(0, min(number - 1, self.count - 1))
        technique, mmu, cpu, to = self.lesson.technique, None, self._cpu, "start"
        controls: tuple[str, ...] = ()
        for _role, section in self._pages[: self._index + 1]:
            if section.move is not None:
                technique = section.move.technique or technique
                if section.move.technique is not None:
                    mmu, cpu, controls = section.move.mmu, self._cpu, section.move.controls
                mmu = section.move.mmu or mmu
                controls = section.move.controls or controls
                cpu = section.move.cpu or cpu
                to = section.move.to or to
        _role, section = self._pages[self._index]
        try:
            if (technique, mmu, cpu, controls) != self._built:
                self.session = Session(self.lesson.scenario, technique, mmu, cpu, controls)
                self._built = technique, mmu, cpu, controls
            go(self.session, to, cancelled)
        except RingvizError as error:
            raise self._fault(section, error) from None

    def answer(self, given: str) -> bool | None:
        """Answer the open page's question; None if that is no possible answer, else whether it is right."""
        question = self.page().question
        if question is None or question.normalized(given) is None:
            return None
        self.answers[question.id] = given
        return question.is_right(given)

    def _fault(self, section: Section, error: RingvizError) -> LessonError:
        if isinstance(error, LessonError):
            return error
        where = shown_path(self.lesson.path.resolve()) + (f":{section.line}" if section.line else "")
        return LessonError(f"{where}: section “{section.title}”: {error}")
