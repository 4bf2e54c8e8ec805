"""Digests of what `stat` and `trace` print about every scenario but the long ones under one technique.

Run as a script, it prints them as JSON: `python tests/cli/digests.py vt-x`.
"""

import contextlib
import hashlib
import io
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from unittest import mock

import ringviz.engine.compare  # noqa: F401 - takes `stat` by name: not while that is another here
from ringviz.cli.main import main
from ringviz.engine import stat as engine
from ringviz.engine.events import sentence
from ringviz.engine.recording import Recording
from ringviz.engine.stat import Stat
from ringviz.engine.whole_run import play_whole
from ringviz.errors import UnsupportedError
from ringviz.export import TRACE_FORMATS
from ringviz.guest.scenario import Scenario, list_scenarios
from ringviz.vmm.registry import check_fits

Digests = dict[str, list[int | str]]
"""By what is printed: exit code, length, SHA-256."""

TRACED = ("rings-tour", "popf-hole", "paging-tour")
"""What `trace` tells is made of the same events as what the formats make here of all scenarios; a few do for itself."""
_LONG = 5_000_000
_FIRST, _LAST = 30, 10
"""Events of a story that are on file."""


@dataclass(frozen=True)
class Told:
    """What there is to tell of one run."""

    digests: Digests
    story: list[str]
    """As it is kept on file: see `tests/test_golden_traces.py`."""
    outcome: str
    exit_code: int | None
    console: str
    attempts: list[tuple[str, str]]
    """Cause and action of the events in which the guest reached for what is not its own."""


def digests(technique: str, told: Callable[[Scenario, str], Told]) -> Digests:
    """Give the digests of what is printed about each scenario that a technique can run.

    Args:
        technique: id.
        told: runs one of them, or knows of a run.
    """
    found: Digests = {}
    for scenario in list_scenarios():
        if scenario.limits.instructions <= _LONG and _fits(scenario, technique):
            found |= told(scenario, technique).digests
    return found


def run(scenario: Scenario, technique: str) -> Told:
    """Run a scenario under a technique, print about it, and tell its story.

    One run does for the forms of `stat` and of a trace: the events that `trace` tells are those of the run that `stat`
    sums up, as `tests/engine/test_stream.py` holds.
    """
    found: Digests = {}
    commands = [["stat", "--json"], ["stat"]]
    if scenario.id in TRACED:
        commands.append(["trace"])
    with _one_run() as runs:
        for words in commands:
            found[" ".join((*words, scenario.id))] = _of_command(*words, scenario.id, "-t", technique)
    (recording,) = runs
    for trace_format in ("jsonl", "plain"):
        writer = TRACE_FORMATS[trace_format]
        found[f"{trace_format} events of {scenario.id}"] = _of_text(0, "".join(map(writer.event, recording.log)))
    assert recording.end is not None
    bus = recording.technique.machine.bus
    attempts = [(event.cause, event.action) for event in recording.log.raw if event.is_attempt]
    return Told(found, _story(recording), recording.end.outcome, bus.exit_code, bus.console, attempts)


def _story(recording: Recording) -> list[str]:
    """Tell the first and the last events in sentences, how many there are, and a hash of the whole story."""
    lines = [f"{event.number}. {event.at}: {sentence(event)}" for event in recording.log]
    assert recording.end is not None
    lines.append(f"{recording.end.outcome} after {recording.position} instructions")
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    return [*lines[:_FIRST], "…", *lines[-_LAST:], f"sha256 of all {len(lines)} lines: {digest}"]


def _fits(scenario: Scenario, technique: str) -> bool:
    try:
        check_fits(scenario, technique)
    except UnsupportedError:
        return False
    return True


@contextlib.contextmanager
def _one_run() -> Iterator[list[Recording]]:
    """Let `stat` sum up one run, however often it is asked, and give the list to which that goes."""
    runs: list[Recording] = []
    sums: list[Stat] = []
    play: Callable[..., Recording] = play_whole
    sum_up: Callable[..., Stat] = engine.stat

    def remember(*arguments: object) -> Recording:
        runs.append(play(*arguments))
        return runs[-1]

    def once(*arguments: object) -> Stat:
        if not sums:
            sums.append(sum_up(*arguments))
        return sums[0]

    with mock.patch.multiple(engine, play_whole=remember, stat=once):
        yield runs


def _of_command(*words: str) -> list[int | str]:
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        code = main(words)
    return _of_text(code, output.getvalue())


def _of_text(code: int, text: str) -> list[int | str]:
    return [code, len(text), hashlib.sha256(text.encode()).hexdigest()]


if __name__ == "__main__":
    print(json.dumps(digests(sys.argv[1], run)))
