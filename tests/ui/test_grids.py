"""Every screen and dialogue that a key opens, letter by letter: at three sizes, with colour and without."""

from pathlib import Path

import pytest

from tests.ui.bench import SIZES, bench
from tests.ui.fake_editing import FakeEditing
from tests.ui.grid import assert_as_on_file

OPENED: dict[str, tuple[str, ...]] = {
    "home": ("q",),
    "course": ("q", "l"),
    "hosts": ("q", "h"),
    "techniques": ("m",),
    "machine": ("s",),
    "go-to": ("colon",),
    "address": ("a",),
    "places": ("B",),
    "note": ("f",),
    "bookmarks": ("F",),
    "explored": (),
    "side-by-side-choice": ("C", "m"),
    "edit-original": ("e", "x", "ctrl+o"),
    "edit-save-as": ("e", "f2"),
    "why": ("i",),
    "memory": ("x",),
    "walk": ("w",),
    "scorecard": ("c",),
    "what-if": ("dollar_sign",),
    "years": ("y",),
    "side-by-side-at-12": ("C",),
    "vendors-at-12": ("V",),
    "console": ("k",),
    "zoomed": ("z",),
    "help": ("f1",),
}
"""Keys pressed in a guest, by the name of what they open."""
RINGS_BEHIND = {
    "techniques", "machine", "go-to", "address", "places", "note", "bookmarks", "explored", "why", "memory", "walk",
    "console", "help",
}  # fmt: skip
"""Where the rings can be seen, which are boxes without colour; all else is the same letters."""


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("has_colour", [True, False])
@pytest.mark.parametrize("name", OPENED)
async def test_a_screen_is_as_on_file(
    name: str, has_colour: bool, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if not has_colour:
        monkeypatch.setenv("NO_COLOR", "1")
    async with bench(size=size, editing=FakeEditing(tmp_path)) as b:
        b.laboratory.session.seek(12)
        await b.settle()
        for key in OPENED[name]:
            await b.press(key)
        has_own = name in RINGS_BEHIND and not has_colour
        assert_as_on_file(b, f"{name}-no-colour" if has_own else name, size)


@pytest.mark.parametrize("size", [(12, 4), (59, 18), (100, 17)])
@pytest.mark.parametrize("has_colour", [True, False])
async def test_the_screen_without_room_is_as_on_file(
    has_colour: bool, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_colour:
        monkeypatch.setenv("NO_COLOR", "1")
    async with bench(size=size) as b:
        assert_as_on_file(b, "too-small", size)
