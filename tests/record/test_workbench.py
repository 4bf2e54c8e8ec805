"""What somebody writes is kept, whatever happens, and becomes a guest without a touch to the scenario."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ringviz.errors import AssemblyError, InputError, ToolError
from ringviz.guest import build as building
from ringviz.guest import find_scenario, load_scenario
from ringviz.guest.image import load_image
from ringviz.record.workbench import Workbench, original_of
from tests.guest.folders import make_folder
from tests.guest.test_build import needs_nasm

SOURCE = "popf-hole"


def bench(tmp_path: Path) -> Workbench:
    return Workbench(find_scenario(SOURCE), tmp_path / "edits")


def folder_state(path: Path) -> dict[str, tuple[int, bytes]]:
    return {file.name: (file.stat().st_mtime_ns, file.read_bytes()) for file in path.iterdir()}


@needs_nasm
def test_an_edited_guest_is_built_beside_the_scenario_and_remembers_it(tmp_path: Path) -> None:
    mine = bench(tmp_path)
    before = folder_state(mine.scenario.path)
    assert mine.build().image_path.read_bytes() == mine.scenario.image_path.read_bytes()
    mine.change("guest.asm", mine.originals["guest.asm"].replace("What a kernel sees", "What A kernel sees"))
    built = mine.build()
    assert b"What A kernel sees" in built.image_path.read_bytes()
    assert built.id == "popf-hole-edited"
    assert original_of(built) == mine.scenario
    assert original_of(mine.scenario) == mine.scenario
    assert folder_state(mine.scenario.path) == before
    assert mine.build().path == built.path


@needs_nasm
def test_only_the_last_few_guests_stay_on_disk_but_none_goes_that_is_in_use(tmp_path: Path) -> None:
    first = bench(tmp_path)
    text = first.originals["guest.asm"]
    used = first.build({"guest.asm": f"; 0\n{text}"})
    for number in range(1, 7):
        bench(tmp_path).build({"guest.asm": f"; {number}\n{text}"})
    assert len(list((tmp_path / "edits" / SOURCE / "built").iterdir())) == 4
    for number in range(7, 12):
        used = first.build({"guest.asm": f"; {number}\n{text}"})
    assert used.path.exists()
    assert len(list((tmp_path / "edits" / SOURCE / "built").iterdir())) >= 5


@needs_nasm
def test_complaints_name_the_file_as_the_source_does(tmp_path: Path) -> None:
    mine = Workbench(find_scenario("forkwait"), tmp_path)
    inner = mine.originals["../teachos/guest.asm"]
    mine.change("../teachos/guest.asm", f"{inner}\n    nonsense eax, 1\n")
    with pytest.raises(AssemblyError, match=r"^\.\./teachos/guest\.asm, line \d+: error: ") as caught:
        mine.build()
    [complaint] = caught.value.complaints
    assert (complaint.file, complaint.number) == ("../teachos/guest.asm", inner.count("\n") + 2)
    assert complaint.is_error


def test_without_nasm_one_line_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(ToolError, match="nasm not found; get it with"):
        bench(tmp_path).build()


@needs_nasm
def test_a_scenario_of_ones_own_is_whole_and_never_overwrites(tmp_path: Path) -> None:
    mine = Workbench(find_scenario("compile-like"), tmp_path / "edits")
    folder = mine.save_as(tmp_path / "new" / "own")
    saved = load_scenario(folder)
    assert saved.title == f"{mine.scenario.title} (edited)"
    assert load_image(saved) == load_image(mine.scenario)
    assert building.verify(saved) == ()
    for taken in (folder, folder / "guest.asm"):
        with pytest.raises(InputError, match="exists already, and nothing is overwritten"):
            mine.save_as(taken)
    mine.change("guest.asm", "nonsense eax")
    with pytest.raises(AssemblyError):
        mine.save_as(tmp_path / "new" / "bad")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["own"]


def test_what_is_kept_is_there_the_next_time_with_the_place(tmp_path: Path) -> None:
    first = bench(tmp_path)
    assert not first.is_from_before
    first.change("guest.asm", first.originals["guest.asm"].replace("start:", "start:\n    nop ; ä", 1))
    assert first.keep(("guest.asm", 17))
    again = bench(tmp_path)
    assert again.is_from_before
    assert again.texts == first.texts
    assert again.place == ("guest.asm", 17)
    assert again.changed_lines() == 1
    assert again.changed_below == ()
    again.take_originals()
    assert again.keep()
    assert not bench(tmp_path).is_from_before


def test_an_edit_of_an_original_that_changed_since_says_so_until_it_is_given_up(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    mine = Workbench(load_scenario(folder), tmp_path / "edits")
    mine.change("guest.asm", "nop\n")
    mine.keep()
    assert Workbench(load_scenario(folder), tmp_path / "edits").changed_below == ()
    (folder / "guest.asm").write_text("cli\n", encoding="utf-8")
    for _ in range(2):
        again = Workbench(load_scenario(folder), tmp_path / "edits")
        assert again.changed_below == ("guest.asm",)
        again.change("guest.asm", "nop\nnop\n")
        again.keep()


def test_two_folders_of_one_name_have_texts_of_their_own(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        mine = Workbench(load_scenario(make_folder(tmp_path / name)), tmp_path / "edits")
        assert not mine.is_from_before
        mine.change("guest.asm", f"; {name}\n")
        mine.keep()


@pytest.mark.parametrize("damaged", ["", "{", "[]", '{"schema": 1, "texts": 5, "originals": {}, "place": null}', "\0"])
def test_a_damaged_file_is_set_aside_with_a_line_and_never_over_another(tmp_path: Path, damaged: str) -> None:
    path = tmp_path / "edits" / SOURCE / "edit.json"
    path.parent.mkdir(parents=True)
    for number in (1, 2):
        path.write_text(damaged, encoding="utf-8")
        mine = bench(tmp_path)
        assert "was damaged; it is kept as" in mine.trouble
        assert mine.texts == mine.originals
        assert (path.parent / f"edit.damaged-{number}.json").read_text(encoding="utf-8") == damaged


def test_a_place_that_cannot_be_written_is_told_and_the_text_stays(tmp_path: Path) -> None:
    (tmp_path / "edits").write_text("", encoding="utf-8")
    mine = bench(tmp_path)
    mine.change("guest.asm", "nop\n")
    assert not mine.keep()
    assert "your text cannot be kept on disk" in mine.trouble
    assert mine.texts["guest.asm"] == "nop\n"


@pytest.mark.skipif(os.name == "nt", reason="kill -9")
def test_a_process_killed_while_it_writes_leaves_the_old_text_or_the_new_one(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib\n"
        "from ringviz.guest import find_scenario\n"
        "from ringviz.record.workbench import Workbench\n"
        f"mine = Workbench(find_scenario('{SOURCE}'), pathlib.Path(sys.argv[1]))\n"
        "number = 0\n"
        "while True:\n"
        "    number += 1\n"
        "    mine.change('guest.asm', f'; {number}\\n' * 2000)\n"
        "    mine.keep()\n"
    )
    path = tmp_path / "edits" / SOURCE / "edit.json"
    process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "edits")])
    try:
        deadline = time.monotonic() + 20
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    lines = json.loads(path.read_text(encoding="utf-8"))["texts"]["guest.asm"].split("\n")
    assert len(lines) == 2001
    assert len(set(lines)) == 2
    assert bench(tmp_path).is_from_before


def test_two_windows_that_change_one_text_at_once_keep_both(tmp_path: Path) -> None:
    one, two = bench(tmp_path), bench(tmp_path)
    one.change("guest.asm", "; one\n")
    two.change("guest.asm", "; two\n")
    for _ in range(3):
        assert one.keep()
        assert two.keep()
        one.change("guest.asm", one.texts["guest.asm"] + "; and on\n")
        two.change("guest.asm", two.texts["guest.asm"] + "; and on\n")
    assert one.remark == ""
    assert two.remark == "Another window has changed this text, too: both are kept, yours as version 2."
    again = bench(tmp_path)
    found = {again.texts["guest.asm"]}
    assert again.turn()
    found.add(again.texts["guest.asm"])
    assert found == {"; one\n; and on\n; and on\n", "; two\n; and on\n; and on\n"}
    assert again.versions == 2
    again.take_originals()
    again.keep()
    assert (again.version, again.versions) == (0, 1)
    assert again.turn()
    assert (again.version, again.versions) == (1, 1)
    assert not again.turn()


def test_a_window_in_which_nothing_was_typed_writes_over_nothing_and_removes_nothing(tmp_path: Path) -> None:
    idle = bench(tmp_path)
    busy = bench(tmp_path)
    busy.change("guest.asm", "; first\n")
    busy.keep()
    assert idle.keep(("guest.asm", 3))
    late = bench(tmp_path)
    busy.change("guest.asm", "; second\n")
    busy.keep()
    assert late.keep(("guest.asm", 5))
    assert late.remark == ""
    assert bench(tmp_path).texts["guest.asm"] == "; second\n"


def test_a_file_that_another_program_changes_is_read_again_unless_it_was_changed_here(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    mine = Workbench(load_scenario(folder), tmp_path / "edits")
    (folder / "guest.asm").write_text("; by another program\n", encoding="utf-8")
    assert mine.follow_originals() == ("guest.asm",)
    assert mine.texts["guest.asm"] == "; by another program\n"
    assert mine.changed == ()
    assert mine.remark == "guest.asm was changed by another program, and is read again."
    mine.change("guest.asm", "; mine\n")
    (folder / "guest.asm").write_text("; once more\n", encoding="utf-8")
    assert mine.follow_originals() == ("guest.asm",)
    assert mine.texts["guest.asm"] == "; mine\n"
    assert mine.remark == "guest.asm was changed by another program; your text of it stays."
    assert mine.changed_below == ("guest.asm",)
    assert mine.follow_originals() == ()
