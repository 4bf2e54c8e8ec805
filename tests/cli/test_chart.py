"""`ringviz chart`: drawn, as a table, by causes, as JSON and as a picture."""

import json
from pathlib import Path

import pytest

from tests.cli.program import one_complaint, ringviz

GUEST = "hello-serial"
SOFTWARE = ("-t", "binary-translation")


def test_the_forms_of_one_chart_say_the_same(tmp_path: Path) -> None:
    drawn = ringviz("chart", GUEST, *SOFTWARE)
    assert (drawn.returncode, drawn.stderr) == (0, "")
    assert "B Binary translation" in drawn.stdout
    assert "cycles are modelled" in drawn.stdout
    assert max(map(len, drawn.stdout.splitlines())) <= 80
    told = json.loads(ringviz("chart", GUEST, *SOFTWARE, "--json").stdout)
    (scenario,) = told["scenarios"]
    points = {point["cpu"]: point for point in scenario["points"]}
    table = ringviz("chart", GUEST, *SOFTWARE, "--table").stdout.splitlines()
    for cpu, point in points.items():
        (row,) = [line for line in table if f" {cpu} " in line and "binary-translation" in line and "," in line]
        assert f"{point['cycles']:,}" in row
        assert f"{point['slowdown']:.2f}" in row
    causes = ringviz("chart", GUEST, *SOFTWARE, "--causes", "nehalem").stdout
    for cause in points["nehalem"]["rows"]:
        assert f"{cause['count']:,}" in causes
        assert cause["cause"] in causes
    picture = tmp_path / "chart.svg"
    assert ringviz("chart", GUEST, *SOFTWARE, "--svg", str(picture)).returncode == 0
    assert f"{points['skylake']['slowdown']:.2f}x" in picture.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nonsense",), 'scenario "nonsense" unknown'),
        ((GUEST, "-t", "nonsense"), 'technique "nonsense" is unknown'),
        ((GUEST, "--causes", "z80"), 'CPU "z80" is unknown'),
        ((GUEST, GUEST, "--svg", "x.svg"), "--svg: found 2 scenarios, expected one"),
    ],
)
def test_what_is_wrong_with_the_question_is_said_in_one_line(arguments: tuple[str, ...], words: str) -> None:
    assert words in one_complaint(ringviz("chart", *arguments))


def test_a_profile_of_ones_own_is_a_point_of_the_chart(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('schema = 1\nbase = "p4-672"\n[costs]\nexit = 1\n', encoding="utf-8")
    told = json.loads(
        ringviz("chart", GUEST, "-t", "vt-x", "--cpu", "p4-672", "--cpu", "mine.toml", "--json", cwd=tmp_path).stdout
    )
    theirs, mine = told["scenarios"][0]["points"]
    assert (theirs["cpu"], mine["cpu"]) == ("p4-672", "mine.toml")
    assert mine["cycles"] < theirs["cycles"]
