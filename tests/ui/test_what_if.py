"""The what-if screen: sliders move, and the verdict with them, without a new run."""

from fractions import Fraction

import pytest

from ringviz.engine.knobs import KNOBS, Changes
from ringviz.engine.what_if import KnobView, answer
from ringviz.ui.requests import Counted
from ringviz.ui.screens.what_if import WhatIfScreen
from ringviz.ui.widgets.slider import PRICE_STEP, moved, slider_line
from tests.ui.bench import SIZES, bench
from tests.ui.fake_contest import fake_contest


def knob(id_: str, changes: Changes = Changes()) -> KnobView:  # noqa: B008 - frozen
    return answer(fake_contest("made up", "nehalem"), changes, [id_]).knobs[0]


@pytest.mark.parametrize("size", SIZES)
async def test_every_run_has_a_bar_and_the_verdict_turns_where_it_is_said_to(size: tuple[int, int]) -> None:
    async with bench(size=size) as b:
        await b.press("dollar_sign")
        await b.until(lambda: b.of(Counted))
        await b.settle()
        assert isinstance(b.app.screen, WhatIfScreen)
        calls = len(b.calls)
        text = b.text()
        for name in ("vt-x, nested", "vt-x, shadow", "binary-translation", "bare metal", "1 504 500", "modelled"):
            assert name in text
        assert "vt-x, nested costs least" in text
        assert "exit: above 2,257.2 cycles, binary-translation wins" in text
        assert "amd-v, nested is left out: no AMD-V" in " ".join(text.replace("│", " ").split())
        await b.press("enter")
        assert "cost the same." in b.text()
        await b.press("right")
        assert "binary-translation costs least" in b.text()
        assert "► exit                    2,300 cycles" in b.text()
        await b.press("0")
        assert "vt-x, nested costs least" in b.text()
        assert len(b.calls) == calls, "no run was made anew"


async def test_the_rate_of_page_table_writes_is_a_slider_too() -> None:
    async with bench() as b:
        await b.press("dollar_sign")
        await b.until(lambda: b.of(Counted))
        await b.settle()
        await b.press("down", "down", "right")
        assert "► page-table-writes               ×1.5" in b.text()
        assert "1 210 800" not in b.text()
        assert "2 210 800" in b.text()  # 1,200 exits of 1,009 cycles, and a million instructions
        await b.press("escape")
        assert not isinstance(b.app.screen, WhatIfScreen)


def test_a_price_moves_on_a_grid_and_never_below_nothing() -> None:
    view = knob("exit")
    assert view.value == 1009
    assert moved(view, 1) == 1050
    assert moved(view, -1) == 1000
    assert moved(view, 10) == 1000 + 10 * PRICE_STEP
    assert moved(view, -1000) == 0
    on_grid = knob("exit", Changes().with_value(KNOBS["exit"], Fraction(1000)))
    assert [moved(on_grid, step) for step in (1, -1)] == [1050, 950]


def test_a_rate_moves_by_factors_down_to_none_at_all() -> None:
    view = knob("page-table-writes")
    assert [moved(view, step) for step in (1, 2, -1)] == [Fraction(3, 2), 2, Fraction(3, 4)]
    assert moved(view, -1000) == 0
    none = knob("page-table-writes", Changes().with_value(KNOBS["page-table-writes"], Fraction(0)))
    assert moved(none, -1) == 0
    assert 0 < moved(none, 1) < 1


@pytest.mark.parametrize("width", [40, 74, 190])
@pytest.mark.parametrize("id_", ["exit", "tlb-misses", "page-table-writes", "hypercall-entry"])
def test_a_slider_fits_its_line_and_shows_where_it_stands(id_: str, width: int) -> None:
    line = slider_line(knob(id_), width, is_chosen=True)
    assert line.cell_length <= width
    assert line.plain.startswith(f"► {id_}")
    assert ("●" in line.plain) == (width >= 60)
