"""The pictures of the documentation, and that none of them is stale."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from ringviz.ui.gallery import (
    COMMAND,
    SHOTS,
    AtHome,
    Shot,
    WithGuest,
    drawn,
    make_screenshots,
    stale,
    take,
    write_digests,
)
from tests.ui.fake import FakeLaboratory

FOLDER = Path(__file__).parents[2] / "screenshots"
CHEAP = ("home", "path-3-stepped-back", "explore-amd-v")
"""Drawn anew in every run of the tests; together they show most of what a picture can show."""


def named(names: Sequence[str]) -> list[Shot]:
    return [shot for shot in SHOTS if shot.name in names]


def test_no_picture_on_file_is_stale() -> None:
    assert [shot.name for shot in named(CHEAP)] == sorted(CHEAP, key=[shot.name for shot in SHOTS].index)
    wrong = stale(FOLDER, named(CHEAP))
    assert not wrong, f"stale pictures: run `{COMMAND} {FOLDER.name}`, look at them and commit them.\n" + "\n".join(
        wrong
    )


@pytest.mark.soak
@pytest.mark.parametrize("shot", SHOTS, ids=lambda shot: shot.name)
def test_every_picture_on_file_is_what_the_app_draws(shot: Shot) -> None:
    assert stale(FOLDER, [shot]) == []


def test_names_are_unique_and_every_theme_size_and_screen_is_there() -> None:
    assert len({shot.name for shot in SHOTS}) == len(SHOTS)
    assert {shot.size for shot in SHOTS} == {(80, 24), (120, 40), (200, 60)}
    assert {shot.theme for shot in SHOTS} == {"ringviz-dark", "ringviz-light", "ringviz-contrast", "no colour"}
    explored = [shot for shot in SHOTS if shot.name.startswith("explore-trap-emulate")]
    assert len({shot.keys for shot in explored}) == 1


HOME = Shot("a-home", AtHome(), ("down",))
EXPLORED = Shot("an-explore", WithGuest("popf-hole", "trap-emulate"), ("space", "colon", "7", "enter", "k"))


async def test_a_script_presses_its_keys_and_stands_in_the_picture() -> None:
    laboratory = FakeLaboratory()
    picture = await take(EXPLORED, laboratory)
    assert "seek 7" in laboratory.session.calls
    assert f"<!-- {EXPLORED.script} -->" in picture
    assert picture == await take(EXPLORED, FakeLaboratory())
    assert any("says [/b] hello" in text for _, _, text, _ in drawn(picture))


async def test_a_picture_without_colour_has_none() -> None:
    picture = await take(replace(EXPLORED, theme="no colour"), FakeLaboratory())
    fills = {look.split(";")[0].removeprefix("fill: ") for _, _, _, look in drawn(picture)}
    assert fills
    assert all(fill[1:3] == fill[3:5] == fill[5:7] for fill in fills), fills


def test_what_is_changed_by_hand_lost_or_drawn_otherwise_by_now_is_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ringviz.ui.gallery.SHOTS", (HOME, EXPLORED))
    assert len(list(make_screenshots(tmp_path, (HOME, EXPLORED), FakeLaboratory()))) == 2
    write_digests(tmp_path)
    assert stale(tmp_path, (HOME, EXPLORED), FakeLaboratory()) == []

    (home, explored) = (tmp_path / f"{shot.name}.svg" for shot in (HOME, EXPLORED))
    before = explored.read_text(encoding="utf-8")
    explored.write_text(before.replace(">popf", ">push"), encoding="utf-8")
    changed, drawn_otherwise = stale(tmp_path, (EXPLORED,), FakeLaboratory())
    assert changed == "an-explore.svg: changed since"
    assert "the app draws “popf" in drawn_otherwise

    # Another colour is another picture, another name for the same colour is none.
    explored.write_text(before.replace("t-r1 ", "t-r99 ").replace('"t-r1"', '"t-r99"'), encoding="utf-8")
    assert stale(tmp_path, (EXPLORED,), FakeLaboratory()) == ["an-explore.svg: changed since"]
    explored.write_text(before, encoding="utf-8")

    monkeypatch.setattr("ringviz.ui.gallery.SHOTS", (replace(HOME, keys=()), EXPLORED))
    assert stale(tmp_path) == ["a-home.svg: is made in another way by now"]
    home.unlink()
    (tmp_path / "a-stranger.svg").write_text("<svg/>", encoding="utf-8")
    assert stale(tmp_path) == [
        "a-home.svg: it is in digests.txt, but not in the folder",
        "a-stranger.svg: nobody makes it",
        "a-home.svg: not there yet",
    ]
