import json
from pathlib import Path

from ringviz.record.trace_file import event_line
from tests.cli.program import one_complaint, ringviz
from tests.record.traces import event, lines, written


def test_a_trace_is_like_itself(tmp_path: Path) -> None:
    path = str(written(tmp_path / "a.rvtrace", "".join(lines(4))))
    done = ringviz("diff", path, path)
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == "Alike: 4 events"


def test_the_first_event_that_differs_is_named_with_its_fields_and_its_neighbours(tmp_path: Path) -> None:
    rows = lines(6)
    one = str(written(tmp_path / "a.rvtrace", "".join(rows)))
    rows[4] = event_line(event(4, cause="VM exit 12"))
    other = str(written(tmp_path / "b.rvtrace", "".join(rows)))
    done = ringviz("diff", one, other, "--context", "1")
    assert done.returncode == 1
    assert "They part at event 4" in done.stdout
    assert [row.split() for row in done.stdout.splitlines() if row.startswith("cause")] == [
        ["cause", "VM", "exit", "30", "VM", "exit", "12"]
    ]
    assert "  3. After" in done.stdout
    assert "  2. After" not in done.stdout
    assert done.stdout.count("  5. After") == 2
    assert ringviz("diff", one, other, "--only", "address").returncode == 0
    found = json.loads(ringviz("diff", one, other, "--json").stdout)
    assert found["first_divergence"]["fields"] == [{"name": "cause", "a": "VM exit 30", "b": "VM exit 12"}]
    assert (found["identical"], found["alike"]) == (False, 3)


def test_a_trace_with_more_events_differs_where_the_other_ends(tmp_path: Path) -> None:
    one, other = (str(written(tmp_path / f"{n}.rvtrace", "".join(lines(n)))) for n in (3, 5))
    done = ringviz("diff", one, other)
    assert done.returncode == 1
    assert "They part at event 4" in done.stdout
    assert "A: no more events" in done.stdout


def test_a_trace_that_is_cut_off_is_compared_as_far_as_it_goes(tmp_path: Path) -> None:
    text = "".join(lines(5))
    one = str(written(tmp_path / "a.rvtrace", text))
    other = str(written(tmp_path / "b.rvtrace", text[:2000]))
    done = ringviz("diff", one, other)
    assert done.returncode == 2
    assert "line 5 is cut off" in done.stderr
    assert done.stderr.count("\n") == 1
    assert "Alike: 3 events" in done.stdout
    assert "cannot be read: No such file" in one_complaint(ringviz("diff", one, str(tmp_path / "nowhere")))


def test_a_trace_on_disk_is_told_again_like_the_run_itself(tmp_path: Path) -> None:
    path = str(tmp_path / "a.rvtrace")
    run = ("trace", "rings-tour", "-t", "trap-emulate")
    assert ringviz(*run, "--format", "trace", "-o", path).returncode == 0
    assert ringviz("trace", path).stdout == ringviz(*run).stdout
    assert ringviz("trace", path, "--format", "jsonl").stdout == ringviz(*run, "--format", "jsonl").stdout
    assert ringviz("trace", path, "--format", "trace").stdout == Path(path).read_text(encoding="utf-8")
