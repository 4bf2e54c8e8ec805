"""`ringviz list`: which scenarios, techniques, lessons and hosts there are."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ringviz.cli.exits import Exit, complain
from ringviz.cli.options import Json
from ringviz.cli.output import print_json, print_lines, strong, width_cells
from ringviz.cli.table import Column, table
from ringviz.errors import RingvizError, ScenarioError
from ringviz.facts.techniques import TECHNIQUES, TechniqueFacts
from ringviz.guest.scenario import Scenario, list_scenarios
from ringviz.lessons.course import list_lessons
from ringviz.lessons.lesson import Lesson

if TYPE_CHECKING:
    from ringviz.record.machines.host_file import HostDefinition

SCHEMA = 1


def list_all(json: Json = False) -> int:
    """List the scenarios, the techniques, the lessons, and the hosts with several machines."""
    from ringviz.record.machines.host_file import shipped_hosts

    scenarios = list_scenarios(on_error=_complain_of)
    techniques = available()
    lessons = list_lessons(on_error=lambda error: complain(str(error)))
    hosts = shipped_hosts()
    if json:
        print_json(catalogue(scenarios, techniques, lessons, hosts))
    else:
        print_lines(report(scenarios, techniques, lessons, hosts))
    return Exit.DONE


def catalogue(
    scenarios: tuple[Scenario, ...],
    techniques: tuple[TechniqueFacts, ...],
    lessons: tuple[Lesson, ...],
    hosts: "tuple[HostDefinition, ...]",
) -> dict[str, object]:
    """Give the object of `list --json`."""
    return {
        "schema": SCHEMA,
        "scenarios": [
            {
                "id": scenario.id,
                "title": scenario.title,
                "summary": scenario.summary,
                "level": str(scenario.level),
                "techniques": [row.id for row in techniques if can_run(row.id, scenario)],
            }
            for scenario in scenarios
        ],
        "techniques": [{"id": row.id, "title": row.title, "vmm_seat": row.vmm_seat} for row in techniques],
        "lessons": [{"id": lesson.id, "title": lesson.title} for lesson in lessons],
        "hosts": [{"id": host.id, "title": host.title, "summary": host.summary} for host in hosts],
    }


def report(
    scenarios: tuple[Scenario, ...],
    techniques: tuple[TechniqueFacts, ...],
    lessons: tuple[Lesson, ...],
    hosts: "tuple[HostDefinition, ...]",
) -> Iterator[str]:
    """Give the same as a text for people."""
    yield strong("Scenarios")
    columns = (Column("Id"), Column("Level"), Column("What it shows", wraps=True))
    rows = [
        (scenario.id, str(scenario.level), f"{_sentence(scenario.title)} {scenario.summary}") for scenario in scenarios
    ]
    yield from table(columns, rows, width_cells())
    yield ""
    yield strong("Techniques")
    columns = (Column("Id"), Column("Title"), Column("Where the VMM sits", wraps=True))
    yield from table(columns, [(row.id, row.title, row.vmm_seat) for row in techniques], width_cells())
    if lessons:
        yield ""
        yield strong("Lessons")
        columns = (Column("Id"), Column("Minutes", is_number=True), Column("What you learn", wraps=True))
        rows = [(row.id, str(row.minutes), f"{_sentence(row.title)} {row.summary}") for row in lessons]
        yield from table(columns, rows, width_cells())
    yield ""
    yield strong("Hosts with several machines, for `ringviz run` and `ringviz vm demo`")
    columns = (Column("Id"), Column("Machines", is_number=True), Column("What it shows", wraps=True))
    yield from table(columns, [(host.id, str(len(host.machines)), host.summary) for host in hosts], width_cells())


def available() -> tuple[TechniqueFacts, ...]:
    """Give the techniques that ringviz has, bare metal first."""
    from ringviz.vmm import registry

    return tuple(TECHNIQUES[technique] for technique in registry.available())


def _sentence(title: str) -> str:
    """End a title with a full stop, if it has no mark of its own."""
    return title if title.endswith(("?", "!", ".")) else f"{title}."


def can_run(technique: str, scenario: Scenario) -> bool:
    """Say whether a scenario can be started under a technique, by starting it."""
    from ringviz.engine.session import Session

    try:
        Session(scenario, technique)
    except RingvizError:
        return False
    return True


def _complain_of(error: ScenarioError) -> None:
    """One broken folder is no reason to hide the others."""
    complain(str(error))
