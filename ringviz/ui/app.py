"""The app: screens over one engine thread."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePath
from threading import Thread
from typing import TYPE_CHECKING, Any, ClassVar, TypedDict, cast

from textual import events, on
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.screen import Screen
from textual.timer import Timer

from ringviz.engine.looks import Looks
from ringviz.errors import RingvizError
from ringviz.guest.scenario import Scenario
from ringviz.lessons.progress import Progress
from ringviz.record.replay import Replay
from ringviz.record.state_folder import state_folder
from ringviz.ui.bookmarks import Bookmarks
from ringviz.ui.breakpoints import Breakpoints
from ringviz.ui.laboratory import Editing, Laboratory, MachineChoice, ScenarioChoice, TechniqueChoice
from ringviz.ui.lazy_laboratory import LazyEditing, LazyLaboratory
from ringviz.ui.own_keys import OwnKeys, load_keys
from ringviz.ui.remembered import Remembered
from ringviz.ui.requests import (
    AskWhatIf,
    AskWhy,
    AskYears,
    Assembled,
    BeatShown,
    Began,
    BreakpointAdded,
    Compare,
    Compared,
    Counted,
    Derived,
    Failed,
    GroupShown,
    HitsCounted,
    Look,
    NotAssembled,
    Open,
    Opened,
    OpenLesson,
    PageShown,
    PairShown,
    PlayReplay,
    Priced,
    Progressed,
    Remarked,
    Seek,
    Settled,
    Shown,
    SourceShown,
    Stale,
    Swap,
    ToBeat,
)
from ringviz.ui.runner import EngineThread, Noted
from ringviz.ui.screens.compare_group import SideBySideScreen
from ringviz.ui.screens.edit import EditScreen
from ringviz.ui.screens.explain import ExplainScreen
from ringviz.ui.screens.explore import ExploreScreen
from ringviz.ui.screens.home import HomeScreen
from ringviz.ui.screens.lecture import LectureScreen
from ringviz.ui.screens.lesson import LessonScreen
from ringviz.ui.screens.lessons import LessonsScreen
from ringviz.ui.screens.moving import MovingScreen
from ringviz.ui.screens.replay import ReplayScreen
from ringviz.ui.screens.too_small import TooSmallScreen, is_too_small
from ringviz.ui.textual_mends import mend
from ringviz.ui.themes import DARK, MONOCHROME, THEMES, VARIABLE_DEFAULTS

if TYPE_CHECKING:
    from ringviz.record.machines.host_lecture import HostLecture
    from ringviz.ui.engine_laboratory import EngineLaboratory
    from ringviz.ui.host_thread import Visited
    from ringviz.ui.screens.compare import CompareScreen
    from ringviz.ui.screens.machine_room import MachineRoomScreen
    from ringviz.ui.screens.vendors import VendorsScreen
    from ringviz.ui.screens.what_if import WhatIfScreen
    from ringviz.ui.screens.years import YearsScreen

_STYLES = Path(__file__).parent / "styles"
_COLLECTING = (2000, 20, 200)
"""How seldom Python looks for what is in circles: all of it after some million objects. Whoever gives up a session has
that done at once."""
_BUSY_SECONDS = 0.15
"""A request that takes longer is said to be running."""
_FAILED_TO_OPEN = 2
"""Exit code when the scenario named on the command line cannot be opened, as the contract says of wrong input."""


class RingvizApp(App[None]):
    """The laboratory's front.

    Args:
        scenario: opened at once if given, by id or path; else the home screen asks.
        technique: for that scenario.
        mmu: memory virtualization, where the technique has a choice.
        cpu: cost profile.
        laboratory: the world below; the real one if not given.
        replay: played at once, in place of a scenario.
        speed: how many times as fast as it is written.
        noted: told where the session comes to rest.
        bookmarks: kept on disk by the caller; in memory if not given.
        lesson: opened at once in place of a scenario.
        is_lecture: the replay is held as a lecture.
        own_keys: which keys do what, if the user has an opinion.
        breakpoints: kept on disk by the caller; in memory if not given.
        said: one line to begin with.
        editing: changes guests; without it none can be changed.
        remembered: theme and last place, kept on disk by the caller; in memory if not given.
    """

    TITLE = "ringviz"
    # Full paths, so that they also hold for a subclass in another folder.
    CSS_PATH: ClassVar[list[str | PurePath]] = [
        _STYLES / "app.tcss",
        _STYLES / "explore.tcss",
        _STYLES / "home.tcss",
        _STYLES / "vendors.tcss",
        _STYLES / "dialogs.tcss",
        _STYLES / "what_if.tcss",
        _STYLES / "years.tcss",
        _STYLES / "compare.tcss",
        _STYLES / "lesson.tcss",
        _STYLES / "explain.tcss",
        _STYLES / "lecture.tcss",
        _STYLES / "edit.tcss",
        _STYLES / "machine_room.tcss",
    ]
    # Textual declares these two as instance variables, so they cannot be class variables here.
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-middle"), (160, "-wide")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-short"), (34, "-normal"), (50, "-tall")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+q", "quit", "quit", show=False)]

    def __init__(
        self,
        scenario: str | None = None,
        technique: str = "native",
        mmu: str | None = None,
        cpu: str | None = None,
        laboratory: Laboratory | None = None,
        replay: Replay | None = None,
        speed: float = 1.0,
        noted: Noted | None = None,
        bookmarks: Bookmarks | None = None,
        lesson: OpenLesson | None = None,
        *,
        is_lecture: bool = False,
        own_keys: OwnKeys | None = None,
        remembered: Remembered | None = None,
        editing: Editing | None = None,
        breakpoints: Breakpoints | None = None,
    ) -> None:
        super().__init__()
        mend()
        self.own_keys = own_keys or OwnKeys()
        self.remembered = remembered or Remembered()
        self._first: Open | PlayReplay | OpenLesson | None = lesson
        if scenario is not None:
            self._first = Open(scenario, technique, mmu, cpu)
        if replay is not None:
            self._first = PlayReplay(replay)
        self._usual_collecting = gc.get_threshold()
        self._busy_timer: Timer | None = None
        self._resumed_cpu: str | None = None
        """On which the guest was that comes next, if the user took it."""
        self._comparing: CompareScreen | None = None
        self._what_if: WhatIfScreen | None = None
        self._years: YearsScreen | None = None
        self._vendors: VendorsScreen | None = None
        self._group: SideBySideScreen | None = None
        self._lesson: LessonScreen | None = None
        self._lecture = LectureScreen(replay, speed) if is_lecture and replay is not None else None
        self.wants_group = False
        """The user asked for the side-by-side screen and has not left it since."""
        self.wants_source = False
        """The user asked for the editor and has not left it since."""
        self.editor: EditScreen | None = None
        self.wants_pair = False
        """The user asked for the vendors screen and has not left it since."""
        self.opened = Open("" if replay is None else replay.scenario, technique, mmu, cpu)
        """What was opened last; no scenario before the first."""
        self.failure = ""
        self.machine_room: MachineRoomScreen | None = None
        """The one that the user has gone to last."""
        self.is_visiting = False
        """The guest on the explore screen is a machine of that host."""
        self.bookmarks = bookmarks if bookmarks is not None else Bookmarks()
        self.breakpoints = breakpoints if breakpoints is not None else Breakpoints()
        self.laboratory = laboratory if laboratory is not None else _real_laboratory()
        self.engine = EngineThread(self.laboratory, self.post_message, noted, editing)
        self.scenarios: Sequence[ScenarioChoice] = self.laboratory.scenarios()
        self.techniques: Sequence[TechniqueChoice] = self.laboratory.techniques()
        self.explore = ExploreScreen() if replay is None else ReplayScreen(replay, speed)
        for theme in (*THEMES, MONOCHROME):
            self.register_theme(theme)
        kept = self.remembered.last.theme
        usual = MONOCHROME.name if self.no_color else DARK.name
        self.theme = kept if kept in self.available_themes else usual
        self.set_keymap(dict(self.own_keys.keymap))

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Our own colours, for themes that are not ours."""
        return VARIABLE_DEFAULTS

    def on_mount(self) -> None:
        """Start the engine thread; show the home screen, or with a scenario given, the explore screen at once."""
        # The modules loaded by now stay for good. Unfrozen, Python's collector would look through all of them every few
        # dozen steps, and the screen would hang for the time of three frames. Sessions come later and stay collectable.
        gc.freeze()
        # What is left then is small, so that Python would look through all of a session every few steps.
        self._usual_collecting = gc.get_threshold()
        gc.set_threshold(*_COLLECTING)
        self.engine.start()
        troubles = [*self.own_keys.complaints, *filter(None, (self.remembered.trouble,))]
        if troubles:
            self.set_timer(0.3, lambda: self._notice(Remarked("; ".join(troubles))))
        if self._first is None:
            self.push_screen(self.home(), lambda _: self.exit())  # behind the first screen there is none to go back to
            if isinstance(self.laboratory, LazyLaboratory):
                # While the user reads: what is chosen here should open at once.
                load = Thread(target=self.laboratory.load, name="ringviz-load", daemon=True)
                self.call_after_refresh(load.start)
        elif isinstance(self._first, OpenLesson):
            self.open_lesson(self._first)
        elif self._lecture is not None and isinstance(self._first, PlayReplay):
            self.push_screen(self._lecture)
            self.engine.submit(self._first)
            self.engine.submit(ToBeat(1))
        else:
            self.push_screen(self.explore)
            self.engine.submit(self._first)
            if isinstance(self._first, PlayReplay):
                self.engine.submit(ToBeat(1))
        # The size was told before there was anything to cover.
        self.call_after_refresh(lambda: self._cover(self.size))

    # ---- screens -----------------------------------------------------------------------------------------------------

    @property
    def front(self) -> Screen[Any]:
        """The topmost screen that has something to show; where the terminal is too small, it waits beneath."""
        stack = self.screen_stack
        return stack[-2] if isinstance(stack[-1], TooSmallScreen) and len(stack) > 1 else stack[-1]

    def on_resize(self, event: events.Resize) -> None:
        """Cover everything where it would have no room, and uncover it again."""
        self._cover(event.size)

    def _cover(self, size: Size) -> None:
        if is_too_small(size) != isinstance(self.screen, TooSmallScreen):
            if is_too_small(size):
                self.push_screen(TooSmallScreen())
            else:
                self.pop_screen()

    @contextmanager
    def uncovered(self) -> Iterator[None]:
        """Change screens beneath the one that says that there is no room."""
        is_covered = isinstance(self.screen, TooSmallScreen)
        if is_covered:
            self.pop_screen()
        yield
        if is_covered:
            self.push_screen(TooSmallScreen())

    async def on_event(self, event: events.Event) -> None:
        """Hear no key once the app is closing: Textual would look for a screen, and there is none any more."""
        if not isinstance(event, events.InputEvent) or self.screen_stack:
            await super().on_event(event)

    def on_unmount(self) -> None:
        """Remember the place; end the engine thread, which never takes long."""
        self._remember_place()
        self.engine.stop()
        gc.set_threshold(*self._usual_collecting)

    def home(self) -> Screen[None]:
        """Give the screen that comes first, and to which one goes back in the end."""
        return HomeScreen()

    def escaped(self) -> None:
        """Hear that Escape was pressed on the explore screen, where there was nothing to stop."""
        if self.is_visiting:
            self._end_visit()

    def open(self, request: Open) -> None:
        """Load a scenario; the screen changes once it is there."""
        self.engine.submit(request)

    def enter_host_room(self, host: str, title: str, summary: str) -> None:
        """Open the machine room of a host; empty is the user's own."""
        # It needs the engine, which the home screen does without.
        from ringviz.ui.host_rooms import host_opening
        from ringviz.ui.screens.machine_room import MachineRoomScreen

        self.machine_room = MachineRoomScreen(host_opening(host), title, summary)
        self.push_screen(self.machine_room)

    def hold_host_lecture(self, host: str) -> None:
        """Hold the lecture of a host.

        Raises:
            RingvizError: it has none.
        """
        from ringviz.ui.host_rooms import host_lecture

        self._hold_host_lecture(host_lecture(host))

    def _hold_host_lecture(self, lecture: HostLecture) -> None:
        from ringviz.ui.screens.host_lecture import HostLectureScreen

        self.push_screen(HostLectureScreen(lecture))

    def visit(self, visited: Visited) -> None:
        """Show a machine's guest on its own, at the instruction at which it stands on the host."""
        self._remember_place()
        cast("EngineLaboratory", self.laboratory).visit(visited.name, visited.scenario, visited.controls)
        self.is_visiting = True
        self.explore = ExploreScreen()
        self.push_screen(self.explore)
        self.engine.submit(Open(visited.name, visited.technique, visited.mmu, visited.cpu))
        self.engine.submit(Seek(visited.retired))
        explore, words = self.explore, f"{visited.name} as it stands on its host; esc goes back"
        # Not on a screen that the user has opened over it meanwhile, and that has something of its own to say.
        self.set_timer(0.3, lambda: explore.notice(Remarked(words)) if self.front is explore else None)

    def _end_visit(self) -> None:
        """Back to the machine room."""
        self.engine.cancel()
        self.is_visiting = False
        with self.uncovered():
            while self.screen is not self.machine_room:
                self.pop_screen()
        self.explore = ExploreScreen()  # a machine of a host is no place to come back to
        self.opened = Open("", self.opened.technique)
        cast("EngineLaboratory", self.laboratory).leave()

    def open_comparison(self, request: Compare) -> None:
        """Run all techniques, and show the table."""
        # These need the engine's figures; whoever has not asked for them should not wait for it.
        from ringviz.ui.screens.compare import CompareScreen

        self._comparing = CompareScreen()
        self.push_screen(self._comparing)
        self.engine.submit(request)

    def open_what_if(self, request: AskWhatIf) -> None:
        """Run the techniques that compete, and let prices be moved."""
        from ringviz.ui.screens.what_if import WhatIfScreen

        self._what_if = WhatIfScreen()
        self.push_screen(self._what_if)
        self.engine.submit(request)

    def open_years(self, request: AskYears) -> None:
        """Run the usual techniques, and draw their slowdown against the years of the CPUs."""
        from ringviz.ui.screens.years import YearsScreen

        self._years = YearsScreen()
        self.push_screen(self._years)
        self.engine.submit(request)

    def open_course(self) -> None:
        """To the list of lessons."""
        self.switch_screen(LessonsScreen(self.laboratory.lessons(), Progress.load()))

    def open_lesson(self, request: OpenLesson) -> None:
        """Open a lesson at a page."""
        self._lesson = LessonScreen(request, Progress.load())
        if isinstance(self.screen, LessonsScreen):
            self.switch_screen(self._lesson)
        else:
            self.push_screen(self._lesson)
        self.engine.submit(request)

    def leave_lesson(self) -> None:
        """Back to the list of lessons."""
        self.open_course()

    def explore_from_lesson(self) -> None:
        """Open the explore screen over the lesson, for the same guest at the same moment."""
        self.explore = ExploreScreen()
        self.push_screen(self.explore)
        self.engine.submit(Look(Looks()))

    def leave_explore(self) -> None:
        """Home, or to the lesson or the machine room that the guest belongs to."""
        if self.is_visiting:
            self._end_visit()
        elif self._lesson is not None and self._lesson in self.screen_stack:
            self.pop_screen()
            self.engine.submit(Look(self._lesson.looks))
        else:
            self.go_home()

    def hold_lecture(self, scenario: str) -> None:
        """Hold the lecture that a scenario has."""
        replay = self.laboratory.lecture(scenario)
        if not isinstance(replay, Replay):
            self._hold_host_lecture(replay)
            return
        self._lecture = LectureScreen(replay)
        self.push_screen(self._lecture)
        self.engine.submit(PlayReplay(replay))
        self.engine.submit(ToBeat(1))

    def leave_lecture(self) -> None:
        """Back to where the lecture was opened; from the command line, out."""
        if isinstance(self._first, PlayReplay):
            self.exit()
        else:
            self.pop_screen()

    def resume(self) -> bool:
        """Go on where the user was the last time; False if there is no such place."""
        last = self.remembered.last
        if not last.scenario:
            return False
        self.engine.submit(Open(last.scenario, last.technique))
        if last.cpu or last.mmu or last.controls:
            # As if chosen in the playground, so that another technique is not held to this CPU.
            cpu, mmu = last.cpu or None, last.mmu or None
            self.engine.submit(Swap(last.technique, cpu, mmu, tuple(last.controls.split())))
            self._resumed_cpu = cpu
        self.engine.submit(Seek(last.position))
        return True

    def _remember_place(self) -> None:
        """Keep where the guest on the explore screen stands, if it is the user's own."""
        shown = self.explore.snapshot
        is_own = not (isinstance(self.explore, ReplayScreen) or self._lesson is not None or self.is_visiting)
        if shown is not None and is_own and self.opened.scenario:
            own = self._own_machine(shown.technique_id)
            self.remembered.keep(
                scenario=self.opened.scenario,
                technique=shown.technique_id,
                position=shown.position,
                cpu="" if own is not None and own.cpu == shown.cpu_id else shown.cpu_id,
                mmu="" if own is not None and own.mmu == shown.mmu else shown.mmu,
                controls=" ".join(shown.controls),
            )

    def _own_machine(self, technique: str) -> MachineChoice | None:
        """Give the machine that a technique would choose."""
        try:
            return self.laboratory.machine(technique, None, None, ())
        except RingvizError:
            return None

    def go_home(self) -> None:
        """To the list of scenarios."""
        self._remember_place()
        self.switch_screen(HomeScreen())

    def action_theme_switch(self) -> None:
        """The next of our themes."""
        names = [theme.name for theme in THEMES]
        at = names.index(self.theme) if self.theme in names else -1
        self.theme = names[(at + 1) % len(names)]
        self.remembered.keep(theme=self.theme)

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Give the palette: the commands of the screen, and a few that are the same everywhere."""
        for command in getattr(screen, "COMMAND_ROWS", ()):
            action = command.action if "." in command.action else f"screen.{command.action}"
            yield SystemCommand(f"{command.title} ({command.face})", command.help, partial(self.run_action, action))
        yield SystemCommand("themes", "Choose among all colour themes.", self.search_themes)
        yield SystemCommand("save picture", "Save this screen as an SVG file.", self._save_picture)
        yield SystemCommand("quit (ctrl+q)", "Leave ringviz.", self.action_quit)

    def _save_picture(self) -> None:
        # Once the palette is gone, so that it is not in the picture.
        self.set_timer(0.1, self.deliver_screenshot)

    @on(Opened)
    def _opened(self, message: Opened) -> None:
        self.opened = message.request
        if isinstance(self.front, HomeScreen):
            self.explore = ExploreScreen()
            self.explore.chosen_cpu, self._resumed_cpu = self._resumed_cpu, None
            with self.uncovered():
                self.switch_screen(self.explore)

    @on(Shown)
    def _shown(self, message: Shown) -> None:
        # The user may have left for the home screen while this was on its way.
        for screen in (self.explore, self._lesson, self._lecture):
            if screen is not None and screen.is_attached:
                screen.show(message)

    @on(Derived)
    def _derived(self, message: Derived) -> None:
        if isinstance(self.front, ExplainScreen):
            self.front.show_why(message.derivation)

    def explain(self, explain: ExplainScreen, *, is_asked_why: bool = True) -> None:
        """Open an explanation; the engine adds why the next instruction traps, or does not."""
        self.push_screen(explain)
        if is_asked_why:
            self.engine.submit(AskWhy())

    @on(PageShown)
    def _page_shown(self, message: PageShown) -> None:
        self.opened = Open(message.scenario, self.opened.technique)
        if self._lesson is not None and self._lesson.is_attached:
            self._lesson.show_page(message)

    @on(GroupShown)
    def _group_shown(self, message: GroupShown) -> None:
        if self._group is None or not self._group.is_attached:
            front = self.front
            if not self.wants_group or not isinstance(front, (ExploreScreen, LectureScreen, EditScreen)):
                return  # left before it came
            self._group = SideBySideScreen() if isinstance(front, EditScreen) else front.group_screen()
            with self.uncovered():
                self.push_screen(self._group)
        self._group.in_motion = message.in_motion
        self._group.show(message.view)

    @on(SourceShown)
    def _source_shown(self, message: SourceShown) -> None:
        if self.wants_source and isinstance(self.front, ExploreScreen):
            self.wants_source = False
            self.editor = EditScreen(message.source, is_copy=self.is_visiting)
            with self.uncovered():
                self.push_screen(self.editor)

    @on(Assembled)
    def _assembled(self, message: Assembled) -> None:
        if self.editor is None or not self.editor.is_attached:
            return
        self.editor.assembled(message)
        if message.opened is not None:
            self.opened = message.opened
            with self.uncovered():
                self.editor.dismiss()

    @on(NotAssembled)
    def _not_assembled(self, message: NotAssembled) -> None:
        if self.editor is not None and self.editor.is_attached:
            self.editor.not_assembled(message)

    def _close_group(self) -> None:
        """Leave what stands side by side, and whatever has been opened over it."""
        self.wants_group = False
        if self._group is not None and self._group in self.screen_stack:
            with self.uncovered():
                while self.screen is not self._group:
                    self.pop_screen()
                self.pop_screen()

    @on(Stale)
    def _stale(self, message: Stale) -> None:
        for screen in (self.explore, self._lecture):
            if isinstance(screen, (ReplayScreen, LectureScreen)):
                screen.stale = message.text

    @on(BeatShown)
    def _beat_shown(self, message: BeatShown) -> None:
        self._close_group()
        if isinstance(self.explore, ReplayScreen) and self.explore.is_attached:
            self.explore.show_beat(message.played)
        if self._lecture is not None and self._lecture.is_attached:
            self._lecture.show_beat(message.played)

    @on(PairShown)
    def _pair_shown(self, message: PairShown) -> None:
        if self._vendors is None or not self._vendors.is_attached:
            if not self.wants_pair or not isinstance(self.front, ExploreScreen):
                return  # left before it came
            from ringviz.ui.screens.vendors import VendorsScreen

            self._vendors = VendorsScreen()
            with self.uncovered():
                self.push_screen(self._vendors)
        self._vendors.in_motion = message.in_motion
        self._vendors.show(message.view)

    @on(Began)
    def _began(self) -> None:
        # Most requests are done before anyone could read that they are being done.
        if self._busy_timer is None:
            self._busy_timer = self.set_timer(_BUSY_SECONDS, self._say_busy)

    def _say_busy(self) -> None:
        for screen in self._moving_screens():
            screen.is_busy = True

    @on(Settled)
    def _settled(self) -> None:
        if self._busy_timer is not None:
            self._busy_timer.stop()
            self._busy_timer = None
        for screen in self._moving_screens():
            screen.is_busy = False
            screen.in_motion = False

    def _moving_screens(self) -> list[MovingScreen]:
        screens = (self.explore, self._vendors, self._group, self._lesson, self._lecture)
        return [screen for screen in screens if screen is not None]

    @on(Failed)
    def _failed(self, message: Failed) -> None:
        shown = self.explore.snapshot if self._lecture is None else self._lecture.snapshot
        is_replay = isinstance(self._first, PlayReplay) and shown is None
        if message.request == self._first and (is_replay or not self.opened.scenario):
            # There is nothing to go back to: the command line asked for this, so it gets the answer.
            self.failure = message.text
            self.exit(return_code=_FAILED_TO_OPEN)
            return
        self._notice(message)

    @on(Remarked)
    def _remarked(self, message: Remarked) -> None:
        self._notice(message)

    @on(BreakpointAdded)
    def _breakpoint_added(self, message: BreakpointAdded) -> None:
        if self.explore.is_attached:
            self.explore.add_breakpoint(message.text, message.elsewhere)

    @on(HitsCounted)
    def _hits_counted(self, message: HitsCounted) -> None:
        if self.explore.is_attached:
            self.explore.hits = message.hits

    @on(Compared)
    def _compared(self, message: Compared) -> None:
        if self._comparing is not None and self._comparing.is_attached:
            self._comparing.show(message.runs)

    @on(Counted)
    def _counted(self, message: Counted) -> None:
        if self._what_if is not None and self._what_if.is_attached:
            self._what_if.show(message.found)

    @on(Priced)
    def _priced(self, message: Priced) -> None:
        if self._years is not None and self._years.is_attached:
            self._years.show(message.found)

    @on(Progressed)
    def _progressed(self, message: Progressed) -> None:
        for screen in (self._comparing, self._what_if, self._years, self._group):
            if screen is not None and screen.is_attached:
                screen.progress(message)

    def _notice(self, message: Failed | Remarked) -> None:
        """On the topmost screen that has a line for it."""
        for screen in reversed(self.screen_stack):
            notice = getattr(screen, "notice", None)
            if notice is not None:
                notice(message)
                return


def run_app(
    scenario: str | None = None,
    technique: str | None = None,
    mmu: str | None = None,
    cpu: str | None = None,
    controls: Sequence[str] = (),
    prepared: Scenario | None = None,
    replay: Replay | None = None,
    speed: float = 1.0,
    noted: Noted | None = None,
    lesson: OpenLesson | None = None,
    *,
    is_lecture: bool = False,
) -> int:
    """Run the app in this terminal; gives the exit code, after one line on stderr if the scenario cannot be opened.

    `prepared` is that scenario with the disks put in that the command line names; the rest as `RingvizApp` has it.
    """
    world = LazyLaboratory(controls, prepared)
    app = RingvizApp(
        scenario,
        technique or "native",
        mmu,
        cpu,
        cast("Laboratory", world),
        replay,
        speed,
        noted,
        lesson=lesson,
        is_lecture=is_lecture,
        **_kept(),
        editing=cast("Editing", LazyEditing(world, state_folder() / "edits")),
    )
    app.run()
    if app.failure:
        print(app.failure, file=sys.stderr)
    return app.return_code or 0


class _Kept(TypedDict):
    """What is on disk for the app."""

    bookmarks: Bookmarks
    breakpoints: Breakpoints
    own_keys: OwnKeys
    remembered: Remembered


def _kept() -> _Kept:
    return {
        "bookmarks": Bookmarks(state_folder() / "bookmarks.json"),
        "breakpoints": Breakpoints(state_folder() / "breakpoints.json"),
        "own_keys": load_keys(),
        "remembered": Remembered(state_folder() / "app.json"),
    }


def _real_laboratory() -> Laboratory:
    # It passes on what it does not have, which no type checker can see.
    return cast("Laboratory", LazyLaboratory())
