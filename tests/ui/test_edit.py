"""The editor: text in, guest beside the original; what is written is never lost."""

import json
from pathlib import Path

import pytest

from ringviz.record.workbench import Workbench
from ringviz.ui.commands import EDIT, EXPLORE
from ringviz.ui.screens.compare_group import SideBySideScreen
from ringviz.ui.screens.edit import EditScreen
from ringviz.ui.screens.explore import ExploreScreen
from ringviz.ui.widgets.source_area import highlights
from tests.ui.bench import SIZES, Bench, bench
from tests.ui.fake_editing import INNER, MAIN, TEXT, FakeEditing
from tests.ui.grid import assert_as_on_file


def kept(editing: FakeEditing) -> dict[str, object]:
    [file] = editing.edits.glob("*/edit.json")
    content = json.loads(file.read_text(encoding="utf-8"))
    assert isinstance(content, dict)
    return content


async def open_editor(b: Bench) -> EditScreen:
    await b.press("e")
    assert isinstance(b.app.screen, EditScreen)
    return b.app.screen


@pytest.mark.parametrize("has_colour", [True, False])
@pytest.mark.parametrize("size", SIZES)
async def test_the_screen_is_the_one_on_file(
    size: tuple[int, int], has_colour: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_colour:
        monkeypatch.setenv("NO_COLOR", "1")
    async with bench(size=size, editing=FakeEditing(tmp_path)) as b:
        editor = await open_editor(b)
        editor.area.go_to_row(4)
        await b.press("end", *" bad", "f9")
        assert_as_on_file(b, "edit" if has_colour else "edit-no-colour", size)


async def test_two_windows_on_one_text_keep_both_and_say_so(tmp_path: Path) -> None:
    async with bench(editing=FakeEditing(tmp_path)) as b:
        editor = await open_editor(b)
        other = Workbench(editor.bench.scenario, tmp_path / "edits")
        other.change(MAIN, "; theirs\n")
        other.keep()
        await b.press(*"x")
        await b.pilot.pause(0.6)
        assert "Another window has changed this text, too: both are kept, yours as version 2." in b.text()
        await b.press("ctrl+t")
        assert editor.area.text == "; theirs\n"
        assert "This is version 1 of 2 of your text; ctrl+t takes the next." in b.text()
        await b.press("ctrl+t")
        assert "x" in editor.area.text


async def test_what_another_program_saves_is_on_the_screen_a_moment_later(tmp_path: Path) -> None:
    async with bench(editing=FakeEditing(tmp_path)) as b:
        editor = await open_editor(b)
        (editor.bench.scenario.path / MAIN).write_text("; saved elsewhere\n", encoding="utf-8")
        editor._follow()
        await b.pilot.pause()
        assert "; saved elsewhere" in b.text()
        assert f"{MAIN} was changed by another program, and is read again." in b.text()
        assert not editor.bench.changed


async def test_it_opens_at_the_line_of_the_next_instruction_and_tells_address_and_bytes_of_the_line(
    tmp_path: Path,
) -> None:
    async with bench(editing=FakeEditing(tmp_path)) as b:
        editor = await open_editor(b)
        assert editor.area.cursor_location == (6, 4)
        assert " line 7 · 00100049 in the original · 1 byte" in b.text()
        editor.area.go_to_row(3)
        await b.pilot.pause()
        assert " line 4 · 00100041 in the original · 3 bytes · mov eax, cr0" in b.text()
        await b.press("home", *"x")
        await b.pilot.pause(0.6)
        assert " line 4 · changed, and not assembled yet" in b.text()
        await b.press("f3")
        assert editor.area.cursor_location == (6, 4)


async def test_the_edited_guest_stands_beside_the_original_and_back_comes_the_text(tmp_path: Path) -> None:
    editing = FakeEditing(tmp_path)
    async with bench(editing=editing) as b:
        editor = await open_editor(b)
        await b.press("home", *"nop", "enter", "f9")
        assert isinstance(b.app.screen, SideBySideScreen)
        assert editing.ran[-1][0][MAIN] == TEXT.replace("    lodsb", "nop\n    lodsb")
        await b.press("m", "home", "enter")
        assert [technique for _, technique in editing.ran] == [None, "native"]
        await b.press("question_mark")
        assert "the guest as you changed it at the right" in " ".join(b.text().replace("│", " ").split())
        await b.press("escape", "q")
        assert b.app.screen_stack[-1] is editor
        await b.press("escape")
        assert isinstance(b.app.screen, ExploreScreen)


async def test_a_guest_that_runs_alone_is_the_one_on_the_screen(tmp_path: Path) -> None:
    editing = FakeEditing(tmp_path)
    async with bench(editing=editing) as b:
        await b.press("space", "space")
        await open_editor(b)
        await b.press("f8")
        assert isinstance(b.app.screen, ExploreScreen)
        assert len(editing.ran) == 1
        assert b.shown.snapshot.position == 2


async def test_what_nasm_says_stands_on_its_line_and_one_key_goes_to_the_next(tmp_path: Path) -> None:
    async with bench(editing=FakeEditing(tmp_path)) as b:
        editor = await open_editor(b)
        editor.area.go_to_row(3)
        await b.press("end", *" bad", "f5", "end", *" bad", "f9")
        assert not isinstance(b.app.screen, SideBySideScreen)
        assert editor.area.cursor_location[0] == 3
        [line] = [row for row in b.grid() if "is protection on? bad" in row]
        assert "4×" in line
        assert "× symbol [bad] undefined" in line
        assert "× guest.asm, line 4: error: symbol [bad] undefined" in b.text()
        await b.press("f4")
        assert f"{INNER} (2 of 2)" in b.text()
        assert "1× putc: bad" in b.text()
        await b.press("f4", "backspace")
        assert "undefined" not in b.text()


async def test_without_nasm_one_line_says_how_to_get_it(tmp_path: Path) -> None:
    async with bench(editing=FakeEditing(tmp_path, has_nasm=False)) as b:
        await open_editor(b)
        await b.press("f9")
        assert "× nasm not found; get it with: apt-get install nasm" in b.text()


async def test_what_is_typed_is_on_disk_a_moment_later_and_there_the_next_time(tmp_path: Path) -> None:
    editing = FakeEditing(tmp_path)
    async with bench(editing=editing) as b:
        await open_editor(b)
        await b.press("home", *"; mine ")
        # As if the process were killed now: nothing is told to the app.
        await b.pilot.pause(0.7)
        assert "; mine" in str(kept(editing)["texts"])
        # Typing without a pause is kept, too.
        for _ in range(8):
            await b.pilot.press("x")
            await b.pilot.pause(0.1)
        assert "xxx" in str(kept(editing)["texts"])
    async with bench(editing=editing) as b:
        editor = await open_editor(b)
        assert "Your text, as you left it: 1 line not as in the original. ctrl+o takes the original again." in b.text()
        assert editor.area.text.count("; mine xxxxxxxx") == 1
        assert editor.area.cursor_location[0] == 6
    assert editing.scenario.source_path.read_text(encoding="utf-8") == TEXT


async def test_leaving_at_once_keeps_everything(tmp_path: Path) -> None:
    editing = FakeEditing(tmp_path)
    async with bench(editing=editing) as b:
        await open_editor(b)
        await b.pilot.press("home", *"zz")
        await b.pilot.press("escape")
    assert "zz    lodsb" in str(kept(editing)["texts"])


async def test_an_original_that_has_changed_since_is_told_of(tmp_path: Path) -> None:
    editing = FakeEditing(tmp_path)
    async with bench(editing=editing) as b:
        await open_editor(b)
        await b.press("home", *"zz", "escape")
    editing.scenario.source_path.write_text(f"; new\n{TEXT}", encoding="utf-8")
    async with bench(size=(200, 60), editing=editing) as b:
        editor = await open_editor(b)
        assert "It is based on an original that has changed since: guest.asm." in " ".join(b.text().split())
        await b.press("ctrl+o", "y")
        assert editor.area.text.startswith("; new\n")


async def test_the_original_is_taken_again_only_if_that_is_meant_and_can_be_taken_back(tmp_path: Path) -> None:
    editing = FakeEditing(tmp_path)
    async with bench(editing=editing) as b:
        editor = await open_editor(b)
        await b.press("home", *"zz")
        changed = editor.area.text
        await b.press("ctrl+o", "escape")
        assert editor.area.text == changed
        await b.press("ctrl+o", "y")
        assert editor.area.text == TEXT
        assert not list(editing.edits.glob("*/edit.json"))
        await b.press("ctrl+z")
        assert editor.area.text == changed
        await b.press("escape")
    assert "zz" in str(kept(editing)["texts"])


async def test_a_scenario_of_ones_own_is_refused_where_something_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "popf-hole-mine").mkdir()
    async with bench(size=(200, 60), editing=FakeEditing(tmp_path)) as b:
        await open_editor(b)
        await b.press("f2", "enter")
        assert "× popf-hole-mine: exists already, and nothing is overwritten; expected a new folder" in b.text()
        assert list((tmp_path / "popf-hole-mine").iterdir()) == []


async def test_where_no_guest_can_be_edited_one_line_says_so() -> None:
    async with bench() as b:
        await b.press("e")
        assert "× no guest can be edited here" in b.text()


def test_words_of_assembly_have_their_colours() -> None:
    line = '.loop: mov eax, [0x10 + esi*4] ; "no string"'
    assert [(line[a:b], kind) for a, b, kind in highlights(line)] == [
        (".loop", "label"),
        ("mov", "mnemonic"),
        ("eax", "register"),
        ("0x10", "number"),
        ("esi", "register"),
        ("4", "number"),
        ('; "no string"', "comment"),
    ]
    assert [kind for _, _, kind in highlights('%include "x.inc"')] == ["macro", "string"]
    assert highlights("db " + "1, " * 400) == []


def test_no_key_of_the_editor_is_a_letter_that_belongs_to_the_text() -> None:
    for command in EDIT:
        for key in command.keys.split(","):
            assert len(key) > 1, command.id
    assert any(command.id == "edit" for command in EXPLORE)
