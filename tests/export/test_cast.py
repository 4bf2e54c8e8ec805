import json

from ringviz.export.cast import CastFrame, cast_of

FRAMES = [CastFrame(("\x1b[1mone\x1b[0m", "ring −1"), 1.5), CastFrame(("two",), 0.25)]


def test_a_recording_has_a_head_and_a_line_for_each_change() -> None:
    lines = [json.loads(line) for line in cast_of(FRAMES, (80, 24), "A title")]
    assert lines[0] == {"version": 2, "width": 80, "height": 24, "title": "A title"}
    assert [line[:2] for line in lines[1:]] == [[0.0, "o"], [1.5, "o"], [1.75, "o"]]
    assert lines[1][2].endswith("\x1b[1mone\x1b[0m\r\nring −1")
    assert all(line[2].startswith("\x1b[?25l\x1b[H\x1b[2J") for line in lines[1:3])


def test_every_line_ends_itself_and_no_other_line_does() -> None:
    for line in cast_of(FRAMES, (80, 24), "t"):
        assert line.endswith("\n")
        assert line.count("\n") == 1
    assert len(list(cast_of([], (80, 24), "t"))) == 1
