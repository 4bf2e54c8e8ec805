"""Every key does something."""

from collections.abc import Callable

import pytest
from textual.message import Message
from textual.widgets import OptionList

from ringviz.ui.app import RingvizApp
from ringviz.ui.commands import EXPLORE, HOME, Command, bindings, fitting
from ringviz.ui.screens.compare import CompareScreen
from ringviz.ui.screens.compare_group import SideBySideScreen
from ringviz.ui.screens.dialogs import AddressDialog, GoToDialog, TechniqueDialog
from ringviz.ui.screens.explain import ExplainScreen
from ringviz.ui.screens.help import HelpScreen
from ringviz.ui.screens.home import HomeScreen
from ringviz.ui.screens.hosts import HostsDialog
from ringviz.ui.screens.lessons import LessonsScreen
from ringviz.ui.screens.machine import MachineDialog
from ringviz.ui.screens.places import BookmarksDialog, BreakpointsDialog, NoteDialog
from ringviz.ui.screens.vendors import VendorsScreen
from ringviz.ui.screens.what_if import WhatIfScreen
from ringviz.ui.screens.years import YearsScreen
from ringviz.ui.widgets.code import CodePanel
from ringviz.ui.widgets.memory import MemoryPanel
from ringviz.ui.widgets.walk import WalkPanel
from tests.ui.bench import Bench, bench
from tests.ui.fake import FakeLaboratory

# What each key of the explore screen must have done, starting at step 6 of 100.
EXPLORE_EFFECTS: dict[str, Callable[[Bench], bool]] = {
    "step": lambda b: b.shown.snapshot.position == 7,
    "back": lambda b: b.shown.snapshot.position == 5,
    "next": lambda b: b.shown.snapshot.position == 8,
    "previous": lambda b: b.shown.snapshot.position == 4,
    "run": lambda b: b.shown.snapshot.position == 100,
    "stop": lambda b: b.app.screen.maximized is None,
    "technique": lambda b: isinstance(b.app.screen, TechniqueDialog),
    "cycle": lambda b: b.shown.snapshot.technique_id == "binary-translation",
    "cycle_back": lambda b: b.shown.snapshot.technique_id == "classic",
    "compare": lambda b: isinstance(b.app.screen, CompareScreen),
    "group": lambda b: isinstance(b.app.screen, SideBySideScreen),
    "goto": lambda b: isinstance(b.app.screen, GoToDialog),
    "divergence": lambda b: "to divergence" in b.calls,
    "ring": lambda b: b.shown.snapshot.position == 40 and "to ring" in b.laboratory.session.calls,
    "start": lambda b: b.shown.snapshot.position == 0,
    "end": lambda b: b.shown.snapshot.position == 100,
    "console": lambda b: "step 6 says [/b] hello" in b.text(),
    "side": lambda b: "has nothing beside the guest's code" in b.text(),
    "memory": lambda b: b.app.screen.query_one(MemoryPanel).has_focus,
    "walk": lambda b: b.app.screen.query_one(WalkPanel).has_focus,
    "address": lambda b: isinstance(b.app.screen, AddressDialog),
    "micro": lambda b: "Micro-steps:" in b.text(),
    "breakpoints": lambda b: isinstance(b.app.screen, BreakpointsDialog),
    "bookmark": lambda b: isinstance(b.app.screen, NoteDialog),
    "bookmarks": lambda b: isinstance(b.app.screen, BookmarksDialog),
    "machine": lambda b: isinstance(b.app.screen, MachineDialog),
    "vendors": lambda b: isinstance(b.app.screen, VendorsScreen),
    "years": lambda b: isinstance(b.app.screen, YearsScreen),
    "what_if": lambda b: isinstance(b.app.screen, WhatIfScreen),
    "run_back": lambda b: "There is no breakpoint to go back to" in b.text(),
    "point": lambda b: b.app.screen.query_one(CodePanel).pointed == 0x100058,
    "point_back": lambda b: b.app.screen.query_one(CodePanel).pointed == 0x100058,
    "edit": lambda b: "no guest can be edited here" in b.text(),
    "zoom": lambda b: b.app.screen.maximized is not None,
    "theme": lambda b: b.app.theme == "ringviz-light",
    "help": lambda b: isinstance(b.app.screen, ExplainScreen),
    "why": lambda b: "Who takes over? The VMM." in b.text(),
    "home": lambda b: isinstance(b.app.screen, HomeScreen),
}
HOME_EFFECTS: dict[str, Callable[[Bench], bool]] = {
    "open": lambda b: bool(b.laboratory.opened),
    "hosts": lambda b: isinstance(b.app.screen, HostsDialog),
    "switch": lambda b: b.app.focused is b.app.screen.query_one("#techniques"),
    "find": lambda b: b.app.focused is b.app.screen.query_one("#find"),
    "resume": lambda b: "no place to go on from" in b.text(),
    "words": lambda b: isinstance(b.app.screen, ExplainScreen),
    "lecture": lambda b: "has no replay to hold a lecture with" in b.text(),
    "lessons": lambda b: isinstance(b.app.screen, LessonsScreen),
    "theme": lambda b: b.app.theme == "ringviz-light",
    "help": lambda b: isinstance(b.app.screen, HelpScreen),
    "quit": lambda b: not b.app.is_running or b.app._exit,
}


