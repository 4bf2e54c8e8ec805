import tracemalloc
from pathlib import Path

import pytest

from ringviz.engine.session import Session
from ringviz.engine.stream import Stream
from ringviz.guest.scenario import find_scenario
from ringviz.vmm.registry import choose
from tests.cli.guests import from_bytes


@pytest.mark.parametrize("technique", ["native", "trap-emulate", "binary-translation", "vt-x"])
def test_a_stream_tells_the_events_of_a_session(technique: str) -> None:
    scenario = find_scenario("paging-tour")
    session = Session(scenario, technique)
    session.run()
    stream = Stream(scenario, technique, choose(technique))
    assert [event for news in stream.news() for event in news] == list(session.events)
    assert stream.end is not None
    assert (stream.position, stream.end.text) == (session.position, session.snapshot().outcome)


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("E6 E9 EB FC", "the scenario's limit of instructions is reached"),
        ("0F 0B", "the guest takes one exception after the other and completes no instruction"),
    ],
)
def test_a_stream_ends_where_a_session_ends(tmp_path: Path, code: str, why: str) -> None:
    scenario = find_scenario(from_bytes(tmp_path, code, limit=2_000))
    session = Session(scenario)
    session.run()
    stream = Stream(scenario, "native", choose("native"))
    events = [event for news in stream.news() for event in news]
    assert events == list(session.events)
    assert stream.end is not None
    assert (stream.position, stream.end.outcome) == (session.position, session.outcome)
    if "limit" in why:
        assert stream.end.text == why


def test_the_memory_of_a_stream_does_not_grow_with_its_events(tmp_path: Path) -> None:
    # STI and CLI in a loop trap under compression of rings; nothing is printed, so that nothing need be kept.
    scenario = find_scenario(from_bytes(tmp_path, "FA FB EB FC", limit=5_000))
    stream = Stream(scenario, "trap-emulate", choose("trap-emulate"))
    used = []
    tracemalloc.start()
    try:
        for _ in stream.news():
            if stream.count % 500 < 2:
                used.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert stream.count > 2_000
    assert used[-1] - used[2] < 50_000
