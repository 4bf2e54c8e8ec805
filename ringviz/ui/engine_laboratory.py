"""The real world below the app: scenarios from their folders, sessions from the engine."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from ringviz.engine.conditions import AtEvent, Stop
from ringviz.engine.hit_count import Hits
from ringviz.engine.places import in_other_builds, resolve_look, resolve_stop
from ringviz.engine.scorecard import scorecard
from ringviz.engine.session import Session
from ringviz.engine.vendors import pair_sessions
from ringviz.errors import InputError, RingvizError
from ringviz.facts.costs import CPU_PROFILES
from ringviz.facts.techniques import TECHNIQUES
from ringviz.guest.scenario import Scenario, find_scenario
from ringviz.record.replay import Replay
from ringviz.ui.glyphs import grouped
from ringviz.ui.laboratory import (
    Cancelled,
    ComparedRun,
    ComparedRuns,
    ControlChoice,
    CpuChoice,
    Group,
    LessonChoice,
    MachineChoice,
    Pair,
    Progress,
    Reading,
    ScenarioChoice,
    Sitting,
    TechniqueChoice,
)
from ringviz.ui.lazy_laboratory import scenario_choices
from ringviz.vmm import registry
from ringviz.vmm.controls import take
from ringviz.vmm.setup import Setup

if TYPE_CHECKING:
    from ringviz.engine.contest import Contest
    from ringviz.engine.fidelity import Divergence
    from ringviz.engine.generations import Generations
    from ringviz.engine.stat import Stat
    from ringviz.lessons.follow import Follower, Page
    from ringviz.record.machines.host_lecture import HostLecture

_WALKS_IF_SHORTER = 1_000_000
"""Instructions: counting the page walks of a longer run would take more than a few seconds."""
_MOST_CAUSES = 4
"""How many causes the compare screen names for each run."""


class EngineLaboratory:
    """Opens real sessions.

    Args:
        controls: settings to change from the start, `+name` or `-name`, each for the techniques that have it.
        prepared: a scenario with other disks than its folder says; it keeps them whenever it is opened.
    """

    def __init__(self, controls: Sequence[str] = (), prepared: Scenario | None = None) -> None:
        self._controls = tuple(controls)
        self._prepared = prepared
        self._taken_in: dict[str, Scenario] = {}
        self._visited: tuple[str, Scenario, tuple[str, ...]] | None = None

    def scenarios(self) -> Sequence[ScenarioChoice]:
        """Give all scenarios that are well formed."""
        return scenario_choices()

    def techniques(self) -> Sequence[TechniqueChoice]:
        """Give the techniques that are implemented."""
        rows = [TECHNIQUES[technique] for technique in registry.available()]
        return [TechniqueChoice(row.id, row.title, row.vmm_seat) for row in rows]

    def open(self, scenario: str, technique: str, mmu: str | None, cpu: str | None) -> Sitting:
        """Load a scenario and stand at its first instruction."""
        visited = self._visited
        if visited is not None and scenario == visited[0]:
            return Session(visited[1], technique, mmu, cpu, visited[2])
        own = registry.understood(technique, self._controls, mmu, cpu)
        return Session(self._found(scenario), technique, mmu, cpu, own)

    def swapped(
        self,
        sitting: Sitting,
        technique: str,
        mmu: str | None,
        cpu: str | None,
        controls: Sequence[str] | None,
        cancelled: Cancelled,
    ) -> Sitting:
        """Open the same guest at the same retired instruction, on a machine built otherwise."""
        if controls is None:
            controls = registry.understood(technique, self._controls, mmu, cpu)
        return _session(sitting).swapped(technique, mmu, cpu, controls, cancelled)

    def machine(self, technique: str, mmu: str | None, cpu: str | None, controls: Sequence[str]) -> MachineChoice:
        """Settle how a machine would be built, and what else could be chosen."""
        setup = registry.choose(technique, mmu, cpu, controls)
        row = TECHNIQUES[technique]
        return MachineChoice(
            technique=technique,
            title=row.title,
            cpu=setup.cpu.id,
            mmu=setup.mmu,
            cpus=tuple(
                CpuChoice(p.id, p.title, p.year, _refusal(technique, setup.mmu, p.id)) for p in CPU_PROFILES.values()
            ),
            mmus=tuple(mmu for mmu in row.mmus if _has(technique, mmu)),
            controls=_controls(technique, setup),
        )

    def run_to_place(self, sitting: Sitting, text: str, cancelled: Cancelled) -> bool:
        """Run to the address, symbol, ring change or kind of event that `text` names."""
        session = _session(sitting)
        stop = resolve_stop(session, text)
        if isinstance(stop.condition, AtEvent) and stop.condition.number <= len(session.events) and not stop.tests:
            session.seek(session.events.raw[max(stop.condition.number, 1) - 1].at + 1, cancelled)
            return True
        return session.run_until((stop,), cancelled) is not None

    def check_place(self, sitting: Sitting, text: str) -> str:
        """Understand a place to stop at, with its conditions; give how it is called in other builds."""
        resolve_stop(_session(sitting), text)
        return in_other_builds(_session(sitting), text)

    def run_to_breakpoint(self, sitting: Sitting, texts: Sequence[str], cancelled: Cancelled) -> str | None:
        """Run to the first of several places; those that mean nothing to this guest's build are passed over."""
        met = _session(sitting).run_until(_stops(sitting, texts), cancelled)
        return None if met is None else met.text

    def run_back_to_breakpoint(self, sitting: Sitting, texts: Sequence[str], cancelled: Cancelled) -> str | None:
        """Go back to the last of several places before here."""
        met = _session(sitting).run_back_until(_stops(sitting, texts), cancelled)
        return None if met is None else met.text

    def hits(self, sitting: Sitting, cancelled: Cancelled) -> Hits | None:
        """Count how often each fragment of a code cache has been entered."""
        return _session(sitting).hits(cancelled)

    def look(self, sitting: Sitting, text: str) -> tuple[str, int]:
        """Understand what to look at: a register to follow, `access`, an address or a symbol."""
        return resolve_look(_session(sitting), text)

    def pair(self, sitting: Sitting, cancelled: Cancelled) -> Pair:
        """Open the same guest at the same instruction under VT-x and AMD-V."""
        return pair_sessions(_session(sitting), cancelled)

    def group(self, sitting: Sitting, techniques: Sequence[str], cancelled: Cancelled) -> Group:
        """Open the same guest at the same instruction under several techniques."""
        from ringviz.engine.group import group_sessions

        return group_sessions(_session(sitting), techniques, cancelled)

    def lessons(self) -> Sequence[LessonChoice]:
        """All lessons that are well formed."""
        from ringviz.lessons.course import list_lessons

        return [
            LessonChoice(row.id, row.order, row.title, row.summary, row.minutes, len(row.sections) + 3, row.is_core)
            for row in list_lessons(on_error=lambda error: None)
        ]

    def read(self, lesson: str, seed: int, cpu: str | None) -> Reading:
        """Open a lesson."""
        from ringviz.lessons.course import find_lesson
        from ringviz.lessons.follow import Follower

        return _Reading(Follower(find_lesson(lesson), seed, cpu))

    def lecture(self, subject: str) -> "Replay | HostLecture":
        """Give the first replay that a scenario or a lesson has; that of a lesson can be about a host."""
        from ringviz.lessons.lectures import find_own_replay
        from ringviz.record.machines.host_lecture_file import is_host_lecture, load_host_lecture
        from ringviz.record.replay_file import load_replay

        path = find_own_replay(subject)
        return load_host_lecture(path) if is_host_lecture(path) else load_replay(path)

    def compare(self, scenario: str, cpu: str | None, progress: Progress) -> ComparedRuns:
        """All techniques to the end, each checked against bare metal."""
        # Loaded here, because most sittings never compare, and the first screen should not wait for it.
        from ringviz.engine.compare import compare

        comparison = compare(self._found(scenario), None, cpu, progress)
        runs = tuple(_compared(run) for run in comparison.runs)
        return ComparedRuns(comparison.scenario_id, comparison.cpu_id, runs, comparison.refused)

    def contest(self, scenario: str, cpu: str, progress: Progress) -> "Contest":
        """Binary translation and what hardware assistance the CPU has, counted; with page walks if the run is short."""
        from ringviz.engine.contest import contest

        return contest(self._found(scenario), None, cpu, progress, walks_if_shorter=_WALKS_IF_SHORTER)

    def generations(self, scenario: str, progress: Progress) -> "Generations":
        """The usual techniques, with page walks, priced for every CPU."""
        from ringviz.engine.generations import over_generations

        return over_generations(self._found(scenario), None, progress)

    def take_in(self, scenario: Scenario) -> None:
        """Open a scenario by the path of its folder from now on as it is, with whatever machine it has."""
        self._taken_in[str(scenario.path)] = scenario

    def visit(self, name: str, scenario: Scenario, controls: Sequence[str]) -> None:
        """Open a machine of a host by its name from now on, as it was switched on; until another one is visited."""
        self._visited = name, scenario, tuple(controls)

    def leave(self) -> None:
        """Let names be those of scenarios again."""
        self._visited = None

    def found(self, scenario: str) -> Scenario:
        """Give the scenario that is opened by an id or path."""
        return self._found(scenario)

    def _found(self, scenario: str) -> Scenario:
        """Load a scenario by id or path, with the machine that was asked for on the command line."""
        visited = self._visited
        if visited is not None and scenario == visited[0]:
            return visited[1]
        if scenario in self._taken_in:
            return self._taken_in[scenario]
        found = find_scenario(scenario)
        prepared = self._prepared
        if prepared is None or (prepared.path, prepared.id) != (found.path, found.id):
            return found
        return replace(
            found,
            disks=prepared.disks,
            guest=prepared.guest,
            limits=prepared.limits,
            console_input=prepared.console_input,
            keys=prepared.keys,
        )


