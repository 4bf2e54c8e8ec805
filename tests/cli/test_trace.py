import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from ringviz.record.event_record import FIELDS
from tests.cli.guests import from_bytes
from tests.cli.program import as_process, one_complaint, ringviz

TRACE = ("trace", "rings-tour", "-t", "trap-emulate")


def test_the_three_formats_tell_the_same_events(tmp_path: Path) -> None:
    table, lines = tmp_path / "events.csv", ringviz(*TRACE, "--format", "jsonl").stdout.splitlines()
    assert ringviz(*TRACE, "--format", "csv", "-o", str(table)).stdout == ""
    with table.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    events = [json.loads(line) for line in lines]
    story = [line for line in ringviz(*TRACE).stdout.splitlines() if line and line[0].isdigit()]
    assert len(events) == len(rows) == len(story) > 0
    for event, row, sentence in zip(events, rows, story, strict=True):
        assert row["number"] == str(event["number"])
        assert row["instruction"] == event["instruction"]
        assert row["cycles"] == ("" if event["cycles"] is None else str(event["cycles"]))
        assert sentence.startswith(f"{event['number']}. After {event['at']:,} instructions: ")


def test_every_line_of_jsonl_has_the_documented_keys_in_order() -> None:
    numbers = []
    for line in ringviz(*TRACE, "--format", "jsonl").stdout.splitlines():
        event = json.loads(line)
        assert list(event) == list(FIELDS)
        assert isinstance(event["address"], int)
        numbers.append(event["number"])
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize("trace_format", ["plain", "jsonl", "csv"])
def test_a_trace_gives_the_same_bytes_twice(trace_format: str) -> None:
    arguments = (*TRACE, "--format", trace_format)
    assert ringviz(*arguments).stdout == as_process(*arguments, PYTHONHASHSEED="1").stdout


def test_the_story_says_what_runs_and_that_cycles_are_modelled() -> None:
    head = ringviz(*TRACE).stdout.partition("\n\n")[0]
    for words in ("rings-tour", "Trap-and-emulate", "ring 0, guest kernel in ring 1", "modelled"):
        assert words in head


def test_the_story_ends_with_the_end_of_the_run() -> None:
    story = ringviz(*TRACE).stdout
    stat = json.loads(ringviz("stat", *TRACE[1:], "--json").stdout)
    last = story.splitlines()[-1]
    assert last.startswith(f"The end, after {stat['retired']:,} instructions and ")
    assert last.endswith(f"exit code {stat['exit_code']}.")


def test_events_come_out_while_an_endless_guest_still_runs(tmp_path: Path) -> None:
    # OUT E9h, AL; JMP to itself: one event, then none for as long as anybody has waited.
    endless = from_bytes(tmp_path, "E6 E9 EB FE", limit=10**12)
    command = [sys.executable, "-m", "ringviz", "trace", endless, "--format", "jsonl"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            assert json.loads(process.stdout.readline())["instruction"] == "out 0xe9, al"
        finally:
            process.kill()


def test_a_file_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    missing = tmp_path / "nowhere" / "events.csv"
    assert "cannot be written: No such file or directory" in one_complaint(ringviz(*TRACE, "-o", str(missing)))
