"""Keys of one's own."""

from pathlib import Path

import pytest

from ringviz.ui.app import RingvizApp
from ringviz.ui.own_keys import TABLES, OwnKeys, keys_path, load_keys
from tests.ui.bench import bench
from tests.ui.fake import FakeLaboratory


def written(folder: Path, text: str) -> OwnKeys:
    path = folder / "keys.toml"
    path.write_text(text, encoding="utf-8")
    return load_keys(path)


def test_without_a_file_all_is_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RINGVIZ_CONFIG", str(tmp_path))
    assert keys_path() == tmp_path / "keys.toml"
    assert load_keys() == OwnKeys()


def test_keys_are_given_in_the_names_or_characters_of_the_keyboard(tmp_path: Path) -> None:
    own = written(tmp_path, '[keys]\nstep = "j"\nback = "K,ctrl+left"\ngoto = "+"\n')
    assert own.complaints == ()
    assert own.keymap == {"step": "j", "back": "K,ctrl+left", "goto": "plus"}
    assert own.faces["goto"] == "+"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[keys", "keys.toml is left out"),
        ("step = 1", "expected one table [keys]"),
        ('[keys]\nstepp = "j"', 'stepp is no command; did you mean "step"?'),
        ("[keys]\nstep = 5", "step: expected keys such as"),
        ('[keys]\nstep = ""', "step: expected keys such as"),
        ('[keys]\nstep = "n"', "step: next has that key already"),
        ('[keys]\nstep = "j"\nback = "j"', "back: step has that key already"),
    ],
)
def test_what_makes_no_sense_is_left_out_with_one_line(text: str, complaint: str, tmp_path: Path) -> None:
    own = written(tmp_path, text)
    assert len(own.complaints) == 1
    assert complaint in own.complaints[0]
    assert "back" not in own.keymap


async def test_a_key_of_ones_own_works_is_shown_and_frees_the_old_one() -> None:
    own = OwnKeys({"step": "j"}, {"step": "j"}, ("keys.toml: stpe is no command",))
    app = RingvizApp("popf-hole", "trap-emulate", laboratory=FakeLaboratory(), own_keys=own)
    async with app.run_test(size=(120, 40)) as pilot:
        for _ in range(100):
            await pilot.pause(0.01)
            if app.explore.snapshot is not None:
                break
        assert app.explore.snapshot is not None
        await pilot.pause(0.5)
        text = "\n".join("".join(part.text for part in row) for row in app.screen._compositor.render_strips())
        assert "stpe is no command" in text
        await pilot.press("space", "j")
        await pilot.pause(0.2)
        assert app.explore.snapshot.position == 1
        text = "\n".join("".join(part.text for part in row) for row in app.screen._compositor.render_strips())
        assert "j step" in text


@pytest.mark.parametrize("screen", TABLES)
def test_on_no_screen_two_commands_share_a_key(screen: str) -> None:
    keys = [key for command in TABLES[screen] for key in command.keys.split(",")]
    assert len(keys) == len(set(keys))
    ids = [command.id for command in TABLES[screen]]
    assert len(ids) == len(set(ids))


async def test_the_key_line_of_other_screens_shows_them_too() -> None:
    async with bench(size=(200, 60)) as b:
        b.app.own_keys = OwnKeys({"divergence": "D"}, {"divergence": "D"})
        b.app.set_keymap({"divergence": "D"})
        await b.press("C", "D")
        assert "D goes wrong" in b.text()
        assert "step 50" in b.text()
