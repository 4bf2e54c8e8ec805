"""Pictures of the screens."""

import html
import re
from pathlib import Path

import pytest

from ringviz.ui.picture import SHOTS, draw_picture, make_screenshots
from tests.ui.fake import FakeLaboratory, make_snapshot


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
    # One clipping path a line, and none for the last.
    assert len(re.findall(r'<clipPath id="[^"]*-line-', picture)) == size[1] - 1


def test_the_screenshots_show_one_instruction_under_all_techniques(tmp_path: Path) -> None:
    laboratory = FakeLaboratory()
    written = make_screenshots(tmp_path, laboratory)
    assert [path.stem for path in written] == [shot.name for shot in SHOTS]
    assert {opened[1] for opened in laboratory.opened} == {
        "native", "emulation", "trap-emulate", "binary-translation", "paravirt", "vt-x", "amd-v"
    }  # fmt: skip
    # No event of this world is the telling one, so all of them stand at its end.
    assert {call for call in laboratory.session.calls if call.startswith("seek")} == {"seek 100"}
    assert len({shot.moment for shot in SHOTS if shot.technique != "paravirt"}) == 1
    texts = {path.stem: words(path.read_text(encoding="utf-8")) for path in written}
    assert "Code cache" in texts["explore-binary-translation"]
    assert "VMCS" in texts["explore-vt-x"]
    assert "Hypercalls" in texts["explore-paravirt"]
    assert "not compatible, but similar" in texts["vendors"]
    assert "first differs at step 8" in texts["scorecard"]
    assert "≠ fails" in texts["scorecard"]
    assert "vt-x, nested costs least" in texts["what-if"]


def words(svg: str) -> str:
    return html.unescape(re.sub(r"<[^>]*>", "", svg)).replace("\xa0", " ")


async def test_no_text_of_a_picture_begins_with_a_space_that_some_programs_drop() -> None:
    picture = await draw_picture(make_snapshot("trap-emulate", 42))
    assert not re.findall(r"<text [^>]*>&#160;+[^&<]", picture)
    # The key line: a key, a space, its title.
    places = dict(re.findall(r'<text [^>]*x="([0-9.]+)" y="971.6"[^>]*>([^<]*)<', picture))
    step = next(float(x) for x, text in places.items() if html.unescape(text).startswith("step"))
    space = next(float(x) for x, text in places.items() if text == "space")
    assert step == pytest.approx(space + 6 * 12.2)
