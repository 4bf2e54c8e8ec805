"""The console panel: printed text, and the text screen below it."""

from dataclasses import replace

from textual.geometry import Size

from ringviz.engine.view import EventRow, Kind, Snapshot, TextScreen
from ringviz.ui.requests import Shown
from ringviz.ui.widgets.console import ConsolePanel
from ringviz.ui.widgets.events import EventsPanel
from tests.ui.bench import Bench, bench, content_lines
from tests.ui.fake import make_snapshot

ROWS = ("C:\\> [b]dir[/b]", "", "two files", *("",) * 22)
SCREEN = TextScreen(tuple(row.ljust(80) for row in ROWS), (2, 9))


async def show(b: Bench, snapshot: Snapshot) -> None:
    b.app.explore.show(Shown(snapshot, in_motion=False))
    await b.pilot.pause()


async def test_the_text_screen_stands_below_what_was_printed_and_its_cursor_is_reversed() -> None:
    async with bench(size=(120, 40)) as b:
        await b.pilot.press("k")
        await show(b, replace(make_snapshot("native", 1), console="printed\n", screen=SCREEN))
        panel = b.app.screen.query_one(ConsolePanel)
        lines = [line.rstrip(" ▁▂▃▄▅▆▇█") for line in content_lines(panel)]
        assert lines[0] == "printed"
        assert lines[1].startswith("── text screen, 80×25 ─")
        assert lines[2:5] == ["C:\\> [b]dir[/b]", "", "two files"]
        reversed_cells = [
            (index, segment.text)
            for index in range(panel.line_count())
            for segment in panel.line(index, 60)
            if segment.style is not None and segment.style.reverse
        ]
        assert reversed_cells == [(4, " ")]


async def test_without_printed_text_the_frame_of_the_events_shows_the_screens_last_row() -> None:
    async with bench(size=(120, 40)) as b:
        await show(b, replace(make_snapshot("native", 1), console="", screen=SCREEN))
        assert "on the guest's screen: two files" in b.text()
        await show(b, replace(make_snapshot("native", 1), console="", screen=None))
        assert "guest" not in str(b.app.screen.query_one(EventsPanel).border_subtitle)


async def test_a_screen_without_a_cursor_and_a_panel_too_narrow_for_it_break_nothing() -> None:
    async with bench(size=(60, 18)) as b:
        await b.pilot.press("k", "z")
        await show(b, replace(make_snapshot("native", 1), console="", screen=replace(SCREEN, cursor=None)))
        assert "dir" in b.text()
        await show(b, replace(make_snapshot("native", 1), console="", screen=replace(SCREEN, cursor=(24, 79))))
        assert b.app.screen.query_one(ConsolePanel).size > Size(0, 0)


async def test_long_figures_in_the_list_of_events_are_never_cut() -> None:
    row = EventRow(
        11_170, 12_528_086, 0, "out 0xf4, al", "VM exit 30, I/O instruction", "exit port ← 00h", 9_329, Kind.EXIT
    )
    for size in ((80, 24), (120, 40), (200, 60)):
        async with bench(size=size) as b:
            await show(b, replace(make_snapshot("vt-x", 1), events=[row]))
            line = next(line for line in content_lines(b.app.screen.query_one(EventsPanel)) if "out 0xf4" in line)
            assert "12 528 086" in line
            assert "9 329" in line
