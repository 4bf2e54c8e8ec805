"""The VMM's side: code cache, control structures, hypercalls."""

from dataclasses import replace

import pytest
from textual.widget import Widget

from ringviz.engine.view import Side, SideMark, SideRow, Snapshot
from ringviz.ui.requests import Shown
from ringviz.ui.widgets.code import CodePanel
from ringviz.ui.widgets.side import SidePanel
from ringviz.ui.widgets.twice import TwicePanel
from tests.ui.bench import SIZES, Bench, bench, content_lines
from tests.ui.fake import make_snapshot

SMALLER = SIZES[:2]


def panel_lines(b: Bench, panel: type[SidePanel] | type[CodePanel] | type[TwicePanel]) -> list[str]:
    return content_lines(b.app.screen.query_one(panel))


async def show(b: Bench, snapshot: Snapshot) -> None:
    b.app.explore.show(Shown(snapshot, in_motion=False))
    await b.pilot.pause()


async def open_side(b: Bench, position: int = 42) -> None:
    b.laboratory.session.seek(position)
    await b.settle()
    await b.press("v")


@pytest.mark.parametrize("size", SMALLER)
async def test_one_key_swaps_it_with_the_registers_and_each_title_tells_that_key(size: tuple[int, int]) -> None:
    async with bench(size=size, technique="vt-x") as b:
        side, twice = b.app.screen.query_one(SidePanel), b.app.screen.query_one(TwicePanel)
        panels: list[Widget] = [side, twice]
        assert (side.display, twice.display) == (False, True)
        assert "v: VMCS" in b.text()
        await b.press("v")
        assert (side.display, twice.display) == (True, False)
        assert "VMCS · v: the CPU" in b.text()
        assert b.app.focused is panels[0]
        await b.press("v")
        assert (side.display, twice.display) == (False, True)
        assert b.app.focused is panels[1]


async def test_a_wide_screen_always_has_both_and_the_key_goes_there() -> None:
    async with bench(size=(200, 60), technique="amd-v") as b:
        side = b.app.screen.query_one(SidePanel)
        assert side.display
        assert b.app.screen.query_one(TwicePanel).display
        assert "v: " not in b.text()
        await b.press("v")
        assert b.app.focused is side
        assert side.display


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("technique", ["native", "emulation", "classic", "trap-emulate"])
async def test_a_technique_that_keeps_nothing_says_so(size: tuple[int, int], technique: str) -> None:
    async with bench(size=size, technique=technique) as b:
        await b.press("v")
        assert not b.app.screen.query_one(SidePanel).display
        assert b.app.screen.query_one(TwicePanel).display
        assert "has nothing beside the guest's code" in b.text()


async def test_it_comes_back_with_the_next_technique_that_has_one() -> None:
    async with bench(technique="vt-x") as b:
        await b.press("v", "M", "M")
        assert b.shown.snapshot.technique_id == "native"
        assert not b.app.screen.query_one(SidePanel).display
        await b.press("[")
        assert b.shown.snapshot.technique_id == "amd-v"
        assert b.app.screen.query_one(SidePanel).display
        assert "VMCB · v: the CPU" in b.text()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("position", range(9))
async def test_the_translation_stands_on_the_line_of_the_original(size: tuple[int, int], position: int) -> None:
    async with bench(size=size, technique="binary-translation") as b:
        if size[0] < 160:
            await b.press("v")
        await show(b, make_snapshot("binary-translation", position))
        code, side = panel_lines(b, CodePanel), panel_lines(b, SidePanel)
        row = next(y for y, line in enumerate(code) if line.startswith("►"))
        address = code[row][1:9].split()[0].lstrip("0")
        if address == "100058":
            return  # not translated yet: there is no such line
        assert side[row].startswith("►")
        assert address in side[row]


async def test_rows_made_from_one_instruction_are_tied_together() -> None:
    async with bench(size=(200, 60), technique="binary-translation") as b:
        text = "\n".join(panel_lines(b, SidePanel))
    assert "100046┬ffd0001c push eax" in text
    assert "      ├ffd0001f mov al, 0" in text
    assert "      └ffd00025 pop eax" in text
    assert "100047→ffd00028 mov eax, [ebx]" in text


