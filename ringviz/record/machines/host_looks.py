"""What a lecture may expect of a host at one moment, and what a lesson may ask about it: one row for each thing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from ringviz.engine.automation.watching import Reading
from ringviz.engine.frame_map import GuestPages, HostPages, host_pages
from ringviz.guest.schema import did_you_mean
from ringviz.record.machines.host_run import HostRun
from ringviz.record.machines.leaving import MigrationView
from ringviz.record.machines.life_cycle import Life
from ringviz.record.played import Value

GONE = "gone"
"""State of a machine that has moved away, or was destroyed."""


class SeenHost:
    """A host at one moment, looked at as far as somebody asks. It may not run on meanwhile."""

    def __init__(self, run: HostRun, there: Callable[[], Sequence[str]] = tuple) -> None:
        """Look.

        Args:
            run: between two of its steps.
            there: what the other host has said when it has nothing more to do.
        """
        self.run = run
        self._there = there

    def reading(self, name: str) -> Reading:
        """What was measured of a machine at the last look."""
        return self.run.latest.get(name, Reading())

    @cached_property
    def migration(self) -> MigrationView | None:
        """The last one that has begun."""
        return self.run.migrations[-1].view() if self.run.migrations else None

    @cached_property
    def pages(self) -> HostPages:
        """The host's memory."""
        return host_pages(self.run.host)

    def guest_pages(self, name: str) -> GuestPages | None:
        """One machine's; None if it has none."""
        return next((guest for guest in self.pages.guests if guest.machine == name), None)

    @cached_property
    def there(self) -> str:
        """What the other host has said, once a machine has moved there."""
        has_moved = self.migration is not None and self.migration.outcome is not None and self.migration.outcome.moved
        return "\n".join(self._there()) if has_moved else ""


@dataclass(frozen=True, slots=True)
class HostLook:
    """One thing, or one family of things, that can be looked at."""

    name: str
    """Its key; a family's ends in a dot, and the rest of the key is a machine, a rule or a round."""
    kind: type
    """`int`, `float`, `str` or `bool`."""
    title: str
    found: Callable[[SeenHost, str], Value]
    """Given the rest of the key, which is empty but for families."""
    member: str = ""
    """What the rest of the key is: `machine`, `rule` or `round`."""


def _state(seen: SeenHost, name: str) -> str:
    kept = seen.run.machines.get(name)
    return GONE if kept is None else kept.state.value


def _console(seen: SeenHost, name: str) -> str:
    if name in seen.run.host.names:
        return seen.run.host.machine(name).technique.machine.bus.console
    kept = seen.run.machines.get(name)
    return "" if kept is None else kept.console


def _definition(read: Callable[[SeenHost, str], int]) -> Callable[[SeenHost, str], Value]:
    return lambda seen, name: read(seen, name) if name in seen.run.machines else -1


def _cap(seen: SeenHost, name: str) -> int:
    is_on = name in seen.run.host.names and seen.run.machines[name].state is not Life.STOPPED
    return seen.run.host.share_of(name).cap_percent if is_on else seen.run.machines[name].definition.cap_percent


def _pages(read: Callable[[GuestPages], int]) -> Callable[[SeenHost, str], Value]:
    def found(seen: SeenHost, name: str) -> Value:
        guest = seen.guest_pages(name)
        return -1 if guest is None else read(guest)

    return found


def _moving(read: Callable[[MigrationView], Value], none: Value) -> Callable[[SeenHost, str], Value]:
    return lambda seen, _: none if seen.migration is None else read(seen.migration)


def _outcome(view: MigrationView) -> str:
    return "" if view.outcome is None else view.outcome.why


def _downtime_ms(view: MigrationView) -> float:
    return 0.0 if view.outcome is None else view.outcome.downtime_cycles / 1000


def _total_ms(view: MigrationView) -> float:
    return 0.0 if view.outcome is None else view.outcome.total_cycles / 1000


def _left(view: MigrationView) -> int:
    return view.rounds[-1].dirtied_pages if view.rounds else view.memory_pages


def _round(seen: SeenHost, number: str) -> Value:
    view = seen.migration
    found = None if view is None else next((each for each in view.rounds if each.number == int(number)), None)
    return -1 if found is None else found.sent_pages


def _fired(seen: SeenHost, rule: str) -> int:
    return sum(entry.who == rule and entry.is_done for entry in seen.run.audit)


