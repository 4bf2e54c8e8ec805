"""`learn` and `quiz`: a lesson can be followed by reading and typing alone, and a course server can grade."""

import json
from pathlib import Path

import pytest

from tests.cli.program import one_complaint, ringviz, valid_json


def test_the_course_is_listed() -> None:
    result = ringviz("learn")
    assert result.returncode == 0
    assert "where-am-i" in result.stdout
    lessons = valid_json(ringviz("list", "--json").stdout, "list")["lessons"]
    assert {"id": "where-am-i", "title": "Where am I? Rings and the CPL"} in lessons


def test_a_lesson_is_followed_page_by_page_and_goes_on_where_it_was_left(tmp_path: Path) -> None:
    state = str(tmp_path)
    first = ringviz("learn", "where-am-i", typed="z\n\nq\n", RINGVIZ_STATE=state)
    assert first.returncode == 0
    assert "1 of 8. The machine before anything has run" in first.stdout
    assert "Expected one letter from a to d." in first.stdout
    assert "It believes that it is in ring 0; really it is in ring 0." in first.stdout
    assert "Page 2 of 8 is kept" in first.stdout
    second = ringviz("learn", "1", typed="\n" * 12, RINGVIZ_STATE=state)
    assert "1 of 8." not in second.stdout
    assert "2 of 8. The kernel sets up the machine" in second.stdout
    assert "The end." in second.stdout
    assert max(len(line) for line in second.stdout.splitlines()) <= 110
    assert "read" in ringviz("learn", RINGVIZ_STATE=state).stdout
    kept = valid_json(ringviz("learn", "--json", RINGVIZ_STATE=state).stdout, "learn")["lessons"]
    assert [row["order"] for row in kept] == sorted(row["order"] for row in kept)
    (done,) = [row for row in kept if row["page"] > 1]
    assert (done["id"], done["page"], done["read"], done["passed"]) == ("where-am-i", done["pages"], True, False)


def test_what_an_instruction_will_do_stands_beside_it_only_where_nobody_is_asked(tmp_path: Path) -> None:
    pages = ringviz("learn", "trap-and-emulate", typed="\n" * 12, RINGVIZ_STATE=str(tmp_path)).stdout
    first, second, third = (pages.split(f"\n{number} of 8. ")[1].split(" of 8. ")[0] for number in (1, 2, 3))
    assert "lgdt" not in first  # its question is on the second page
    assert "|   → 00100026  lgdt [0x102170]\n" in second
    assert "[traps]" not in second
    assert "lgdt [0x102170]  [traps]\n" in third


def test_a_quiz_is_graded_for_a_course_server(tmp_path: Path) -> None:
    questions = valid_json(ringviz("quiz", "where-am-i", "--json", "--seed", "3").stdout, "quiz")
    assert all("answer" not in question for question in questions["questions"])
    file = tmp_path / "answers.toml"
    file.write_text('cpl-place = "a"\n', encoding="utf-8")
    failed = ringviz("quiz", "where-am-i", "--answers", str(file), "--json", "--seed", "3")
    assert failed.returncode == 1
    solved = valid_json(failed.stdout, "grade")
    assert not solved["passed"]
    right = {question["id"]: question["answer"] for question in solved["questions"]}
    (tmp_path / "answers.json").write_text(json.dumps(right), encoding="utf-8")
    passed = ringviz("quiz", "where-am-i", "--answers", str(tmp_path / "answers.json"), "--json", "--seed", "3")
    assert passed.returncode == 0
    assert valid_json(passed.stdout, "grade")["percent"] == 100
    assert (
        passed.stdout
        == ringviz("quiz", "where-am-i", "--answers", str(tmp_path / "answers.json"), "--json", "--seed", "3").stdout
    )


def test_an_answer_belongs_to_its_variant(tmp_path: Path) -> None:
    for seed in ("0", "7"):
        ringviz("learn", "1", "--again", "--seed", seed, typed="a\nq\n", RINGVIZ_STATE=str(tmp_path))
    kept = json.loads((tmp_path / "progress.json").read_text(encoding="utf-8"))["lessons"]["where-am-i"]["answers"]
    assert list(kept.values()) == ["a", "a"]
    assert [key.rpartition("#")[2] for key in kept if "#" in key] == ["7"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("cpl-place = 5", "cpl-place: found 5, expected one letter from a to d"),
        ('cpl-plac = "a"', 'cpl-plac: no question of where-am-i; did you mean "cpl-place"?'),
        ("cpl-place = [1]", "answers.toml: cpl-place: expected a text or a number"),
        ("cpl-place", "answers.toml: "),
    ],
)
def test_wrong_answers_files_end_with_one_line(tmp_path: Path, text: str, complaint: str) -> None:
    file = tmp_path / "answers.toml"
    file.write_text(text, encoding="utf-8")
    assert complaint in one_complaint(ringviz("quiz", "where-am-i", "--answers", str(file)))


def test_an_unknown_lesson_is_named() -> None:
    assert 'did you mean "where-am-i"?' in one_complaint(ringviz("learn", "where-am-y"))


def test_check_goes_through_a_lesson(tmp_path: Path) -> None:
    lesson = Path("ringviz/lessons/course/where-am-i/lesson.md").read_text(encoding="utf-8")
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "lesson.md").write_text(lesson.replace("before gate 1", "before gate 99"), encoding="utf-8")
    assert 'never comes to "before gate 99"' in one_complaint(ringviz("check", str(folder)))
