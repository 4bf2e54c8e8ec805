import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ringviz.guest.scenario import find_scenario
from tests.cli.program import one_complaint, ringviz


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """Give a scenario folder that a test may break."""
    return Path(shutil.copytree(find_scenario("hello-serial").path, tmp_path / "mine"))


def _replace(old: str, new: str) -> Callable[[Path], object]:
    def change(folder: Path) -> object:
        file = folder / "scenario.toml"
        text = file.read_text()
        assert old in text
        return file.write_text(text.replace(old, new))

    return change


def test_all_shipped_scenarios_are_good() -> None:
    shipped = find_scenario("hello-serial").path.parent
    result = ringviz("check", str(shipped))
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.count(": good\n") == len(list(shipped.glob("*/scenario.toml")))


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (_replace("schema = 1", "schema = 7"), "scenario.toml: schema: "),
        (_replace("memory_mib = 16", 'memory_mib = "16"'), "scenario.toml: guest.memory_mib: "),
        (_replace('"multiboot"', '"multibot"'), 'did you mean "multiboot"'),
        (_replace("title =", "titel ="), 'did you mean "title"'),
        (_replace("[guest]", "[guest"), "scenario.toml: not TOML"),
        (lambda folder: (folder / "guest.bin").unlink(), "guest.image"),
        (lambda folder: (folder / "guest.bin").write_bytes(b""), "guest.bin: empty"),
        (lambda folder: (folder / "guest.bin").write_bytes(b"\x90" * 40), "guest.bin: "),
        (lambda folder: (folder / "guest.bin").write_bytes(bytes(17 << 20)), "guest.bin: "),
        (lambda folder: (folder / "guest.bin").write_bytes((folder / "guest.bin").read_bytes()[:200]), "guest.bin: "),
    ],
)
@pytest.mark.parametrize("command", [["check"], ["stat"], ["compare"], ["trace"]])
def test_a_broken_folder_is_one_line_that_names_file_and_key(
    copied: Path, damage: Callable[[Path], object], expected: str, command: list[str]
) -> None:
    damage(copied)
    assert expected in one_complaint(ringviz(*command, str(copied)))


def test_every_broken_folder_gets_its_line_and_the_good_ones_are_named(copied: Path) -> None:
    for name in ("second", "third"):
        shutil.copytree(copied, copied.parent / name)
        (copied.parent / name / "guest.bin").write_bytes(b"")
    result = ringviz("check", str(copied.parent))
    assert result.returncode == 2
    assert result.stderr.count("\n") == 2
    assert result.stdout.count(": good\n") == 1


def test_a_path_that_is_no_scenario_folder_is_one_line(tmp_path: Path) -> None:
    assert "scenario.toml" in one_complaint(ringviz("check", str(tmp_path)))
    assert "scenario.toml" in one_complaint(ringviz("check", str(tmp_path / "nothing")))


def test_a_folder_is_not_good_if_one_of_its_replays_cannot_be_played(copied: Path) -> None:
    (copied / "mine.replay.toml").write_text(
        'schema = 1\ntitle = "T"\n[[beat]]\ntitle = "B"\ngo = { at = "start.marker_printd" }\n', encoding="utf-8"
    )
    complaint = one_complaint(ringviz("check", str(copied)))
    assert 'mine.replay.toml: beat 1: go.at: found "start.marker_printd"' in complaint
    assert 'did you mean "start.marker_printed"?' in complaint
