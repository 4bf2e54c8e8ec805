"""The years screen: a drawing of slowdown against year, its words, and its figures."""

import pytest

from ringviz.ui.requests import Priced
from ringviz.ui.screens.explore import ExploreScreen
from ringviz.ui.screens.years import YearsScreen
from tests.ui.bench import SIZES, bench


@pytest.mark.parametrize("size", SIZES)
async def test_the_drawing_has_every_technique_and_its_words_are_below(size: tuple[int, int]) -> None:
    async with bench(size=size) as b:
        await b.press("y")
        await b.until(lambda: b.of(Priced))
        await b.settle()
        assert isinstance(b.app.screen, YearsScreen)
        text = b.text()
        for words in ("bare metal", "2005", "P4 672", "B Binary translation", "S Intel VT-x, shadow", "modelled"):
            assert words in text
        for _ in range(4):
            await b.press("space")
        seen = " ".join(b.text().replace("│", " ").split())
        assert "nested paging looks cheaper than it is" in seen
        await b.press("escape")
        assert isinstance(b.app.screen, ExploreScreen)


async def test_f_shows_the_figures_and_the_drawing_again() -> None:
    async with bench() as b:
        await b.press("y")
        await b.until(lambda: b.of(Priced))
        await b.settle()
        await b.press("f")
        await b.settle()
        assert "2005  p4-672        binary-translation           3 000         1 000     3.00×" in b.text()
        await b.press("f")
        await b.settle()
        assert "B Binary translation" in b.text()
