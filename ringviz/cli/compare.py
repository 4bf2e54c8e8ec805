"""`ringviz compare`: techniques side by side, each compared with bare metal at every instruction."""

import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ringviz.cli import run_report
from ringviz.cli.exits import Exit, one_line
from ringviz.cli.options import Cpu, Json, Scenario, Techniques
from ringviz.cli.output import print_json, print_lines, strong, width_cells
from ringviz.cli.progress import shown
from ringviz.cli.table import Column, table
from ringviz.facts.techniques import TECHNIQUES, TechniqueFacts
from ringviz.guest.scenario import find_scenario

if TYPE_CHECKING:
    from ringviz.engine.compare import Comparison
    from ringviz.engine.stat import Stat

RUNS = (
    Column("Technique"),
    Column("VMM/kernel"),
    Column("Fidelity", wraps=True),
    Column("Retired", is_number=True),
    Column("Direct", is_number=True),
    Column("Slowdown", is_number=True),
    Column("Contained", is_number=True),
)
SEATS = "VMM/kernel: the rings they really run in. -1 is host mode or VMX root; a dash: not there, or not run directly."


def compare(
    scenario: Scenario,
    technique: Techniques = None,
    cpu: Cpu = None,
    json: Json = False,
) -> int:
    """Compare techniques, each with bare metal."""
    from ringviz.engine import compare as engine

    with shown() as progress:
        comparison = engine.compare(find_scenario(scenario), technique or None, cpu, progress)
    if json:
        print_json(engine.comparison_json(comparison))
    else:
        print_lines(report(comparison))
    return Exit.FAILED if comparison.failed else Exit.DONE


def report(comparison: "Comparison") -> Iterator[str]:
    """Give the comparison as a text for people."""
    yield strong(f"{comparison.scenario_id}, techniques side by side; cycles are modelled")
    yield ""
    yield from table(RUNS, [_row(run) for run in comparison.runs], width_cells())
    yield ""
    yield from textwrap.wrap(SEATS, width_cells())
    for run in comparison.runs:
        yield from _differences(run)
    if comparison.refused:
        yield ""
        yield from (f"{technique} was not run: {one_line(reason)}" for technique, reason in comparison.refused)


def _row(run: "Stat") -> tuple[str, ...]:
    return (
        run.technique,
        seats(TECHNIQUES[run.technique]),
        run_report.fidelity(run),
        f"{run.retired:,}",
        run_report.direct(run),
        run_report.slowdown(run),
        run_report.contained(run),
    )


def seats(technique: TechniqueFacts) -> str:
    """Give the rings of the VMM and of the guest's kernel as short as a table needs it."""
    rings = (technique.vmm_ring, technique.guest_kernel_ring)
    return " / ".join("-" if ring is None else str(ring) for ring in rings)


def _differences(run: "Stat") -> Iterator[str]:
    """Name every instruction at which a run differs from bare metal."""
    lines = list(run_report.divergences(run))
    if lines:
        yield ""
        yield strong(f"{run.technique}: where the guest sees something else than on bare metal")
        yield from lines
