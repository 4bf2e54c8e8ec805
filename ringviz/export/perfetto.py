"""A run as a trace for Perfetto and Chrome's tracing: rings and the VMM as tracks, over modelled time.

The format is the Trace Event Format in JSON. Time is modelled: a cycle of the cost model is shown as a nanosecond, so
that a slice is as long as what it stands for is dear. Nothing here was measured with a clock.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from ringviz.engine.events import VMM_KINDS, Event, Kind
from ringviz.engine.stream import Stream
from ringviz.facts.residents import RESIDENTS

_PROCESS = 1
_VMM_TRACK = 10
_CYCLES_PER_MICROSECOND = 1000
"""Ours: the format counts in microseconds, and one cycle is drawn as one nanosecond."""
_SHOWN = ("number", "at", "address", "instruction", "cause", "rule", "handler", "action", "cycles")


def perfetto_of(run: Stream) -> Iterator[str]:
    """Give a run as pieces of one JSON document, in memory that does not grow with the run."""
    yield '{"displayTimeUnit":"ns","otherData":'
    yield _json(_about(run))
    yield ',"traceEvents":[\n'
    rows = _rows(run)
    yield _json(next(rows))
    for row in rows:
        yield ",\n"
        yield _json(row)
    yield "\n]}\n"


def _about(run: Stream) -> dict[str, str]:
    return {
        "scenario": run.scenario.id,
        "technique": run.technique.id,
        "mmu": run.setup.mmu,
        "cpu": run.cpu.title,
        "time": "modelled: one cycle of the cost model is drawn as one nanosecond",
    }


def _rows(run: Stream) -> Iterator[dict[str, Any]]:
    """Give the trace events: names of tracks, then the guest's slices and the VMM's in turn."""
    yield from _names(run)
    clock, began, ring = 0, 0, run.ring
    for news in run.news():
        if not news:
            continue
        ends = run.cycles
        begins = ends - sum(event.cycles or 0 for event in news)
        clock = max(clock, begins)
        for event in news:
            price = event.cycles or 0
            if event.kind in VMM_KINDS:
                if clock > began:
                    yield _slice(f"ring {ring}", ring, began, clock)
                yield _slice(event.cause or event.kind.value, _VMM_TRACK, clock, clock + price, event)
                began = clock + price
            else:
                yield _instant(event, ring, clock)
                if event.to_ring != ring and clock > began:
                    yield _slice(f"ring {ring}", ring, began, clock)
                    began = clock
            clock += price
            ring = event.to_ring if event.kind is not Kind.END else ring
    clock = max(clock, run.cycles)
    if clock > began:
        yield _slice(f"ring {ring}", ring, began, clock)


def _names(run: Stream) -> Iterator[dict[str, Any]]:
    picture = RESIDENTS[run.technique.id]
    title = f"{run.scenario.id} under {run.technique.title}"
    yield {"ph": "M", "name": "process_name", "pid": _PROCESS, "args": {"name": title}}
    for ring in (0, 1, 2, 3):
        who = picture.rings.get(ring, "")
        name = f"ring {ring}: {who}" if who else f"ring {ring}"
        yield {"ph": "M", "name": "thread_name", "pid": _PROCESS, "tid": ring, "args": {"name": name}}
        yield {"ph": "M", "name": "thread_sort_index", "pid": _PROCESS, "tid": ring, "args": {"sort_index": 3 - ring}}
    if run.technique.vmm_ring is not None or picture.guest_is_data:
        name = f"VMM: {run.technique.vmm_seat}"
        yield {"ph": "M", "name": "thread_name", "pid": _PROCESS, "tid": _VMM_TRACK, "args": {"name": name}}
        index = {"sort_index": _VMM_TRACK}
        yield {"ph": "M", "name": "thread_sort_index", "pid": _PROCESS, "tid": _VMM_TRACK, "args": index}


def _slice(name: str, track: int, begins: int, ends: int, event: Event | None = None) -> dict[str, Any]:
    """Give a complete event: something that lasts."""
    row: dict[str, Any] = {
        "ph": "X",
        "name": name,
        "cat": "guest" if event is None else event.kind.value,
        "pid": _PROCESS,
    }
    row |= {"tid": track, "ts": _time(begins), "dur": _time(ends - begins)}
    return row if event is None else row | {"args": _arguments(event)}


def _instant(event: Event, ring: int, clock: int) -> dict[str, Any]:
    """Give an instant event: something of the guest's own, for which no VMM was called."""
    row = {"ph": "i", "s": "t", "name": event.cause or event.kind.value, "cat": event.kind.value, "pid": _PROCESS}
    return row | {"tid": ring, "ts": _time(clock), "args": _arguments(event)}


def _arguments(event: Event) -> dict[str, Any]:
    return {name: getattr(event, name) for name in _SHOWN}


def _time(cycles: int) -> float:
    return cycles / _CYCLES_PER_MICROSECOND


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=True)
