"""The lesson screen: what is to be read and answered, beside the running guest that it speaks of."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.reactive import var
from textual.widget import Widget
from textual.widgets import Input, Static

from ringviz.engine.looks import Looks, WalkLook
from ringviz.engine.memory_look import MemoryLook
from ringviz.engine.view import Snapshot
from ringviz.errors import RingvizError
from ringviz.lessons.progress import LessonProgress, Progress, answer_key
from ringviz.lessons.question import LETTERS, Question
from ringviz.ui.commands import LESSON, Command, bindings
from ringviz.ui.prose import inline, prose
from ringviz.ui.requests import Look, OpenLesson, PageShown, Remarked, Shown, TurnTo
from ringviz.ui.screens.help import HelpScreen
from ringviz.ui.screens.moving import MovingScreen
from ringviz.ui.screens.spoilers import without_verdicts
from ringviz.ui.widgets.card import CardPanel
from ringviz.ui.widgets.code import CodePanel
from ringviz.ui.widgets.console import ConsolePanel
from ringviz.ui.widgets.events import EventsPanel
from ringviz.ui.widgets.keyline import KeyLine
from ringviz.ui.widgets.memory import MemoryPanel
from ringviz.ui.widgets.overhead import OverheadPanel
from ringviz.ui.widgets.panel import Panel, printable, wrapped
from ringviz.ui.widgets.rings import RingsPanel
from ringviz.ui.widgets.side import SidePanel
from ringviz.ui.widgets.status import StatusLine
from ringviz.ui.widgets.tail import TailView
from ringviz.ui.widgets.twice import TwicePanel
from ringviz.ui.widgets.walk import WalkPanel

if TYPE_CHECKING:
    from ringviz.lessons.follow import Page

_EXPLANATION = (
    "On the left the lesson, on the right the guest that it speaks of, standing where it speaks of it. The panel above "
    "is the one to look at; o shows another. The guest is real and yours to move: step, go back, run. The next page "
    "takes it to where that page begins. e opens everything there is about this moment. Answers are typed: a puts the "
    "cursor into the line for it; Enter on an empty line shows the answer."
)
HOST_PANEL = "host"
_PANELS: dict[str, type[Panel] | type[TailView]] = {
    "code": CodePanel,
    "rings": RingsPanel,
    "registers": TwicePanel,
    "side": SidePanel,
    "events": EventsPanel,
    "console": ConsolePanel,
    "overhead": OverheadPanel,
    "memory": MemoryPanel,
    "walk": WalkPanel,
}
"""What can stand in the upper place on the right, by the name that lessons use; the card always stands below."""
_ELSEWHERE = {"card": "code", "timeline": "events"}
"""What stands there if a lesson points at a panel that is not among them."""


class LessonScreen(MovingScreen):
    """Follows one lesson.

    Args:
        request: the lesson and page that was asked for.
        progress: what has been done of all lessons; written after every page and answer.
    """

    COMMAND_ROWS: ClassVar[tuple[Command, ...]] = LESSON
    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings(LESSON),
        Binding("up,pageup", "scroll_text(-1)", "up", show=False),
        Binding("down,pagedown", "scroll_text(1)", "down", show=False),
    ]
    AUTO_FOCUS = ""

    snapshot: var[Snapshot | None] = var(None)
    page: "var[Page | None]" = var(None)
    look: var[str] = var("code")
    """Which panel stands in the upper place."""

    def __init__(self, request: OpenLesson, progress: Progress) -> None:
        self._lesson_id = request.lesson
        self._seed = request.seed
        self._progress = progress
        self._title = ""
        self._moment: Snapshot | None = None
        """The guest as it stands, with all that is known of it."""
        self.looks = Looks()
        """What the engine was last asked to show besides."""
        self._given: str | None = None
        """The answer to this page's question; empty if it was only shown."""
        super().__init__()

    def compose(self) -> ComposeResult:
        """Text on the left, the guest on the right."""
        yield Static("", markup=False, id="lesson-title")
        with Horizontal(id="lesson"):
            with Vertical(id="reading"):
                with VerticalScroll(id="text", can_focus=False):
                    yield Static("", markup=False, id="words")
                answer = Input(id="answer")
                answer.cursor_blink = False
                yield answer
            with Vertical(id="beside"):
                yield StatusLine().data_bind(LessonScreen.snapshot, LessonScreen.in_motion, LessonScreen.is_busy)
                for name, panel in _PANELS.items():
                    widget = panel().data_bind(LessonScreen.snapshot)
                    widget.add_class("looked-at", f"look-{name}")
                    yield widget
                with VerticalScroll(classes="looked-at look-host host-panel", can_focus=False) as host:
                    host.border_title = Content("The host")
                    yield Static("", markup=False, id="host-lines")
                yield CardPanel().data_bind(LessonScreen.snapshot)
        yield KeyLine(LESSON)

    def on_mount(self) -> None:
        """Nothing to answer yet."""
        self.query_one("#answer").display = False
        self._show_panel()

    # ---- what comes --------------------------------------------------------------------------------------------------

    def show_page(self, message: PageShown) -> None:
        """Take over another page."""
        self._lesson_id, self._title = message.lesson, message.title
        done = self._done
        self._given = None
        question = message.page.question
        if question is not None:
            self._given = done.answers.get(answer_key(question.id, self._seed))
        self.page = message.page
        self.query_one("#host-lines", Static).update(Content("\n".join(printable(line) for line in message.page.host)))
        self.look = message.page.look or "code"
        self._show_panel()  # one page can show another host than the one before
        done.page = message.page.number
        done.is_read = done.is_read or message.page.number == message.page.of
        self._save()
        self.query_one("#text", VerticalScroll).scroll_home(animate=False)
        self._show_moment()
        field = self.query_one("#answer", Input)
        field.value = ""
        field.display = question is not None and self._given is None
        field.placeholder = "" if question is None else f"{question.how} · Enter shows the answer"
        self.set_focus(None)
        self._draw()

    def show(self, shown: Shown) -> None:
        """Take over a new moment."""
        self.in_motion = shown.in_motion
        self._moment = shown.snapshot
        self._show_moment()

    def _show_moment(self) -> None:
        """Let the panels show the guest; but what will become of an instruction is not told to somebody who guesses."""
        question = None if self.page is None else self.page.question
        is_guessing = question is not None and self._given is None and question.is_guess
        self.snapshot = without_verdicts(self._moment) if is_guessing and self._moment is not None else self._moment

    def known_end(self) -> int | None:
        """Where the run ends, if that is known."""
        return self.snapshot.timeline.end if self.snapshot is not None else None

    def watch_look(self, look: str) -> None:
        """Let another panel stand there; what it shows besides the CPU, the engine has to look at."""
        self._show_panel()
        looks = Looks(MemoryLook() if look == "memory" else None, WalkLook() if look == "walk" else None)
        if looks != self.looks:
            self.looks = looks
            self.ringviz.engine.submit(Look(looks))

    @on(MemoryPanel.Looked)
    def _looked(self, message: MemoryPanel.Looked) -> None:
        self.looks = Looks(message.look)
        self._ask(Look(self.looks))

    def on_resize(self) -> None:
        """Wrap the text anew."""
        self.call_after_refresh(self._draw)

    # ---- what the user wants -----------------------------------------------------------------------------------------

    def action_forward(self) -> None:
        """Answer the question first; else the next page."""
        if self.page is None:
            return
        if self.page.question is not None and self._given is None:
            self.action_answer()
        elif self.page.number < self.page.of:
            self._ask(TurnTo(self.page.number + 1))
        else:
            self.notice(Remarked(f"The end. ringviz quiz {self._lesson_id} asks what you have learned."))

    def action_backward(self) -> None:
        """The page before."""
        if self.page is not None and self.page.number > 1:
            self._ask(TurnTo(self.page.number - 1))

    def action_again(self) -> None:
        """Back to where this page speaks of."""
        if self.page is not None:
            self._ask(TurnTo(self.page.number))

    def action_answer(self) -> None:
        """Into the line for the answer."""
        if self.page is not None and self.page.question is not None:
            self._given = None
            field = self.query_one("#answer", Input)
            field.display = True
            field.focus()
            self._show_moment()
            self._draw()
            # On a small screen the options stand below what can be seen.
            self.call_after_refresh(self.query_one("#text", VerticalScroll).scroll_end, animate=False)

    def action_other_panel(self) -> None:
        """Another panel on the right."""
        names = [name for name in _PANELS if name != "side" or self._has_side]
        if self.page is not None and self.page.host:
            names.insert(0, HOST_PANEL)
        at = names.index(self._shown_name) if self._shown_name in names else -1
        self.look = names[(at + 1) % len(names)]

    def action_scroll_text(self, by: int) -> None:
        """Scroll what is to be read."""
        text = self.query_one("#text", VerticalScroll)
        text.scroll_relative(y=by * max(1, text.size.height - 2), animate=False)

    def action_zoom(self) -> None:
        """The panel alone, or all again."""
        if self.maximized is not None:
            self.minimize()
        else:
            self.maximize(self._panel, container=False)

    def action_stop(self) -> None:
        """Out of the answer, out of a zoomed panel, or stop a run."""
        if self.focused is not None:
            self.set_focus(None)
        elif self.in_motion or self.is_busy or self.maximized is None:
            self.ringviz.engine.cancel()
        else:
            self.minimize()

    def action_explore(self) -> None:
        """Everything about this moment, on the explore screen."""
        self.ringviz.explore_from_lesson()

    def action_explain(self) -> None:
        """What this screen is, the signs and the keys."""
        self.app.push_screen(HelpScreen(LESSON, ("A lesson", _EXPLANATION)))

    def action_leave(self) -> None:
        """Back to the list of lessons; the page is kept."""
        self.ringviz.engine.cancel()
        self.ringviz.leave_lesson()

    @on(Input.Submitted, "#answer")
    def _answered(self, event: Input.Submitted) -> None:
        question = None if self.page is None else self.page.question
        if question is None:
            return
        given = event.value.strip()
        if given and question.normalized(given) is None:
            self.notice(Remarked(f"Expected {question.how}."))
            return
        self._given = given
        if given:
            self._done.answers[answer_key(question.id, self._seed)] = given
            self._save()
        event.input.display = False
        self._show_moment()
        self.set_focus(None)
        self.query_one(KeyLine).notice = ""
        self._draw()
        self.query_one("#text", VerticalScroll).scroll_end(animate=False)

    # ---- inside ------------------------------------------------------------------------------------------------------

    @property
    def _done(self) -> LessonProgress:
        return self._progress.of(self._lesson_id)

    def _save(self) -> None:
        try:
            self._progress.save()
        except RingvizError as error:
            self.notice(Remarked(str(error)))

    @property
    def _has_side(self) -> bool:
        return self.snapshot is not None and self.snapshot.side is not None

    @property
    def _shown_name(self) -> str:
        name = _ELSEWHERE.get(self.look, self.look)
        if name == HOST_PANEL and self.page is not None and self.page.host:
            return HOST_PANEL
        return "code" if name not in _PANELS or (name == "side" and not self._has_side) else name

    @property
    def _panel(self) -> Widget:
        return self.query_one(f".look-{self._shown_name}")

    def watch_snapshot(self) -> None:
        """A technique may have something beside the guest's code that the one before had not."""
        if self.look == "side":
            self._show_panel()

    def _show_panel(self) -> None:
        for panel in self.query(".looked-at"):
            panel.display = panel.has_class(f"look-{self._shown_name}")
        self.set_class(self.look == "card", "-card-first")
        self.set_class(self._shown_name == HOST_PANEL, "-host-first")

    def _draw(self) -> None:
        page = self.page
        if page is None or not self.is_mounted:
            return
        title = Content.assemble(
            (f" {printable(self._title)}", "bold $primary"),
            (f"  page {page.number} of {page.of}", "$dim"),
            (f"  {_bar(page.number, page.of)}", "$secondary"),
        )
        self.query_one("#lesson-title", Static).update(title.truncate(self.size.width, ellipsis=True))
        width = max(10, self.query_one("#text").content_size.width - 1)
        self.query_one("#words", Static).update(Content("\n").join(page_lines(page, self._given, width)))


