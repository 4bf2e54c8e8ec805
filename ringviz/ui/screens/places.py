"""Dialogs about places of a run: a note for a bookmark, the list of bookmarks, the list of breakpoints."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static

from ringviz.ui.bookmarks import Bookmark
from ringviz.ui.breakpoints import Breakpoint
from ringviz.ui.glyphs import BOOKMARK, grouped
from ringviz.ui.kept_by_guest import is_of
from ringviz.ui.widgets.panel import printable

_OTHER_BUILD = "set in another build"
"""Behind what was set before the guest was changed, or in the kernel recompiled for a hypervisor."""


class NoteDialog(ModalScreen[str | None]):
    """Ask for a bookmark's note; gives it, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "cancel", show=False)]

    def __init__(self, position: int, note: str) -> None:
        self._position = position
        self._note = note
        super().__init__(classes="dialog")

    def compose(self) -> ComposeResult:
        """One input line."""
        with Vertical(classes="box") as box:
            box.border_title = Content(f"Bookmark at step {grouped(self._position)}")
            field = Input(self._note, placeholder="what is to be seen here", id="note")
            field.cursor_blink = False
            yield field
            yield Static("enter keep · esc cancel · F lists all bookmarks", markup=False, classes="hint")

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        self.dismiss(event.value.strip())


@dataclass(frozen=True, slots=True)
class ChosenBookmark:
    """What the user wants done with one."""

    bookmark: Bookmark
    is_to_go: bool
    """Remove it, else go there."""


class BookmarksDialog(ModalScreen[ChosenBookmark | None]):
    """Choose a bookmark to go to or to remove."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,F", "dismiss(None)", "cancel", show=False),
        Binding("delete,d", "remove", "remove", show=False),
    ]

    def __init__(self, bookmarks: Sequence[Bookmark], position: int, build: str = "") -> None:
        self._bookmarks = bookmarks
        self._build = build
        self._position = position
        super().__init__(classes="dialog")

    def compose(self) -> ComposeResult:
        """Give the list, in order of the run."""
        with Vertical(classes="box") as box:
            box.border_title = Content("Bookmarks")
            yield OptionList(*(_bookmark_line(b, self._build) for b in self._bookmarks), markup=False)
            hint = "enter go there · d remove · esc close"
            yield Static(hint if self._bookmarks else "None yet: f sets one here, with a note.", classes="hint")

    def on_mount(self) -> None:
        """Stand on the last bookmark that has been passed."""
        passed = [i for i, bookmark in enumerate(self._bookmarks) if bookmark.position <= self._position]
        if self._bookmarks:
            self.query_one(OptionList).highlighted = passed[-1] if passed else 0

    @on(OptionList.OptionSelected)
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(ChosenBookmark(self._bookmarks[event.option_index], is_to_go=True))

    def action_remove(self) -> None:
        """Take the highlighted one away."""
        index = self.query_one(OptionList).highlighted
        if index is not None:
            self.dismiss(ChosenBookmark(self._bookmarks[index], is_to_go=False))


def _bookmark_line(bookmark: Bookmark, build: str) -> Content:
    note = printable(bookmark.note) or "(no note)"
    if not is_of(bookmark.build, build):
        note += "  (of another build: not here)"
    return Content.assemble(
        (f"{BOOKMARK} ", "bold $changed"), (f"step {grouped(bookmark.position):>11}  ", "bold"), note
    )


@dataclass(frozen=True, slots=True)
class BreakpointsAnswer:
    """The list as the user leaves it, and what is to be added."""

    breakpoints: tuple[Breakpoint, ...]
    added: str = ""


class BreakpointsDialog(ModalScreen[BreakpointsAnswer]):
    """Set, switch and remove breakpoints."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "close", show=False),
        Binding("delete", "remove", "remove", show=False),
    ]

    def __init__(self, breakpoints: Sequence[Breakpoint], build: str = "") -> None:
        self._breakpoints = list(breakpoints)
        self._build = build
        super().__init__(classes="dialog")

    def compose(self) -> ComposeResult:
        """A line for a new one, and the list."""
        with Vertical(classes="box") as box:
            box.border_title = Content("Breakpoints: r runs to the next one, < back to the last")
            field = Input(placeholder="a new one: putc if eax == 0x41 · exit 30 · ring 3 · #12 · 5000", id="place")
            field.cursor_blink = False
            yield field
            yield OptionList(*self._lines(), markup=False)
            yield Static(
                "A step, an address (0x…), a symbol, an event's number (#12), ring, ring 3, divergence, or a kind of "
                "event and what it says (exit 30, trap cli); then `if` and conditions on registers and flags, joined "
                "by `and`. "
                "In the list: enter switches on or off, delete removes, tab changes between line and list.",
                markup=False,
                classes="hint",
            )

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        self.dismiss(BreakpointsAnswer(tuple(self._breakpoints), event.value.strip()))

    @on(OptionList.OptionSelected)
    def _switched(self, event: OptionList.OptionSelected) -> None:
        index = event.option_index
        self._breakpoints[index] = replace(self._breakpoints[index], is_on=not self._breakpoints[index].is_on)
        self._redraw(index)

    def action_remove(self) -> None:
        """Take the highlighted one away."""
        index = self.query_one(OptionList).highlighted
        if index is not None and self.query_one(OptionList).has_focus:
            del self._breakpoints[index]
            self._redraw(min(index, len(self._breakpoints) - 1))

    def action_leave(self) -> None:
        """Keep the list as it is now."""
        self.dismiss(BreakpointsAnswer(tuple(self._breakpoints)))

    def _lines(self) -> list[Content]:
        return [_breakpoint_line(breakpoint_, self._build) for breakpoint_ in self._breakpoints]

    def _redraw(self, index: int) -> None:
        listing = self.query_one(OptionList)
        listing.clear_options()
        listing.add_options(self._lines())
        listing.highlighted = index if index >= 0 else None


def _breakpoint_line(breakpoint_: Breakpoint, build: str) -> Content:
    sign, style = ("[x]", "bold $kind-violation") if breakpoint_.is_on else ("[ ]", "$dim")
    text, was = breakpoint_.text_in(build), ""
    if breakpoint_.elsewhere and not is_of(breakpoint_.build, build):
        was = f"  {_OTHER_BUILD}" if text == breakpoint_.text else f"  {_OTHER_BUILD} as {breakpoint_.text}"
    shown = (printable(text), "" if breakpoint_.is_on else "$dim")
    return Content.assemble((f"{sign} ", style), shown, (printable(was), "$dim"))