class _Reading:
    """A follower of a lesson, as the app knows it."""

    def __init__(self, follower: "Follower") -> None:
        self._follower = follower
        self.id = follower.lesson.id
        self.title = follower.lesson.title
        self.scenario = follower.lesson.scenario.id

    @property
    def sitting(self) -> Sitting:
        return self._follower.session

    def open(self, number: int, cancelled: Cancelled = bool) -> None:
        self._follower.open(number, cancelled)

    def page(self) -> "Page":
        return self._follower.page()


def _controls(technique: str, setup: Setup) -> tuple[ControlChoice, ...]:
    """What can be flipped, as it stands with what has been flipped already."""
    known = registry.controls_of(technique, setup.mmu, setup.cpu.id, setup.controls)
    chosen = take(technique, setup.controls, known)
    return tuple(
        ControlChoice(c.id, c.title, c.group, chosen.get(c.id, c.is_on), c.is_on, c.rule) for c in known.values()
    )


def _refusal(technique: str, mmu: str, cpu: str) -> str:
    """Say why a CPU does not go with a technique, or nothing."""
    try:
        registry.choose_cpu(technique, mmu, cpu)
    except RingvizError as error:
        return str(error)
    return ""


def _has(technique: str, mmu: str) -> bool:
    try:
        registry.choose_mmu(technique, mmu)
    except RingvizError:
        return False
    return True


