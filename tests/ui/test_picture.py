"""Pictures of the explore screen."""

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
    assert {opened[1] for opened in laboratory.opened} == {"native", "trap-emulate", "amd-v"}
    assert len({call for call in laboratory.session.calls if call.startswith("seek")}) == 1
    assert all(path.read_text(encoding="utf-8").startswith("<svg") for path in written)
