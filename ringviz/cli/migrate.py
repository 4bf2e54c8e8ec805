"""`ringviz migrate`: a guest moves from a host to another while it runs, and every round of it is shown."""

import sys
import textwrap
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ringviz.cli.chosen import chosen
from ringviz.cli.exits import Exit
from ringviz.cli.options import Cpu, Json, Mmu, Scenario, Technique
from ringviz.cli.output import print_json, print_lines, strong, width_cells
from ringviz.cli.table import Column, table
from ringviz.errors import InputError
from ringviz.facts.costs import CPU_PROFILES
from ringviz.facts.migration import DEFAULT_MBIT, DEFAULT_ROUNDS, MIGRATION_NUMBERS, STOP_RULES

if TYPE_CHECKING:
    from ringviz.engine.migration import MigrationReport
    from ringviz.vmm.migration.rounds import Round
    from ringviz.vmm.migration.source import Outcome

SCHEMA = 1
DEFAULT_AFTER = 1_500_000
MOST_MBIT = 100_000

Bandwidth = Annotated[int, typer.Option("--bandwidth", metavar="MBIT", help="Of the link, in Mbit/s.")]
Rules = Annotated[str, typer.Option("--rules", metavar="ID", help=f"When pre-copy is over: {', '.join(STOP_RULES)}.")]
AutoConverge = Annotated[
    bool, typer.Option("--auto-converge", help="Slow a guest down that writes faster than the link carries.")
]
Rounds = Annotated[int, typer.Option("--rounds", metavar="N", help="Give up after so many rounds.")]
After = Annotated[
    int,
    typer.Option("--after", metavar="CYCLES", help="When to begin, in cycles of the host; a million make a second."),
]
Cut = Annotated[int | None, typer.Option("--cut", metavar="BYTES", help="Lose the link after so many bytes.")]
Listen = Annotated[
    int | None,
    typer.Option("--listen", metavar="PORT", help="Be the destination, in a process of its own; 0: any free port."),
]
To = Annotated[int | None, typer.Option("--to", metavar="PORT", help="Move to the destination that listens there.")]
Secret = Annotated[
    str | None, typer.Option("--secret", metavar="FILE", help="What both processes know: at least 16 bytes.")
]
Record = Annotated[
    str | None, typer.Option("--record", metavar="FILE", help="Where both note, once, who has the machine.")
]
Numbers = Annotated[bool, typer.Option("--numbers", help="Only print the rules and numbers, with their sources.")]


def migrate(
    scenario: Scenario = "migration-writer",
    technique: Technique = "vt-x",
    mmu: Mmu = None,
    cpu: Cpu = None,
    bandwidth: Bandwidth = DEFAULT_MBIT,
    rules: Rules = "qemu",
    auto_converge: AutoConverge = False,
    rounds: Rounds = DEFAULT_ROUNDS,
    after: After = DEFAULT_AFTER,
    cut: Cut = None,
    listen: Listen = None,
    to: To = None,
    secret: Secret = None,
    record: Record = None,
    numbers: Numbers = False,
    json: Json = False,
) -> int:
    """Move a running guest to another host, and compare its end with that of a run that nobody moved.

    Memory goes over round by round while the guest runs on and writes to it again; the last round goes while it stands
    still. Exit code 1 says that it stayed where it was, or that moving has changed something.
    """
    if numbers:
        print_lines(_number_lines())
        return Exit.DONE
    for option, value, most in (("--bandwidth", bandwidth, MOST_MBIT), ("--rounds", rounds, 10_000)):
        if not 1 <= value <= most:
            raise InputError(f"{option}: found {value}, expected 1 to {most:,}")
    for option, at in (("--after", after), ("--cut", cut or 0)):
        if at < 0:
            raise InputError(f"{option}: found {at}, expected 0 or more")
    from ringviz.cli import migrate_hosts as hosts
    from ringviz.engine import migration
    from ringviz.vmm.migration.source import Plan

    plan = Plan(bandwidth, rules, auto_converge, rounds)
    cpu = cpu or _usual_cpu(technique)
    if listen is not None or to is not None:
        link = hosts.Link(listen, to, secret, record)
        if cut is not None:
            raise InputError("--cut: only within one process; between two, end one of them")
        return hosts.migrate(chosen(scenario), technique, mmu, cpu, plan, link, after=after)
    found = chosen(scenario)
    report = migration.migrate(found, technique, mmu, cpu, plan, after=after, cut_after=cut, on_round=tell_round)
    if json:
        print_json(_json(report, plan.rules))
    else:
        print_lines(_lines(report, plan.rules, has_help=auto_converge))
    return Exit.DONE if report.outcome.moved and report.is_equal else Exit.FAILED


def _usual_cpu(technique: str) -> str | None:
    """Give the CPU of a host that says nothing, as `ringviz vm` has it; None where the technique needs another."""
    from ringviz.record.machines.contents import DEFAULT_CPU
    from ringviz.vmm.registry import technique_facts

    needed = technique_facts(technique).needs_feature
    return DEFAULT_CPU if needed is None or needed in CPU_PROFILES[DEFAULT_CPU].features else None


