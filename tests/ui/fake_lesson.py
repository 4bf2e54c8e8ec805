"""A lesson of three pages about a fake guest."""

from typing import TYPE_CHECKING

from ringviz.lessons.follow import Page, Role
from ringviz.lessons.question import Question, QuestionKind
from ringviz.ui.laboratory import Cancelled, LessonChoice, Sitting

if TYPE_CHECKING:
    from tests.ui.fake import FakeSession

LESSONS = (
    LessonChoice("holes", 1, "The hole in x86", "Instructions that say [nothing].", 18, 3, True),
    LessonChoice("exits", 2, "Exits", "What an exit costs.", 10, 3, False),
)
QUESTION = Question(
    id="q-popf",
    kind=QuestionKind.CHOICE,
    text="What does POPF do in [ring 1]?",
    options=("It traps", "It sets IF", "Nothing, and nobody is told"),
    answer="c",
    explain="CPL is greater than IOPL.",
)
_TEXT = """The guest is about to execute `mov eax, [ebx]`, which is *innocuous*: the **same** in every ring.

- one thing
- another thing that is long enough to need more than one line wherever this is shown in a narrow column

```
popf   ; [not markup]
```
"""
# role, title, text, question, reveal, panel, where the guest stands
_PAGES: tuple[tuple[Role, str, str, Question | None, str, str | None, int], ...] = (
    (Role.SECTION, "A kernel looks at itself", _TEXT, None, "", "rings", 8),
    (Role.SECTION, "POPF", "Guess first.", QUESTION, "That is the **hole**.", "registers", 50),
    (Role.READ_NEXT, "Read next", "The next lesson.", None, "", None, 50),
)


class FakeReading:
    def __init__(self, lesson: str, session: "FakeSession") -> None:
        self.id = lesson
        self.title = next(row.title for row in LESSONS if row.id == lesson)
        self.scenario = "popf-hole"
        self._session = session
        self._number = 1

    @property
    def sitting(self) -> Sitting:
        return self._session

    def open(self, number: int, cancelled: Cancelled = bool) -> None:
        self._number = max(1, min(number, len(_PAGES)))
        self._session.seek(_PAGES[self._number - 1][6])

    def page(self) -> Page:
        role, title, text, question, reveal, look, _ = _PAGES[self._number - 1]
        return Page(self._number, len(_PAGES), role, title, text, question, reveal, look)
