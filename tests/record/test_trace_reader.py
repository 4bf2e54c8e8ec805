import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from ringviz.errors import TraceError
from ringviz.record.trace_file import TraceEnding, heading_line, is_trace_file
from ringviz.record.trace_reader import TraceReader
from tests.cli.guests import from_bytes
from tests.record.traces import HEADING, event, lines, written


def _problem(path: Path) -> tuple[str, int]:
    with TraceReader(path) as reader:
        count = len(list(reader.events()))
        return reader.problem, count


def test_a_whole_trace_gives_back_what_was_written(tmp_path: Path) -> None:
    path = written(tmp_path / "a.rvtrace", "".join(lines(3)))
    with TraceReader(path) as reader:
        assert list(reader.events()) == [event(1), event(2), event(3)]
        assert reader.heading == HEADING
        assert reader.ending == TraceEnding(35, 3, "the guest halted")
        assert reader.problem == ""
    assert is_trace_file(path)


def test_every_cut_leaves_the_events_before_it_and_one_line_that_says_so(tmp_path: Path) -> None:
    whole = "".join(lines(3)).encode()
    ends = [len(part.encode()) for part in lines(3)]
    for size in range(0, len(whole), 7):
        path = tmp_path / "cut.rvtrace"
        path.write_bytes(whole[:size])
        problem, count = _problem(path)
        assert count == max(0, sum(sum(ends[: i + 1]) <= size for i in range(4)) - 1), size
        assert "\n" not in problem
        assert "the run was killed, or is still going" in problem


def test_every_flipped_bit_is_noticed_and_what_stands_before_it_is_given(tmp_path: Path) -> None:
    whole = bytearray("".join(lines(3)).encode())
    generator = random.Random(7)
    for _ in range(60):
        place = generator.randrange(len(whole))
        damaged = bytearray(whole)
        damaged[place] ^= 1 << generator.randrange(7)
        path = tmp_path / "damaged.rvtrace"
        path.write_bytes(damaged)
        problem, count = _problem(path)
        assert problem, (place, damaged[place])
        assert "\n" not in problem
        assert count <= max(0, whole[:place].count(b"\n") - 1), place


def test_a_missing_line_is_noticed(tmp_path: Path) -> None:
    rows = lines(3)
    del rows[2]
    problem, count = _problem(written(tmp_path / "a.rvtrace", "".join(rows)))
    assert count == 1
    assert "line 3 is event 3, expected 2" in problem


def test_a_file_that_is_no_trace_is_one_line(tmp_path: Path) -> None:
    problem, count = _problem(written(tmp_path / "a.rvtrace", "# A heading\n\nText.\n"))
    assert (count, "line 1 is no JSON; expected a trace" in problem) == (0, True)
    with pytest.raises(TraceError, match="cannot be read: No such file"):
        TraceReader(tmp_path / "nowhere.rvtrace")


def test_a_file_of_a_later_version_gives_what_can_be_understood(tmp_path: Path) -> None:
    rows = lines(3, replace(HEADING, version=9))
    rows.insert(2, '{"a line of a kind": "that is not known yet"}\n')
    problem, count = _problem(written(tmp_path / "a.rvtrace", "".join(rows)))
    assert count == 3
    assert "version 9, which this ringviz (up to 1) may not understand fully" in problem


def test_reading_goes_on_where_it_stopped_while_the_file_grows(tmp_path: Path) -> None:
    text = "".join(lines(5))
    path = written(tmp_path / "a.rvtrace", "")
    seen: list[int] = []
    with TraceReader(path) as reader, path.open("a", encoding="utf-8") as writer:
        for start in range(0, len(text), 100):
            writer.write(text[start : start + 100])
            writer.flush()
            seen += [found.number for found in reader.events()]
            assert reader.is_done == (start + 100 >= len(text))
        assert reader.problem == ""
    assert seen == [1, 2, 3, 4, 5]


def test_plain_json_lines_can_be_read_as_well(tmp_path: Path) -> None:
    from ringviz.export import TRACE_FORMATS

    text = "".join(TRACE_FORMATS["jsonl"].event(event(number)) for number in (1, 2))
    assert _problem(written(tmp_path / "a.jsonl", text)) == ("", 2)
    problem, count = _problem(written(tmp_path / "b.jsonl", text[:-9]))
    assert (count, "line 2 is cut off" in problem) == (1, True)


def test_a_second_beginning_is_damage(tmp_path: Path) -> None:
    rows = lines(2)
    rows.insert(2, heading_line(HEADING))
    assert _problem(written(tmp_path / "a.rvtrace", "".join(rows)))[1] == 1


_KILLED_IN_TURN = """
import os, sys
import ringviz.engine.stream, ringviz.export
from ringviz.cli.main import main
for path in sys.argv[2:]:
    child = os.fork()
    if not child:
        os._exit(main(["trace", sys.argv[1], "--format", "trace", "-o", path]))
    print(child, flush=True)
    os.waitpid(child, 0)
"""
"""Loads the program once and runs it as often as there are files: each time in a process to be killed."""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
def test_a_run_that_is_killed_at_any_moment_leaves_a_file_that_can_be_read(tmp_path: Path) -> None:
    # OUT E9h, AL; JMP back to it: one event after the other, for ever.
    endless = from_bytes(tmp_path, "E6 E9 EB FC", limit=10**12)
    generator = random.Random(2006)
    paths = [tmp_path / f"{moment}.rvtrace" for moment in range(10)]
    command = [sys.executable, "-c", _KILLED_IN_TURN, endless, *map(str, paths)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for path in paths:
            child = int(process.stdout.readline())
            wanted = generator.randrange(1, 400_000)
            deadline = time.monotonic() + 30
            while not path.exists() or path.stat().st_size < wanted:
                assert time.monotonic() < deadline
                time.sleep(0.001)
            flushed = path.read_bytes().count(b"\n") - 1
            os.kill(child, signal.SIGKILL)
            problem, count = _problem(path)
            assert count >= max(flushed, 1)
            assert "the run was killed, or is still going" in problem
