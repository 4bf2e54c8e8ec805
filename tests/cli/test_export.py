import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from tests.cli.program import one_complaint, ringviz

RUN = ("export", "hello-serial", "-t", "trap-emulate")


def test_a_picture_of_a_step_is_svg_with_what_is_on_the_screen() -> None:
    done = ringviz(*RUN, "--format", "svg", "--at", "trap")
    assert done.returncode == 0, done.stderr
    assert ElementTree.fromstring(done.stdout).tag.endswith("svg")
    text = done.stdout.replace("&#160;", " ")
    assert "LGDT [0x1010e0]" in text or "lgdt [0x1010e0]" in text


@pytest.mark.parametrize("trace_format", ["jsonl", "trace"])
def test_the_formats_of_a_trace_are_those_of_the_trace_command(trace_format: str) -> None:
    exported = ringviz(*RUN, "--format", trace_format).stdout
    assert exported == ringviz("trace", *RUN[1:], "--format", trace_format).stdout


def test_a_trace_for_perfetto_and_a_page_are_the_same_bytes_twice(tmp_path: Path) -> None:
    for export_format in ("perfetto", "html"):
        first, second = tmp_path / "a", tmp_path / "b"
        for path in (first, second):
            done = ringviz(
                *RUN,
                "--format",
                export_format,
                "-o",
                str(path),
                PYTHONHASHSEED=path.name.replace("a", "1").replace("b", "2"),
            )
            assert (done.returncode, done.stdout) == (0, ""), done.stderr
        assert first.read_bytes() == second.read_bytes()


def test_a_replay_becomes_a_recording_with_its_words_below_the_screen(tmp_path: Path) -> None:
    script = tmp_path / "a.replay.toml"
    script.write_text(
        'schema = 1\ntitle = "T"\nscenario = "hello-serial"\ntechnique = "vt-x"\n'
        '[[beat]]\ntitle = "One"\nsay = "Look at the rings."\nfocus = "rings"\n'
        '[[beat]]\ntitle = "Two"\ngo = { event = "exit" }\nfocus = "vmm"\nzoom = true\nask = "Why?"\nanswer = "I/O"\n',
        encoding="utf-8",
    )
    done = ringviz("export", str(script), "--format", "cast")
    assert done.returncode == 0, done.stderr
    head, *rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert (head["version"], head["width"], head["height"], head["title"]) == (2, 120, 40, "ringviz: T")
    assert [round(row[0], 1) for row in rows] == sorted(round(row[0], 1) for row in rows)
    assert len(rows) == 4
    assert "Look at the rings." in rows[0][2]
    assert "Why?" in rows[1][2]
    assert "I/O" in rows[2][2]
    assert all(row[2].count("\r\n") == 39 for row in rows[:3])
    assert ringviz("export", str(script), "--format", "cast").stdout == done.stdout


def test_what_cannot_be_exported_is_one_line(tmp_path: Path) -> None:
    assert 'did you mean "html"' in one_complaint(ringviz(*RUN, "--format", "htm"))
    assert "the run ends after 3,127" in one_complaint(ringviz(*RUN, "--format", "svg", "--at", "9999"))
    assert 'found "9x9", expected columns x rows' in one_complaint(ringviz(*RUN, "--format", "svg", "--size", "9x9"))
    script = str(tmp_path / "a.replay.toml")
    assert "expected --format cast" in one_complaint(ringviz("export", script, "--format", "svg"))
