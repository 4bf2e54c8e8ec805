import json
from pathlib import Path

from tests.cli.program import one_complaint, ringviz

REPLAY = """schema = 1
title = "Two beats"
scenario = "hello-serial"
technique = "trap-emulate"

[made_with]
image = "00"
engine = "00"
profile = "00"

[[beat]]
title = "A trap"
go = { event = "trap" }
say = "The kernel loads its table."
[beat.expect]
event.kind = "trap"

[[beat]]
title = "The end"
go = { to = "end" }
[beat.expect]
exit_code = 3
"""


def _file(folder: Path, text: str) -> str:
    path = folder / "a.replay.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_an_expectation_that_fails_names_beat_step_expected_and_found(tmp_path: Path) -> None:
    done = ringviz("replay", _file(tmp_path, REPLAY), "--headless")
    assert done.returncode == 1
    first, second = done.stderr.splitlines()
    assert first.endswith('a.replay.toml: beat 2 "The end", step 3,127: exit_code: expected 3, found 1')
    assert second.endswith("since it was recorded, the guest's image, ringviz and the CPU's profile changed")
    assert "2 beats, 2 expectations: 1 not so" in done.stdout


def test_a_replay_that_holds_is_told_as_a_story_and_can_be_stamped(tmp_path: Path) -> None:
    path = _file(tmp_path, REPLAY.replace("exit_code = 3", "exit_code = 1"))
    done = ringviz("replay", path, "--headless")
    assert (done.returncode, done.stderr) == (0, "")
    assert "The kernel loads its table." in done.stdout
    assert "what it expects still holds" in done.stdout
    assert ringviz("replay", path, "--stamp").returncode == 0
    assert 'image = "00"' not in Path(path).read_text(encoding="utf-8")
    report = json.loads(ringviz("replay", path, "--json").stdout)
    assert (report["holds"], report["changed"]) == (True, [])
    assert [beat["position"] for beat in report["beats"]] == [3, 3127]


def test_a_replay_that_cannot_be_played_is_one_line(tmp_path: Path) -> None:
    wrong = _file(tmp_path, REPLAY.replace('event = "trap"', 'event = "trip"'))
    assert 'beat 1: go.event: found "trip"' in one_complaint(ringviz("replay", wrong, "--headless"))
    assert 'beat 1: go.event: found "trip"' in one_complaint(ringviz("check", wrong))
    assert "no such file" in one_complaint(ringviz("replay", str(tmp_path / "b.replay.toml")))


OF_A_HOST = """schema = 1
host = "noisy-neighbour"
title = "A host"

[[beat]]
title = "Its weights"
tell = { machine = "noisy", do = "weight", value = 300 }
say = "Twice as much."
expect = { "weight.noisy" = 300, "weight.neighbour" = 1 }
"""


def test_a_hosts_lecture_is_played_checked_and_stamped_as_a_guests_replay_is(tmp_path: Path) -> None:
    path = _file(tmp_path, OF_A_HOST)
    wrong = 'a.replay.toml: beat 1 "Its weights", cycle 0: weight.neighbour: expected 1, found 256'
    done = ringviz("replay", path, "--headless")
    assert done.returncode == 1
    assert done.stderr.strip().endswith(wrong)
    assert "The host is told: weight noisy 300" in done.stdout
    assert "1 beats, 2 expectations: 1 not so" in done.stdout
    assert one_complaint(ringviz("check", path)).strip().endswith(wrong)
    assert ringviz("check", "--quick", path).returncode == 0
    path = _file(tmp_path, OF_A_HOST.replace("= 1 }", "= 256 }"))
    assert ringviz("replay", path, "--stamp").returncode == 0
    assert "[made_with]" in Path(path).read_text(encoding="utf-8")
    report = json.loads(ringviz("replay", path, "--json").stdout)
    assert (report["host"], report["holds"], report["changed"]) == ("noisy-neighbour", True, [])
    assert "needs a terminal" in one_complaint(ringviz("lecture", path))