@pytest.mark.parametrize("size", SIZES)
async def test_what_changed_in_a_control_structure_stands_first_with_sign_and_section(size: tuple[int, int]) -> None:
    async with bench(size=size, technique="vt-x") as b:
        if size[0] < 160:
            await b.press("v")
        lines = panel_lines(b, SidePanel)
        text = "\n".join(lines)
        assert text.index("changed by the CPU") < text.index("▼ ") < text.index("changed by the VMM") < text.index("* ")
        assert "was 0000000A" in text or "0000000A → 0000001E" in text
        if size[0] >= 120:
            assert any(line.rstrip().endswith("cpu") and "Exit reason" in line for line in lines)
            assert any(line.rstrip().endswith("vmm") and "Guest RIP" in line for line in lines)
            assert "30 is I/O" in text


async def test_old_and_new_value_stand_side_by_side_where_there_is_room() -> None:
    async with bench(size=(200, 60), technique="vt-x") as b:
        assert "0000000A → 0000001E" in "\n".join(panel_lines(b, SidePanel))


@pytest.mark.parametrize("size", SIZES)
async def test_a_long_list_can_be_looked_through_and_enter_comes_back(size: tuple[int, int]) -> None:
    rows = tuple(SideRow(f"{n:04x}", f"FIELD_{n}", f"{n:08x}", note=f"note {n}") for n in range(500))
    rows = (*rows[:250], replace(rows[250], mark=SideMark.CURRENT), *rows[251:])
    snapshot = replace(make_snapshot("vt-x", 8), side=Side("Long", "a long list", rows))
    async with bench(size=size, technique="vt-x") as b:
        await b.press("v")
        await show(b, snapshot)
        assert any("FIELD_250" in line and line.startswith("►") for line in panel_lines(b, SidePanel))
        assert "note 250" in "\n".join(panel_lines(b, SidePanel))
        await b.pilot.press("down", "down")
        await b.pilot.pause()
        assert "note 252" in "\n".join(panel_lines(b, SidePanel))
        for _ in range(80):
            await b.pilot.press("pagedown")
        await b.pilot.pause()
        assert "FIELD_499" in "\n".join(panel_lines(b, SidePanel))
        # A new moment keeps the row the user looks at.
        await show(b, replace(snapshot, position=9))
        assert "note 499" in "\n".join(panel_lines(b, SidePanel))
        await b.pilot.press("enter")
        await b.pilot.pause()
        assert "note 250" in "\n".join(panel_lines(b, SidePanel))


async def test_a_row_looked_at_that_is_gone_is_let_go() -> None:
    async with bench(size=(200, 60), technique="vt-x") as b:
        await b.press("v", "down", "down")
        await show(b, make_snapshot("binary-translation", 42))
        assert any(line.startswith("►") for line in panel_lines(b, SidePanel))


@pytest.mark.parametrize("size", SIZES)
async def test_names_from_below_are_never_markup(size: tuple[int, int]) -> None:
    side = Side(
        "Code [cache]", "made of [b]", (SideRow("ffd00000", "mov eax, [ebx]", note="see [/b]", origin=0x100041),)
    )
    async with bench(size=size, technique="vt-x") as b:
        await b.press("v")
        await show(b, replace(make_snapshot("vt-x", 8), side=side))
        text = b.text()
        for part in ("mov eax, [ebx]", "see [/b]", "Code [cache]"):
            assert part in text
        assert ("made of [b]" in text) == (size[1] > 24)


@pytest.mark.parametrize("size", SIZES)
async def test_an_empty_side_is_an_empty_panel(size: tuple[int, int]) -> None:
    async with bench(size=size, technique="vt-x") as b:
        await b.press("v")
        await show(b, replace(make_snapshot("vt-x", 8), side=Side("Code cache", "nothing translated yet", ())))
        await b.pilot.press("down", "pageup", "enter")
        await b.pilot.pause()
        assert "Code cache" in b.text()


async def test_zoomed_it_has_the_screen() -> None:
    async with bench(size=(80, 24), technique="vt-x") as b:
        await b.press("v", "z")
        text = b.text()
        assert "VM-exit instruction length" in text
        assert "0000000A → 0000001E" in text


async def test_h_counts_how_often_the_fragment_was_entered() -> None:
    async with bench(size=(200, 60), technique="binary-translation") as b:
        await b.press("v")
        await b.press("h")
        assert "entered 57× up to step" in b.text()
