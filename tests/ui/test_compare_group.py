"""Techniques side by side."""

import pytest
from textual.strip import Strip

from ringviz.ui.requests import GroupShown
from ringviz.ui.screens.compare_group import (
    GroupDialog,
    SideBySideScreen,
    _Column,
    choose_techniques,
    columns_with_room,
)
from ringviz.ui.screens.explore import ExploreScreen
from tests.ui.bench import SIZES, Bench, bench
from tests.ui.grid import assert_as_on_file


async def open_group(b: Bench, position: int = 42) -> None:
    b.laboratory.session.seek(position)
    await b.settle()
    await b.press("C")
    assert isinstance(b.app.screen, SideBySideScreen)


def place(b: Bench) -> int:
    return [message for message in b.messages if isinstance(message, GroupShown)][-1].view.position


@pytest.mark.parametrize(("size", "count"), list(zip(SIZES, (2, 3, 4), strict=True)))
async def test_as_many_techniques_stand_side_by_side_as_have_room(size: tuple[int, int], count: int) -> None:
    async with bench(size=size) as b:
        await open_group(b)
        assert len([box for box in b.app.screen.query(".column") if box.display]) == count
        row = next(line for line in b.grid() if "IF  " in line)
        assert row.count("IF") == count
        assert b.text().count("mov eax, [ebx]") + b.text().count("next ") >= count
        assert "Bare metal" in b.text()
        assert "Trap-and-emulate" in b.text()


@pytest.mark.parametrize("size", SIZES)
async def test_the_screen_is_the_one_on_file(size: tuple[int, int]) -> None:
    async with bench(size=size) as b:
        await open_group(b)
        assert_as_on_file(b, "side-by-side", size)


def test_bare_metal_comes_first_and_the_present_technique_second() -> None:
    known = ("native", "emulation", "trap-emulate", "vt-x", "amd-v")
    assert choose_techniques("amd-v", known, 80) == ("native", "amd-v")
    assert choose_techniques("amd-v", known, 200) == ("native", "amd-v", "trap-emulate", "vt-x")
    assert choose_techniques("native", known, 120) == ("native", "trap-emulate", "vt-x")
    assert [columns_with_room(width) for width in (60, 80, 120, 160, 400)] == [2, 2, 3, 4, 4]


def test_the_technique_that_was_left_stands_beside_the_present_one() -> None:
    known = ("native", "trap-emulate", "vt-x", "amd-v")
    assert choose_techniques("amd-v", known, 80, "trap-emulate") == ("trap-emulate", "amd-v")
    assert choose_techniques("amd-v", known, 120, "vt-x") == ("native", "amd-v", "vt-x")


async def test_a_difference_has_a_sign_in_its_own_column_only() -> None:
    async with bench(size=(80, 24)) as b:
        await open_group(b)
        left, right = ("\n".join(line[at : at + 40] for line in b.grid()[2:-1]) for at in (0, 40))
        assert "≠" not in left
        assert "≠" in right


async def test_every_key_of_moving_moves_all() -> None:
    async with bench() as b:
        await open_group(b)
        for key, position in (("space", 43), ("b", 42), ("n", 44), ("p", 40), ("g", 0), ("r", 100), ("b", 99)):
            await b.press(key)
            assert place(b) == position, key
            assert f"step {position}" in b.text()


async def test_d_goes_to_the_next_divergence_and_says_what_it_is() -> None:
    async with bench() as b:
        await open_group(b)
        await b.press("d")
        assert place(b) == 50
        assert "≠ popfd gave [IF 0], bare metal gives IF 1" in b.text()
        await b.press("d")
        assert "none of these tells the guest anything else" in " ".join(b.text().split())


async def test_columns_without_room_are_named_and_one_key_away() -> None:
    async with bench(size=(120, 40)) as b:
        await open_group(b)
        await b.press("m", "down", "down", "down", "down", "down", "space", "enter")
        assert "group native trap-emulate binary-translation paravirt" in b.calls
        assert "←→ paravirt" in b.text()
        await b.press("right")
        assert "at a marker" in b.text()
        assert "←→ trap-emulate" in b.text()
        await b.press("right", "left")
        assert "←→ paravirt" in b.text()


async def test_a_fifth_technique_is_refused_in_one_line_and_one_alone_too() -> None:
    async with bench(size=(200, 60)) as b:
        await open_group(b)
        await b.press("m", "down", "space")
        assert isinstance(b.app.screen, GroupDialog)
        assert "4 is the most" in b.text()
        for key in ("up", "down", "down", "down"):
            await b.press(key)
        await b.press("up", "up", "up", "space", "down", "down", "down", "space", "down", "space", "enter")
        assert isinstance(b.app.screen, GroupDialog)


@pytest.mark.parametrize("key", ["escape", "C", "q"])
async def test_leaving_finds_the_guest_where_it_was(key: str) -> None:
    async with bench() as b:
        await open_group(b)
        await b.press("space", "space", key)
        assert isinstance(b.app.screen, ExploreScreen)
        assert b.shown.snapshot.position == 42


async def test_a_resize_keeps_the_place() -> None:
    async with bench(size=(200, 60)) as b:
        await open_group(b)
        await b.pilot.resize_terminal(80, 24)
        await b.settle()
        assert "step 42" in b.text()
        assert len([box for box in b.app.screen.query(".column") if box.display]) == 2


async def test_a_step_draws_only_the_lines_that_have_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    async with bench(size=(200, 60)) as b:
        await b.press("C")
        drawn: list[int] = []
        render_line = _Column.render_line

        def counted(column: _Column, y: int) -> Strip:
            drawn.append(y)
            return render_line(column, y)

        monkeypatch.setattr(_Column, "render_line", counted)
        await b.press("space")
        columns = b.app.screen.query(_Column)
        assert 0 < len(drawn) < sum(column.content_size.height for column in columns if column.display) / 2
