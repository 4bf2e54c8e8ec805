"""`ringviz cpus`: the CPUs whose costs can be charged, what each has, and where the figures come from."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Annotated

import typer

from ringviz.cli.exits import Exit
from ringviz.cli.names import known
from ringviz.cli.options import Json, cpu_ids
from ringviz.cli.output import print_json, print_lines, strong, width_cells
from ringviz.cli.table import Column, table
from ringviz.facts.cost_rows import is_lent
from ringviz.facts.costs import CAUSES, CPU_PROFILES, Cost, CpuProfile
from ringviz.facts.cpu_features import CPU_FEATURES
from ringviz.facts.cpu_identity import CPU_IDENTITIES
from ringviz.facts.source import Source

SCHEMA = 1

_OVERVIEW = (
    Column("Id"),
    Column("Year"),
    Column("CPU", wraps=True),
    Column("Clock", is_number=True),
    Column("Exit + entry", is_number=True),
)
_FEATURES = (Column("Feature"), Column("What it is", wraps=True), Column("Source", wraps=True))
_COSTS = (Column("Cause"), Column("Cycles", is_number=True), Column("Source", wraps=True))

Which = Annotated[
    str | None,
    typer.Argument(metavar="[CPU]", help="Only this CPU, by its id.", show_default=False, autocompletion=cpu_ids),
]


def cpus(cpu: Which = None, json: Json = False) -> int:
    """List the CPUs, what each has for a VMM, and the sources of its costs."""
    chosen = tuple(CPU_PROFILES.values()) if cpu is None else (CPU_PROFILES[known("CPU", cpu, CPU_PROFILES)],)
    if json:
        print_json({"schema": SCHEMA, "cpus": [_object(profile) for profile in chosen]})
    else:
        print_lines(_text(chosen))
    return Exit.DONE


def _object(profile: CpuProfile) -> dict[str, object]:
    identity = CPU_IDENTITIES[profile.id]
    return {
        "id": profile.id,
        "title": profile.title,
        "vendor": profile.vendor,
        "year": profile.year,
        "features": _features(profile),
        "clock_hz": profile.clock_hz,
        "note": profile.note,
        "source": _citation(profile.source),
        "cpuid": {
            "vendor": identity.vendor,
            "brand": identity.brand.strip(),
            "signature": identity.signature,
            "family": identity.family,
            "model": identity.model,
            "stepping": identity.stepping,
            "note": identity.note,
            "source": _citation(identity.source),
        },
        "costs": [
            {
                "cause": cost.cause,
                "title": CAUSES[cost.cause].title,
                "level": CAUSES[cost.cause].level,
                "cycles": cost.cycles,
                "low": cost.low,
                "high": cost.high,
                "note": cost.note,
                "source": _citation(cost.source),
            }
            for cost in profile.costs.values()
        ],
    }


def _citation(source: Source) -> dict[str, object]:
    return {
        "work": source.work,
        "section": source.section,
        "status": source.status.name.lower().replace("_", "-"),
        "note": source.note,
    }


def _text(profiles: Sequence[CpuProfile]) -> Iterator[str]:
    """Give the CPUs at a glance, then each with its costs, then what the features are.

    Among many, what is the same on all stands once, and what a CPU borrows from another is named and not explained
    again. A single CPU comes with everything.
    """
    shared: frozenset[str] = frozenset()
    if len(profiles) > 1:
        shared = frozenset(
            cause for cause in CAUSES if all(_is_shared(profile, cause, profiles) for profile in profiles)
        )
        yield strong("CPUs, with the modelled cost of an exit and the entry back, in cycles")
        yield from table(_OVERVIEW, [_line(profile) for profile in profiles], width_cells())
        yield ""
        yield strong("On every CPU alike")
        yield from _costs([profiles[0].costs[cause] for cause in CAUSES if cause in shared])
        yield ""
    for profile in profiles:
        yield from _report(profile, shared, is_single=len(profiles) == 1)
        yield ""
    yield strong("What the features are")
    features = [feature for feature in CPU_FEATURES.values() if any(feature.id in p.features for p in profiles)]
    yield from table(_FEATURES, [(f.id, f.title, str(f.source)) for f in features], width_cells())


def _is_shared(profile: CpuProfile, cause: str, profiles: Sequence[CpuProfile]) -> bool:
    return profile.costs[cause] == profiles[0].costs[cause]


def _line(profile: CpuProfile) -> tuple[str, ...]:
    return profile.id, str(profile.year), profile.title, _clock(profile), _cycles(profile.costs["exit"])


def _report(profile: CpuProfile, shared: frozenset[str], *, is_single: bool) -> Iterator[str]:
    """Give one CPU, and each of its costs with source."""
    identity = CPU_IDENTITIES[profile.id]
    yield strong(f"{profile.id}: {profile.title} ({profile.year})")
    facts = [
        ("Note", f"{profile.note}. Year and features: {profile.source}"),
        ("Features", ", ".join(_features(profile)) or "none"),
        ("Clock", _clock(profile) + (f"; {profile.clock_source}" if profile.clock_source else "")),
        (
            "CPUID",
            f"{identity.vendor}, family {identity.family}, model {identity.model}, stepping {identity.stepping}, "
            f'"{identity.brand.strip()}"; {identity.source}' + (f". {identity.note}" if identity.note else ""),
        ),
    ]
    costs = [cost for cost in profile.costs.values() if cost.cause not in shared]
    if not is_single:
        facts += _borrowed(costs)
        costs = [cost for cost in costs if not is_lent(cost)]
    # The first line would be the titles of the columns: these need none.
    yield from islice(table((Column(""), Column("", wraps=True)), facts, width_cells()), 1, None)
    yield ""
    yield "Cycles are modelled from these figures:"
    yield from _costs(costs)


def _costs(costs: Sequence[Cost]) -> Iterator[str]:
    yield from table(_COSTS, [(cost.cause, _cycles(cost), _source(cost)) for cost in costs], width_cells())


def _borrowed(costs: Sequence[Cost]) -> Iterator[tuple[str, str]]:
    """Give what a CPU borrows, lender by lender."""
    for note in dict.fromkeys(cost.note for cost in costs if is_lent(cost)):
        rows = ", ".join(f"{cost.cause} {_cycles(cost)}" for cost in costs if cost.note == note)
        yield "Borrowed", f"{note[0].upper()}{note[1:]}: {rows}"


def _features(profile: CpuProfile) -> list[str]:
    """Give the features in the order in which CPUs came to have them."""
    return [feature for feature in CPU_FEATURES if feature in profile.features]


def _clock(profile: CpuProfile) -> str:
    return "unknown" if profile.clock_hz is None else f"{profile.clock_hz / 1e9:.2f} GHz"


def _cycles(cost: Cost) -> str:
    """Give the price, or what stands for an unknown one."""
    return "unknown" if cost.cycles is None else f"{cost.cycles:,}"


def _source(cost: Cost) -> str:
    """Say where the price comes from, how well it is known, and which range the sources leave open."""
    is_open = cost.low is not None and cost.high is not None and cost.low != cost.high
    spread = f", range {cost.low:,} to {cost.high:,}" if is_open else ""
    note = f". {cost.note[0].upper()}{cost.note[1:]}" if cost.note and cost.note not in cost.source.note else ""
    return f"{cost.source} [{cost.source.status.value}{spread}]{note}"