_ROUNDS = (
    Column("Round", is_number=True),
    Column("Due", is_number=True),
    Column("Sent", is_number=True),
    Column("Zero", is_number=True),
    Column("Later", is_number=True),
    Column("Bytes", is_number=True),
    Column("ms", is_number=True),
    Column("Mbit/s", is_number=True),
    Column("Dirtied", is_number=True),
    Column("CPU kept", is_number=True),
)
_LEGEND = (
    "In pages of 4 KiB. Due: to be sent in this round; zero: told by their number alone; later: written to again "
    "before they were sent. Dirtied: written to during the round, and due in the next. CPU kept: from the guest. "
    "Times are modelled: a thousand cycles of the host make a millisecond, and the link carries what it is said to."
)


def tell_round(done: "Round") -> None:
    """Say on stderr, if that is a terminal, that a round is over: the table comes at the end."""
    if sys.stderr.isatty():
        name = "the last round" if done.is_last else f"round {done.number}"
        print(
            f"{name}: {done.due_pages:,} pages in {_ms(done.cycles)} modelled ms, "
            f"{done.dirtied_pages:,} written to meanwhile",
            file=sys.stderr,
        )


def _row(done: "Round") -> tuple[str, ...]:
    name = "last" if done.is_last else str(done.number)
    numbers = (done.due_pages, done.sent_pages, done.zero_pages, done.skipped_pages, done.sent_bytes)
    kept = "stopped" if done.is_last else f"{done.throttle_percent} %" if done.throttle_percent else "-"
    return (
        name, *(f"{value:,}" for value in numbers), _ms(done.cycles), str(done.mbit), f"{done.dirtied_pages:,}", kept,
    )  # fmt: skip


def _lines(report: "MigrationReport", rules: str, *, has_help: bool) -> Iterator[str]:
    outcome = report.outcome
    how = f"{report.technique}, memory: {report.mmu}"
    yield strong(f"{report.scenario} under {how}, on {report.cpu.title}: {report.memory_bytes >> 20} MiB of memory")
    yield f"Rules of {STOP_RULES[rules].title}; begun at {_ms(report.started_at)} modelled ms of the host's time"
    yield ""
    yield from outcome_lines(outcome, report.memory_bytes, has_help=has_help)
    where = "destination" if report.runs_at_destination else "source"
    yield f"It ran to its end at the {where}, and nowhere else: {report.ending.text}"
    yield equal_line(is_equal=report.is_equal)


def equal_line(*, is_equal: bool) -> str:
    """Say whether moving has changed anything."""
    if is_equal:
        return "Console, memory, registers, devices and the time it saw are those of a run that nobody moved"
    return "Its end is NOT that of a run that nobody moved"


def outcome_lines(outcome: "Outcome", memory_bytes: int, *, has_help: bool) -> Iterator[str]:
    """Tell the rounds, and what came of them."""
    if outcome.rounds:
        yield from table(_ROUNDS, [_row(done) for done in outcome.rounds], width_cells())
        yield from textwrap.wrap(_LEGEND, width_cells())
        yield ""
    if outcome.moved:
        yield f"Stopped because {outcome.why}"
        still, total = _ms(outcome.downtime_cycles), _ms(outcome.total_cycles)
        yield strong(f"Moved: the guest stood still for {still} of {total} modelled ms")
    else:
        yield strong(f"Not moved, {outcome.result.value}: {outcome.why}")
        if outcome.result.name == "GAVE_UP" and not has_help:
            yield "A guest that writes faster than the link carries can be slowed down: --auto-converge"
    yield f"Sent {outcome.sent_bytes:,} bytes, {outcome.sent_bytes / memory_bytes:.2f} times its memory"
    logged = sum(done.logged for done in outcome.rounds)
    yield f"Noting what it wrote: {logged:,} traps, one for the first write to a page in each round"


def _json(report: "MigrationReport", rules: str) -> dict[str, Any]:
    outcome = report.outcome
    return {
        "schema": SCHEMA,
        "scenario": report.scenario,
        "technique": report.technique,
        "mmu": report.mmu,
        "cpu": report.cpu.id,
        "rules": rules,
        "result": outcome.result.name.lower().replace("_", "-"),
        "why": outcome.why,
        "rounds": [asdict(done) for done in outcome.rounds],
        "downtime_cycles": outcome.downtime_cycles,
        "total_cycles": outcome.total_cycles,
        "sent_bytes": outcome.sent_bytes,
        "runs_at": "destination" if report.runs_at_destination else "source",
        "outcome": report.ending.how,
        "console": report.ending.console,
        "guest_state_sha256": report.ending.guest_state_sha256,
        "is_equal": report.is_equal,
    }


def _number_lines() -> Iterator[str]:
    columns = (Column("Rules"), Column("What they do", wraps=True), Column("Source", wraps=True))
    yield from table(columns, [(row.id, row.text, str(row.source)) for row in STOP_RULES.values()], width_cells())
    yield ""
    number_columns = (
        Column("Number"), Column("Value", is_number=True), Column("Unit"), Column("What it is", wraps=True),
        Column("Source", wraps=True),
    )  # fmt: skip
    rows = [(row.id, f"{row.value:,}", row.unit, row.title, str(row.source)) for row in MIGRATION_NUMBERS.values()]
    yield from table(number_columns, rows, width_cells())


def _ms(cycles: int) -> str:
    return f"{cycles / 1000:,.1f}"
