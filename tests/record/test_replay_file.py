from pathlib import Path

import pytest

from ringviz.errors import ReplayError
from ringviz.record.made_with import MadeWith
from ringviz.record.replay import Beat, Machine, Question, Replay, ToEvent, ToPlace, ToStep, Wanted
from ringviz.record.replay_check import replay_problems
from ringviz.record.replay_file import format_replay, load_replay, stamped

HEAD = 'schema = 1\ntitle = "T"\nscenario = "popf-hole"\n'


def _load(folder: Path, text: str) -> Replay:
    path = folder / "a.replay.toml"
    path.write_text(text, encoding="utf-8")
    return load_replay(path)


def test_a_beat_says_where_what_and_what_must_be_so(tmp_path: Path) -> None:
    replay = _load(
        tmp_path,
        HEAD
        + """
technique = "trap-emulate"
[[beat]]
title = "The silence"
go = { event = "silent", instruction = "popf", times = 2 }
focus = "cpu"
zoom = true
say = "Nothing."
ask = "What now?"
choices = ["a trap", "nothing"]
answer = "nothing"
wait = 1.5
compare = ["native", "vt-x"]
[beat.expect]
guest.IF = 0
event.kind = "silent"
cycles.overhead = "> 1_000"
console_has = "What"
differs.IF = true
""",
    )
    assert replay.machine == Machine("trap-emulate")
    (beat,) = replay.beats
    assert beat.go == ToEvent("silent", 2, "popf")
    assert (beat.focus, beat.is_zoomed, beat.wait_seconds) == ("cpu", True, 1.5)
    assert beat.ask == Question("What now?", ("a trap", "nothing"), "nothing")
    assert beat.expect == (
        Wanted("guest.IF", "==", 0),
        Wanted("event.kind", "==", "silent"),
        Wanted("cycles.overhead", ">", 1000),
        Wanted("console", "has", "What"),
        Wanted("differs.IF", "==", True),
    )


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('schema = 2\ntitle = "T"', "a.replay.toml: schema: found 2, expected 1"),
        ("schema = 1", "a.replay.toml: title: missing, expected a text in quotes"),
        ('schema = 1\ntitle = "T"\n[[beat]]\ntitle = "x"', "scenario: missing, expected an id"),
        (HEAD, "a.replay.toml: beat: missing, expected one or more: [[beat]]"),
        (HEAD + "[[beat]]", "beat 1: title: missing"),
        (HEAD + '[[beat]]\ntitle = "x"\ngo = { event = "silnt" }', 'go.event: found "silnt", expected one of any'),
        (HEAD + '[[beat]]\ntitle = "x"\ngo = { event = "silnt" }', 'did you mean "silent"?'),
        (HEAD + '[[beat]]\ntitle = "x"\ngo = { step = 1, by = 2 }', "go: found step and by, expected one of step"),
        (HEAD + '[[beat]]\ntitle = "x"\ngo = { step = 1, times = 2 }', "go.times: given with step, expected only"),
        (HEAD + '[[beat]]\ntitle = "x"\nstep = 1', "beat 1: step: unknown key"),
        (HEAD + '[[beat]]\ntitle = "x"\nfocus = "ring"', 'did you mean "rings"?'),
        (HEAD + '[[beat]]\ntitle = "x"\nzoom = true', "zoom: given without focus, expected the panel to zoom"),
        (HEAD + '[[beat]]\ntitle = "x"\nanswer = "y"', "answer: given without ask, expected a question"),
        (
            HEAD + '[[beat]]\ntitle = "x"\nask = "?"\nchoices = ["a", "b"]\nanswer = "c"',
            'answer: found "c", expected one of the choices',
        ),
        (HEAD + '[[beat]]\ntitle = "x"\n[beat.expect]\nrings = 0', "expect.rings: unknown, expected one of position"),
        (
            HEAD + '[[beat]]\ntitle = "x"\n[beat.expect]\nguest.iff = 0',
            "expect.guest.iff: unknown, expected a register",
        ),
        (
            HEAD + '[[beat]]\ntitle = "x"\n[beat.expect]\nring = "one"',
            'expect.ring: found "one", expected a whole number',
        ),
        (HEAD + '[[beat]]\ntitle = "x"\n[beat.expect]\nring_has = 1', "expect.ring_has: is no text"),
        (HEAD + '[[beat]]\ntitle = "x"\n[beat.expect]\nconsole = 1', "expect.console: found 1, expected a text"),
        (HEAD + "[[beat]\n", "a.replay.toml: not TOML: "),
        (HEAD + 'technique = "vtx"\n[[beat]]\ntitle = "x"', 'technique: found "vtx", expected one of native'),
    ],
)
def test_what_an_author_gets_wrong_is_one_line_with_file_beat_and_key(
    tmp_path: Path, text: str, complaint: str
) -> None:
    with pytest.raises(ReplayError) as error:
        _load(tmp_path, text)
    assert complaint in str(error.value)
    assert str(error.value).isprintable()


@pytest.mark.parametrize(
    ("beat", "complaint"),
    [
        ('go = { at = "start.marker_popf" }', 'beat 1: go.at: found "start.marker_popf", expected an address'),
        ('go = { at = "start.marker_popf" }', "did you mean"),
        ('technique = "vt-x"\ncpu = "k8"', "beat 1: "),
        ('technique = "vt-x"\ncontrols = ["+nonsense"]', "beat 1: "),
        ("[beat.expect]\nmemory.nowhere = 'AA'", 'expect.memory.nowhere: found "nowhere"'),
    ],
)
def test_what_cannot_be_played_is_told_without_playing(tmp_path: Path, beat: str, complaint: str) -> None:
    replay = _load(tmp_path, HEAD + f'[[beat]]\ntitle = "x"\n{beat}\n')
    assert complaint in next(replay_problems(replay))


def test_a_replay_that_is_written_reads_back_the_same(tmp_path: Path) -> None:
    beats = (
        Beat("One", go=ToStep(-3, is_relative=True), say='Two "lines"\n\nand a \\ in them'),
        Beat("Two", Machine("vt-x", "shadow", None, ("+cpuid",)), ToPlace("start.marker_told", 3), "card", True),
        Beat(
            "Three",
            ask=Question("?", ("a", "b"), "b"),
            compare=("native", "vt-x"),
            expect=(
                Wanted("guest.IF", "==", 0),
                Wanted("slowdown", ">=", 1.5),
                Wanted("console", "has", "ä\n"),
                Wanted("memory.0x100 0", "==", "00"),
                Wanted("event.escaped", "==", False),
            ),
            wait_seconds=2.5,
        ),
    )
    made = MadeWith("0a", "1b", "2c")
    path = tmp_path / "a.replay.toml"
    replay = Replay(path, path.name, "T", "popf-hole", Machine("native"), beats, made, "S")
    path.write_text(format_replay(replay), encoding="utf-8")
    read = load_replay(path)
    assert (read.title, read.summary, read.scenario, read.machine) == ("T", "S", "popf-hole", Machine("native"))
    assert read.beats == beats
    assert read.made_with == made


def test_a_stamp_changes_nothing_but_the_hashes() -> None:
    text = HEAD + '\n# a remark of the author\n[[beat]]\ntitle = "x"\n'
    once = stamped(text, MadeWith("0a", "1b", "2c"))
    twice = stamped(once, MadeWith("ff", "1b", "2c"))
    assert "# a remark of the author" in once
    assert twice == once.replace("0a", "ff")
    assert stamped(once, MadeWith("0a", "1b", "2c")) == once