def _stops(sitting: Sitting, texts: Sequence[str]) -> list[Stop]:
    """Understand places to stop at; those that mean nothing to this guest's build are passed over."""
    stops = []
    for text in texts:
        with suppress(InputError):
            stops.append(resolve_stop(_session(sitting), text))
    return stops


def _session(sitting: Sitting) -> Session:
    return cast(Session, sitting)


def _compared(run: "Stat") -> ComparedRun:
    dearest = sorted(run.events, key=lambda total: -total.cycles)[:_MOST_CAUSES]
    causes = ", ".join(f"{e.cause} {grouped(e.count)}× = {grouped(e.cycles)} cycles" for e in dearest)
    return ComparedRun(
        technique=run.technique,
        outcome=run.outcome,
        retired=run.retired,
        total_cycles=run.cycles.total,
        slowdown=run.slowdown,
        card=scorecard(run),
        events=causes or "no events",
        cpu=run.cpu,
        divergences=() if run.fidelity is None else tuple(_divergence(d) for d in run.fidelity.divergences),
    )


def _divergence(divergence: "Divergence") -> str:
    native, here = (v if isinstance(v, str) else f"{v:X}" for v in (divergence.native, divergence.here))
    return f"step {grouped(divergence.retired)}: {divergence.instruction} gave {here}; bare metal gives {native}"
