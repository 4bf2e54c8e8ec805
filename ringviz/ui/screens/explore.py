"""The explore screen: one guest, one moment, every panel."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.reactive import var

from ringviz.engine.view import Snapshot
from ringviz.errors import RingvizError
from ringviz.ui.commands import EXPLORE, Command, bindings
from ringviz.ui.laboratory import MachineChoice
from ringviz.ui.requests import (
    AskWhatIf,
    AskYears,
    Compare,
    GoTo,
    OpenPair,
    Remarked,
    Seek,
    Shown,
    Swap,
)
from ringviz.ui.screens.dialogs import GoToDialog, TechniqueDialog
from ringviz.ui.screens.help import HelpScreen
from ringviz.ui.screens.machine import MachineDialog
from ringviz.ui.screens.moving import MovingScreen
from ringviz.ui.widgets.card import CardPanel
from ringviz.ui.widgets.code import CodePanel
from ringviz.ui.widgets.console import ConsolePanel
from ringviz.ui.widgets.events import EventsPanel
from ringviz.ui.widgets.keyline import KeyLine
from ringviz.ui.widgets.overhead import OverheadPanel
from ringviz.ui.widgets.panel import Panel
from ringviz.ui.widgets.rings import RingsPanel
from ringviz.ui.widgets.side import SidePanel
from ringviz.ui.widgets.status import StatusLine
from ringviz.ui.widgets.tail import TailView
from ringviz.ui.widgets.timeline import TimelinePanel
from ringviz.ui.widgets.twice import TwicePanel

if TYPE_CHECKING:
    pass


class ExploreScreen(MovingScreen):
    """Shows the snapshots it is given, and turns keys into requests."""

    COMMAND_ROWS: ClassVar[tuple[Command, ...]] = EXPLORE
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(EXPLORE)]
    AUTO_FOCUS = "CodePanel"

    # The screen itself does not show it; were it to repaint it, every panel would be drawn anew at each step.
    snapshot: var[Snapshot | None] = var(None)
    chosen_cpu: var[str | None] = var(None)
    """What the user took in the playground."""

    def compose(self) -> ComposeResult:
        """All panels, each bound to this screen's snapshot."""
        yield StatusLine().data_bind(ExploreScreen.snapshot, ExploreScreen.in_motion, ExploreScreen.is_busy)
        with Horizontal(id="top"):
            yield RingsPanel().data_bind(ExploreScreen.snapshot)
            yield CodePanel().data_bind(ExploreScreen.snapshot)
            yield SidePanel().data_bind(ExploreScreen.snapshot)
            yield TwicePanel().data_bind(ExploreScreen.snapshot)
        yield CardPanel().data_bind(ExploreScreen.snapshot)
        with Horizontal(id="bottom"):
            yield EventsPanel().data_bind(ExploreScreen.snapshot)
            yield ConsolePanel().data_bind(ExploreScreen.snapshot)
            yield OverheadPanel().data_bind(ExploreScreen.snapshot)
        yield TimelinePanel().data_bind(ExploreScreen.snapshot)
        yield KeyLine(EXPLORE)

    def show(self, shown: Shown) -> None:
        """Take over a new moment."""
        self.in_motion = shown.in_motion
        self.set_class(shown.snapshot.side is not None, "-has-side")
        self.snapshot = shown.snapshot

    def action_stop(self) -> None:
        """Stop a run; with nothing running, leave a zoomed panel."""
        if self.in_motion or self.is_busy or self.maximized is None:
            self.ringviz.engine.cancel()
        else:
            self.minimize()

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

    def action_what_if(self) -> None:
        """Other prices: who would win."""
        if self.snapshot is not None:
            self.ringviz.open_what_if(AskWhatIf(self.ringviz.opened.scenario, self.snapshot.cpu_id))

    def action_years(self) -> None:
        """Slowdown against year."""
        if self.snapshot is not None:
            self.ringviz.open_years(AskYears(self.ringviz.opened.scenario))

    def action_ring(self) -> None:
        """Run to the next change of ring."""
        self._ask(GoTo("ring"))

    def action_goto(self) -> None:
        """Ask for a place and go there."""

        def go(text: str | None) -> None:
            if text is not None:
                digits = text.replace(" ", "").replace("_", "").replace(",", "")
                self._ask(Seek(int(digits)) if digits.isascii() and digits.isdigit() else GoTo(text))

        self.app.push_screen(GoToDialog(), go)

    def action_console(self) -> None:
        """Events or console."""
        self.toggle_class("-console")
        self.query_one(ConsolePanel if self.has_class("-console") else EventsPanel).focus()

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

    def action_explain(self) -> None:
        """Help, beginning with the focused panel."""
        panel = self.focused
        about = (panel.TITLE, panel.EXPLANATION) if isinstance(panel, (Panel, TailView)) else None
        self.app.push_screen(HelpScreen(EXPLORE, about))

    def action_home(self) -> None:
        """Back to the list of scenarios."""
        self.ringviz.engine.cancel()
        self.ringviz.go_home()

    @on(EventsPanel.Chosen)
    def _event_chosen(self, message: EventsPanel.Chosen) -> None:
        # An event belongs to the instruction in which it happened: one later, the card tells about it.
        self._ask(Seek(message.at + 1))

    @on(TimelinePanel.Scrubbed)
    def _scrubbed(self, message: TimelinePanel.Scrubbed) -> None:
        self._ask(Seek(message.position))
