"""One run from power-on to its end, told to whoever waits for it."""

from __future__ import annotations

from collections.abc import Callable

from ringviz.engine.recording import Recording
from ringviz.guest.scenario import Scenario
from ringviz.vmm.setup import Setup

Progress = Callable[[str, int, int | None], None]
"""(what is going on, instructions done, their limit)."""

_SLICE = 200_000


def ignore(_what: str, _done: int, _limit: int | None) -> None:
    """Progress for nobody."""


def play_whole(scenario: Scenario, technique: str, setup: Setup, progress: Progress = ignore) -> Recording:
    """Play a run to its end, telling how far it is."""
    recording = Recording(scenario, technique, setup)
    limit = scenario.limits.instructions
    while recording.end is None:
        progress(f"running {technique}", recording.position, limit)
        recording.play(min(recording.position + _SLICE, limit + 1))
    return recording


def ending_of(recording: Recording) -> tuple[str, int | None]:
    """Say how a run ended: outcome and exit code. Two runs that ended otherwise have not done the same work."""
    assert recording.end is not None
    return recording.end.outcome, recording.technique.machine.bus.exit_code