def keys(commands: tuple[Command, ...]) -> list[tuple[str, str]]:
    return [(command.id, key) for command in commands for key in command.keys.split(",")]


@pytest.mark.parametrize(("command", "key"), keys(EXPLORE))
async def test_every_key_of_the_explore_screen_does_what_it_says(command: str, key: str) -> None:
    async with bench() as b:
        b.laboratory.session.seek(6)
        await b.settle()
        if command == "stop":
            await b.press("z")
            assert b.app.screen.maximized is not None
        else:
            assert not EXPLORE_EFFECTS[command](b) or command == "console"
        await b.press(key)
        assert EXPLORE_EFFECTS[command](b)


@pytest.mark.parametrize(("command", "key"), keys(HOME))
async def test_every_key_of_the_home_screen_does_what_it_says(command: str, key: str) -> None:
    async with bench(scenario=None) as b:
        assert not HOME_EFFECTS[command](b)
        await b.pilot.press(key)
        await b.pilot.pause()
        await b.until(lambda: HOME_EFFECTS[command](b))


@pytest.mark.parametrize("commands", [EXPLORE, HOME])
def test_no_two_commands_share_an_id_or_a_key(commands: tuple[Command, ...]) -> None:
    ids = [command.id for command in commands]
    assert len(set(ids)) == len(ids)
    all_keys = [key for _, key in keys(commands)]
    assert len(set(all_keys)) == len(all_keys)
    assert sorted(command.rank for command in commands) == list(range(len(commands)))


def test_bindings_carry_id_and_help_for_remapping_and_tooltips() -> None:
    for command, binding in zip(EXPLORE, bindings(EXPLORE), strict=True):
        assert (binding.id, binding.tooltip, binding.key) == (command.id, command.help, command.keys)


@pytest.mark.parametrize("width", [0, 10, 40, 76, 118, 400])
def test_the_key_line_fits_and_keeps_the_most_important(width: int) -> None:
    kept = fitting(EXPLORE, width)
    assert sum(len(c.face) + len(c.title) + 3 for c in kept) - 2 <= width
    assert [c.rank for c in sorted(kept, key=lambda c: c.rank)] == list(range(len(kept)))
    if width == 118:
        assert [c.face for c in kept] == ["space", "b", "n", "r", "m", "c", ":", "d", "v", "z", "?"]
    if width >= 76:
        assert "help" in [c.id for c in kept]


async def test_the_palette_offers_every_command_and_runs_it() -> None:
    async with bench() as b:
        offered = {command.title: command for command in b.app.get_system_commands(b.app.screen)}
        for command in EXPLORE:
            assert f"{command.title} ({command.face})" in offered
        callback = offered["step (space)"].callback
        await callback()
        await b.settle()
        assert b.shown.snapshot.position == 1


async def test_a_click_on_the_key_line_is_as_good_as_the_key() -> None:
    async with bench() as b:
        await b.pilot.click("KeyLine", offset=(3, 0))
        await b.settle()
        assert b.calls == ["step"]


async def test_choosing_a_technique_keeps_the_place() -> None:
    async with bench() as b:
        b.laboratory.session.seek(33)
        await b.press("m")
        assert b.app.screen.query_one(OptionList).highlighted == 3
        await b.press("down", "enter")
        assert "swap binary-translation" in b.calls
        assert (b.shown.snapshot.technique_id, b.shown.snapshot.position) == ("binary-translation", 33)


@pytest.mark.parametrize(("cpu", "on"), [(None, ""), ("barcelona", " on barcelona")])
async def test_a_cpu_asked_for_stays_asked_for(cpu: str | None, on: str) -> None:
    app = RingvizApp("popf-hole", "native", None, cpu, laboratory=(laboratory := FakeLaboratory()))
    messages: list[Message] = []
    async with app.run_test(message_hook=messages.append) as pilot:
        b = Bench(app, pilot, laboratory, messages)
        await b.settle()
        await b.press("M")
        await b.press("c")
        assert laboratory.session.calls == [f"swap emulation{on}", f"compare popf-hole{on}"]


@pytest.mark.parametrize(
    ("typed", "call"), [("50", "seek 50"), ("1 2", "seek 12"), ("0x100046", "to 0x100046"), ("again", "to again")]
)
async def test_go_to_takes_steps_addresses_and_symbols(typed: str, call: str) -> None:
    async with bench() as b:
        await b.pilot.press("colon")
        await b.pilot.press(*["space" if c == " " else c for c in typed], "enter")
        await b.settle()
        assert call in b.calls
