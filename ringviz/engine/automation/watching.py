"""Rules at work: what was measured at a look goes in, what is to be done comes out.

A rule fires when its condition has held for long enough, and not again before it was released: by a value at or beyond
its release threshold, or for a state by another state. A text on the console is used up by the firing, so each further
one fires anew. Between two firings the cool-down passes in any case. That is what keeps a host from doing and undoing
one thing at every look.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ringviz.engine.automation.rules import Deed, Rule
from ringviz.engine.automation.words import ACTIONS, METRICS


@dataclass(frozen=True, slots=True)
class Reading:
    """What is known of one machine at a look."""

    share: float = 0.0
    ready: float = 0.0
    exits: float | None = None
    """None: it has not had the CPU, so there is nothing to measure."""
    ballooned: float | None = None
    swapped: float | None = None
    shared: float | None = None
    """MiB; None: it is not on the host, or nobody has asked."""
    free_memory: float | None = None
    """Per cent, of the host's."""
    states: frozenset[str] = frozenset()
    console: str = ""
    """All that its guest has printed in this run of it."""

    def measured(self, metric: str) -> float | None:
        """Give a metric that is a number."""
        value: float | None = getattr(self, metric.replace("-", "_"))
        return value


HOST = ""
"""In place of a machine's name: the host's own reading."""


@dataclass(frozen=True, slots=True)
class Firing:
    """A rule that says something is to be done, and why."""

    rule: str
    deed: Deed
    why: str
    overruled_by: str | None = None
    """A rule before it has already said otherwise at this look; then it is not done."""


@dataclass(slots=True)
class _Memory:
    """What is kept of a rule between looks."""

    holds_since: int | None = None
    is_fired: bool = False
    """It has fired and was not released since."""
    quiet_until: int = 0
    console_read: int = 0
    """How much of what the guest has printed is dealt with."""


class Watcher:
    """Some rules, and what each remembers."""

    def __init__(self, rules: Sequence[Rule], clock: int = 0) -> None:
        """Begin to watch."""
        self._memories = {rule: _Memory() for rule in rules}
        self._last_look = clock

    def look(self, clock: int, readings: Mapping[str, Reading]) -> list[Firing]:
        """Say what is to be done, in the order of the rules.

        Args:
            clock: of the host.
            readings: by machine, of the time since the last look; a machine that is not there fulfils nothing. The
                host's own are under `HOST`.
        """
        firings: list[Firing] = []
        for rule, memory in self._memories.items():
            reading = readings.get(rule.machine, Reading())
            firings += self._of_rule(rule, memory, clock, reading)
        self._last_look = clock
        return list(_without_contradictions(firings))

    def _of_rule(self, rule: Rule, memory: _Memory, clock: int, reading: Reading) -> Iterator[Firing]:
        if memory.is_fired and _is_released(rule, reading):
            memory.is_fired = False
            undone = rule.release_deed
            if undone is not None:
                yield Firing(rule.name, undone, f"released: {_found(rule, reading)}")
        if not _holds(rule, memory, reading):
            memory.holds_since = None
            return
        if memory.holds_since is None:
            memory.holds_since = self._last_look
        held = clock - memory.holds_since
        if memory.is_fired or held < rule.for_cycles or clock < memory.quiet_until:
            return
        memory.is_fired = METRICS[rule.condition.metric].id != "console"
        memory.quiet_until = clock + rule.cool_down_cycles
        since = f", for {held:,} cycles" if rule.for_cycles else ""
        yield Firing(rule.name, rule.deed, f"{rule.whose}: {rule.condition.text}: {_found(rule, reading)}{since}")


def _holds(rule: Rule, memory: _Memory, reading: Reading) -> bool:
    condition = rule.condition
    if condition.equals is not None:
        return condition.equals in reading.states
    if condition.has is not None:
        return _has_printed(condition.has, memory, reading.console)
    value = reading.measured(condition.metric)
    if value is None:
        return False
    return value > condition.over if condition.over is not None else value < (condition.under or 0)


def _has_printed(text: str, memory: _Memory, console: str) -> bool:
    """Look for a text behind what is dealt with; a guest that was switched on again begins anew."""
    if len(console) < memory.console_read:
        memory.console_read = 0
    found = console.find(text, memory.console_read)
    if found >= 0:
        memory.console_read = len(console)
        return True
    # The beginning of the text may be there already.
    memory.console_read = max(memory.console_read, len(console) - len(text) + 1)
    return False


def _is_released(rule: Rule, reading: Reading) -> bool:
    condition = rule.condition
    if condition.equals is not None:
        return condition.equals not in reading.states
    value = reading.measured(condition.metric)
    if value is None:
        return False
    return value <= rule.release if condition.over is not None else value >= rule.release


def _found(rule: Rule, reading: Reading) -> str:
    """Say what was found, for whoever wants to know why."""
    if rule.condition.equals is not None:
        return "it is " + (", ".join(sorted(reading.states)) or "not there")
    if rule.condition.has is not None:
        return "printed"
    value = reading.measured(rule.condition.metric)
    unit = METRICS[rule.condition.metric].unit
    return "nothing was measured" if value is None else f"{value:,.1f}{' ' + unit if unit else ''}"


def _without_contradictions(firings: Sequence[Firing]) -> Iterator[Firing]:
    """Let the first rule that would change something of a machine have its way, at this look."""
    first: dict[tuple[str, str], Firing] = {}
    for firing in firings:
        key = firing.deed.target, ACTIONS[firing.deed.action].aspect
        before = first.setdefault(key, firing)
        is_other = before.deed != firing.deed
        yield Firing(firing.rule, firing.deed, firing.why, before.rule) if is_other else firing
