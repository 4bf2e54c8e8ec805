"""The editor: the guest's source, changed, assembled, and run beside the original."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from difflib import SequenceMatcher
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, cast

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen, Screen
from textual.theme import Theme
from textual.timer import Timer
from textual.widgets import Input, Static, TextArea

from ringviz.errors import Complaint, RingvizError
from ringviz.guest.scenario import shown_path
from ringviz.ui.commands import EDIT, Command, bindings
from ringviz.ui.glyphs import grouped
from ringviz.ui.laboratory import Source
from ringviz.ui.requests import Assembled, Failed, NotAssembled, Remarked, RunEdited
from ringviz.ui.screens.help import HelpScreen
from ringviz.ui.widgets.keyline import KeyLine
from ringviz.ui.widgets.panel import printable
from ringviz.ui.widgets.source_area import SourceArea

if TYPE_CHECKING:
    from ringviz.engine.source_lines import SourceLines
    from ringviz.ui.app import RingvizApp

_FOLLOW_SECONDS = 2.0
"""How often the scenario's own files are looked at, which another program may change."""
_KEEP_SECONDS = 0.5
"""A change is on disk at the latest so long after it was made."""
_MOST_BYTES_SHOWN = 12
_TITLE = "Edit the guest"
_COPY = "This is a copy: what you change runs here beside it; the machine on the host goes on with what it has."
_EXPLANATION = (
    "The guest's source. Change it, and f9 assembles it (this needs NASM) and runs it beside the original, from the "
    "same instruction on; there d goes to where the two part. f8 runs your guest alone, with all panels. What NASM "
    "complains about stands on the line that it names. The line at the bottom tells address and bytes of the line "
    "under the cursor; ► is where the guest stands. What you write is kept on disk as you type, and is there the next "
    "time; the scenario's own folder is never changed. If another program changes a file there that you have not "
    "changed here, it is read again. If two windows change one text at once, both are kept, and ctrl+t goes from one "
    "to the other. f2 saves a scenario of your own, which `ringviz run PATH`, "
    "`check` and `build` take. ctrl+z takes a change back, ctrl+o all of them. From a script: `ringviz build` "
    "assembles a folder, and `ringviz trace --format trace -o FILE` of both guests with `ringviz diff` says where they "
    "part."
)


