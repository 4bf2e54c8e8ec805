"""The list of lessons, with what has been done of each."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, cast

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import Screen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from ringviz.errors import RingvizError
from ringviz.lessons.progress import LessonProgress, Progress
from ringviz.ui.commands import LESSONS, Command, bindings
from ringviz.ui.laboratory import LessonChoice
from ringviz.ui.requests import Failed, OpenLesson, Remarked
from ringviz.ui.screens.help import HelpScreen
from ringviz.ui.widgets.keyline import KeyLine
from ringviz.ui.widgets.panel import printable

if TYPE_CHECKING:
    from ringviz.ui.app import RingvizApp


class LessonsScreen(Screen[None]):
    """One line a lesson; Enter opens it where it was left."""

    COMMAND_ROWS: ClassVar[tuple[Command, ...]] = LESSONS
    BINDINGS: ClassVar[list[BindingType]] = [*bindings([c for c in LESSONS if c.id != "open"])]
    AUTO_FOCUS = "#lessons"

    def __init__(self, lessons: Sequence[LessonChoice], progress: Progress) -> None:
        self._lessons = lessons
        self._progress = progress
        super().__init__()

    def compose(self) -> ComposeResult:
        """The list, and what the highlighted lesson is about."""
        with Vertical(id="course") as box:
            box.border_title = Content("The course: lessons beside a running guest")
            yield OptionList(
                *(Option(lesson_line(row, self._progress.lessons.get(row.id))) for row in self._lessons),
                id="lessons",
                markup=False,
            )
            yield Static("", markup=False, id="lesson-about")
        yield KeyLine(LESSONS)

    def on_mount(self) -> None:
        """Stand on the first lesson that is not read."""
        lessons = self.query_one("#lessons", OptionList)
        unread = [i for i, row in enumerate(self._lessons) if not self._of(row).is_read]
        if self._lessons:
            lessons.highlighted = unread[0] if unread else 0
        if self._progress.complaint:
            self.notice(Remarked(self._progress.complaint))

    def notice(self, message: Failed | Remarked) -> None:
        """Say one line in place of the keys."""
        line = self.query_one(KeyLine)
        line.is_failure = isinstance(message, Failed)
        line.notice = message.text

    def action_choose(self) -> None:
        """Do what Enter does, for a click on it in the key line."""
        self.query_one("#lessons", OptionList).action_select()

    def action_again(self) -> None:
        """Open the highlighted lesson at its first page."""
        self._open(1)

    def action_lecture(self) -> None:
        """Hold the lecture of the highlighted lesson."""
        highlighted = self.query_one("#lessons", OptionList).highlighted
        if highlighted is not None:
            try:
                cast("RingvizApp", self.app).hold_lecture(self._lessons[highlighted].id)
            except RingvizError as error:
                self.notice(Remarked(str(error)))

    def action_explain(self) -> None:
        """Keys and signs."""
        self.app.push_screen(HelpScreen(LESSONS))

    def action_leave(self) -> None:
        """Home."""
        cast("RingvizApp", self.app).go_home()

    @on(OptionList.OptionHighlighted)
    def _highlighted(self, event: OptionList.OptionHighlighted) -> None:
        row = self._lessons[event.option_index]
        about = Content.assemble((f"{row.id}: ", "bold $primary"), printable(row.summary))
        self.query_one("#lesson-about", Static).update(about)

    @on(OptionList.OptionSelected)
    def _chosen(self) -> None:
        self._open(None)

    def _open(self, page: int | None) -> None:
        highlighted = self.query_one("#lessons", OptionList).highlighted
        if highlighted is None:
            return
        row = self._lessons[highlighted]
        done = self._of(row)
        start = page if page is not None else 1 if done.is_read else done.page
        self.query_one(KeyLine).notice = ""
        cast("RingvizApp", self.app).open_lesson(OpenLesson(row.id, start))

    def _of(self, row: LessonChoice) -> LessonProgress:
        return self._progress.lessons.get(row.id, LessonProgress())


def lesson_line(row: LessonChoice, done: LessonProgress | None) -> Content:
    """One lesson: number, title, minutes, what has been done of it."""
    if done is None or (done.page == 1 and not done.is_read and not done.answers):
        sign, word, style = "○", "", "$dim"
    elif done.is_passed:
        sign, word, style = "●", "quiz passed", "$kind-gate"
    elif done.is_read:
        sign, word, style = "●", "read", "$kind-gate"
    else:
        sign, word, style = "◐", f"page {done.page} of {row.pages}", "$changed"
    core = " core" if row.is_core else "     "
    return Content.assemble(
        (f"{sign} ", style), (f"{row.order:>2}  ", "$dim"), (f"{printable(row.title):<43}", "bold"),
        (f"{row.minutes:>3} min{core}  ", "$dim"), (word, style),
    )  # fmt: skip