def _bar(number: int, of: int) -> str:
    return "●" * number + "○" * (of - number)


def page_lines(page: "Page", given: str | None, width: int) -> list[Content]:
    """Give a page as lines: its title, its text, its question; once answered, whether it was right, and why."""
    from ringviz.lessons.follow import Role  # with it come the engines of the lessons, which the first screen needs not

    head = ": ".join(dict.fromkeys(part for part in (page.role.value, page.title) if part))
    colour = "$kind-silent" if page.role is Role.MISCONCEPTION else "$primary"
    lines = [*wrapped(Content.assemble((printable(head), f"bold {colour}")), width, 3), Content("")]
    lines += prose(page.text, width)
    if page.question is not None:
        lines += [Content(""), *question_lines(page.question, width)]
        if given is None:
            lines += [Content(""), Content.assemble(("a or Enter: answer", "$dim"))]
        else:
            lines += [Content(""), *_judged(page.question, given, width)]
            if page.reveal:
                lines += [Content(""), *prose(page.reveal, width)]
    return lines


def question_lines(question: Question, width: int) -> list[Content]:
    """Give a question with its options."""
    lines = wrapped(Content.assemble(("? ", "bold $changed")) + inline(question.text).stylize_before("bold"), width, 12)
    lines += [Content(f"  {number}. {printable(item)}") for number, item in enumerate(question.items, 1)]
    for letter, option in zip(LETTERS, question.options, strict=False):
        option_lines = Content(printable(option)).wrap(max(1, width - 5))
        lines += [
            Content.assemble((f"  {letter}) " if number == 0 else "     ", "bold $changed")) + line.rstrip()
            for number, line in enumerate(option_lines)
        ]
    return lines


def _judged(question: Question, given: str, width: int) -> Sequence[Content]:
    if not given:
        sign, style = "· The answer", "bold $changed"
    elif question.is_right(given):
        sign, style = "✓ Right", "bold $kind-gate"
    else:
        sign, style = f"× You said {given}; the answer", "bold $kind-silent"
    answer = Content.assemble((f"{printable(sign)}: ", style), printable(question.solution))
    return [*wrapped(answer, width, 12), *wrapped(Content(printable(question.explain)), width, 20)]
