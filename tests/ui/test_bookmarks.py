"""Bookmarks on disk and on the screen; breakpoints; the timeline's marks."""

import json
from pathlib import Path

import pytest

from ringviz.engine.view import Kind, Mark, TimelineView
from ringviz.record.workbench import EDITED
from ringviz.ui.bookmarks import Bookmark, Bookmarks
from ringviz.ui.breakpoints import Breakpoint, Breakpoints
from ringviz.ui.kept_by_guest import guest_of
from ringviz.ui.requests import Remarked
from ringviz.ui.screens.explore import ExploreScreen
from ringviz.ui.widgets.density import density
from ringviz.ui.widgets.timeline import TimelinePanel
from tests.ui.bench import Bench, bench, content_lines


def test_bookmarks_are_there_the_next_time_and_only_for_runs_that_share_the_place(tmp_path: Path) -> None:
    path = tmp_path / "state" / "bookmarks.json"
    kept = Bookmarks(path)
    kept.put("popf-hole", Bookmark(40, "here [it] happens"))
    kept.put("popf-hole", Bookmark(7, "before"))
    kept.put("popf-hole", Bookmark(3, "hypercall", "marker"))
    again = Bookmarks(path)
    assert again.of("popf-hole", "instruction") == (Bookmark(7, "before"), Bookmark(40, "here [it] happens"))
    assert again.of("popf-hole", "marker") == (Bookmark(3, "hypercall", "marker"),)
    again.remove("popf-hole", Bookmark(7, "before"))
    assert [b.position for b in Bookmarks(path).of("popf-hole", "instruction")] == [40]
    assert not again.trouble


@pytest.mark.parametrize(
    "damaged", ["", "{", '{"schema": 9, "bookmarks": {}}', '{"schema": 1, "bookmarks": [1]}', "\0"]
)
def test_a_damaged_file_is_set_aside_with_a_line(tmp_path: Path, damaged: str) -> None:
    path = tmp_path / "bookmarks.json"
    path.write_text(damaged)
    kept = Bookmarks(path)
    assert "damaged" in kept.trouble
    assert "\n" not in kept.trouble
    assert (tmp_path / "bookmarks.damaged.json").read_text() == damaged
    kept.put("a", Bookmark(1, ""))
    assert json.loads(path.read_text())["schema"] == 1


