"""Lectures of hosts: what is shipped holds, going back gives the same host, and what is wrong is told in one line."""

from pathlib import Path

import pytest

from ringviz.errors import ReplayError
from ringviz.record.machines.host_check import host_lecture_problems
from ringviz.record.machines.host_file import host_ids
from ringviz.record.machines.host_lecture import HOST_PANELS
from ringviz.record.machines.host_lecture_file import host_lecture_of, load_host_lecture
from ringviz.record.machines.host_looks import HOST_LOOKS
from ringviz.record.machines.host_player import HostPlayed, playing
from ringviz.record.pace import beat_seconds

HEAD = 'schema = 1\nhost = "noisy-neighbour"\ntitle = "T"\nown_orders = false\n'


def written(folder: Path, beats: str, head: str = HEAD) -> Path:
    path = folder / "own.replay.toml"
    path.write_text(head + beats, encoding="utf-8")
    return path


@pytest.mark.parametrize("host", host_ids())
def test_the_lecture_of_a_shipped_host_is_what_its_author_expected(host: str) -> None:
    path = host_lecture_of(host)
    assert path is not None
    assert list(host_lecture_problems(path)) == []
    lecture = load_host_lecture(path)
    assert lecture.host.id == host
    assert all(beat.expect and beat.say and beat.focus in HOST_PANELS for beat in lecture.beats)
    assert any(beat.ask is not None for beat in lecture.beats)
    assert 1 <= sum(map(beat_seconds, lecture.beats)) / 60 <= 5


def test_going_back_gives_the_same_host_and_a_beat_follows_its_order(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """
[[beat]]
title = "one"
expect = { clock = 0, "state.noisy" = "running", "fidelity.none" = 1 }
""",
    )
    with pytest.raises(ReplayError, match=r"beat 1: expect\.fidelity\.none: unknown, expected one of clock, "):
        load_host_lecture(path)
    path = written(
        tmp_path,
        """
[[beat]]
title = "one"
go = { by = 1_000_000 }
expect = { "cap.noisy" = 0, "share.noisy" = "> 70" }

[[beat]]
title = "two"
tell = [{ machine = "noisy", do = "cap", value = 20 }, { machine = "neighbour", do = "pause" }]
expect = { "cap.noisy" = 20, "state.neighbour" = "paused" }

[[beat]]
title = "three"
go = { until = { "share.noisy" = "< 25", "cap.noisy" = 20 } }
expect = { "share.neighbour" = "< 1" }
""",
    )

    def told(played: HostPlayed | None) -> tuple[object, ...]:
        assert played is not None
        assert played.holds, played.failures
        return played.number, played.clock, [finding.found for finding in played.findings]

    with playing(load_host_lecture(path)) as player:
        forth = [told(player.next()) for _ in range(3)]
        assert player.is_over
        assert player.next() is None
        assert told(player.go_to(1)) == forth[0]
        assert player.run.machines["noisy"].definition.cap_percent == 0
        assert told(player.go_to(3)) == forth[2]


def test_what_does_not_hold_is_told_with_beat_and_cycle(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """
[[beat]]
title = "wrong"
expect = { "weight.noisy" = 1, audit_has = "nothing" }

[[beat]]
title = "refused"
tell = { machine = "noisy", do = "migrate" }

[[beat]]
title = "never"
go = { cycles = 5 }
""",
    )
    told = list(host_lecture_problems(path))
    assert [line.split("toml: ")[1] for line in told] == [
        'beat 1 "wrong", cycle 0: weight.noisy: expected 1, found 768',
        'beat 1 "wrong", cycle 0: audit: expected has "nothing", found ""',
        'beat 2 "refused", cycle 0: tell: begin to move noisy: refused: this host knows of no other',
    ]


def test_a_moment_that_never_comes_and_one_that_is_past_are_problems(tmp_path: Path) -> None:
    host = tmp_path / "short.toml"
    shipped = Path("ringviz/record/machines/hosts/noisy-neighbour.toml").read_text(encoding="utf-8")
    host.write_text(shipped.replace("cycles = 9_000_000", "cycles = 40_000"), encoding="utf-8")
    head = HEAD.replace("noisy-neighbour", "short.toml")
    never = written(tmp_path, '[[beat]]\ntitle = "never"\ngo = { until = { "cap.noisy" = 5 } }\n', head)
    assert "go: expected cap.noisy 5, found the end of the demonstration" in next(host_lecture_problems(never))
    back = '[[beat]]\ntitle = "on"\ngo = { to = "end" }\n[[beat]]\ntitle = "back"\ngo = { cycles = 3 }\n'
    (told,) = host_lecture_problems(written(tmp_path, back, head))
    assert "go: expected cycle 3, but the host stands beyond it" in told


@pytest.mark.parametrize(
    ("beat", "complaint"),
    [
        ('tell = { machine = "noisi", do = "stop" }', r'tell\.machine: no machine "noisi".*did you mean "noisy"'),
        ('tell = { machine = "noisy", do = "cap" }', r"tell: value: missing, expected a cap in percent"),
        ('tell = "stop"', r"tell: found"),
        ("go = { cycles = 5, by = 3 }", r"go: found cycles and by, expected one of"),
        ("go = { step = 5 }", r"go\.step: unknown key, expected cycles, by, until, to|go\.step: unknown key"),
        ('go = { to = "start" }', r"go\.to: found .*, expected one of end"),
        ('go = { until = { "fired.promise" = 1 } }', r'no rule "promise", expected one of none'),
        ('focus = "rings"', r"focus: found .*, expected one of machines, gantt"),
        ('expect = { "share.nobody" = 3 }', r'expect\.share\.nobody: no machine "nobody"'),
        ('expect = { "round.two" = 3 }', r"expect\.round\.two: unknown"),
        ("zoom = true", r"zoom: given without focus"),
        ('technique = "vt-x"', r"technique: unknown key"),
    ],
)  # fmt: skip
def test_a_broken_beat_is_refused_in_one_line(tmp_path: Path, beat: str, complaint: str) -> None:
    path = written(tmp_path, f'[[beat]]\ntitle = "b"\n{beat}\n')
    with pytest.raises(ReplayError, match=complaint) as told:
        load_host_lecture(path)
    assert "own.replay.toml: beat 1" in str(told.value)
    assert "\n" not in str(told.value)


def test_an_unknown_host_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "", HEAD.replace("noisy-neighbour", "nosy-neighbour"))
    with pytest.raises(ReplayError, match=r'host "nosy-neighbour" unknown.*did you mean "noisy-neighbour"'):
        load_host_lecture(path)


def test_everything_that_can_be_looked_at_has_a_sentence_and_a_key_of_its_own() -> None:
    assert all(row.title and row.kind in (int, float, str, bool) for row in HOST_LOOKS.values())
    assert all(bool(row.member) == name.endswith(".") for name, row in HOST_LOOKS.items())
