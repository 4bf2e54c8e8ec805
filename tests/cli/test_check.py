import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ringviz.cli.check import problems_of
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
    result = ringviz("check", "--quick", str(shipped))  # tests/record/test_replays.py plays the replays
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


# ---- one broken file for each kind of mistake ------------------------------------------------------------------------

BEAT = 'schema = 1\ntitle = "T"\nscenario = "hello-serial"\ntechnique = "trap-emulate"\n[[beat]]\ntitle = "B"\n'


@pytest.mark.parametrize(
    ("beat", "expected"),
    [
        ('technique = "vt-z"', 'beat 1: technique: found "vt-z", expected one of native'),
        ('focus = "ring"', 'beat 1: focus: found "ring", expected one of rings, code'),
        ('focus = "vmm"', 'beat 1 "B": focus: found "vmm", but trap-emulate keeps nothing beside the guest\'s code'),
        ('go = { at = "start.nowhere" }', 'beat 1: go.at: found "start.nowhere", expected an address'),
        ('go = { at = "0x100000" }', 'beat 1 "B", step 3,127: go: expected the guest to come to 0x100000'),
        ("go = { step = 9_999_999 }", 'beat 1 "B", step 3,127: go: expected step 9,999,999, found the end of the run'),
        ('go = { event = "silent", times = 99 }', "go: expected event silent, 99 times, found the end of the run"),
        ("[beat.expect]\nringg = 1", "beat 1: expect.ringg: unknown, expected one of position"),
        ("[beat.expect]\nring = 0", 'beat 1 "B", step 0: ring: expected 0, found 1'),
        ('[beat.expect]\n"memory.nowhere" = "00"', 'beat 1: expect.memory.nowhere: found "nowhere"'),
        ("[beat.expect]\nfidelity.paravit = true", "expect.fidelity.paravit: unknown"),
        ('compare = ["native", "vt-z"]', "beat 1: compare: found a list, expected a list, each one of native"),
        ('ask = "?"\nchoices = ["a", "b"]\nanswer = "c"', 'beat 1: answer: found "c", expected one of the choices'),
    ],
)
def test_what_is_wrong_with_a_replay_is_named_with_beat_and_expectation(
    tmp_path: Path, beat: str, expected: str
) -> None:
    (tmp_path / "a.replay.toml").write_text(BEAT + beat + "\n", encoding="utf-8")
    (problem,) = problems_of(tmp_path / "a.replay.toml")
    assert expected in problem


def test_each_mistake_of_a_lesson_has_its_line(tmp_path: Path) -> None:
    ringviz("new", "lesson", "mine", cwd=tmp_path)
    lesson, quiz = tmp_path / "mine" / "lesson.md", tmp_path / "mine" / "quiz.toml"
    text = lesson.read_text(encoding="utf-8")
    for old, new in (
        ('to = "start"\nlook = "rings"', 'to = "start.nowhere"\nlook = "rings"'),
        ("{{native retired}}", "{{native retierd}}"),
        ('figure = "vt-x vmm-calls"', 'figure = "vt-x console"'),
        ('to = "end"\nlook = "overhead"', 'to = "before silent 1"\nlook = "overhead"'),
        ('["bare metal", "native direct"]', '["emulation once more", "emulation direct"]'),
        ('to = "start"\nlook = "code"', 'to = "start"\nlook = "vmm"'),
    ):
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    lesson.write_text(f"{text}\n{{{{native retired}}}}\n", encoding="utf-8")
    wrong = quiz.read_text(encoding="utf-8").replace('"emulation direct", "0"', '"emulation direct", "7"')
    quiz.write_text(wrong.replace('id = "next"', 'id = "the-first-page"'), encoding="utf-8")
    result = ringviz("check", "mine", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    complaints = [line.removeprefix("ringviz: ") for line in result.stderr.splitlines()]
    assert [line.split(" ", 1)[0] for line in complaints] == [
        "mine/lesson.md:16:", "mine/lesson.md:16:", "mine/lesson.md:", "mine/lesson.md:36:", "mine/lesson.md:",
        "mine/lesson.md:61:", "mine/lesson.md:", "mine/quiz.toml:", "mine/quiz.toml:",
    ]  # fmt: skip
    for words in (
        'section “The first page”: "start.nowhere" is no step',
        '{{native retierd}}: "native retierd" is no figure',
        "question the-first-page: figure: vt-x console is no whole number",
        'section “The same guest, elsewhere”: hello-serial under vt-x never comes to "before silent 1"',
        "question the-same-guest-elsewhere: items: expected numbers, no two of them equal",
        'go: look: found "vmm", but native keeps nothing beside the guest\'s code',
        "section “For the teacher”: figures are filled in on the pages only",
        "question the-first-page: expected an id of its own, a question of the lesson has it",
        "question none: check: emulation direct is 0, and not 7",
    ):
        assert any(words in line for line in complaints), (words, complaints)


def test_what_is_wrong_with_a_profile_or_a_leftover_is_told_too(copied: Path) -> None:
    profile = copied.parent / "mine.toml"
    profile.write_text('schema = 1\nbase = "p4-672"\n[costs]\nvm-exti = 5\n', encoding="utf-8")
    assert "mine.toml: costs.vm-exti: " in one_complaint(ringviz("check", str(profile)))
    _replace("marker_segments = ", "marker_segment = ")(copied)
    complaint = one_complaint(ringviz("check", "--quick", str(copied)))
    assert "scenario.toml: leftovers.marker_segment: expected a label of guest.asm" in complaint
