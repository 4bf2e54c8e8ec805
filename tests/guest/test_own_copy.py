"""A scenario folder of one's own, made of another's guest with texts that were changed."""

import tomllib
from pathlib import Path

import pytest

from ringviz.errors import InputError, ScenarioError
from ringviz.guest import find_scenario, load_scenario
from ringviz.guest.own_copy import source_texts, write_copy
from tests.guest.folders import make_folder


def test_a_file_from_elsewhere_comes_along_under_a_name_of_its_own(tmp_path: Path) -> None:
    scenario = find_scenario("compile-like")
    texts = source_texts(scenario)
    assert list(texts) == ["guest.asm", "../teachos/guest.asm"]
    (tmp_path / "copy").mkdir()
    names = write_copy(scenario, texts, tmp_path / "copy", 'A "title"')
    assert names == {"guest.asm": "guest.asm", "teachos-guest.asm": "../teachos/guest.asm"}
    main = (tmp_path / "copy" / "guest.asm").read_text(encoding="utf-8")
    assert '%include "teachos-guest.asm"' in main
    assert main.count("\n") == texts["guest.asm"].count("\n")
    assert {path.name for path in (tmp_path / "copy").iterdir()} >= {"scenario.toml", "program.txt"}
    told = tomllib.loads((tmp_path / "copy" / "scenario.toml").read_text(encoding="utf-8"))
    before = tomllib.loads((scenario.path / "scenario.toml").read_text(encoding="utf-8"))
    assert told == {**before, "title": 'A "title"'}


def test_two_files_never_get_one_name_and_bytes_that_are_taken_over_come_along(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.inc").write_text(f"; {name}\n", encoding="utf-8")
    (tmp_path / "font.bin").write_bytes(b"\1\2")
    (folder / "a-x.inc").write_text("; own\n", encoding="utf-8")
    lines = [
        '%include "../a/x.inc"',
        '%include "../b/x.inc"',
        '%include "a-x.inc"',
        'font: incbin "../font.bin"',
        "hlt",
    ]
    (folder / "guest.asm").write_text("\n".join(lines), encoding="utf-8")
    scenario = load_scenario(folder)
    (tmp_path / "copy").mkdir()
    names = write_copy(scenario, {"../b/x.inc": "; mine\n"}, tmp_path / "copy", "x")
    texts = {name: (tmp_path / "copy" / local).read_text(encoding="utf-8") for local, name in names.items()}
    assert (texts["../a/x.inc"], texts["../b/x.inc"], texts["a-x.inc"]) == ("; a\n", "; mine\n", "; own\n")
    assert (tmp_path / "copy" / "font.bin").read_bytes() == b"\1\2"
    assert 'incbin "font.bin"' in texts["guest.asm"]


def test_a_guest_without_a_source_and_a_source_that_is_no_text_are_refused(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    scenario = load_scenario(folder)
    (folder / "guest.asm").write_bytes(b"\xff")
    with pytest.raises(ScenarioError, match="byte 0 is not UTF-8"):
        source_texts(scenario)
    (folder / "guest.asm").unlink()
    with pytest.raises(InputError, match="made has no source to edit: there is only its image"):
        source_texts(scenario)