def test_a_place_that_cannot_be_written_costs_a_line_and_no_bookmark(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    kept = Bookmarks(tmp_path / "file" / "bookmarks.json")
    kept.put("a", Bookmark(1, ""))
    assert "cannot be written" in kept.trouble
    assert kept.of("a", "instruction")


async def test_a_bookmark_with_its_note_is_on_the_line_and_leads_back() -> None:
    async with bench() as b:
        b.laboratory.session.seek(50)
        await b.settle()
        await b.press("f")
        await b.press(*"look", "enter")
        await b.press("g")
        assert "§" in "\n".join(content_lines(b.app.screen.query_one(TimelinePanel)))
        await b.press("F")
        assert "look" in b.text()
        await b.press("enter")
        assert b.shown.snapshot.position == 50
        await b.press("F", "d")
        assert not explore(b).bookmarks
        await b.press("g")
        assert "§" not in "\n".join(content_lines(b.app.screen.query_one(TimelinePanel)))


def explore(b: Bench) -> ExploreScreen:
    assert isinstance(b.app.screen, ExploreScreen)
    return b.app.screen


async def test_a_run_stops_at_breakpoints_that_are_on_and_at_no_others() -> None:
    async with bench() as b:
        for text in ("30", "60"):
            await b.press("B")
            await b.press(*text, "enter")
        assert [p.text for p in explore(b).breakpoints] == ["30", "60"]
        await b.press("r")
        assert b.shown.snapshot.position == 30
        assert [m.text for m in b.messages if isinstance(m, Remarked)][-1] == "Breakpoint: 30"
        await b.press("r")
        assert b.shown.snapshot.position == 60
        await b.press("g", "B", "tab", "home", "enter", "escape")
        assert [p.is_on for p in explore(b).breakpoints] == [False, True]
        await b.press("r")
        assert b.shown.snapshot.position == 60
        await b.press("B", "tab", "end", "delete", "escape", "r")
        assert [p.text for p in explore(b).breakpoints] == ["30"]
        assert b.shown.snapshot.position == 100


async def test_what_is_no_place_becomes_no_breakpoint() -> None:
    async with bench() as b:
        await b.press("B")
        await b.press(*"nowhere", "enter")
        assert not explore(b).breakpoints
        assert '"nowhere" is no step' in b.text()


async def test_the_mouse_takes_hold_of_the_line_and_drags_along() -> None:
    async with bench() as b:
        await b.press("end", "g")
        panel = b.app.screen.query_one(TimelinePanel)
        await b.pilot.mouse_down(panel, offset=(20, 2))
        await b.settle()
        first = b.shown.snapshot.position
        await b.pilot.hover(panel, offset=(60, 2))
        await b.settle()
        dragged = b.shown.snapshot.position
        await b.pilot.mouse_up(panel, offset=(60, 2))
        await b.pilot.hover(panel, offset=(30, 2))
        await b.settle()
        assert 0 < first < dragged
        assert b.shown.snapshot.position == dragged


def test_a_rare_event_stands_out_of_a_crowd_and_the_crowd_says_how_big_it_is() -> None:
    crowd = (Mark(n, Kind.TRAP, 1 + n % 8) for n in range(60))
    marks = (*crowd, Mark(30, Kind.SILENT), Mark(59, Kind.END))
    drawn = density(marks, {i: mark.at for i, mark in enumerate(marks)}, 60)
    assert drawn.common == (Kind.TRAP,)
    assert drawn.most == 8
    assert [drawn.cells[x][0] for x in (0, 7, 30, 59)] == ["▁", "█", "◆", "▣"]


def test_few_events_are_signs_each() -> None:
    marks = tuple(Mark(2 * n, Kind.TRAP) for n in range(30))
    drawn = density(marks, {i: mark.at for i, mark in enumerate(marks)}, 60)
    assert not drawn.common
    assert {sign for sign, _ in drawn.cells.values()} == {"▲"}
    assert TimelineView(0, 1, None, marks).marks == marks


async def test_breakpoints_are_there_the_next_time_and_only_for_their_guest(tmp_path: Path) -> None:
    path = tmp_path / "breakpoints.json"
    async with bench(breakpoints=Breakpoints(path)) as b:
        for text in ("30", "60"):
            await b.press("B")
            await b.press(*text, "enter")
        await b.press("B", "tab", "home", "enter", "escape")
    assert Breakpoints(path).of("popf-hole") == (Breakpoint("30", False), Breakpoint("60"))
    assert Breakpoints(path).of("rings-tour") == ()
    async with bench(breakpoints=Breakpoints(path)) as b:
        assert [p.text for p in explore(b).breakpoints] == ["30", "60"]
        await b.press("r")
        assert b.shown.snapshot.position == 60


def test_a_damaged_file_of_breakpoints_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "breakpoints.json"
    path.write_text('{"schema": 1, "breakpoints": {"a": [{"text": 5, "is_on": true}]}}', encoding="utf-8")
    kept = Breakpoints(path)
    assert "damaged" in kept.trouble
    assert kept.of("a") == ()
    kept.put("a", (Breakpoint("5"),))
    assert Breakpoints(path).of("a") == (Breakpoint("5"),)


def test_an_edited_guest_has_what_was_set_in_the_original_and_tells_what_is_another_place_now(tmp_path: Path) -> None:
    path = tmp_path / "breakpoints.json"
    rows = {"hole": [{"text": "putc", "is_on": True}], "hole-edited": [{"text": "500", "is_on": False}]}
    path.write_text(json.dumps({"schema": 1, "breakpoints": rows}), encoding="utf-8")
    kept = Breakpoints(path)
    assert kept.of("hole") == kept.of("hole-edited") == (Breakpoint("putc"), Breakpoint("500", False))
    moved = Breakpoint("0x100046", True, "aa", "start+6h")
    kept.put("hole-edited", (*kept.of("hole"), moved))
    assert [one.text_in("aa") for one in Breakpoints(path).of("hole")] == ["putc", "500", "0x100046"]
    assert [one.text_in("bb") for one in Breakpoints(path).of("hole")] == ["putc", "500", "start+6h"]
    assert guest_of(f"hole-{EDITED}") == "hole"


async def test_a_bookmark_of_another_build_is_listed_as_such_and_not_on_the_line(tmp_path: Path) -> None:
    async with bench() as b:
        b.app.bookmarks.put("popf-hole", Bookmark(40, "old place", build="other"))
        b.app.bookmarks.put("popf-hole", Bookmark(50, "place", build=""))
        b.laboratory.session.build = "this"
        await b.press("space")
        assert [mark.note for mark in explore(b).bookmarks] == ["place"]
        await b.press("F")
        assert "old place  (of another build: not here)" in b.text()


async def test_a_breakpoint_that_means_nothing_here_is_kept_and_told() -> None:
    async with bench() as b:
        explore(b).breakpoints = (Breakpoint("nowhere"), Breakpoint("30"))
        await b.settle()
        assert "Not in this build of the guest, and kept for one that has it: breakpoint nowhere." in b.text()
        assert len(explore(b).breakpoints) == 2


async def test_one_key_goes_back_to_where_a_breakpoint_was_last_met() -> None:
    async with bench() as b:
        await b.press("end", "less_than_sign")
        assert "There is no breakpoint to go back to: B sets one." in b.text()
        for text in ("30", "60"):
            await b.press("B")
            await b.press(*text, "enter")
        await b.press("less_than_sign")
        assert b.shown.snapshot.position == 60
        assert "Breakpoint: 60" in b.text()
        await b.press("less_than_sign")
        assert b.shown.snapshot.position == 30
        await b.press("less_than_sign")
        assert b.shown.snapshot.position == 30
        assert "No breakpoint was met before this step." in b.text()
