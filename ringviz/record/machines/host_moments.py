"""A shipped host's demonstration as moments, one for each accounting period: for lessons that ask about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from ringviz.record.machines.host_file import HostDefinition, find_host
from ringviz.record.machines.host_looks import HOST_LOOKS, SeenHost
from ringviz.record.machines.host_run import HostRun
from ringviz.record.machines.other_host import opened_host
from ringviz.record.machines.room_view import RoomView, room_view
from ringviz.record.played import Value

_GANTT_CELLS = 24
_GANTT_PERIODS = 4
_WAITS = "there"
"""The one thing that is waited for, so it is only looked at when all is over."""


@dataclass(frozen=True, slots=True, eq=False)
class HostMoment:
    """A host when an accounting period was over, or before the first, or when the demonstration was."""

    view: RoomView
    values: Mapping[str, Value]
    """All that can be looked at, by the keys of `host_looks`."""


@lru_cache(maxsize=8)
def host_moments(host: str) -> tuple[HostMoment, ...]:
    """Run a host, with its own orders and rules: the moment before the first period, those after each, and the end.

    Raises:
        RingvizError: there is no such host.
    """
    definition = find_host(host)
    with opened_host(definition) as (room, other):
        run = room.prepare(definition.automation, peer=None if other is None else other.peer)
        run.begin()
        moments = [_moment(run, definition)]
        while run.host.clock < definition.cycles:
            run.advance(definition.cycles)
            if len(run.host.periods) >= len(moments):
                moments.append(_moment(run, definition))
        end = SeenHost(run) if other is None else SeenHost(run, other.over)
        moments.append(_moment(run, definition, end))
        run.finish()
    return tuple(moments)


def _moment(run: HostRun, host: HostDefinition, end: SeenHost | None = None) -> HostMoment:
    seen = end or SeenHost(run)
    values = {key: HOST_LOOKS[key.split(".")[0] + "." if member else key].found(seen, member)
              for key, member in _keys(seen, host) if end is not None or key != _WAITS}  # fmt: skip
    return HostMoment(room_view(run, _GANTT_CELLS, _GANTT_PERIODS), values)


def _keys(seen: SeenHost, host: HostDefinition) -> Iterator[tuple[str, str]]:
    """Give every key, and its last part if it is one of a family."""
    rounds = () if seen.migration is None else tuple(str(each.number) for each in seen.migration.rounds)
    members = {"machine": tuple(host.machines), "rule": tuple(r.name for r in host.automation.rules), "round": rounds}
    for name, row in HOST_LOOKS.items():
        if not row.member:
            yield name, ""
        for member in members.get(row.member, ()):
            yield f"{name}{member}", member
