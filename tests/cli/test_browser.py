"""`ringviz serve` in a real browser: what a visitor sees drawn, and the way of one who has never seen ringviz."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ringviz.record.machines.host_file import host_ids
from tests.cli.browser import CHROMIUM, Page, browser
from tests.cli.test_serve import serving

PICTURE = Path(__file__).parents[2] / "screenshots" / "browser-under-amd-v.png"
FOCUS_S = 0.5
"""Which list has the focus is told by colour only, so this cannot be waited for."""
WINDOW = (1220, 840)
"""Pixels: room for 120 by 40 letters and a little more, whatever font there is."""

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium: apt-get install chromium")


@pytest.fixture
def address() -> Iterator[str]:
    with serving() as there:
        yield there


async def walk(address: str, folder: Path) -> None:
    async with browser(folder) as page:
        await page.open(f"http://{address}/", *WINDOW)
        await page.sees("Who runs in which ring", "/ find")
        await look_into_a_machine_room(page)
        await find_popf_hole(page)
        await page.press("down", "down", "down")
        await page.sees("enter opens popf-hole under Trap-and-emulate")
        await page.press("enter")
        await page.sees("Trap-and-emulate on real x86", "step 0", "d goes wrong")
        await page.press(" ")
        await page.sees("step 1 ")

        await page.press("d")
        wrong = await page.sees("a CPU of its own gives 00000046")
        assert "◆ silent" in wrong
        await page.press("b")
        before = await page.sees("step 1 763", "◐ guest thinks ring 0", gone="a CPU of its own gives")
        assert "►0010007f pushfd" in before

        await page.press("m")
        await page.sees("The same guest, at this instruction, under")
        await page.press("end", "enter")
        switched = await page.sees("AMD-V, nested paging", "step 1 763", "ring 0 of guest mode", gone="esc cancel")
        assert "►0010007f pushfd" in switched
        assert "−1 VMM" in switched
        if os.environ.get("RINGVIZ_ACCEPT_PICTURES"):
            PICTURE.write_bytes(await page.picture())

        await page.press("c")
        compared = await page.sees("trap-emulate", "amd-v", "slowdown", "Fidelity")
        assert "≠ fails" in line_of(compared, "trap-emulate ")
        assert "≡ holds" in line_of(compared, "amd-v")
        await page.press("escape")

        # Another size in the middle of it: the place is kept.
        await page.resize(800, 500)
        await page.sees("step 1 763", "►0010007f pushfd", gone="slowdown")
        assert page.failures == []
        assert all(url.startswith((f"http://{address}/", "data:", "about:")) for url in page.asked), page.asked


async def look_into_a_machine_room(page: Page) -> None:
    await page.press("h")
    await page.sees("Several machines on one host")
    await page.press(*["down"] * host_ids().index("noisy-neighbour"), "enter")
    await page.sees("Machine room", "▶ noisy", "What this host shows", gone="Several machines on one host")
    await page.press("n")
    await page.sees("74 %", "26 %", "the host is held")
    await page.press("enter")
    await page.sees("timer-tour", "VMX non-root", "Guest code")
    await page.press("escape")
    await page.sees("▶ noisy", "the host is held")
    await page.press("q")
    await page.sees("Who runs in which ring", "/ find")


async def find_popf_hole(page: Page) -> None:
    await page.press("/")
    await page.sees("a word of its name")
    await page.press(*"popf")
    await page.sees("POPF: the instruction that says nothing", "popf")
    await page.sees("enter opens popf-hole")
    await page.press("tab")
    await asyncio.sleep(FOCUS_S)


def line_of(text: str, name: str) -> str:
    return next(line for line in text.splitlines() if name in line)


def test_a_visitor_walks_from_the_home_screen_to_the_comparison(address: str, tmp_path: Path) -> None:
    """With RINGVIZ_ACCEPT_PICTURES=1 it keeps the picture of the documentation."""
    asyncio.run(walk(address, tmp_path))
