"""Figures of a lesson: computed by running the guest, or taken from a sourced fact, and never typed into the text.

A figure is named in a few words, which stand in braces in a lesson's text, `{{vt-x@nehalem times exit}}`, and as they
are in its questions::

    [scenario:]technique[/mmu][@cpu][(±control,…)] what      something that a run has come to
    fact ID                                                  a published figure of `ringviz.facts.figures`
    cost CPU CAUSE                                           cycles of the cost model
    paper OPERATION native|software|hardware                 cycles that Adams & Agesen measured in 2006
    model OPERATION native|software|hardware                 cycles that ringviz gets for the same
    host HOST N|end KEY                                      something of a host after N accounting periods

`what` is one of `retired`, `direct`, `direct-percent`, `outcome`, `exit-code`, `console`, `vmm-calls`, `slowdown`,
`guest-cycles`, `overhead-cycles`, `total-cycles`, `tlb-misses`, `walk-references`, `divergences`, `first-divergence`,
`attempts`, `contained`, `count CAUSE` and `cycles CAUSE` of the bill, `times KIND` of event, and `causes TEXT`, how
many events have a cause that begins so. `KEY` is one of those that a host's lecture can expect; a part is rounded.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from ringviz.engine.paper import Row, reproduce_one
from ringviz.engine.recording import Recording
from ringviz.engine.stat import Stat, stat
from ringviz.errors import InputError
from ringviz.facts.adams_agesen import CPU as PAPER_CPU
from ringviz.facts.adams_agesen import OPERATIONS, Contender
from ringviz.facts.costs import CPU_PROFILES, PRICED
from ringviz.facts.figures import FIGURES
from ringviz.facts.techniques import TECHNIQUES
from ringviz.guest.scenario import Scenario, find_scenario
from ringviz.guest.schema import clipped, did_you_mean
from ringviz.lessons.host_told import moment_of
from ringviz.vmm.events import Kind
from ringviz.vmm.registry import choose

Value = int | float | str

_RUN = re.compile(
    r"(?:(?P<scenario>[\w.-]+):)?(?P<technique>[\w-]+)(?:/(?P<mmu>\w+))?(?:@(?P<cpu>[\w.-]+))?"
    r"(?:\((?P<controls>[-+\w,]+)\))?\Z"
)
_BRACES = re.compile(r"\{\{\s*(.+?)\s*\}\}")
_COMPARED = frozenset({"slowdown", "divergences", "first-divergence"})
_WALKED = frozenset({"tlb-misses", "walk-references"})
_PLAIN = (
    "retired", "direct", "direct-percent", "outcome", "exit-code", "console", "vmm-calls", "guest-cycles",
    "overhead-cycles", "total-cycles", "attempts", "contained",
)  # fmt: skip
_WITH_ARGUMENT = ("count", "cycles", "times", "causes")
WORDS = (*_PLAIN, *sorted(_COMPARED), *sorted(_WALKED), *_WITH_ARGUMENT)


@dataclass(frozen=True, slots=True)
class _Run:
    """Which run a figure speaks of."""

    scenario: str
    technique: str
    mmu: str | None
    cpu: str | None
    controls: tuple[str, ...]


def figures_in(text: str) -> tuple[str, ...]:
    """Give the names of the figures that a text asks for."""
    return tuple(found[1] for found in _BRACES.finditer(text))


@dataclass(slots=True)
class Figures:
    """Computes figures for one lesson; a run that was needed once is kept."""

    scenario: Scenario
    """The one that is meant where a figure names none."""
    _stats: dict[tuple[_Run, bool, bool], Stat] = field(default_factory=dict)
    _papers: dict[str, Row] = field(default_factory=dict)
    _counts: dict[_Run, Counter[tuple[Kind, str]]] = field(default_factory=dict)

    def value(self, name: str) -> Value:
        """Compute one figure.

        Raises:
            InputError: it is not the name of a figure.
            RingvizError: the run it speaks of is not possible.
        """
        words = name.split()
        match words:
            case ["fact", figure]:
                return FIGURES[_known("figure", figure, FIGURES)].value
            case ["cost", cpu, cause]:
                return _cost(cpu, cause)
            case ["paper" | "model", operation, column]:
                return self._of_paper(words[0], operation, column)
            case ["host", host, after, key]:
                return _of_host(host, after, key)
            case [run, what] if what in WORDS and what not in _WITH_ARGUMENT:
                return self._of_run(self._run(run), what)
            case [run, "causes", *rest] if rest:
                return self._caused(self._run(run), " ".join(rest))
            case [run, what, argument] if what in _WITH_ARGUMENT:
                return self._counted(self._run(run), what, argument)
        raise InputError(
            f'"{name}" is no figure; expected a technique and one of {", ".join(WORDS)}, or fact ID, '
            "or cost CPU CAUSE, or host HOST PERIODS KEY"
            f"{did_you_mean(words[-1] if words else '', WORDS)}"
        )

    def fill(self, text: str) -> str:
        """Put figures where a text has their names in double braces.

        Raises:
            RingvizError: as `value`.
        """
        return _BRACES.sub(lambda found: shown(self.value(found[1])), text)

    def _of_paper(self, whose: str, operation: str, column: str) -> int:
        id_ = _known("operation", operation, OPERATIONS)
        if id_ not in self._papers:
            self._papers[id_] = reproduce_one(id_, PAPER_CPU)[0]
        who = Contender(_known("column", column, [row.value for row in Contender]))
        measure = self._papers[id_].measures[who]
        return measure.paper if whose == "paper" else round(measure.model)

    def _run(self, text: str) -> _Run:
        found = _RUN.match(text)
        if found is None:
            raise InputError(f'"{text}" is no run; expected [scenario:]technique[/mmu][@cpu][(±control,…)]')
        technique = _known("technique", found["technique"], TECHNIQUES)
        controls = tuple(found["controls"].split(",")) if found["controls"] else ()
        return _Run(found["scenario"] or self.scenario.id, technique, found["mmu"], found["cpu"], controls)

    def _scenario(self, run: _Run) -> Scenario:
        return self.scenario if run.scenario == self.scenario.id else find_scenario(run.scenario)

    def _stat(self, run: _Run, *, compared: bool = False, walked: bool = False) -> Stat:
        for key in ((run, compared, walked), (run, True, walked)):
            if key in self._stats:
                return self._stats[key]
        found = stat(
            self._scenario(run), run.technique, run.mmu, run.cpu, compared, controls=run.controls, walks=walked
        )
        self._stats[run, compared, walked] = found
        return found

    def _of_run(self, run: _Run, what: str) -> Value:
        result = self._stat(run, compared=what in _COMPARED, walked=what in _WALKED)
        verdict = result.fidelity
        values: dict[str, Value | None] = {
            "retired": result.retired,
            "direct": result.direct,
            "direct-percent": round(100 * result.direct / result.retired, 1) if result.retired else 0.0,
            "outcome": result.outcome,
            "exit-code": result.exit_code,
            "console": result.console.strip(),
            "vmm-calls": result.vmm_calls,
            "guest-cycles": result.cycles.guest,
            "overhead-cycles": result.cycles.overhead,
            "total-cycles": result.cycles.total,
            "attempts": result.safety.attempts,
            "contained": result.safety.contained,
            "slowdown": result.slowdown,
            "divergences": None if verdict is None else len(verdict.divergences),
            "first-divergence": None
            if verdict is None or verdict.first_divergence is None
            else verdict.first_divergence.instruction,
            "tlb-misses": None if result.walks is None else result.walks.code_misses + result.walks.data_misses,
            "walk-references": None if result.walks is None else result.walks.references,
        }
        value = values[what]
        if value is None:
            raise InputError(f"{run.scenario} under {run.technique} has no {what}")
        return value

    def _counted(self, run: _Run, what: str, argument: str) -> int:
        if what == "times":
            kind = Kind(_known("kind of event", argument, [kind.value for kind in Kind if kind is not Kind.GUEST]))
            return self._times(run, kind)
        cause = _known("cause", argument, PRICED)
        row = next((row for row in self._stat(run).events if row.cause == cause), None)
        return 0 if row is None else row.count if what == "count" else row.cycles

    def _caused(self, run: _Run, text: str) -> int:
        return sum(times for (_kind, cause), times in self._events(run).items() if cause.startswith(text))

    def _times(self, run: _Run, kind: Kind) -> int:
        return sum(times for (known, _cause), times in self._events(run).items() if known is kind)

    def _events(self, run: _Run) -> Counter[tuple[Kind, str]]:
        if run not in self._counts:
            scenario = self._scenario(run)
            setup = choose(run.technique, run.mmu, run.cpu, run.controls, scenario)
            recording = Recording(scenario, run.technique, setup)
            recording.play_to_the_end()
            self._counts[run] = Counter((event.kind, event.cause) for event in recording.log.raw)
        return self._counts[run]


def shown(value: Value) -> str:
    """Give a figure as it stands in a sentence."""
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.2f}" if isinstance(value, float) else value


def _cost(cpu: str, cause: str) -> int:
    row = CPU_PROFILES[_known("CPU", cpu, CPU_PROFILES)].costs[_known("cause", cause, PRICED)]
    if row.cycles is None:
        raise InputError(f"nobody has published what {cause} costs on {cpu}")
    return row.cycles


def _of_host(host: str, after: str, key: str) -> Value:
    values = moment_of(host, after).values
    if key not in values:
        raise InputError(f'{host} has no "{clipped(key)}" then{did_you_mean(key, values)}')
    value = values[key]
    return round(value) if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else value


def _known(kind: str, name: str, names: Iterable[str]) -> str:
    known = list(names)
    if name not in known:
        raise InputError(f'{kind} "{name}" unknown{did_you_mean(name, known)}')
    return name
