"""The explore screen as a whole."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from ringviz.engine.view import Card, Kind, LedgerView, RingsView, TimelineView
from ringviz.ui.requests import Shown
from ringviz.ui.screens.explore import ExploreScreen
from ringviz.ui.widgets.card import CardPanel
from ringviz.ui.widgets.code import CodePanel
from ringviz.ui.widgets.console import ConsolePanel
from ringviz.ui.widgets.events import EventsPanel
from ringviz.ui.widgets.keyline import KeyLine
from ringviz.ui.widgets.overhead import OverheadPanel
from ringviz.ui.widgets.rings import RingsPanel
from ringviz.ui.widgets.timeline import TimelinePanel
from ringviz.ui.widgets.twice import TwicePanel
from tests.ui.bench import SIZES, Bench, bench, content_lines
from tests.ui.fake import TECHNIQUES, FakeLaboratory, FakeSession, make_snapshot

GRIDS = Path(__file__).parent / "grids"


async def at_step(b: Bench, position: int) -> None:
    b.laboratory.session.seek(position)
    await b.settle()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("technique", [technique.id for technique in TECHNIQUES])
async def test_the_screen_is_the_one_on_file(size: tuple[int, int], technique: str) -> None:
    """To accept a new look on purpose, run with RINGVIZ_ACCEPT_GRIDS=1 and read the diff."""
    async with bench(size=size, technique=technique) as b:
        await at_step(b, 42)
        lines = [line.rstrip() for line in b.grid()]
    path = GRIDS / f"explore-{technique}-{size[0]}x{size[1]}.txt"
    if os.environ.get("RINGVIZ_ACCEPT_GRIDS"):
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert lines == path.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("size", SIZES)
async def test_no_size_loses_what_matters(size: tuple[int, int]) -> None:
    async with bench(size=size) as b:
        await at_step(b, 42)
        text = b.text()
        for part in (
            "Trap-and-emulate on real x86",
            "► 1 guest OS",
            "◐ 0 VMM",
            "3 applications",
            "INT 80h",
            "►",
            "▲ traps",
            "◆ silent",
            "#GP(0)",
            "+2 030 cycles (modelled)",
            "resume at 00100047",
            "so a privileged",
            "instruction faults.",
            "1 → 0",
            "≠",
            "35 286 cycles",
            "bare metal",
            "modelled",
            "42 / ?",
            "? explain",
            "guest prints: step 42 says [/b] hello",
        ):
            assert part in text, part


async def test_the_ring_below_zero_exists_only_where_the_hardware_has_it() -> None:
    for technique, is_there in (("native", False), ("trap-emulate", False), ("amd-v", True)):
        async with bench(technique=technique) as b:
            assert ("−1 VMM" in "\n".join(content_lines(b.app.screen.query_one(RingsPanel)))) == is_there


async def test_guest_text_is_never_markup_in_any_pane() -> None:
    async with bench() as b:
        await at_step(b, 1)
        for pane, text in (
            (CodePanel, "mov    eax, [ebx]"),
            (EventsPanel, ""),
            (CardPanel, "decode [cli]"),
        ):
            assert text in "\n".join(content_lines(b.app.screen.query_one(pane)))
        await at_step(b, 42)
        assert "mov eax, [ebx]" in "\n".join(content_lines(b.app.screen.query_one(EventsPanel)))
        assert "virtual IF [1] → 0" in "\n".join(content_lines(b.app.screen.query_one(EventsPanel)))
        assert "guest prints: step 42 says [/b] hello" in b.text()
        await b.press("k")
        console = "\n".join(content_lines(b.app.screen.query_one(ConsolePanel)))
        assert "flags before [cli]" in console
        assert "step 42 says [/b] hello" in console


async def test_resizing_keeps_every_panel_and_the_end_of_the_list() -> None:
    async with bench() as b:
        await at_step(b, 100)
        for width, height in (*SIZES, (60, 20), (132, 43), (80, 24)):
            await b.pilot.resize_terminal(width, height)
            await b.pilot.pause()
            screen = b.app.screen
            for panel in (RingsPanel, CodePanel, TwicePanel, CardPanel, EventsPanel, OverheadPanel, TimelinePanel):
                region = screen.query_one(panel).region
                assert region.width > 0, panel
                assert region.height > 0, panel
                assert region.right <= width, panel
                assert region.bottom <= height, panel
            assert " 99 mov" in "\n".join(content_lines(screen.query_one(EventsPanel)))


@pytest.mark.parametrize("size", [(60, 18), (100, 18), (60, 70), (300, 90)])
async def test_odd_sizes_and_bare_moments_break_nothing(size: tuple[int, int]) -> None:
    bare = replace(
        make_snapshot("native", 0),
        code=(),
        registers=(),
        events=(),
        console="",
        card=Card((), "", None, "", Kind.GUEST),
        ledger=LedgerView((), 0, 0, None, ()),
        timeline=TimelineView(0, 0, 0, ()),
        rings=RingsView((), 0, 0, "", None),
    )
    async with bench(size=size) as b:
        await at_step(b, 42)
        b.app.explore.show(Shown(bare, in_motion=False))
        await b.pilot.pause()
        assert b.app.explore.snapshot is bare
        await b.press("up", "enter", "z", "z", "space")
        assert b.shown.snapshot.position == 43


async def test_escape_stops_a_long_run_and_the_app_says_so_meanwhile() -> None:
    async with bench(FakeLaboratory(FakeSession(endless=True))) as b:
        await b.pilot.press("r")
        await b.until(lambda: b.shown.in_motion)
        await b.pilot.pause()
        assert "running, esc stops" in b.text()
        await b.pilot.press("escape")
        await b.settle()
        assert not b.shown.in_motion
        assert "paused" in b.text()
        reached = b.laboratory.session.position
        await b.press("b")
        assert b.shown.snapshot.position == reached - 1


async def test_an_engine_error_is_one_line_and_goes_away_with_the_next_command() -> None:
    async with bench() as b:
        await b.pilot.press("colon", *"nowhere", "enter")
        await b.settle()
        assert '× no symbol "nowhere" in this guest' in b.text()
        await b.press("space")
        assert "nowhere" not in b.text()
        assert b.shown.snapshot.position == 1


async def test_a_very_long_error_keeps_to_three_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    laboratory = FakeLaboratory()

    def broken() -> None:
        raise RuntimeError("word " * 500)

    monkeypatch.setattr(laboratory.session, "step", broken)
    async with bench(laboratory, size=(80, 24)) as b:
        await b.press("space")
        assert b.app.screen.query_one(KeyLine).size.height == 3
        assert "ringviz failed inside: RuntimeError" in b.text()


async def test_back_and_forth_gives_the_same_screen() -> None:
    async with bench() as b:
        await at_step(b, 40)
        before = b.grid()
        await b.press("b", "b", "b")
        assert b.grid() != before
        await b.press("n")
        assert b.grid() == before


async def test_zooming_gives_a_panel_the_screen_and_back() -> None:
    async with bench(size=(80, 24)) as b:
        for panel in (RingsPanel, CodePanel, TwicePanel, CardPanel, EventsPanel, OverheadPanel, TimelinePanel):
            widget = b.app.screen.query_one(panel)
            small = widget.region
            widget.focus()
            await b.press("z")
            assert widget.region.width * widget.region.height > 2 * small.width * small.height, panel
            assert widget.region.width >= 76, panel
            await b.press("z")
            assert widget.region == small, panel


async def test_quitting_during_a_run_is_quick_and_ends_the_thread() -> None:
    async with bench(FakeLaboratory(FakeSession(endless=True))) as b:
        await b.pilot.press("r")
        await b.until(lambda: b.shown.in_motion)
        engine = b.app.engine
    assert not engine._thread.is_alive()


async def test_home_and_in_again() -> None:
    async with bench() as b:
        await b.press("q")
        await b.press("enter", "enter")  # home stands on what was left
        assert b.laboratory.opened[-1] == ("popf-hole", "trap-emulate", None, None)
        assert isinstance(b.app.screen, ExploreScreen)
        await b.press("space")
        assert "step 1" in b.text()


async def test_without_colour_the_rings_are_boxes_and_the_current_one_has_double_walls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with bench() as b:
        lines = content_lines(b.app.screen.query_one(RingsPanel))
    assert any("╔ ► 1 guest OS ═" in line for line in lines)
    assert any("╭ 3 applications ─" in line for line in lines)
