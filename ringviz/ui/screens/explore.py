"""The explore screen: one guest, one moment, every panel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.reactive import var
from textual.widget import Widget

from ringviz.engine.looks import Looks, WalkLook
from ringviz.engine.memory_look import MemoryLook
from ringviz.engine.places import DIVERGENCE
from ringviz.errors import RingvizError
from ringviz.facts.techniques import TECHNIQUES
from ringviz.ui.bookmarks import Bookmark
from ringviz.ui.breakpoints import Breakpoint
from ringviz.ui.commands import EXPLORE, Command, bindings
from ringviz.ui.kept_by_guest import is_of
from ringviz.ui.laboratory import MachineChoice
from ringviz.ui.requests import (
    AddBreakpoint,
    AskWhatIf,
    AskYears,
    Compare,
    CountHits,
    GoTo,
    Look,
    LookAt,
    OpenGroup,
    OpenPair,
    OpenSource,
    Remarked,
    RunBack,
    Seek,
    Shown,
    Swap,
    UseBreakpoints,
)
from ringviz.ui.screens.compare_group import SideBySideScreen, choose_techniques
from ringviz.ui.screens.dialogs import AddressDialog, GoToDialog, TechniqueDialog
from ringviz.ui.screens.explain import ExplainScreen
from ringviz.ui.screens.machine import MachineDialog
from ringviz.ui.screens.moving import MovingScreen
from ringviz.ui.screens.places import (
    BookmarksDialog,
    BreakpointsAnswer,
    BreakpointsDialog,
    ChosenBookmark,
    NoteDialog,
)
from ringviz.ui.subjects import subjects_of
from ringviz.ui.widgets.card import CardPanel
from ringviz.ui.widgets.code import CodePanel
from ringviz.ui.widgets.console import ConsolePanel
from ringviz.ui.widgets.events import EventsPanel
from ringviz.ui.widgets.keyline import KeyLine
from ringviz.ui.widgets.memory import MemoryPanel
from ringviz.ui.widgets.overhead import OverheadPanel
from ringviz.ui.widgets.panel import Panel
from ringviz.ui.widgets.rings import RingsPanel
from ringviz.ui.widgets.side import SidePanel
from ringviz.ui.widgets.status import StatusLine
from ringviz.ui.widgets.tail import TailView
from ringviz.ui.widgets.timeline import TimelinePanel
from ringviz.ui.widgets.twice import TwicePanel
from ringviz.ui.widgets.walk import WalkPanel

if TYPE_CHECKING:
    from ringviz.engine.hit_count import Hits
    from ringviz.engine.view import Snapshot


def _alignment(shown: Snapshot) -> str:
    """Tell which techniques share the places of a run."""
    return TECHNIQUES[shown.technique_id].alignment


_IN_PLACE_OF_EVENTS = ("-console", "-memory", "-walk")
"""Classes of the screen, of which one at a time may be set: what stands where the events stand otherwise."""


class ExploreScreen(MovingScreen):
    """Shows the snapshots it is given, and turns keys into requests."""

    COMMAND_ROWS: ClassVar[tuple[Command, ...]] = EXPLORE
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(EXPLORE)]
    AUTO_FOCUS = "CodePanel"

    # The screen itself does not show it; were it to repaint it, every panel would be drawn anew at each step.
    snapshot: var[Snapshot | None] = var(None)
    has_micro_steps: var[bool] = var(False)
    part: var[int | None] = var(None)
    """Which part of the event is shown; None for the whole."""
    hits: var[Hits | None] = var(None)
    """How often the fragments of the code cache were entered, as last counted."""
    bookmarks: var[tuple[Bookmark, ...]] = var(())
    breakpoints: var[tuple[Breakpoint, ...]] = var((), init=False)
    looks: var[Looks] = var(Looks())
    """What the engine was last asked to show besides."""
    _guest = ("", "")
    """Whose breakpoints these are, and in which build the engine looks for them."""
    chosen_cpu: var[str | None] = var(None)
    """What the user took in the playground."""
    left_technique: var[str | None] = var(None)
    """The one that the guest was under before this one; None if it has been under this one only."""

    def compose(self) -> ComposeResult:
        """All panels, each bound to this screen's snapshot."""
        yield StatusLine().data_bind(ExploreScreen.snapshot, ExploreScreen.in_motion, ExploreScreen.is_busy)
        with Horizontal(id="top"):
            yield RingsPanel().data_bind(ExploreScreen.snapshot, ExploreScreen.part)
            yield CodePanel().data_bind(ExploreScreen.snapshot)
            yield SidePanel().data_bind(ExploreScreen.snapshot, ExploreScreen.hits)
            yield TwicePanel().data_bind(ExploreScreen.snapshot)
        yield CardPanel().data_bind(ExploreScreen.snapshot, ExploreScreen.part)
        with Horizontal(id="bottom"):
            yield EventsPanel().data_bind(ExploreScreen.snapshot)
            yield ConsolePanel().data_bind(ExploreScreen.snapshot)
            yield MemoryPanel().data_bind(ExploreScreen.snapshot)
            yield WalkPanel().data_bind(ExploreScreen.snapshot)
            yield OverheadPanel().data_bind(ExploreScreen.snapshot)
        yield TimelinePanel().data_bind(ExploreScreen.snapshot, ExploreScreen.bookmarks)
        yield KeyLine(EXPLORE)

    def show(self, shown: Shown) -> None:
        """Take over a new moment."""
        self.in_motion = shown.in_motion
        self.set_class(shown.snapshot.side is not None, "-has-side")
        self._read_bookmarks(shown.snapshot)
        part = self._part_of(shown.snapshot, self.snapshot)
        was = self.snapshot
        if was is not None and was.scenario_id != shown.snapshot.scenario_id:
            self.left_technique = None
        elif was is not None and was.technique_id != shown.snapshot.technique_id:
            self.left_technique = was.technique_id
        with self.app.batch_update():
            self.part = part
            self.snapshot = shown.snapshot
        self._read_breakpoints(shown.snapshot)

    def _part_of(self, shown: Snapshot, before: Snapshot | None) -> int | None:
        """Give the part of the event to begin with: the first, or coming from behind the last."""
        if not self.has_micro_steps or self.in_motion or not shown.micro:
            return None
        if before is None or before.technique_id != shown.technique_id:
            return 0
        if before.position == shown.position:
            return self.part
        return 0 if shown.position > before.position else len(shown.micro) - 1

    def action_micro(self) -> None:
        """Take events apart, or not."""
        self.has_micro_steps = not self.has_micro_steps
        self.part = 0 if self.has_micro_steps and self.snapshot is not None and self.snapshot.micro else None
        if self.has_micro_steps:
            self.notice(Remarked("Micro-steps: space and b go part by part through every event; u takes events whole."))
        else:
            self.notice(Remarked("Events are taken whole again."))

    def action_step(self) -> None:
        """To the next part of the event, or one instruction forward."""
        parts = () if self.snapshot is None else self.snapshot.micro
        if self.part is not None and self.part + 1 < len(parts):
            self.clear_notice()
            self.part += 1
        else:
            super().action_step()

    def action_back(self) -> None:
        """To the part before, or one instruction back."""
        if self.part:
            self.clear_notice()
            self.part -= 1
        else:
            super().action_back()

    def action_stop(self) -> None:
        """Stop a run; with nothing running, leave a zoomed panel."""
        if self.in_motion or self.is_busy:
            self.ringviz.engine.cancel()
        elif self.maximized is not None:
            self.minimize()
        else:
            self.ringviz.engine.cancel()  # it may have begun just now
            self.ringviz.escaped()

    def known_end(self) -> int | None:
        """Where the run ends, if that is known."""
        return self.snapshot.timeline.end if self.snapshot is not None else None

    def action_vendors(self) -> None:
        """Both vendors' hardware, side by side; the screen opens once both stand here."""
        self.ringviz.wants_pair = True
        self._ask(OpenPair())

    def action_technique(self) -> None:
        """Ask for another technique."""
        if self.snapshot is None:
            return

        def swap(technique: str | None) -> None:
            if technique is not None:
                self._swap(technique)

        self.app.push_screen(TechniqueDialog(self.ringviz.techniques, self.snapshot.technique_id), swap)

    def action_cycle(self, by: int) -> None:
        """To the next technique in the list, or the one before."""
        ids = [technique.id for technique in self.ringviz.techniques]
        if self.snapshot is not None and self.snapshot.technique_id in ids:
            technique = ids[(ids.index(self.snapshot.technique_id) + by) % len(ids)]
            self._swap(technique)

    def _swap(self, technique: str) -> None:
        """To another technique, on the CPU that was asked for; one from the playground comes along if it can."""
        cpu = self.ringviz.opened.cpu
        if cpu is None and self.chosen_cpu is not None:
            try:
                cpu = self.ringviz.laboratory.machine(technique, None, self.chosen_cpu, ()).cpu
            except RingvizError:
                cpu = None
        self._ask(Swap(technique, cpu))

    def action_machine(self) -> None:
        """Ask for another CPU, another kind of paging, other controls."""
        if self.snapshot is None:
            return
        snapshot, laboratory = self.snapshot, self.ringviz.laboratory

        def settle(cpu: str, mmu: str, controls: Sequence[str]) -> MachineChoice:
            return laboratory.machine(snapshot.technique_id, mmu, cpu, controls)

        def rebuild(chosen: MachineChoice | None) -> None:
            if chosen is not None:
                self.chosen_cpu = chosen.cpu
                self._ask(Swap(chosen.technique, chosen.cpu, chosen.mmu, chosen.changed))

        try:
            now = settle(snapshot.cpu_id, snapshot.mmu, snapshot.controls)
        except RingvizError as error:
            self.notice(Remarked(str(error)))
            return
        self.app.push_screen(MachineDialog(now, settle), rebuild)

    def action_compare(self) -> None:
        """All techniques side by side."""
        if self.snapshot is not None:
            self.ringviz.open_comparison(Compare(self.ringviz.opened.scenario, self.ringviz.opened.cpu))

    def action_group(self) -> None:
        """A few techniques side by side, moving together; the screen opens once all stand here."""
        if self.snapshot is not None:
            known = [technique.id for technique in self.ringviz.techniques]
            self.ringviz.wants_group = True
            current = self.snapshot.technique_id
            self._ask(OpenGroup(choose_techniques(current, known, self.size.width, self.left_technique)))

    def group_screen(self) -> SideBySideScreen:
        """Give the screen for techniques side by side."""
        return SideBySideScreen()

    def action_what_if(self) -> None:
        """Other prices: who would win."""
        if self.snapshot is not None:
            self.ringviz.open_what_if(AskWhatIf(self.ringviz.opened.scenario, self.snapshot.cpu_id))

    def action_years(self) -> None:
        """Slowdown against year."""
        if self.snapshot is not None:
            self.ringviz.open_years(AskYears(self.ringviz.opened.scenario))

    def action_edit(self) -> None:
        """The guest's source; the editor opens once it is read."""
        if self.snapshot is not None:
            self.ringviz.wants_source = True
            self._ask(OpenSource())

    def action_ring(self) -> None:
        """Run to the next change of ring."""
        self._ask(GoTo("ring"))

    def action_divergence(self) -> None:
        """Run to where the guest is next told something else than on bare metal."""
        self._ask(GoTo(DIVERGENCE))

    def action_run_back(self) -> None:
        """Back to where a breakpoint was last met."""
        self._ask(RunBack())

    def action_breakpoints(self) -> None:
        """Ask where runs are to stop."""

        def use(answer: BreakpointsAnswer | None) -> None:
            if answer is not None:
                self.breakpoints = answer.breakpoints
                if answer.added:
                    self._ask(AddBreakpoint(answer.added))

        self.app.push_screen(BreakpointsDialog(self.breakpoints, self._guest[1]), use)

    def watch_breakpoints(self, breakpoints: tuple[Breakpoint, ...]) -> None:
        """Keep them, and let the engine know of them."""
        if self.snapshot is not None:
            self.ringviz.breakpoints.put(self.snapshot.scenario_id, breakpoints)
        build = self._guest[1]
        self.ringviz.engine.submit(UseBreakpoints(tuple(b.text_in(build) for b in breakpoints if b.is_on)))

    def add_breakpoint(self, text: str, elsewhere: str = "") -> None:
        """Take one into the list that has been understood."""
        build = self._guest[1]
        new = Breakpoint(text, True, build if elsewhere else "", elsewhere)
        self.breakpoints = (*(b for b in self.breakpoints if b.text_in(build) != text), new)
        self.notice(Remarked(f"Breakpoint set: {text}. r runs to it; B lists all."))

    def action_bookmark(self) -> None:
        """Mark this step."""
        if self.snapshot is None:
            return
        shown, kept = self.snapshot, self.ringviz.bookmarks
        here = next((b for b in self.bookmarks if b.position == shown.position), None)

        def keep(note: str | None) -> None:
            if note is not None:
                if here is not None:
                    kept.remove(shown.scenario_id, here)
                kept.put(shown.scenario_id, Bookmark(shown.position, note, _alignment(shown), shown.build))
                self._read_bookmarks(shown)

        self.app.push_screen(NoteDialog(shown.position, "" if here is None else here.note), keep)

    def action_bookmarks(self) -> None:
        """List the bookmarks."""
        if self.snapshot is None:
            return
        shown = self.snapshot

        def answer(chosen: ChosenBookmark | None) -> None:
            if chosen is None:
                return
            if chosen.is_to_go:
                self._ask(Seek(chosen.bookmark.position))
                return
            self.ringviz.bookmarks.remove(shown.scenario_id, chosen.bookmark)
            self._read_bookmarks(shown)

        every = self.ringviz.bookmarks.of(shown.scenario_id, _alignment(shown))
        self.app.push_screen(BookmarksDialog(every, shown.position, shown.build), answer)

    def _read_breakpoints(self, shown: Snapshot) -> None:
        """Take over what is kept, once the guest is another."""
        if self._guest == (shown.scenario_id, shown.build):
            return
        self._guest = shown.scenario_id, shown.build
        kept = self.ringviz.breakpoints
        before, self.breakpoints = self.breakpoints, kept.of(shown.scenario_id)
        if self.breakpoints and before == self.breakpoints:
            self.watch_breakpoints(self.breakpoints)  # the engine may have forgotten them
        if kept.trouble:
            self.notice(Remarked(kept.trouble))
            kept.was_told()

    def _read_bookmarks(self, shown: Snapshot) -> None:
        kept = self.ringviz.bookmarks
        every = kept.of(shown.scenario_id, _alignment(shown))
        self.bookmarks = tuple(mark for mark in every if is_of(mark.build, shown.build))
        if kept.trouble:
            self.notice(Remarked(kept.trouble))
            kept.was_told()

    def action_goto(self) -> None:
        """Ask for a place and go there."""

        def go(text: str | None) -> None:
            if text is not None:
                digits = text.replace(" ", "").replace("_", "").replace(",", "")
                self._ask(Seek(int(digits)) if digits.isascii() and digits.isdigit() else GoTo(text))

        self.app.push_screen(GoToDialog(), go)

    def action_console(self) -> None:
        """Events or console."""
        self._take_place("-console", ConsolePanel)

    def action_memory(self) -> None:
        """Events or memory."""
        self._take_place("-memory", MemoryPanel)

    def action_walk(self) -> None:
        """Events or page walk."""
        self._take_place("-walk", WalkPanel)

    def _take_place(self, name: str, panel: type[Widget]) -> None:
        """Let a panel take the place of the events, or give it back to them."""
        self.clear_notice()
        was_zoomed = self.maximized is not None
        if was_zoomed:
            self.minimize()
        is_on = not self.has_class(name)
        for other in _IN_PLACE_OF_EVENTS:
            self.set_class(is_on and other == name, other)
        looks = Looks(
            MemoryLook() if self.has_class("-memory") else None, WalkLook() if self.has_class("-walk") else None
        )
        if looks != self.looks:
            self.looks = looks
            self.ringviz.engine.submit(Look(looks))
        shown = self.query_one(panel if is_on else EventsPanel)
        shown.focus()
        if was_zoomed and is_on:
            self.maximize(shown, container=False)

    def action_address(self) -> None:
        """Ask what memory or page walk shall show; with neither on the screen, memory appears."""

        def look(text: str | None) -> None:
            if text is not None:
                self._ask(LookAt(text))

        if self.looks == Looks():
            self.action_memory()
        self.app.push_screen(AddressDialog(), look)

    @on(SidePanel.HitsWanted)
    def _hits_wanted(self) -> None:
        self._ask(CountHits())

    @on(MemoryPanel.Looked)
    def _looked(self, message: MemoryPanel.Looked) -> None:
        self.looks = replace(self.looks, memory=message.look)
        self._ask(Look(self.looks))

    def action_side(self) -> None:
        """The VMM's side or the CPU, twice; where both have room, to the VMM's side."""
        if self.snapshot is None:
            return
        if self.snapshot.side is None:
            self.notice(Remarked(f"{self.snapshot.technique_title} has nothing beside the guest's code."))
            return
        if not self.has_class("-wide"):
            self.toggle_class("-side")
        is_shown = self.has_class("-wide") or self.has_class("-side")
        self.query_one(SidePanel if is_shown else TwicePanel).focus()
        for panel in self.query(Panel):
            panel.watch_snapshot(self.snapshot)

    def action_zoom(self) -> None:
        """Show the focused panel alone, or all again."""
        if self.maximized is not None:
            self.minimize()
            return
        panel = self.focused if isinstance(self.focused, (Panel, TailView)) else self.query_one(CodePanel)
        self.maximize(panel, container=False)

    def action_point(self, by: int) -> None:
        """Point at another line of the focused panel."""
        focused = self.focused
        if isinstance(focused, Panel):
            focused.point(by)

    def action_explain(self) -> None:
        """What the focused panel is, and everything in it; then all words, and the keys."""
        self.ringviz.explain(ExplainScreen(subjects_of(self.focused, self.snapshot), self.COMMAND_ROWS))

    def action_why(self) -> None:
        """Why the next instruction traps, or does not."""
        self.ringviz.explain(ExplainScreen(subjects_of(self.focused, self.snapshot), self.COMMAND_ROWS, is_why=True))

    def action_home(self) -> None:
        """Back to the list of scenarios."""
        self.ringviz.engine.cancel()
        self.ringviz.leave_explore()

    @on(EventsPanel.Chosen)
    def _event_chosen(self, message: EventsPanel.Chosen) -> None:
        # An event belongs to the instruction in which it happened: one later, the card tells about it.
        self._ask(Seek(message.at + 1))

    @on(TimelinePanel.Scrubbed)
    def _scrubbed(self, message: TimelinePanel.Scrubbed) -> None:
        self._ask(Seek(message.position))
