"""The home screen: choose a guest, and who shall run it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, cast

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from ringviz.errors import RingvizError
from ringviz.ui.commands import HOME, Command, bindings
from ringviz.ui.host_rooms import host_choices
from ringviz.ui.laboratory import ScenarioChoice, TechniqueChoice
from ringviz.ui.requests import Failed, Open, Remarked
from ringviz.ui.screens.explain import ExplainScreen
from ringviz.ui.screens.help import HelpScreen
from ringviz.ui.screens.hosts import HostsDialog, HostWanted
from ringviz.ui.widgets.keyline import KeyLine

if TYPE_CHECKING:
    from ringviz.ui.app import RingvizApp

_INTRODUCTION = (
    "On the left are small operating systems in real machine code, on the right the ways to run them. "
    "Enter opens the guest under the technique that is highlighted; inside, the key m puts the same guest, at the same "
    "instruction, under another technique. "
    "New to this? l opens the lessons. / finds a guest by a word, such as popf."
)
_TALL_ENOUGH = 34
"""Rows of the terminal from which on every scenario is told about in the list itself."""


class HomeScreen(Screen[None]):
    """Two lists."""

    COMMAND_ROWS: ClassVar[tuple[Command, ...]] = HOME
    # The lists answer Enter themselves; a binding here would only shadow it.
    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings([c for c in HOME if c.id != "open"]),
        Binding("escape", "leave_find", "leave find", show=False),
    ]
    AUTO_FOCUS = "#scenarios"

    @property
    def ringviz(self) -> "RingvizApp":
        """The app, by its own type."""
        return cast("RingvizApp", self.app)

    def compose(self) -> ComposeResult:
        """Title, question, the two lists, keys."""
        yield Static(
            Content.assemble(("ringviz", "bold $primary"), "   Who runs in which ring, and what does it cost?"),
            id="title",
        )
        yield Static(_INTRODUCTION, markup=False, id="introduction")
        # "compact": one row without a frame, for the time that something is looked for.
        word = Input(placeholder="a word of its name or story, such as popf", id="find", compact=True)
        word.cursor_blink = False
        word.display = False
        yield word
        with Horizontal(id="choices"):
            scenarios = OptionList(
                *(Option(_scenario_prompt(s), id=s.id) for s in self.ringviz.scenarios), id="scenarios", markup=False
            )
            scenarios.border_title = Content("1 · The guest")
            yield scenarios
            techniques = OptionList(
                *(Option(_technique_prompt(t), id=t.id) for t in self.ringviz.techniques), id="techniques", markup=False
            )
            techniques.border_title = Content("2 · Who runs it")
            yield techniques
        yield Static("", markup=False, id="about")
        yield Static("", markup=False, id="opens")
        yield KeyLine(HOME)

    def on_mount(self) -> None:
        """Highlight what was chosen the last time, or the first of each list."""
        last = self.ringviz.remembered.last
        for options, wanted in zip(self.query(OptionList), (last.scenario, last.technique), strict=False):
            ids = [option.id for option in options.options]
            if ids:
                options.highlighted = ids.index(wanted) if wanted in ids else 0

    def on_resize(self) -> None:
        """On a short screen every choice has one line, and only the highlighted one is told about, below."""
        is_short = self.size.height < _TALL_ENOUGH
        options = self.query_one("#scenarios", OptionList)
        for index, scenario in enumerate(self.ringviz.scenarios):
            options.replace_option_prompt_at_index(index, _scenario_prompt(scenario, in_full=not is_short))
        options = self.query_one("#techniques", OptionList)
        for index, technique in enumerate(self.ringviz.techniques):
            options.replace_option_prompt_at_index(index, _technique_prompt(technique, in_full=not is_short))

    def _tell_what_opens(self) -> None:
        """Say what Enter does."""
        guest, technique = (self.query_one(name, OptionList).highlighted for name in ("#scenarios", "#techniques"))
        if guest is None or technique is None:
            return
        self.query_one("#opens", Static).update(
            Content.assemble(
                ("enter opens ", "$dim"),
                (self.ringviz.scenarios[guest].id, "bold $primary"),
                (" under ", "$dim"),
                (self.ringviz.techniques[technique].title, "bold $primary"),
                (" · tab or → for the other list", "$dim"),
            )
        )

    def _tell_about(self) -> None:
        """Say more about the highlighted line of the list that has the focus."""
        self._tell_what_opens()
        is_technique = self.focused is not None and self.focused.id == "techniques"
        options = self.query_one("#techniques" if is_technique else "#scenarios", OptionList)
        if options.highlighted is None:
            return
        if is_technique:
            technique = self.ringviz.techniques[options.highlighted]
            head, text = f"{technique.id}: ", technique.seat
        else:
            scenario = self.ringviz.scenarios[options.highlighted]
            head, text = f"{scenario.id} · {scenario.level}: ", scenario.summary
        self.query_one("#about", Static).update(Content.assemble((head, "bold $primary"), text))

    @on(OptionList.OptionHighlighted)
    def _highlighted(self) -> None:
        self._tell_about()

    def on_descendant_focus(self) -> None:
        """Tell about the list that the user went to."""
        self._tell_about()

    def notice(self, message: Failed | Remarked) -> None:
        """Say one line in place of the keys."""
        line = self.query_one(KeyLine)
        line.is_failure = isinstance(message, Failed)
        line.notice = message.text

    def action_explain(self) -> None:
        """Keys and signs."""
        self.app.push_screen(HelpScreen(HOME))

    def action_lessons(self) -> None:
        """The course."""
        self.ringviz.open_course()

    def action_lecture(self) -> None:
        """Hold the lecture of the highlighted guest."""
        highlighted = self.query_one("#scenarios", OptionList).highlighted
        if highlighted is not None:
            try:
                self.ringviz.hold_lecture(self.ringviz.scenarios[highlighted].id)
            except RingvizError as error:
                self.notice(Remarked(str(error)))

    def action_find(self) -> None:
        """Ask for a word; every letter moves the highlight to the first guest that has what is typed."""
        word = self.query_one("#find", Input)
        word.value = ""
        word.display = True
        word.focus()

    def action_leave_find(self) -> None:
        """Back to the list, whatever is highlighted there."""
        word = self.query_one("#find", Input)
        if word.display:
            word.display = False
            self.query_one(KeyLine).notice = ""
            self.query_one("#scenarios").focus()

    @on(Input.Changed, "#find")
    def _find(self, event: Input.Changed) -> None:
        wanted = event.value.strip().lower()
        if not wanted:
            return
        found = _first_with(self.ringviz.scenarios, wanted)
        if found is None:
            self.notice(Remarked(f"No guest has “{event.value.strip()}” in its name or story. esc leaves."))
            return
        self.query_one(KeyLine).notice = ""
        self.query_one("#scenarios", OptionList).highlighted = found

    @on(Input.Submitted, "#find")
    def _found(self) -> None:
        # As Enter in the list itself.
        self.action_leave_find()
        self._open()

    def action_resume(self) -> None:
        """Go on where the user was."""
        if not self.ringviz.resume():
            self.notice(Remarked("There is no place to go on from yet."))

    def action_words(self) -> None:
        """The glossary."""
        self.ringviz.explain(ExplainScreen((), HOME), is_asked_why=False)

    def action_choose(self) -> None:
        """Do what Enter does, for a click on it in the key line."""
        if isinstance(self.focused, OptionList):
            self.focused.action_select()

    def action_other_list(self) -> None:
        """From guests to techniques and back."""
        is_there = self.focused is not None and self.focused.id == "techniques"
        self.query_one("#find", Input).display = False
        self.query_one("#scenarios" if is_there else "#techniques").focus()

    def action_hosts(self) -> None:
        """Ask for a host with several machines."""
        try:
            hosts = host_choices()
        except RingvizError as error:
            self.notice(Remarked(str(error)))
            return

        def enter(wanted: HostWanted | None) -> None:
            if wanted is None:
                return
            try:
                if wanted.is_lecture:
                    self.ringviz.hold_host_lecture(wanted.host.id)
                else:
                    self.ringviz.enter_host_room(wanted.host.id, wanted.host.title, wanted.host.summary)
            except RingvizError as error:
                self.notice(Remarked(str(error)))

        self.app.push_screen(HostsDialog(hosts), enter)

    @on(OptionList.OptionSelected, "#scenarios")
    @on(OptionList.OptionSelected, "#techniques")
    def _chosen(self) -> None:
        self._open()

    def _open(self) -> None:
        """Open the highlighted guest under the highlighted technique, wherever Enter was pressed."""
        guest, technique = (self.query_one(name, OptionList).highlighted for name in ("#scenarios", "#techniques"))
        if guest is not None and technique is not None:
            self.query_one(KeyLine).notice = ""
            self.ringviz.open(Open(self.ringviz.scenarios[guest].id, self.ringviz.techniques[technique].id))


def _first_with(scenarios: Sequence[ScenarioChoice], wanted: str) -> int | None:
    """Give the first whose name has a word, or else the first that is told about with it."""
    names = [f"{s.id} {s.title}".lower() for s in scenarios]
    stories = [f"{s.summary} {s.level}".lower() for s in scenarios]
    places = (n for texts in (names, stories) for n, text in enumerate(texts) if wanted in text)
    return next(places, None)


def _scenario_prompt(scenario: ScenarioChoice, in_full: bool = True) -> Content:
    title = Content.assemble((scenario.title, "bold"))
    if not in_full:
        return title
    return Content.assemble(title, (f"  {scenario.id} · {scenario.level}", "$dim"), f"\n{scenario.summary}\n")


def _technique_prompt(technique: TechniqueChoice, in_full: bool = True) -> Content:
    title = Content.assemble((technique.title, "bold"))
    if not in_full:
        return title
    return Content.assemble(title, (f"  {technique.id}", "$dim"), f"\n{technique.seat}\n")
