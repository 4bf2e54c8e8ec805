"""The cost model as a text for people: all CPUs at a glance, one CPU with everything, and what the causes are."""

import textwrap
from collections.abc import Iterable, Iterator

from ringviz.cli.output import strong, width_cells
from ringviz.cli.table import Column, table
from ringviz.facts.costs import BUILT_IN_CPUS, CAUSES, PRICED, Cost, CpuProfile
from ringviz.facts.cpu_features import CPU_FEATURES, vendor_of
from ringviz.facts.cpu_identity import CPU_IDENTITIES
from ringviz.facts.instruction_weights import CLASSES, InstructionClass, in_cycles, weight_source
from ringviz.facts.source import Source, Status
from ringviz.facts.tlb_geometry import real_tlbs, source_of

UNKNOWN = "unknown"
NOT_MODELLED = (
    "Not modelled: effects of the instruction cache, misses of the data cache, mispredicted branches, and how "
    "instructions wait for each other."
)
_WORDS = {
    Status.SEEN: "seen",
    Status.SEEN_SECONDHAND: "second-hand",
    Status.COMPUTED: "computed",
    Status.BORROWED: "borrowed",
    Status.CHOSEN: "chosen",
    Status.MANUAL: "rule",
    Status.YOURS: "yours",
}
_MARKS = {
    Status.COMPUTED: "=",
    Status.BORROWED: "~",
    Status.CHOSEN: "*",
    Status.YOURS: "!",
    Status.SEEN_SECONDHAND: "'",
}
_LEGEND = (
    "4340 as published   4340= computed from what was published   889~ borrowed from something alike or from another "
    "CPU   5* chosen by ringviz   ? no figure found: counted, charged nothing"
)
_SHORT = {
    "p4-672": "P4", "core2": "Core2", "nehalem": "Nehal", "westmere": "Westm", "sandy-bridge": "SandB",
    "haswell": "Hasw", "skylake": "Skyl", "k8-revf": "K8", "barcelona": "Barce",
}  # fmt: skip
"""Heads of narrow columns."""
_OVERVIEW = (
    Column("Id"),
    Column("Year"),
    Column("CPU", wraps=True),
    Column("Clock", is_number=True),
    Column("Exit + entry", is_number=True),
    Column("Nested"),
)
_FEATURES = (Column(""), Column("Feature"), Column("What it is", wraps=True), Column("Source", wraps=True))
_WEIGHTS = (Column("Class"), Column("Cycles", is_number=True), Column("Status"), Column("What it is", wraps=True))
_INDENT = "    "
_CAUSE_CELLS, _CYCLES_CELLS, _RANGE_CELLS = max(map(len, PRICED)), 7, 14


def overview() -> Iterator[str]:
    """Give all CPUs at a glance, and what every event costs on each."""
    profiles = list(BUILT_IN_CPUS.values())
    yield strong("CPUs, with the modelled cost of an exit and the entry back, in cycles")
    yield from table(_OVERVIEW, [_line(profile) for profile in profiles], width_cells())
    yield ""
    yield strong("What each event costs on each of them, in cycles")
    yield from _matrix(profiles)
    yield ""
    yield from _wrapped(_LEGEND)
    yield ""
    first = profiles[0].tlb
    yield from _wrapped(
        f"Page walks are counted with a modelled TLB of {first.entries} entries in {first.ways} ways, the same on "
        f"every CPU. Guest instructions have weights by class, from {_lightest()} to {_heaviest()}. {NOT_MODELLED}"
    )
    yield ""
    yield "One of them, with sources and features:        ringviz cpus ID"
    yield "What is counted, and what a price is for:      ringviz cpus --causes"
    yield "A CPU of your own, to edit and give to --cpu:  ringviz cpus ID --toml > my.toml"


def one_cpu(profile: CpuProfile) -> Iterator[str]:
    """Give one CPU with everything that is known of it."""
    identity = CPU_IDENTITIES[profile.identity]
    yield strong(f"{profile.id}: {profile.title} ({profile.year})")
    yield from _wrapped(f"{profile.note}. Year and features: {profile.source}.")
    clock = _clock(profile) + (f"; {profile.clock_source}" if profile.clock_source else "")
    yield from _wrapped(f"Clock: {clock}.")
    yield from _wrapped(
        f"CPUID: {identity.vendor}, family {identity.family}, model {identity.model}, stepping {identity.stepping}, "
        f'"{identity.brand.strip()}"; {identity.source}.' + (f" {identity.note}." if identity.note else "")
    )
    yield ""
    yield strong("What it has for a VMM, and what it has not")
    yield from table(_FEATURES, list(_features(profile)), width_cells())
    yield ""
    yield strong("What events cost, in cycles")
    yield from _wrapped("Modelled from these figures; each with its range, how well it is known, and its source.")
    yield _cost_line("Cause", "Cycles", "Range", "Status")
    for cost in profile.costs.values():
        yield from _cost(cost)
    yield ""
    yield strong("What guest instructions weigh, in cycles")
    yield from table(_WEIGHTS, [_weight(row, profile) for row in CLASSES.values()], width_cells())
    yield from _notes((class_id, weight_source(class_id, profile)) for class_id in CLASSES)
    yield ""
    yield strong("The TLB that page walks are counted with")
    shape, source = profile.tlb, profile.tlb.source
    why = source.note if source.status is Status.CHOSEN else str(source)
    yield from _wrapped(f"{shape.entries} entries in {shape.ways} ways [{_WORDS[source.status]}]: {why}.")
    own = "; ".join(str(tlb) for tlb in real_tlbs(identity))
    yield from _wrapped(f"For comparison, the CPU's own, by its CPUID: {own}. {source_of(identity)}.")
    yield ""
    yield from _wrapped(NOT_MODELLED)


