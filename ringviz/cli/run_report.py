"""The words for one finished run that `stat` and `compare` share."""

import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ringviz.cli.exits import one_line
from ringviz.cli.output import width_cells
from ringviz.cli.table import Column, table
from ringviz.facts.costs import CPU_PROFILES
from ringviz.guest.recompiled import Recompiled

if TYPE_CHECKING:
    from ringviz.engine.stat import Stat

DIVERGENCES = (
    Column("After", is_number=True),
    Column("Address", is_number=True),
    Column("Instruction"),
    Column("Bare metal gives", wraps=True),
    Column("The guest got", wraps=True),
)
"""`After` counts retired guest instructions."""

_SMALL = 0.1
"""A factor below it would lose its digits to rounding."""
ANSWER = "answer"
"""What the engine calls that which a silent instruction gives; any other name is that of a register or a place."""


def ending(run: "Stat") -> str:
    """Say how a run ended."""
    match run.outcome:
        case "exit":
            return f"exit code {run.exit_code}"
        case "budget":
            return "stopped at the scenario's instruction limit"
        case outcome:
            return outcome.replace("-", " ")


def direct(run: "Stat") -> str:
    """Say which share of the guest's instructions the CPU ran with no VMM in between."""
    return share(run.direct, run.retired)


def slowdown(run: "Stat") -> str:
    """Say how many times the modelled cycles of bare metal the run takes, if that is known."""
    if run.slowdown is None:
        return ""
    return f"{run.slowdown:.2f}×" if run.slowdown >= _SMALL or not run.slowdown else f"{run.slowdown:.2g}×"


def fidelity(run: "Stat") -> str:
    """Say in a few words whether the guest saw what it sees on bare metal."""
    if run.fidelity is None:
        return ""
    first = run.fidelity.first_divergence
    if first is not None:
        return f"diverges at {first.retired:,}: {first.instruction}"
    if run.fidelity.markers is not None:
        return f"identical at {run.fidelity.markers:,} markers"
    return "identical" if run.fidelity.closely_until is None else "identical at intervals"


def port(change: Recompiled) -> str:
    """Say how much of a kernel's source was written for the VMM."""
    return f"{change.written:,} of {change.lines:,} source lines were written for the VMM ({change.percent:.1f} %)"


def attempts(run: "Stat") -> str:
    """Say how often the guest reached for what is not its own, and whether it got it."""
    tried, stopped = run.safety.attempts, run.safety.contained
    if tried == 0:
        return "none"
    return f"{tried:,}, all contained" if stopped == tried else f"{tried:,}, {stopped:,} contained"


def divergences(run: "Stat") -> Iterator[str]:
    """Give every instruction that did not do what it does on bare metal, as a table; nothing if there is none."""
    if run.fidelity is None or not run.fidelity.divergences:
        return
    rows = [
        (
            f"{divergence.retired:,}",
            f"{divergence.address:08X}h",
            divergence.instruction,
            _seen(divergence.what, divergence.native),
            _seen(divergence.what, divergence.here),
        )
        for divergence in run.fidelity.divergences
    ]
    yield from table(DIVERGENCES, rows, width_cells())


def _seen(what: str, value: int | str) -> str:
    """Give what the guest sees and where; numbers are those of registers and memory, so hexadecimal."""
    shown = f"{value:08X}" if isinstance(value, int) else one_line(value)
    return shown if what == ANSWER else f"{what} {shown}"


def priced(cpu_id: str) -> Iterator[str]:
    """Say that cycles are modelled, for which CPU, and where its prices come from."""
    cpu = CPU_PROFILES[cpu_id]
    text = f"Cycles are modelled for {cpu.title} ({cpu.year}); `ringviz cpus {cpu_id}` has each price with its source"
    yield from textwrap.wrap(text, width_cells(), subsequent_indent="  ", break_on_hyphens=False)


def share(part: int, whole: int) -> str:
    """Give a part in per cent of the whole, or a dash where there is nothing to share."""
    return f"{100 * part / whole:.1f} %" if whole else "-"
