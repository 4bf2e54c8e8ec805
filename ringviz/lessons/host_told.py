"""A host at one moment, as lines that stand beside a lesson, or are read aloud."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from ringviz.errors import InputError
from ringviz.facts.scheduling import PERIOD_CYCLES
from ringviz.guest.schema import clipped, did_you_mean
from ringviz.machine.memory import PAGE
from ringviz.record.machines.host_file import host_ids
from ringviz.record.machines.host_moments import HostMoment, host_moments
from ringviz.record.machines.leaving import MigrationView
from ringviz.record.machines.room_view import RoomRow, RoomView

END = "end"
_MOST_ROUNDS = 8
_ROUND_CELLS = 16
"""As all widths here: what matters most fits beside a text on a screen of 80 columns."""
_AUDIT_LINES = 4
_WIDTH_CELLS = 53
"""Of the table of machines, and so of what is wrapped."""


def moment_of(host: str, after: str) -> HostMoment:
    """Give a shipped host after so many accounting periods, or at the end of its demonstration.

    Raises:
        InputError: there is no such host, or its demonstration is not so long.
    """
    known = host_ids()
    if host not in known:
        raise InputError(f'host "{clipped(host)}" unknown; choose one of {", ".join(known)}{did_you_mean(host, known)}')
    moments = host_moments(host)
    last = len(moments) - 2
    if after == END:
        return moments[-1]
    if not after.isdecimal() or int(after) > last:
        raise InputError(f'{host} after "{clipped(after)}": expected a number of periods, 0 to {last}, or {END}')
    return moments[int(after)]


def told_host(host: str, after: str) -> tuple[str, ...]:
    """Tell a shipped host at a moment: its machines, who had the CPU, a migration, what was done.

    Raises:
        InputError: as `moment_of`.
    """
    return tuple(_lines(host, moment_of(host, after).view))


def _lines(host: str, view: RoomView) -> Iterator[str]:
    yield f"{host}, after {view.clock:,} cycles"
    yield f"{view.cpu}, scheduler {view.scheduler}; modelled"
    yield ""
    yield f"{'machine':<11}{'CPU':>5}{'ready':>7} {'state':<9}{'weight':>6}{'cap':>6}{'balloon':>9}"
    yield from map(_row, view.rows)
    if not view.rows:
        yield "(no machine is here)"
    yield ""
    periods = (view.clock - view.gantt_from) / PERIOD_CYCLES
    if not view.clock:
        yield "Nothing has run yet."
    elif view.gantt:
        yield f"Who had the CPU in the last {periods:.0f} periods:"
        yield from (f"{name[:10]:<10}│{picture}│" for name, picture in view.gantt)
        yield "█ had it, ▄ a part, · waited, x capped"
    if view.migration is not None:
        yield ""
        yield from _migration(view.migration)
    if view.audit:
        yield ""
        yield "What was done, the latest first:"
        for line in list(reversed(view.audit))[:_AUDIT_LINES]:
            yield from textwrap.wrap(line, _WIDTH_CELLS, initial_indent="  ", subsequent_indent="    ")


def _row(row: RoomRow) -> str:
    cap = f"{row.cap_percent} %" if row.cap_percent else "-"
    balloon = "-" if row.ballooned_pages is None else f"{row.ballooned_pages:,}"
    numbers = f"{row.weight:>6}{cap:>6}{balloon:>9}"
    return f"{row.name[:10]:<11}{row.share:>3.0f} %{row.ready:>5.0f} % {row.state[:8]:<9}{numbers}"


def _migration(view: MigrationView) -> Iterator[str]:
    yield f"{view.machine} moves, {view.memory_pages:,} pages over {view.mbit} Mbit/s:"
    if view.rounds:
        yield f"{'':>9}{'pages':>6}{'kept':>5} (of the CPU, by auto-converge)"
    most = max((each.sent_pages for each in view.rounds), default=1)
    rounds = view.rounds if len(view.rounds) <= _MOST_ROUNDS else (view.rounds[0], *view.rounds[1 - _MOST_ROUNDS :])
    for each in rounds:
        name = "last" if each.is_last else f"round {each.number}"
        bar = "█" * max(1, each.sent_pages * _ROUND_CELLS // max(1, most))
        kept = f"{each.throttle_percent} %" if each.throttle_percent and not each.is_last else "-"
        yield f"{name:>9}{each.sent_pages:>6,}{kept:>5} {bar}"
    yield f"{view.sent_bytes:,} bytes sent; the machine has {view.memory_pages * PAGE:,}"
    if view.outcome is not None and view.outcome.moved:
        yield f"It is there. It stood still for {view.outcome.downtime_cycles / 1000:,.1f} ms (modelled)."