class EditScreen(Screen[None]):
    """The text over what there is to say about it, and the keys."""

    COMMAND_ROWS: ClassVar[tuple[Command, ...]] = EDIT
    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings([command for command in EDIT if command.id != "leave"]),
        # Before the text area has it, for which Escape means to go elsewhere.
        *(replace(binding, priority=True) for binding in bindings([c for c in EDIT if c.id == "leave"])),
    ]
    AUTO_FOCUS = "#source"

    def __init__(self, source: Source, *, is_copy: bool = False) -> None:
        self.bench = source.bench
        self._is_copy = is_copy
        """The guest is a machine of a host, which goes on with what it has."""
        self._lines = source.lines
        self._files = list(self.bench.texts)
        here = source.lines.current
        self._file = here[0] if here is not None and here[0] in self.bench.texts else self._files[0]
        if self.bench.is_from_before and self.bench.place is not None and self.bench.place[0] in self.bench.texts:
            self._file = self.bench.place[0]
        self._complaints: tuple[Complaint, ...] = ()
        self._rows: Mapping[int, int] = {}
        """Rows of the text now, and the rows of the lines that are known that they were."""
        self._keep_timer: Timer | None = None
        self._is_loading = False
        self._row = 0
        """Of the cursor; known also when the text is gone from the screen."""
        super().__init__()

    @property
    def ringviz(self) -> RingvizApp:
        """The app, by its own type."""
        return cast("RingvizApp", self.app)

    @property
    def area(self) -> SourceArea:
        """The text."""
        return self.query_one(SourceArea)

    def compose(self) -> ComposeResult:
        """Where we are, the text, the line under the cursor, the keys."""
        yield Static("", markup=False, id="edit-where")
        yield SourceArea(self.bench.texts[self._file], self.app)
        yield Static("", markup=False, id="edit-line")
        yield KeyLine(EDIT)

    def on_mount(self) -> None:
        """Stand where the user was the last time, or at the guest's next instruction; say what was found on disk."""
        self.app.theme_changed_signal.subscribe(self, self._theme_changed)
        self._align()
        here = self.bench.place if self.bench.is_from_before else None
        if here is not None and here[0] == self._file:
            self.call_after_refresh(self.area.go_to_row, here[1])
        else:
            self.call_after_refresh(self.action_here)
        self.set_interval(_FOLLOW_SECONDS, self._follow)
        said = self._first_words()
        if said:
            self.notice(Remarked(said))
        self._tell()

    def _first_words(self) -> str:
        bench = self.bench
        if bench.trouble:
            return bench.trouble
        if not bench.is_from_before:
            return _COPY if self._is_copy else ""
        key = self.ringviz.own_keys.face(next(command for command in EDIT if command.id == "original"))
        count = bench.changed_lines()
        said = f"Your text, as you left it: {grouped(count)} line{'s' if count != 1 else ''} not as in the original."
        if bench.changed_below:
            files = ", ".join(bench.changed_below)
            said += f" It is based on an original that has changed since: {files}."
        said = f"{said} {key} takes the original again."
        if bench.versions > 1:
            said = f"{self._version_words()} {said}"
        return f"{said} {_COPY}" if self._is_copy else said

    def _version_words(self) -> str:
        bench = self.bench
        key = self.ringviz.own_keys.face(next(command for command in EDIT if command.id == "version"))
        return f"This is version {bench.version} of {bench.versions} of your text; {key} takes the next."

    def on_unmount(self) -> None:
        """Nothing is lost."""
        self._keep()

    def notice(self, message: Failed | Remarked) -> None:
        """Say one line in place of the keys."""
        line = self.query_one(KeyLine)
        line.is_failure = isinstance(message, Failed)
        line.notice = message.text

    def assembled(self, message: Assembled) -> None:
        """Take over where the lines are now."""
        self._lines = message.lines
        self._complain(())
        self.query_one(KeyLine).notice = ""

    def not_assembled(self, message: NotAssembled) -> None:
        """Show what NASM says, on the lines that it names, and go to the first."""
        self._complain(message.complaints)
        self.notice(Failed(message.text, RunEdited(self.bench, {})))
        self.action_next_complaint(from_the_top=True)

    # ---- keys --------------------------------------------------------------------------------------------------------

    def action_leave(self) -> None:
        """Back to the guest."""
        self.ringviz.engine.cancel()
        self._keep()
        self.dismiss()

    def action_beside(self) -> None:
        """Run the text beside the original."""
        self.ringviz.wants_group = True
        self.run_beside(None)

    def run_beside(self, technique: str | None) -> None:
        """Run it under a technique; None is the present one."""
        self._run(technique)

    def action_alone(self) -> None:
        """Run the text alone."""
        self._run(is_alone=True)

    def _run(self, technique: str | None = None, *, is_alone: bool = False) -> None:
        self._follow()
        self._keep()
        self.notice(Remarked("assembling …"))
        self.ringviz.engine.submit(RunEdited(self.bench, dict(self.bench.texts), technique, is_alone))

    def action_here(self) -> None:
        """To the line of the instruction that the guest executes next."""
        here = self._lines.current
        if here is None or here[0] not in self.bench.texts:
            self.notice(Remarked("No line of this source says where the guest stands."))
            return
        self._show_file(here[0])
        row = self._row_now(here[1])
        if row is not None:
            self.area.go_to_row(row)

    def action_next_complaint(self, *, from_the_top: bool = False) -> None:
        """To the next line that NASM complains about."""
        places = [(one.file, one.number - 1) for one in self._complaints if one.number and one.file in self.bench.texts]
        if not places:
            return
        now = (self._file, self.area.cursor_location[0])
        at = places.index(now) + 1 if now in places and not from_the_top else 0
        file, row = places[at % len(places)]
        self._show_file(file)
        self.area.go_to_row(row)

    def action_next_file(self) -> None:
        """To the next of the files that the source includes."""
        if len(self._files) < 2:
            self.notice(Remarked("This source includes no other file."))
            return
        self._show_file(self._files[(self._files.index(self._file) + 1) % len(self._files)])

    def action_version(self) -> None:
        """To the next version, where two windows have changed the text at once."""
        if not self.bench.turn():
            self.notice(Remarked("There is one version of your text: no other window has changed it at the same time."))
            return
        self._files = list(self.bench.texts)
        self._file = self._file if self._file in self.bench.texts else self._files[0]
        self._show_text()
        self._complain(())
        self.notice(Remarked(self._version_words()))

    def action_original(self) -> None:
        """Ask, and take the scenario's own text again."""
        if not self.bench.changed:
            self.notice(Remarked("This is the original: nothing is changed."))
            return

        def take(is_sure: bool | None) -> None:
            if is_sure:
                self.bench.take_originals()
                self.area.replace(self.bench.texts[self._file], (0, 0), self.area.document.end)
                self._keep()
                self._complain(())
                self.notice(Remarked("The original again. ctrl+z brings your text of this file back."))

        count = self.bench.changed_lines()
        self.app.push_screen(OriginalDialog(count, self.bench.changed), take)

    def action_save_as(self) -> None:
        """Ask for a folder, and save a scenario there."""

        def save(text: str | None) -> None:
            if text is None:
                return
            self._keep()
            try:
                folder = self.bench.save_as(Path(text))
            except RingvizError as error:
                self.notice(Failed(str(error), RunEdited(self.bench, {})))
                return
            where = shown_path(folder)
            self.notice(Remarked(f"Saved as a scenario of your own: `ringviz run {where}` opens it."))

        self.app.push_screen(SaveAsDialog(f"{self.bench.scenario.id}-mine"), save)

    def action_explain(self) -> None:
        """What this screen is, and the keys."""
        self.app.push_screen(HelpScreen(EDIT, (_TITLE, _EXPLANATION)))

    # ---- the text ----------------------------------------------------------------------------------------------------

    @on(TextArea.Changed)
    def _text_changed(self) -> None:
        if self._is_loading:
            self._is_loading = False
            return
        self.bench.change(self._file, self.area.text)
        # The timer is not put off by further changes: somebody who never pauses is kept, too.
        if self._keep_timer is None:
            self._keep_timer = self.set_timer(_KEEP_SECONDS, self._keep_and_tell)
        self._complain(())
        self.query_one(KeyLine).notice = ""

    @on(TextArea.SelectionChanged)
    def _cursor_moved(self) -> None:
        self._row = self.area.cursor_location[0]
        self._tell()

    def _keep_and_tell(self) -> None:
        self._keep()
        self._align()
        self._tell()

    def _keep(self) -> None:
        if self._keep_timer is not None:
            self._keep_timer.stop()
            self._keep_timer = None
        if not self.bench.keep((self._file, self._row)) and self.query(KeyLine):
            self.notice(Failed(self.bench.trouble, RunEdited(self.bench, {})))
        self._say_remark()

    def _say_remark(self) -> None:
        """Say what somebody else has changed meanwhile."""
        if self.bench.remark and self.query(KeyLine):
            self.notice(Remarked(self.bench.remark))
            self.bench.remark = ""

    def _follow(self) -> None:
        """Take over what another program has changed in the scenario's own files."""
        if not self.bench.follow_originals():
            return
        self._files = list(self.bench.texts)
        self._file = self._file if self._file in self._files else self._files[0]
        if self.area.text != self.bench.texts[self._file]:
            row = self._row
            self._show_text()
            self.area.go_to_row(row)
        self._say_remark()

    def _show_file(self, file: str) -> None:
        if file == self._file:
            return
        self._file = file
        self._show_text()

    def _show_text(self) -> None:
        """Show the file's text anew."""
        self._is_loading = True
        self.area.load_text(self.bench.texts[self._file])
        self._align()
        self._tell()

    def _complain(self, complaints: tuple[Complaint, ...]) -> None:
        self._complaints = complaints
        self._align()
        self._tell()

    def _align(self) -> None:
        """Find out which rows of the text are still lines whose addresses are known."""
        known = self._lines.texts.get(self._file, ())
        now = self.bench.texts[self._file].split("\n")
        if tuple(now) == known:
            self._rows = {row: row for row in range(len(now))}
        else:
            blocks = SequenceMatcher(None, known, now, autojunk=False).get_matching_blocks()
            self._rows = {b + n: a + n for a, b, size in blocks for n in range(size)}
        complaints = {one.number - 1: one for one in reversed(self._complaints) if one.file == self._file}
        here = self._lines.current
        self.area.say(complaints, None if here is None or here[0] != self._file else self._row_now(here[1]))

    def _row_now(self, row: int) -> int | None:
        return next((now for now, before in self._rows.items() if before == row), None)

    def _theme_changed(self, theme: Theme) -> None:
        self.area.follow_theme(self.app)

    # ---- what is said ------------------------------------------------------------------------------------------------

    def _tell(self) -> None:
        if not self.is_mounted:
            return
        bench = self.bench
        number = f" ({self._files.index(self._file) + 1} of {len(self._files)})" if len(self._files) > 1 else ""
        state, style = ("the original", "$dim")
        if bench.changed:
            state, style = ("changed, kept on disk", "bold $changed")
            if self._keep_timer is not None:
                state = "changed"
        if bench.trouble:
            state, style = ("CHANGED, NOT ON DISK", "bold $kind-violation")
        self.query_one("#edit-where", Static).update(
            Content.assemble(
                (f" {printable(bench.scenario.id)}", "bold $primary"),
                (f" · {printable(self._file)}{number}", "bold"),
                (f" · {state}", style),
            )
        )
        words = line_words(self._lines, self._file, self._row, self._rows, self._decoded())
        self.query_one("#edit-line", Static).update(words)

    def _decoded(self) -> Mapping[int, str]:
        """Give the instructions that the code panel has decoded, by address."""
        shown = self.ringviz.explore.snapshot
        rows = () if shown is None or self._lines.is_edited else shown.code
        return {row.address: f"{row.mnemonic} {row.operands}".strip() for row in rows}


