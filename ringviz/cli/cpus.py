"""`ringviz cpus`: the CPUs whose costs can be charged, and where the figures come from."""

from collections.abc import Iterator

from ringviz.cli.exits import Exit
from ringviz.cli.options import Json
from ringviz.cli.output import print_json, print_lines, strong, width_cells
from ringviz.cli.table import Column, table
from ringviz.facts.costs import CPU_PROFILES, Cost, CpuProfile

SCHEMA = 1

COSTS = (Column("Cause"), Column("Cycles", is_number=True), Column("Source", wraps=True))


def cpus(json: Json = False) -> int:
    """List the CPUs and the sources of their costs."""
    profiles = tuple(CPU_PROFILES.values())
    if json:
        print_json({"schema": SCHEMA, "cpus": [_object(profile) for profile in profiles]})
    else:
        print_lines(line for profile in profiles for line in _report(profile))
    return Exit.DONE


def _object(profile: CpuProfile) -> dict[str, object]:
    return {
        "id": profile.id,
        "title": profile.title,
        "vendor": profile.vendor,
        "year": profile.year,
        "features": sorted(profile.features),
    }


def _report(profile: CpuProfile) -> Iterator[str]:
    """Give one CPU, and each of its costs with source."""
    yield strong(f"{profile.id}: {profile.title} ({profile.year})")
    yield f"Features: {', '.join(sorted(profile.features)) or 'none'}. Cycles are modelled from these figures:"
    yield from table(
        COSTS, [(cost.cause, _cycles(cost), _source(cost)) for cost in profile.costs.values()], width_cells()
    )
    yield ""


def _cycles(cost: Cost) -> str:
    """Give the price, or what stands for an unknown one."""
    return "unknown" if cost.cycles is None else f"{cost.cycles:,}"


def _source(cost: Cost) -> str:
    """Say where the price comes from, how well it is known, and which range the sources leave open."""
    is_open = cost.low is not None and cost.high is not None and cost.low != cost.high
    spread = f", range {cost.low:,} to {cost.high:,}" if is_open else ""
    return f"{cost.source} [{cost.source.status.value}{spread}]"
