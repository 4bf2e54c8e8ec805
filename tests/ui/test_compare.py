"""The compare screen."""

import pytest

from ringviz.ui.screens.compare import CompareScreen
from tests.ui.bench import SIZES, bench
from tests.ui.fake import TECHNIQUES


@pytest.mark.parametrize("size", SIZES)
async def test_every_technique_has_one_line_with_its_three_verdicts(size: tuple[int, int]) -> None:
    async with bench(size=size) as b:
        await b.press("c")
        # The highlighted one is named again below: the first line counts.
        lines = {line.split()[1]: line for line in reversed(b.grid()) if len(line.split()) > 1}
        ran = [technique.id for technique in TECHNIQUES if technique.id != "amd-v"]
        for technique in ran:
            words = lines[technique]
            assert words.count("holds") + words.count("fails") + words.count("not tried") == 3, technique
        assert lines["emulation"].split().count("≠") == 1
        assert "fails     ≡ holds        0.0 %" in lines["emulation"]
        assert "≠ fails" in lines["trap-emulate"]
        assert "not run" in lines["amd-v"]
        assert "modelled" in b.text()


@pytest.mark.parametrize("size", SIZES)
async def test_the_highlighted_technique_is_told_about_with_all_that_it_did_wrong(size: tuple[int, int]) -> None:
    async with bench(size=size) as b:
        await b.press("c")
        assert "native  halted after 100 instructions" in b.text()
        await b.press("down", "down", "down")
        pages = []
        for _ in range(8):
            pages.append(b.text())
            await b.press("space")
        text = " ".join(" ".join(pages).replace("│", " ").split())
        for part in (
            "trap-emulate halted after 100 instructions",
            "≠ Fidelity fails. first differs",
            "step 8: pushfd gave [1]; bare metal",
            "step 120: pushfd gave [15]; bare metal",
            "amd-v was not run: the P4 has no SVM",
            "(resource control)",
            "no paper names a number",
        ):
            assert part in text, part


async def test_escape_goes_back() -> None:
    async with bench() as b:
        await b.press("c")
        assert isinstance(b.app.screen, CompareScreen)
        await b.press("escape")
        assert not isinstance(b.app.screen, CompareScreen)