_ROWS = (
    HostLook("clock", int, "cycles of the host", lambda seen, _: seen.run.clock),
    HostLook("share.", float, "per cent of the last period in which it had the CPU",
             lambda seen, name: seen.reading(name).share, "machine"),
    HostLook("ready.", float, "per cent of it that was stolen: it wanted the CPU and did not have it",
             lambda seen, name: seen.reading(name).ready, "machine"),
    HostLook("exits.", float, "exits for each million cycles that it had the CPU; 0 if it had not",
             lambda seen, name: seen.reading(name).exits or 0.0, "machine"),
    HostLook("state.", str, "what it is at: running, stopped, paused, migrating, gone …", _state, "machine"),
    HostLook("ended.", str, "how its run is over; empty before",
             lambda seen, name: seen.run.machines[name].ended if name in seen.run.machines else "", "machine"),
    HostLook("weight.", int, "its weight; -1 if it is gone",
             _definition(lambda seen, name: seen.run.machines[name].definition.weight), "machine"),
    HostLook("cap.", int, "its cap in per cent, 0 for none; -1 if it is gone", _definition(_cap), "machine"),
    HostLook("console.", str, "what its guest has printed", _console, "machine"),
    HostLook("balloon.", int, "pages in its balloon; -1 without memory", _pages(lambda g: g.ballooned), "machine"),
    HostLook("shared.", int, "its pages whose frame stands behind others, too; -1 without memory",
             _pages(lambda g: g.shared), "machine"),
    HostLook("swapped.", int, "its pages in the swap file; -1 without memory", _pages(lambda g: g.swapped), "machine"),
    HostLook("frames.total", int, "frames of the host's memory", lambda seen, _: seen.pages.frames),
    HostLook("frames.free", int, "of these, free", lambda seen, _: seen.pages.free),
    HostLook("frames.saved", int, "of these, saved by sharing", lambda seen, _: seen.pages.saved_by_sharing),
    HostLook("frames.swapped", int, "pages in the swap file", lambda seen, _: seen.pages.swap_pages),
    HostLook("frames.state", str, "how the host reclaims memory now: high, soft, hard or low",
             lambda seen, _: seen.pages.state),
    HostLook("fired.", int, "how often a rule has done something", _fired, "rule"),
    HostLook("audit", str, "the list of what the host was told, or has done by itself",
             lambda seen, _: "\n".join(entry.line().strip() for entry in seen.run.audit)),
    HostLook("migration.rounds", int, "rounds of it that are done",
             _moving(lambda view: len(view.rounds) - (view.rounds[-1].is_last if view.rounds else 0), 0)),
    HostLook("migration.left", int, "pages that the last round has left to send", _moving(_left, 0)),
    HostLook("migration.memory", int, "pages of the machine that moves", _moving(lambda view: view.memory_pages, 0)),
    HostLook("migration.kept", int, "per cent of the CPU that auto-converge keeps from it",
             _moving(lambda view: view.throttle_percent, 0)),
    HostLook("migration.has_help", bool, "auto-converge is on", _moving(lambda view: view.has_help, False)),
    HostLook("migration.moved", bool, "the machine is on the other host",
             _moving(lambda view: view.outcome is not None and view.outcome.moved, False)),
    HostLook("migration.why", str, "why the last round was the last, or it stays; empty before", _moving(_outcome, "")),
    HostLook("migration.downtime", float, "ms for which it stood still; 0 before", _moving(_downtime_ms, 0.0)),
    HostLook("migration.total", float, "ms that all of it took; 0 before", _moving(_total_ms, 0.0)),
    HostLook("migration.bytes", int, "bytes sent so far", _moving(lambda view: view.sent_bytes, 0)),
    HostLook("round.", int, "pages that a round has sent with their content; -1 before", _round, "round"),
    HostLook("there", str, "what the other host has said", lambda seen, _: seen.there),
)  # fmt: skip
HOST_LOOKS: Mapping[str, HostLook] = {row.name: row for row in _ROWS}
"""Everything that can be looked at, by key."""


def host_look_of(key: str) -> HostLook | None:
    """Give the row that a key is looked up with; None if there is no such thing to look at."""
    if key in HOST_LOOKS and not key.endswith("."):
        return HOST_LOOKS[key]
    family, dot, member = key.partition(".")
    row = HOST_LOOKS.get(family + dot)
    if row is None or not member or (row.member == "round" and not member.isdecimal()):
        return None
    return row


def host_looked_up(key: str) -> str:
    """Say what could have been meant by a key that is none."""
    names = [f"{row.name}{row.member.upper()}" for row in _ROWS]
    return f"one of {', '.join(names)}{did_you_mean(key, names)}"


def see(seen: SeenHost, key: str) -> Value:
    """Look at one thing.

    Raises:
        KeyError: there is no such thing.
    """
    row = host_look_of(key)
    if row is None:
        raise KeyError(key)
    return row.found(seen, key[len(row.name) :] if row.member else "")
