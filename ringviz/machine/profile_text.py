"""A CPU's profile as the text of a file: complete, to be edited, and the same prices when it is read again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal

from ringviz.facts.cost_rows import is_lent
from ringviz.facts.costs import BUILT_IN_CPUS, CAUSES, Cost, CpuProfile
from ringviz.facts.cpu_features import CPU_FEATURES, vendor_of
from ringviz.facts.instruction_weights import CLASSES, HUNDREDTHS, weight_of
from ringviz.facts.source import Status
from ringviz.machine.profile_file import FOLLOWS, PARTS, SCHEMA_VERSION, UNKNOWN, edited_title

_FOLLOWERS = {
    "exit": (PARTS, "vm-entry + vm-exit"),
    "nested-walk": (("walk-reference",), "walk-reference"),
}
"""Cells that are computed from others, and from which."""


def profile_toml(profile: CpuProfile, file: str = "") -> Iterator[str]:
    """Give the lines of a profile file: everything that can be changed, each cell with what it is and where from.

    Args:
        profile: the CPU.
        file: name of the file that it is written to; empty: nobody knows yet.
    """
    yield f"# {profile.title} ({profile.year}), as a profile to edit."
    save = "Change" if file else "Save it as my.toml, change"
    yield f"# {save} what you like, then: ringviz stat SCENARIO --cpu {file or 'my.toml'}"
    yield "# A cell that says what the base says keeps its source; all others are shown as yours."
    yield f"schema = {SCHEMA_VERSION}"
    base = profile.base or (profile.id if profile.id in BUILT_IN_CPUS else "")
    if base:
        yield f"base = {_string(base)}"
    else:
        yield f"vendor = {_string(profile.vendor)}"
        yield f"cpuid = {_string(profile.identity)}  # whose CPUID it answers with"
    is_built_in = profile.id in BUILT_IN_CPUS
    yield f"title = {_string(edited_title(profile) if is_built_in else profile.title)}"
    if not is_built_in:
        yield f"note = {_string(profile.note)}"
    yield f"year = {profile.year}"
    if profile.clock_hz is not None:
        yield f"clock_hz = {profile.clock_hz:_}"
    yield "features = ["
    for feature in CPU_FEATURES.values():
        if vendor_of(feature.id) == profile.vendor:
            mark = "" if feature.id in profile.features else "# "
            yield f"    {mark}{_string(feature.id)},  # {feature.title}"
    yield "]"
    yield ""
    yield "[costs]  # cycles; or a table with cycles, low, high, source, note; or " + _string(UNKNOWN)
    for cost in profile.costs.values():
        yield f"# {CAUSES[cost.cause].title}: {_known(cost)}"
        why_not = _left_out(profile, cost)
        yield f"# {_cell(cost)}  # {why_not}" if why_not else _cell(cost)
    yield ""
    yield "[weights]  # cycles of one guest instruction, by class, with two decimals at most"
    for row in CLASSES.values():
        yield f"# {row.title}"
        yield f"{row.id} = {_decimal(weight_of(row.id, profile.weights))}"
    yield ""
    yield "[tlb]  # the modelled TLB: one for code, one for data"
    yield f"entries = {profile.tlb.entries}"
    yield f"ways = {profile.tlb.ways}"


def _left_out(profile: CpuProfile, cost: Cost) -> str:
    """Say why a cell need not be said, as it comes out the same without; empty if it must be said."""
    if cost.cause in PARTS:
        # An exit that was measured or given whole is kept so: its halves would contradict it.
        return "" if _is_sum(profile) else "exit is charged whole"
    if cost.cause not in _FOLLOWERS or cost.cycles is None or (cost.cause == "exit" and not _is_sum(profile)):
        return ""
    components, name = _FOLLOWERS[cost.cause]
    follows = f"follows {name} unless it is given"
    if cost.source.status is Status.YOURS:
        return follows if cost.source.note.startswith(FOLLOWS) else ""
    rows = [profile.costs[part] for part in components]
    return "" if any(row.cycles is None or row.source.status is Status.YOURS for row in rows) else follows


def _is_sum(profile: CpuProfile) -> bool:
    """The price of an exit is that of its two halves."""
    entry, exit_ = (profile.costs[part].cycles for part in PARTS)
    return entry is not None and exit_ is not None and entry + exit_ == profile.costs["exit"].cycles


def _known(cost: Cost) -> str:
    """Say how well a price is known, and from where."""
    if cost.cycles is None:
        return "no figure found"
    spread = f", {cost.low:,} to {cost.high:,}" if cost.low != cost.high else ""
    lent = f", borrowed from the {cost.lender}" if is_lent(cost) else f", {cost.source.work}"
    return f"{cost.source.status.value}{spread}{lent}"


def _cell(cost: Cost) -> str:
    if cost.cycles is None:
        return f"{cost.cause} = {_string(UNKNOWN)}"
    if cost.source.status is not Status.YOURS or cost.source.note.startswith(FOLLOWS):
        return f"{cost.cause} = {cost.cycles}"
    values = [f"cycles = {cost.cycles}"]
    if cost.low != cost.high:
        values += [f"low = {cost.low}", f"high = {cost.high}"]
    if cost.source.note:
        values.append(f"source = {_string(cost.source.note)}")
    if cost.note:
        values.append(f"note = {_string(cost.note)}")
    return f"{cost.cause} = {{ {', '.join(values)} }}" if len(values) > 1 else f"{cost.cause} = {cost.cycles}"


def _decimal(hundredths: int) -> str:
    """Give cycles without zeros at the end: `5.5`, `100`."""
    cycles = Decimal(hundredths) / HUNDREDTHS
    return f"{cycles:f}" if cycles % 1 else str(int(cycles))


def _string(text: str) -> str:
    """Give a TOML string; JSON's escapes are all TOML's too, for printable text."""
    return json.dumps(text, ensure_ascii=False)
