"""The rules are those of the Trace Event Format: which phases there are, and what each of them must say."""

import json
from typing import Any

import pytest

from ringviz.engine.session import Session
from ringviz.engine.stream import Stream
from ringviz.export.perfetto import perfetto_of
from ringviz.guest.scenario import find_scenario
from ringviz.vmm.registry import choose

_MUST_HAVE = {"M": {"name", "pid", "args"}, "X": {"name", "cat", "pid", "tid", "ts", "dur"}, "i": {"name", "s", "ts"}}


def _document(technique: str, scenario: str = "rings-tour") -> dict[str, Any]:
    stream = Stream(find_scenario(scenario), technique, choose(technique))
    text = "".join(perfetto_of(stream))
    document = json.loads(text)
    assert isinstance(document, dict)
    return document


@pytest.mark.parametrize("technique", ["native", "trap-emulate", "vt-x", "emulation"])
def test_every_row_is_one_that_the_format_has(technique: str) -> None:
    document = _document(technique)
    assert document["displayTimeUnit"] in ("ms", "ns")
    named = set()
    for row in document["traceEvents"]:
        assert _MUST_HAVE[row["ph"]] <= set(row), row
        if row["ph"] == "M" and "tid" in row:
            named.add(row["tid"])
        elif row["ph"] != "M":
            assert row["tid"] in named
            assert row["ts"] >= 0
            assert row.get("dur", 0) >= 0
            assert row.get("s", "t") in ("g", "p", "t")


@pytest.mark.parametrize("technique", ["trap-emulate", "vt-x", "binary-translation"])
def test_slices_follow_each_other_without_gap_or_overlap_and_add_up_to_the_bill(technique: str) -> None:
    slices = [row for row in _document(technique)["traceEvents"] if row["ph"] == "X"]
    clock = 0.0
    for row in slices:
        assert row["ts"] == pytest.approx(clock), row
        clock = row["ts"] + row["dur"]
    session = Session(find_scenario("rings-tour"), technique)
    session.run()
    ledger = session.snapshot(lambda: True).ledger
    assert clock * 1000 == pytest.approx(ledger.guest_cycles + ledger.overhead_cycles, abs=1)


def test_the_vmm_has_a_track_only_where_there_is_one() -> None:
    tracks = {
        technique: {row["args"]["name"] for row in _document(technique)["traceEvents"] if row["name"] == "thread_name"}
        for technique in ("native", "vt-x")
    }
    assert not any(name.startswith("VMM") for name in tracks["native"])
    assert sum(name.startswith("VMM") for name in tracks["vt-x"]) == 1
    rows = _document("native")["traceEvents"]
    assert {row["tid"] for row in rows if row["ph"] == "X"} == {0, 3}
