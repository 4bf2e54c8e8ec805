"""Intel beside AMD: the same guest at the same instruction."""

import os
from pathlib import Path

import pytest
from textual.widgets import OptionList

from ringviz.ui.requests import PairShown
from ringviz.ui.screens.explore import ExploreScreen
from ringviz.ui.screens.help import HelpScreen
from ringviz.ui.screens.vendors import VendorsScreen
from tests.ui.bench import SIZES, Bench, bench
from tests.ui.fake import FakeLaboratory, FakeSession

GRIDS = Path(__file__).parent / "grids"


async def open_vendors(b: Bench, position: int = 42) -> None:
    b.laboratory.session.seek(position)
    await b.settle()
    await b.press("V")
    assert isinstance(b.app.screen, VendorsScreen)


def place(b: Bench) -> int:
    return [message for message in b.messages if isinstance(message, PairShown)][-1].view.position


@pytest.mark.parametrize("size", SIZES)
async def test_the_screen_is_the_one_on_file(size: tuple[int, int]) -> None:
    """To accept a new look on purpose, run with RINGVIZ_ACCEPT_GRIDS=1 and read the diff."""
    async with bench(size=size) as b:
        await open_vendors(b)
        lines = [line.rstrip() for line in b.grid()]
    path = GRIDS / f"vendors-{size[0]}x{size[1]}.txt"
    if os.environ.get("RINGVIZ_ACCEPT_GRIDS"):
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert lines == path.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("size", SIZES)
async def test_each_vendor_keeps_its_own_words_and_fields_stand_side_by_side(size: tuple[int, int]) -> None:
    async with bench(size=size) as b:
        await open_vendors(b)
        lines = b.grid()
        for part in ("VMX root", "VMX non-root", "host mode", "guest mode", "VMCS and VMCB", "modelled"):
            assert part in b.text(), part
        row = next(line for line in lines if "Exit reason" in line)
        assert row.index("▼ Exit reason") < row.index("0000001E") < row.index("▼ EXITCODE") < row.index("0000007B")
        assert "(none)" in next(line for line in lines if "VM-exit instruction" in line)
        assert any("* Guest RIP" in line and "* RIP" in line for line in lines)
        assert "what the structures hold" in b.text()


@pytest.mark.parametrize("size", SIZES)
async def test_the_highlighted_line_is_told_about_with_what_is_different(size: tuple[int, int]) -> None:
    async with bench(size=size) as b:
        await open_vendors(b)
        assert "Why the guest exited. Intel Exit reason: 0000000A → 0000001E." in b.text()
        await b.press("down", "down")
        assert "Length of the instruction. AMD: later CPUs." in " ".join(b.text().split())


async def test_what_exits_and_why_stands_further_down_with_the_last_exit_marked() -> None:
    async with bench(size=(120, 40)) as b:
        await open_vendors(b)
        pages = []
        for _ in range(12):
            pages += b.grid()
            await b.press("pagedown")
        switch = next(line for line in pages if "HLT exiting" in line)
        assert switch.count(" on ") + switch.count(" off ") == 2
        last = next(line for line in pages if "30 I/O instruction" in line)
        assert "► 30 I/O instruction" in last
        assert "► VMEXIT_IOIO" in last
        assert sum("►" in line for line in set(pages)) == 1
        assert any("VMLAUNCH, VMRESUME" in line and "VMRUN" in line for line in pages)


async def test_every_key_of_moving_moves_both() -> None:
    async with bench() as b:
        await open_vendors(b)
        for key, position in (("space", 43), ("b", 42), ("n", 44), ("p", 40), ("g", 0), ("r", 100), ("b", 99)):
            await b.press(key)
            assert place(b) == position, key
            assert f"step {position}" in b.text()


@pytest.mark.parametrize("key", ["escape", "V", "q"])
async def test_leaving_finds_the_guest_where_it_was(key: str) -> None:
    async with bench() as b:
        await open_vendors(b)
        await b.press("space", "space", key)
        assert isinstance(b.app.screen, ExploreScreen)
        assert b.shown.snapshot.position == 42
        await b.press("space")
        assert b.shown.snapshot.position == 43


async def test_the_table_keeps_its_line_from_step_to_step() -> None:
    async with bench() as b:
        await open_vendors(b)
        await b.press("down", "down", "space")
        assert b.app.screen.query_one(OptionList).highlighted == 3


async def test_a_guest_that_one_of_them_cannot_run_is_refused_in_one_line() -> None:
    laboratory = FakeLaboratory()
    laboratory.refuses_pairs = True
    async with bench(laboratory) as b:
        await b.press("V")
        assert isinstance(b.app.screen, ExploreScreen)
        assert "× this guest does not go with vt-x: [a reason]" in b.text()


async def test_help_explains_the_screen() -> None:
    async with bench() as b:
        await open_vendors(b)
        await b.press("?")
        assert isinstance(b.app.screen, HelpScreen)
        assert "Not compatible, but similar" in b.text()


async def test_escape_stops_a_run_before_it_leaves() -> None:
    async with bench(FakeLaboratory(FakeSession(endless=True))) as b:
        await open_vendors(b)
        session = b.app.engine._pair
        session._session.endless = True  # type: ignore[union-attr]
        await b.pilot.press("r")
        await b.until(lambda: isinstance(b.app.screen, VendorsScreen) and b.app.screen.in_motion)
        await b.press("escape")
        assert isinstance(b.app.screen, VendorsScreen)
        await b.press("escape")
        assert isinstance(b.app.screen, ExploreScreen)
