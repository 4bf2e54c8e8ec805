"""Single panels, and the plain functions under them."""

from dataclasses import replace

import pytest
from textual.content import Content
from textual.theme import Theme

from ringviz.engine.view import CodeRow, Kind, LedgerRow, LedgerView, RegisterRow, Verdict
from ringviz.facts.source import Status
from ringviz.ui.glyphs import KIND_LOOKS, VERDICT_LOOKS, grouped, ring_name
from ringviz.ui.requests import Shown
from ringviz.ui.themes import CONTRAST, DARK, MONOCHROME, THEMES
from ringviz.ui.widgets.boxes import nested_boxes
from ringviz.ui.widgets.code import instruction_line
from ringviz.ui.widgets.console import ConsolePanel
from ringviz.ui.widgets.discs import has_room, lay_out
from ringviz.ui.widgets.events import EventsPanel
from ringviz.ui.widgets.overhead import OverheadPanel, shares
from ringviz.ui.widgets.panel import printable, wrapped
from ringviz.ui.widgets.timeline import TimelinePanel
from ringviz.ui.widgets.twice import TwicePanel
from tests.ui.bench import SIZES, bench, content_lines
from tests.ui.fake import COMPRESSED_SEATS, NESTED_SEATS, FakeLaboratory, FakeSession, LazyEvents, make_snapshot

MILLION = 1_000_000


async def test_a_million_events_cost_no_more_than_the_lines_on_screen() -> None:
    laboratory = FakeLaboratory(FakeSession(end=4 * MILLION, end_known=True))
    async with bench(laboratory) as b:
        laboratory.session.seek(4 * MILLION)
        await b.settle()
        panel = b.app.screen.query_one(EventsPanel)
        assert panel.snapshot is not None
        events = panel.snapshot.events
        assert isinstance(events, LazyEvents)
        assert len(events) == MILLION
        assert "1 000 000" in "\n".join(content_lines(panel))
        assert events.made < 40 * panel.size.height
        events.made = 0
        panel.focus()
        await b.pilot.press("up", "up", "pageup", "pagedown")
        await b.pilot.pause()
        assert 0 < events.made < 40 * panel.size.height


async def test_the_list_follows_its_end_until_the_user_looks_up() -> None:
    async with bench() as b:
        panel = b.app.screen.query_one(EventsPanel)
        b.laboratory.session.seek(80)
        await b.settle()
        assert panel.cursor == 19
        panel.focus()
        await b.pilot.press("up", "up")
        await b.press("space", "space", "space", "space")
        assert panel.cursor == 17
        await b.pilot.press("pagedown")
        await b.press("n")
        assert panel.cursor == panel.line_count() - 1
        assert panel.is_following


async def test_scrolling_up_also_stops_following() -> None:
    async with bench() as b:
        b.laboratory.session.seek(100)
        await b.settle()
        panel = b.app.screen.query_one(EventsPanel)
        panel.scroll_to(y=3, animate=False, immediate=True)
        await b.settle()
        assert panel.scroll_offset.y == 3
        assert not panel.is_following
        assert "4 " in content_lines(panel)[1]


async def test_enter_on_an_event_goes_there() -> None:
    async with bench() as b:
        b.laboratory.session.seek(80)
        await b.settle()
        panel = b.app.screen.query_one(EventsPanel)
        panel.focus()
        await b.press("up", "up", "up", "enter")
        assert b.calls[-1] == "seek 68"
        assert b.shown.snapshot.position == 68
        assert panel.is_following
        assert panel.cursor == 16
        assert {m.at for m in b.messages if isinstance(m, EventsPanel.Chosen)} == {67}


async def test_a_double_click_on_an_event_goes_there() -> None:
    async with bench() as b:
        b.laboratory.session.seek(80)
        await b.settle()
        await b.pilot.click(EventsPanel, offset=(10, 3), times=2)
        await b.settle()
        # Eight lines are in view below frame and heading: events 14 to 20; the second of them is 15.
        assert b.shown.snapshot.position == 60


async def test_the_timeline_is_moved_along_by_keys_and_by_clicks() -> None:
    async with bench(FakeLaboratory(FakeSession(end=1000, end_known=True))) as b:
        b.laboratory.session.seek(500)
        await b.settle()
        timeline = b.app.screen.query_one(TimelinePanel)
        timeline.focus()
        await b.press("right")
        after_right = b.shown.snapshot.position
        assert after_right > 500
        await b.press("left", "left")
        assert b.shown.snapshot.position < 500
        await b.pilot.click(TimelinePanel, offset=(2, 2))
        await b.settle()
        assert b.shown.snapshot.position == 0


@pytest.mark.parametrize("cycles", [[], [0, 0], [5], [1, 1, 1], [1_000_000, 1, 0, 3], [7, 0, 11, 13, 2]])
@pytest.mark.parametrize("width", [0, 1, 4, 20, 38])
def test_shares_fill_the_bar_and_hide_no_cause_that_has_room(cycles: list[int], width: int) -> None:
    cells = shares(cycles, width)
    assert len(cells) == len(cycles)
    assert sum(cells) == (width if sum(cycles) else 0)
    if width >= sum(1 for value in cycles if value):
        assert all((count > 0) == (value > 0) for count, value in zip(cells, cycles, strict=True))


