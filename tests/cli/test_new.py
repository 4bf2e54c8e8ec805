"""`new` makes what works as it is: it checks, it runs, and nothing is ever overwritten."""

import shutil
from pathlib import Path

import pytest

from ringviz.guest.build import verify
from ringviz.guest.scenario import load_scenario
from ringviz.guest.schema import LEVELS
from tests.cli.program import one_complaint, ringviz


def made(folder: Path, *arguments: str) -> list[str]:
    """Make something, and give the commands that it proposes."""
    result = ringviz("new", *arguments, cwd=folder)
    assert (result.returncode, result.stderr) == (0, ""), arguments
    return [line.split("   ")[0] for line in result.stdout.splitlines() if line.startswith("ringviz ")]


def test_a_new_scenario_checks_runs_and_has_a_lecture(tmp_path: Path) -> None:
    commands = made(tmp_path, "scenario", "my-first")
    assert "ringviz run ./my-first" in commands
    scenario = load_scenario(tmp_path / "my-first")
    assert (scenario.title, str(scenario.level)) == ("My first", LEVELS[0])
    assert ringviz("check", "./my-first", cwd=tmp_path).stdout == "my-first: good\n"
    stat = ringviz("stat", "./my-first", "-t", "amd-v", cwd=tmp_path)
    assert "A kernel of my own." in stat.stdout
    played = ringviz("replay", "--headless", "./my-first", cwd=tmp_path)
    assert "all hold" in played.stdout


@pytest.mark.skipif(shutil.which("nasm") is None, reason="needs NASM")
def test_the_image_of_a_new_scenario_is_that_of_its_source(tmp_path: Path) -> None:
    made(tmp_path, "scenario", "mine")
    assert verify(load_scenario(tmp_path / "mine")) == ()


def test_a_new_lesson_goes_with_any_scenario_and_can_be_followed(tmp_path: Path) -> None:
    made(tmp_path, "scenario", "guest")
    made(tmp_path, "lesson", "guest")
    assert not (tmp_path / "guest" / "lesson.md").read_text().count("scenario =")
    made(tmp_path, "lesson", "other", "--scenario", "guest")
    made(tmp_path, "lesson", "third", "--scenario", "rings-tour")
    checked = ringviz("check", ".", cwd=tmp_path)
    assert (checked.returncode, checked.stdout) == (0, "guest: good\nother: good\nthird: good\n"), checked.stderr
    pages = ringviz("learn", "./other", "--plain", typed="\n" * 9, cwd=tmp_path, RINGVIZ_STATE=str(tmp_path / "state"))
    assert "The end. " in pages.stdout
    assert "{{" not in pages.stdout
    quiz = ringviz("quiz", "other", "--json", cwd=tmp_path)
    assert '"title": "Other"' in quiz.stdout
    assert "all hold" in ringviz("replay", "--headless", "third", cwd=tmp_path).stdout


def test_a_new_replay_and_a_new_profile_are_taken_where_such_are_asked_for(tmp_path: Path) -> None:
    made(tmp_path, "replay", "tour")
    assert "all hold" in ringviz("replay", "--headless", "tour.replay.toml", cwd=tmp_path).stdout
    made(tmp_path, "profile", "mine", "--base", "haswell")
    assert "--cpu mine.toml" in (tmp_path / "mine.toml").read_text(encoding="utf-8").splitlines()[1]
    shown = ringviz("cpus", "mine.toml", cwd=tmp_path)
    assert shown.stdout.startswith("mine.toml: ")
    checked = ringviz("check", "mine.toml", "tour.replay.toml", cwd=tmp_path)
    assert (checked.returncode, checked.stdout.count(": good\n")) == (0, 2)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("scenario", "My First"), '"My First" is no name: expected small letters, digits'),
        (("scenario", "../up"), '"../up" is no name'),
        (("scenario", "a" * 41), "40 characters at most"),
        (("scenario", "popf-hole"), '"popf-hole" is a scenario already'),
        (("lesson", "x86-hole"), '"x86-hole" is a lesson already'),
        (("lesson", "a", "--scenario", "rings-tor"), 'did you mean "rings-tour"?'),
        (("replay", "a", "--at", "nowhere"), "--at nowhere: no such folder"),
        (("profile", "a", "--base", "hasvell"), 'did you mean "haswell"?'),
    ],
)
def test_what_cannot_be_made_is_one_line_and_nothing_is_left(
    tmp_path: Path, arguments: tuple[str, ...], complaint: str
) -> None:
    assert complaint in one_complaint(ringviz("new", *arguments, cwd=tmp_path))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "taken"),
    [
        (("scenario", "mine"), "mine/guest.bin"),
        (("lesson", "mine"), "mine/quiz.toml"),
        (("replay", "mine"), "mine.replay.toml"),
        (("profile", "mine"), "mine.toml"),
    ],
)
def test_nothing_is_overwritten(tmp_path: Path, arguments: tuple[str, ...], taken: str) -> None:
    path = tmp_path / taken
    path.parent.mkdir(exist_ok=True)
    path.write_text("mine")
    complaint = one_complaint(ringviz("new", *arguments, cwd=tmp_path))
    assert f"{taken}: is there already; nothing was written" in complaint
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == [path]
    assert path.read_text() == "mine"