def causes() -> Iterator[str]:
    """Give every cause: what is counted, what its price is for, and what it is not for."""
    yield strong("What costs cycles")
    yield from _wrapped(
        "Events are counted in the run itself and priced with the CPU's table. Causes of the machine are paid on bare "
        "metal too; all others are overhead."
    )
    for cause in CAUSES.values():
        yield ""
        whose = "paid on bare metal too" if cause.level == "machine" else "overhead"
        part = f", part of {cause.part_of}" if cause.part_of else ""
        yield f"{strong(cause.id)} ({whose}{part})"
        yield from _wrapped(f"{cause.title}.", _INDENT)
        for word, text in (("Counted", cause.counted), ("Price", cause.included), ("Not in it", cause.left_out)):
            yield from _wrapped(f"{word}: {text}.", _INDENT, _INDENT + "  ")


def word_for(cost: Cost) -> str:
    """Say in one word how well a price is known."""
    return UNKNOWN if cost.cycles is None else _WORDS[cost.source.status]


def features_of(profile: CpuProfile) -> list[str]:
    """Give the features in the order in which CPUs came to have them."""
    return [feature for feature in CPU_FEATURES if feature in profile.features]


def lacking(profile: CpuProfile) -> list[str]:
    """Give the features that other CPUs of the maker have and this one has not, as far as is known."""
    return [f for f in CPU_FEATURES if vendor_of(f) == profile.vendor and f not in profile.features]


def _matrix(profiles: list[CpuProfile]) -> Iterator[str]:
    columns = (Column("Cause"), *(Column(_SHORT[profile.id], is_number=True) for profile in profiles))
    rows = [
        (("  " if cause.part_of else "") + cause.id, *(_marked(profile.costs[cause.id]) for profile in profiles))
        for cause in PRICED.values()
    ]
    yield from table(columns, rows, width_cells(), gap=" ")


def _marked(cost: Cost) -> str:
    """Give a price with a sign for how well it is known; the sign's place stays free where there is none."""
    return "? " if cost.cycles is None else f"{cost.cycles}{_MARKS.get(cost.source.status, ' ')}"


def _line(profile: CpuProfile) -> tuple[str, ...]:
    nested = next((feature.upper() for feature in ("ept", "npt") if feature in profile.features), "none")
    return profile.id, str(profile.year), profile.title, _clock(profile), _cycles(profile.costs["exit"]), nested


def _features(profile: CpuProfile) -> Iterator[tuple[str, ...]]:
    for sign, names in (("+", features_of(profile)), ("-", lacking(profile))):
        for feature in (CPU_FEATURES[name] for name in names):
            yield sign, feature.id, feature.title, str(feature.source)


def _cost(cost: Cost) -> Iterator[str]:
    cause = CAUSES[cost.cause]
    is_open = cost.low is not None and cost.high is not None and cost.low != cost.high
    spread = f"{cost.low:,} to {cost.high:,}" if is_open else ""
    yield _cost_line(cost.cause, _cycles(cost), spread, word_for(cost))
    note = f". {_capital(cost.note)}" if cost.note and cost.note not in cost.source.note else ""
    part = f" Part of {cause.part_of}." if cause.part_of else ""
    yield from _wrapped(f"{cause.title}: {cost.source}{note}.{part}", _INDENT)


def _cost_line(cause: str, cycles: str, spread: str, status: str) -> str:
    return f"{cause:{_CAUSE_CELLS}}  {cycles:>{_CYCLES_CELLS}}  {spread:{_RANGE_CELLS}}  {status}".rstrip()


def _weight(row: InstructionClass, profile: CpuProfile) -> tuple[str, ...]:
    own = profile.weights.get(row.id)
    if own is None:
        return row.id, row.cycles, _WORDS[row.source.status], row.title
    return row.id, in_cycles(own), _WORDS[Status.YOURS], row.title


def _notes(sources: Iterable[tuple[str, Source]]) -> Iterator[str]:
    """Give where weights come from, one paragraph a source."""
    by_source: dict[Source, list[str]] = {}
    for name, source in sources:
        by_source.setdefault(source, []).append(name)
    for source, names in by_source.items():
        yield from _wrapped(f"{', '.join(names)}: {source}.", _INDENT, _INDENT + "  ")


def _lightest() -> str:
    row = min((row for row in CLASSES.values() if row.weight), key=lambda row: row.weight)
    return f"{row.cycles} ({row.id})"


def _heaviest() -> str:
    row = max(CLASSES.values(), key=lambda row: row.weight)
    return f"{row.cycles} ({row.id})"


def _wrapped(text: str, first: str = "", then: str | None = None) -> list[str]:
    return textwrap.wrap(
        text,
        width_cells(),
        initial_indent=first,
        subsequent_indent=first if then is None else then,
        break_on_hyphens=False,
    )


def _clock(profile: CpuProfile) -> str:
    return UNKNOWN if profile.clock_hz is None else f"{profile.clock_hz / 1e9:.2f} GHz"


def _cycles(cost: Cost) -> str:
    return UNKNOWN if cost.cycles is None else f"{cost.cycles:,}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
