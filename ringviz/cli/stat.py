"""`ringviz stat`: runs a guest to its end, and counts what happened and what it cost, by cause."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from ringviz.cli import run_report
from ringviz.cli.chosen import chosen
from ringviz.cli.exits import Exit, one_line
from ringviz.cli.ledger_report import advice_lines, curve_line, ledger_lines, reason_lines
from ringviz.cli.options import (
    ConsoleInput,
    Controls,
    Cpu,
    Disk,
    Disk2,
    Json,
    Keys,
    Limit,
    Memory,
    Mmu,
    Scenario,
    Technique,
)
from ringviz.cli.output import print_json, print_lines, strong
from ringviz.cli.progress import shown
from ringviz.cli.walk_report import walk_lines
from ringviz.facts.techniques import TECHNIQUES
from ringviz.guest.recompiled import Recompiled, recompiled

if TYPE_CHECKING:
    from ringviz.engine.stat import Stat


def stat(
    scenario: Scenario,
    technique: Technique = "native",
    mmu: Mmu = None,
    cpu: Cpu = None,
    control: Controls = None,
    disk: Disk = None,
    disk2: Disk2 = None,
    memory: Memory = None,
    limit: Limit = None,
    console_input: ConsoleInput = None,
    keys: Keys = None,
    fidelity: Annotated[
        bool, typer.Option("--fidelity", help="Run on bare metal as well, and compare at every instruction.")
    ] = False,
    walks: Annotated[
        bool, typer.Option("--walks", help="Count TLB misses and page-table references too, with a modelled TLB.")
    ] = False,
    json: Json = False,
) -> int:
    """Run a guest to its end; count traps and cycles by cause."""
    from ringviz.engine import stat as engine

    found = chosen(scenario, disk, disk2, memory, limit, console_input, keys)
    with shown() as progress:
        result = engine.stat(found, technique, mmu, cpu, fidelity, progress, control or (), walks)
    if json:
        print_json(engine.stat_json(result))
    else:
        port = recompiled(found) if TECHNIQUES[technique].alignment == "marker" else None
        print_lines(report(result, port))
    return Exit.FAILED if breaks_promise(result) else Exit.DONE


def breaks_promise(result: "Stat") -> bool:
    """Say whether the run differs from bare metal where its technique promises that it does not."""
    from ringviz.engine.compare import Comparison

    return Comparison(result.scenario, result.cpu, (result,), ()).failed


def report(result: "Stat", port: Recompiled | None = None) -> Iterator[str]:
    """Give one run as a text for people; `port` says what it took to recompile the kernel, if it was."""
    technique = TECHNIQUES[result.technique]
    yield strong(f"{result.scenario} under {technique.title} ({technique.id}), memory: {result.mmu}")
    yield f"Ended: {run_report.ending(result)}, after {result.retired:,} guest instructions"
    yield from run_report.priced(result.cpu)
    yield ""
    if result.ledger is not None:
        yield from ledger_lines(result.ledger, result.cpu)
        yield ""
    if result.reasons:
        yield "Why the VMM was entered, and the cycles that each charges:"
        yield from reason_lines(result.reasons)
        yield ""
    if result.ledger is not None and result.cycles.total:
        yield "The dearest causes, and what would make them cheaper:"
        yield from advice_lines(result.ledger)
        yield ""
    overhead = run_report.share(result.cycles.overhead, result.cycles.total)
    yield f"Overhead, which bare metal does not have: {result.cycles.overhead:,} cycles, {overhead} of all"
    curve = "" if result.ledger is None else curve_line(result.ledger)
    if curve:
        yield "Overhead added up, from the first instruction to the last:"
        yield f"  {curve}"
    yield f"Run directly by the CPU: {run_report.direct(result)} of the guest's instructions"
    yield f"Attempts on what is not the guest's own: {run_report.attempts(result)}"
    for stranger in result.strangers:
        times = "once" if stranger.count == 1 else f"{stranger.count:,} times"
        yield (
            f"No device has port {stranger.port:X}h, used {times}, first by {stranger.instruction}"
            f" at {stranger.address:08X}h"
        )
    if port is not None:
        yield f"Recompiled: {run_report.port(port)}; `ringviz build --diff` shows them"
    if result.walks is not None:
        yield ""
        yield from walk_lines(result.walks)
        yield ""
    if result.slowdown is not None:
        yield f"Slowdown: {run_report.slowdown(result)} of bare metal's cycles"
    if result.fidelity is not None:
        yield f"Fidelity: {run_report.fidelity(result)}"
        yield from run_report.divergences(result)
    if result.console:
        yield ""
        yield "The guest printed:"
        yield from (f"  {one_line(line)}" for line in result.console.splitlines())
    if result.screen is not None:
        yield ""
        yield "On its text screen:"
        yield from (f"  {one_line(row)}".rstrip() for row in result.screen)