@pytest.mark.parametrize("seats", [COMPRESSED_SEATS, NESTED_SEATS])
@pytest.mark.parametrize(("width", "height"), [(34, 14), (36, 15), (54, 26), (24, 12)])
def test_the_discs_lie_inside_one_another_and_names_never_share_a_row(
    seats: tuple[object, ...], width: int, height: int
) -> None:
    assert has_room(seats, width, height)  # type: ignore[arg-type]
    discs = lay_out(seats, width, height)  # type: ignore[arg-type]
    radii = [disc.outer for disc in discs.discs]
    assert radii == sorted(radii, reverse=True)
    rows = [discs.label_row(disc) for disc in discs.discs]
    assert rows == sorted(set(rows))
    assert discs.ring_at(0, 0) is None
    assert discs.ring_at(width // 2, height) == discs.discs[-1].seat.ring
    for disc, row in zip(discs.discs, rows, strict=True):
        here = (discs.ring_at(width // 2, 2 * row), discs.ring_at(width // 2, 2 * row + 1))
        assert disc.seat.ring in here


def test_where_two_names_would_share_a_line_there_are_no_discs() -> None:
    assert not has_room(NESTED_SEATS, 34, 13)
    assert has_room(COMPRESSED_SEATS, 34, 13)


@pytest.mark.parametrize("height", [1, 3, 5, 7, 10, 14])
def test_boxes_fit_and_name_every_ring_there_is_a_line_for(height: int) -> None:
    lines = nested_boxes(NESTED_SEATS, 0, lambda s: f"{s.ring} {s.resident}", lambda ring: "", 20, height)
    assert len(lines) <= height
    assert {line.cell_length for line in lines} == {20}
    text = "\n".join(line.plain for line in lines)
    for seat in list(reversed(NESTED_SEATS))[:height]:
        assert f"{seat.ring} {seat.resident}".strip() in text


async def test_a_value_wider_than_its_column_is_shown_in_full_with_its_sign() -> None:
    wide = RegisterRow("GDTR", "0010_2000:002f", None, "ffc1_0000:ffff", None, True, "the VMM's table")
    same = RegisterRow("LDTR", "0010_2000:002f", None, "0010_2000:002f", None, False, "")
    async with bench(size=(80, 24)) as b:
        b.app.explore.show(Shown(replace(make_snapshot("native", 4), registers=(wide, same)), in_motion=False))
        await b.pilot.pause()
        lines = [line.strip() for line in content_lines(b.app.screen.query_one(TwicePanel))]
    assert lines[1:4] == ["GDTR 0010_2000:002f       ≠", "really ffc1_0000:ffff", "LDTR 0010_2000:002f"]


async def test_long_console_lines_are_broken_and_not_cut() -> None:
    async with bench(size=(80, 24)) as b:
        b.app.explore.show(Shown(replace(make_snapshot("native", 4), console="x" * 100 + "end"), in_motion=False))
        await b.pilot.press("k")
        await b.pilot.pause()
        assert "xend" in "\n".join(content_lines(b.app.screen.query_one(ConsolePanel)))


async def test_a_cause_whose_words_do_not_fit_goes_by_its_short_name() -> None:
    row = LedgerRow("trap", "A trap to the VMM, which decodes and emulates the instruction", 7, 700, Kind.TRAP)
    async with bench() as b:
        ledger = LedgerView((row,), 0, 700, None, ())
        b.app.explore.show(Shown(replace(make_snapshot("native", 4), ledger=ledger), in_motion=False))
        await b.pilot.pause()
        assert "█ trap " in "\n".join(content_lines(b.app.screen.query_one(OverheadPanel)))


@pytest.mark.parametrize("size", SIZES)
async def test_the_zoomed_overhead_has_every_cause_with_price_share_and_advice(size: tuple[int, int]) -> None:
    rows = (
        LedgerRow("exit", "exits and entries", 7, 7063, Kind.EXIT, 1009, 900, 1100, Status.SEEN, "Fewer exits."),
        LedgerRow("native-gate", "guest's gates", 2, 1220, Kind.GATE, 610, 610, 610, Status.BORROWED),
        LedgerRow("guest-instruction", "guest instructions", 500, 500, Kind.GUEST, None, None, None, is_weighed=True),
        LedgerRow("translated-cli", "CLI and STI", 3, 15, Kind.TRANSLATE, 5, 5, 5, Status.CHOSEN),
        LedgerRow("hypercall-entry", "calls in multicalls", 3, 0, Kind.HYPERCALL, None, None, None),
    )
    ledger = LedgerView(rows, 1720, 7063, 1720, tuple(i * i for i in range(64)), retired=500)
    async with bench(size=size) as b:
        b.app.explore.show(Shown(replace(make_snapshot("native", 4), ledger=ledger), in_motion=False))
        b.app.screen.query_one(OverheadPanel).focus()
        await b.press("z")
        b.app.explore.show(Shown(replace(make_snapshot("native", 4), ledger=ledger), in_motion=False))
        await b.pilot.pause()
        text = "\n".join(content_lines(b.app.screen.query_one(OverheadPanel)))
    lines = {label: line for line in text.splitlines() for label in (row.label for row in rows) if label in line}
    assert lines["guest's gates"].split()[-8:] == ["2", "610*", "1", "220", "13.9", "%", "2", "440"]
    assert lines["calls in multicalls"].split()[-6:] == ["3", "?", "0", "0.0", "%", "0"]
    for part in (
        "1 009",
        "80.4 %",
        "14 126",
        "5+",
        "by class = the weight",
        "?",
        "→ exits and entries: Fewer exits.",
        "borrowed",
        "█",
    ):
        assert part in text


def test_every_sign_is_one_cell_wide_and_means_one_thing() -> None:
    for looks in (KIND_LOOKS, VERDICT_LOOKS):
        glyphs = [look.glyph for look in looks.values()]
        assert len(set(glyphs)) == len(glyphs)
        assert all(Content(glyph).cell_length == 1 for glyph in glyphs)
    assert set(VERDICT_LOOKS) == set(Verdict)
    assert set(KIND_LOOKS) == set(Kind)


def test_every_theme_has_a_colour_for_everything() -> None:
    assert {frozenset(theme.variables) for theme in THEMES} == {frozenset(DARK.variables)}
    for look in (*KIND_LOOKS.values(), *VERDICT_LOOKS.values()):
        assert look.colour.removeprefix("$") in {*DARK.variables, "foreground"}


def _luminance(colour: str) -> float:
    """Relative luminance as WCAG 2 defines it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one: str, other: str) -> float:
    high, low = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [*THEMES, MONOCHROME], ids=lambda theme: theme.name)
def test_text_stands_out_from_its_ground(theme: Theme) -> None:
    """WCAG 2 asks for 4.5 to 1 for text, and 7 to 1 for enhanced contrast."""
    least = 7.0 if theme is CONTRAST else 4.0
    texts = [name for name in theme.variables if name.startswith("kind-")] + ["dim", "changed"]
    for name in texts:
        for ground in (theme.background, theme.panel):
            assert ground is not None
            assert _contrast(theme.variables[name], ground) >= least, (name, ground)
    for name in (
        name for name in theme.variables if name.startswith("ring-") and name[5:] in ("0", "1", "2", "3", "host")
    ):
        assert _contrast(theme.variables["ring-text"], theme.variables[name]) >= least, name
    assert _contrast(theme.variables["ring-lit-text"], theme.variables["ring-lit"]) >= min(least, 4.0)


def test_guest_text_cannot_steer_the_terminal() -> None:
    assert printable("a\x1b[2Jb\x07c\td") == "a·[2Jb·c·d"


def test_wrapping_says_when_it_leaves_something_out() -> None:
    text = Content("one two three four five six")
    assert [line.plain for line in wrapped(text, 9, 5)] == ["one two", "three", "four five", "six"]
    assert [line.plain for line in wrapped(text, 9, 2)] == ["one two", "three…"]
    assert wrapped(text, 9, 0) == []


def test_numbers_are_written_for_people() -> None:
    assert grouped(1234567) == "1 234 567"
    assert [ring_name(ring) for ring in (-1, 0, 3)] == ["−1", "0", "3"]


async def test_going_back_from_many_events_leaves_a_full_page_of_them() -> None:
    async with bench(FakeLaboratory(FakeSession(end=400, end_known=True))) as b:
        b.laboratory.session.seek(400)
        await b.settle()
        b.laboratory.session.seek(200)
        await b.settle()
        lines = [line for line in content_lines(b.app.screen.query_one(EventsPanel))[1:] if line.strip()]
        assert len(lines) == 7
        assert "199 mov" in lines[-1]


def test_a_64_bit_address_leaves_room_for_its_instruction() -> None:
    row = CodeRow(
        0xFFFF_8000_0010_01D2, b"\xb9", "mov", "ecx, 0xc0000082", "", None, "", Verdict.RUNS, True, ""
    )  # fmt: skip
    assert instruction_line(row, 36, 8).plain.startswith("►…001001d2 mov    ecx, 0xc0000082")
    assert instruction_line(replace(row, address=0x1001D2), 36, 8).plain.startswith("►001001d2 mov ")


async def test_without_colour_what_is_wrong_is_the_brightest_and_not_the_dimmest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with bench() as b:
        assert b.app.theme == MONOCHROME.name
        loud = _contrast(MONOCHROME.variables["kind-silent"], "#000000")
        assert loud == max(_contrast(MONOCHROME.variables[name], "#000000") for name in MONOCHROME.variables)
        for name, colour in MONOCHROME.variables.items():
            assert not name.startswith("kind-") or colour[1:3] == colour[3:5] == colour[5:7], name
        await b.press("t")
        assert b.app.theme == THEMES[0].name