def line_words(lines: SourceLines, file: str, row: int, rows: Mapping[int, int], decoded: Mapping[int, str]) -> Content:
    """Say what a row of the text has become: addresses, how many bytes, instructions where they are known."""
    head = Content.assemble((f" line {grouped(row + 1)}", "bold"))
    before = rows.get(row)
    if before is None:
        return head + Content.assemble((" · changed, and not assembled yet", "$changed"))
    code = lines.code.get((file, before), ())
    whose = "in your edit" if lines.is_edited else "in the original"
    if not code:
        return head + Content.assemble((" · no bytes of the guest come from here", "$dim"))
    first = code[0]
    words = f" · {first.address:08X} {whose} · {first.size_bytes} byte{'s' if first.size_bytes != 1 else ''}"
    text = decoded.get(first.address)
    if text is not None:
        words += f" · {printable(text)}"
    if len(code) > 1:
        words += f" · and {grouped(len(code) - 1)} more such places"
    return head + Content.assemble((words, "$kind-guest"))


class OriginalDialog(ModalScreen[bool]):
    """Ask whether the user's own text is to go."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,n,q", "dismiss(False)", "no", show=False),
        Binding("y", "dismiss(True)", "yes", show=False),
    ]

    def __init__(self, count: int, files: tuple[str, ...]) -> None:
        self._count = count
        self._where = ", ".join(files)
        super().__init__(classes="dialog")

    def compose(self) -> ComposeResult:
        """One question."""
        with Vertical(classes="box") as box:
            box.border_title = Content("Take the original again?")
            lines = f"{grouped(self._count)} line{'s' if self._count != 1 else ''}"
            yield Static(f"{lines} not as in the original: {self._where}.", markup=False)
            yield Static("y gives them up · n or esc keeps them", markup=False, classes="hint")


class SaveAsDialog(ModalScreen[str | None]):
    """Ask for a folder; gives the path, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "cancel", show=False)]

    def __init__(self, proposed: str) -> None:
        self._proposed = proposed
        super().__init__(classes="dialog")

    def compose(self) -> ComposeResult:
        """One input line."""
        with Vertical(classes="box") as box:
            box.border_title = Content("Save as a scenario of your own, in a new folder")
            field = Input(self._proposed, placeholder="a folder that does not exist yet", id="place")
            field.cursor_blink = False
            yield field
            yield Static(
                "The source, what it includes, image, symbols and disks; `ringviz run` and `check` take the folder. "
                "Nothing is overwritten. enter saves · esc cancels",
                markup=False,
                classes="hint",
            )

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        self.dismiss(event.value.strip() or None)
