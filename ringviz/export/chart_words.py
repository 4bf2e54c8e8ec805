"""What a chart of slowdown against year says in words: who wins where, since when, and what the figures rest on."""

from __future__ import annotations

from collections.abc import Iterator

from ringviz.engine.generations import BINARY_TRANSLATION, Beside, Generations, Point, Turn
from ringviz.export.chart_scale import is_mostly_lent
from ringviz.facts.adams_agesen_macro import WHY_DIFFERENT
from ringviz.facts.instruction_weights import GUEST_WORK

TITLE = "slowdown against bare metal on the same CPU, by year; cycles are modelled"
_MAKERS = {"intel": "Intel", "amd": "AMD"}


def times(slowdown: float) -> str:
    """Write a slowdown: two decimals where they matter."""
    return f"{slowdown:.2f}x" if slowdown < 10 else f"{slowdown:.1f}x"


def verdicts(result: Generations) -> Iterator[str]:
    """Say who is ahead, maker by maker, and where that has turned; then what the paper of 2006 has."""
    for turn in result.turns():
        yield _turn(turn)
    for way in ("vt-x-nested", "amd-v-nested"):
        first = next((point for point in result.points if point.way.id == way), None)
        if first is not None:
            yield (
                f"{first.way.title} is to be had since {first.cpu.title}, {first.cpu.year}: {_is(first)}"
                f"{'' if first.has_walks else ', without the price of its longer page walks'}."
            )
    besides = list(result.beside_the_paper())
    for beside in besides:
        yield _beside(beside)
    if besides and result.scenario in WHY_DIFFERENT:
        yield f"Only who wins can be compared: {WHY_DIFFERENT[result.scenario]}."


def notes(result: Generations) -> Iterator[str]:
    """Say what the figures rest on, and what is not in them."""
    stretch = "between the guest's markers marker_begin and marker_end" if result.has_markers else "of the whole run"
    yield f"Events {stretch} are counted; their prices are those of `ringviz cpus`, and cycles are modelled."
    yield GUEST_WORK
    if all(point.has_walks for point in result.points):
        yield "Page walks are in the price, by a modelled TLB: those of nested paging in both dimensions."
    elif any(point.has_walks for point in result.points):
        missing = dict.fromkeys(point.cpu.id for point in result.points if not point.has_walks)
        yield f"Page walks are in the price, but not where a CPU has no figure for them: {', '.join(missing)}."
    else:
        yield "Page walks are counted and have no price: nested paging looks cheaper than it is."
    for way in result.ways:
        lent = [point for point in result.points if point.way is way and is_mostly_lent(point)]
        if lent:
            low, high = (pick(point.lent_percent for point in lent) for pick in (min, max))
            share = f"{low} %" if low == high else f"{low} to {high} %"
            cpus = ", ".join(point.cpu.id for point in lent)
            yield (
                f"{way.title} on {cpus}: {share} of the VMM's cycles are at another CPU's prices, for want of figures."
            )
    unknown = dict.fromkeys((cause, point.way.title) for point in result.points for cause in point.unknown)
    if unknown:
        found = [
            f"{cause} ({', '.join(title for other, title in unknown if other == cause)})"
            for cause in dict.fromkeys(cause for cause, _ in unknown)
        ]
        yield f"Counted and not charged, for want of figures: {'; '.join(found)}."
    for way_id, why in result.left_out:
        yield f"{way_id} is not in it: {why}."


def _is(point: Point) -> str:
    return times(float(point.slowdown))


def _against(software: Point, hardware: Point) -> str:
    return f"{_is(software)} against {_is(hardware)} of {hardware.way.title}"


def _turn(turn: Turn) -> str:
    maker = _MAKERS[turn.vendor]
    text = ""
    if turn.before:
        software, hardware = turn.before[-1]
        since = software.cpu.title if len(turn.before) == 1 else f"CPUs up to {software.cpu.title}"
        text = (
            f"On {since}, {software.cpu.year}, software is ahead: binary translation {_against(software, hardware)}. "
        )
    if turn.at is None:
        return f"{text}Hardware has not caught up on any {maker} CPU here."
    software, hardware = turn.at
    verb = "It turns with" if turn.before else "Hardware is ahead from the first on, with"
    text += f"{verb} {hardware.cpu.title}, {hardware.cpu.year}: binary translation {_against(software, hardware)}"
    if is_mostly_lent(software):
        text += f", but {software.lent_percent} % of what its VMM costs is at another CPU's prices"
    return f"{text}."


def _beside(beside: Beside) -> str:
    paper = beside.paper
    theirs = (float(paper.software / paper.native), float(paper.hardware / paper.native))
    words = "the same winner" if beside.same_winner else "another winner"
    text = (
        f"{paper.source.work}, {paper.title}, on {paper.cpu}: {BINARY_TRANSLATION.title.lower()} {times(theirs[0])}, "
        f"VT-x {times(theirs[1])}; here {_is(beside.software)} and {_is(beside.hardware)}: {words}"
    )
    if not beside.same_winner and is_mostly_lent(beside.software):
        share = beside.software.lent_percent
        text += f", where {share} % of what binary translation costs here is at the prices of another CPU"
    return f"{text}."
