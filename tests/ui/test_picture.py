"""Pictures of one moment."""

import html
import re

import pytest

from ringviz.ui.picture import draw_picture
from tests.ui.fake import make_snapshot


async def test_the_same_moment_gives_the_same_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = make_snapshot("trap-emulate", 42)
    first = await draw_picture(snapshot)
    monkeypatch.setenv("NO_COLOR", "1")
    assert first == await draw_picture(snapshot)
    assert first.startswith("<svg")
    assert "Trap-and-emulate" in first
    assert first != await draw_picture(snapshot, theme="ringviz-light")


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_a_picture_has_the_size_asked_for(size: tuple[int, int]) -> None:
    picture = await draw_picture(make_snapshot("amd-v", 42), size)
    # Around the cells, of 12.2 by 24.4 units, there is a frame.
    width, height = (float(number) for number in re.findall(r'viewBox="0 0 ([0-9.]+) ([0-9.]+)"', picture)[0])
    assert (round((width - 18) / 12.2), round((height - 50) / 24.4)) == size


async def test_no_text_of_a_picture_begins_with_a_space_that_some_programs_drop() -> None:
    picture = await draw_picture(make_snapshot("trap-emulate", 42))
    assert not re.findall(r"<text [^>]*>&#160;+[^&<]", picture)
    # The key line: a key, a space, its title.
    places = dict(re.findall(r'<text [^>]*x="([0-9.]+)" y="971.6"[^>]*>([^<]*)<', picture))
    step = next(float(x) for x, text in places.items() if html.unescape(text).startswith("step"))
    space = next(float(x) for x, text in places.items() if text == "space")
    assert step == pytest.approx(space + 6 * 12.2)


async def test_a_picture_is_small_asks_nobody_for_a_font_and_has_every_background_but_the_commonest() -> None:
    picture = await draw_picture(make_snapshot("trap-emulate", 42))
    assert len(picture) < 80_000
    assert "url(http" not in picture
    assert 'url("http' not in picture
    below = re.findall(r'<rect fill="(#[0-9a-f]+)" x="0" y="0" width="100%" height="100%"/>', picture)
    assert len(below) == 1
    others = re.findall(r'<rect fill="(#[0-9a-f]+)" [^>]*crispEdges', picture)
    assert others
    assert below[0] not in others
